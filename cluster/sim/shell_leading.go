package sim

import (
	"slices"
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/cluster/replica"
	"github.com/troupe-mq/troupe/wire"
)

// stream sends what is due, as far as each follower's window goes.
func (r *replicaShell) stream() {
	for _, other := range r.w.machines {
		for r.streamOne(other.id) {
		}
	}
}

func (r *replicaShell) streamOne(to wire.BrokerID) bool {
	from, _, due := r.leader.Due(to)
	if acknowledged, sent := r.leader.Unacknowledged(to); !due || sent-acknowledged >= wire.Offset(r.w.profile.Window) {
		return false
	}
	c := &r.log.cache
	i := c.from(from)
	batches := slices.Clone(c.batches[i:min(len(c.batches), i+1+r.w.Random.IntN(3))]) // a log that is cut writes over its own
	last := batches[len(batches)-1]
	if r.w.profile.Full && r.w.Chance(2) {
		// The link's queue is full: the stream goes on when there is room.
		r.w.At(r.w.Between(time.Millisecond, 50*time.Millisecond), &r.process.Process, func() {
			if r.leader != nil && r.running() {
				r.stream()
			}
		})
		return false
	}
	m := &wire.Append{Batches: []byte("batches")}
	r.leader.Header(to, m)
	if !r.process.send(to, m, batches) {
		return false
	}
	r.leader.Sent(to, last.next(), last.epoch)
	return true
}

func (r *replicaShell) announce() {
	r.announces = false
	if r.leader == nil || !r.running() {
		return
	}
	for _, other := range r.w.machines {
		if !r.leader.Announce(other.id) {
			continue
		}
		m := &wire.Append{}
		r.leader.Header(other.id, m)
		if r.process.send(other.id, m, nil) {
			r.leader.Sent(other.id, m.PrevOffset, m.PrevEpoch)
		}
	}
}

// propose asks the controller. Some proposals are held up until all has changed.
func (r *replicaShell) propose(p *replica.Proposal) {
	r.note("proposes %v in partition epoch %d", p.ISR, p.PartitionEpoch)
	proposal := metadata.ISRProposal{
		Topic: r.w.topic, Partition: int32(r.partition), LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
	}
	for _, m := range p.ISR {
		proposal.ISR = append(proposal.ISR, metadata.ISRMember(m))
	}
	r.mutateProposal(p, &proposal)
	c := metadata.AlterPartitions{
		Broker: r.machine().id, Incarnation: r.process.incarnation, Proposals: []metadata.ISRProposal{proposal},
	}
	answer := func(reply any) {
		if errs, ok := reply.([]error); ok && errs[0] != nil {
			r.w.stats.Refusals++
			r.note("was refused: %v", errs[0])
			r.mutateRefusal(p)
		}
	}
	if r.w.profile.HoldProposals && !r.w.Calm && r.w.Chance(30) {
		r.w.At(r.w.Between(0, 6*time.Second), nil, func() { r.process.command(c, answer) })
		return
	}
	r.process.command(c, answer)
}
