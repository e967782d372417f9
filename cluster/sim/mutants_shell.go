package sim

import (
	"slices"
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/cluster/replica"
	"github.com/troupe-mq/troupe/wire"
)

// mutation is what a mutant keeps of a leader epoch.
type mutation struct {
	shift   wire.PartitionEpoch // how far the rules are ahead of the image
	last    replica.Leadership
	matched map[wire.BrokerID]wire.Incarnation
}

// mutateLeadership is what the rules are told of the image.
func (r *replicaShell) mutateLeadership(l replica.Leadership) replica.Leadership {
	switch r.w.mutant {
	case SmallISRCommits:
		l.MinISR = 1
	case RefusalClearsPending:
		r.mutated.last = l
		l.PartitionEpoch += r.mutated.shift
		l.Eligible = slices.Repeat([]bool{true}, len(l.Replicas))
	case ForgetPendingISR:
		r.mutated.last = l
		l.PartitionEpoch += r.mutated.shift
	case StaleISRProposal:
		l.Incarnations = slices.Clone(l.Incarnations)
		for i, b := range l.Replicas {
			if known, ok := r.mutated.matched[b]; ok {
				l.Incarnations[i] = known
			}
		}
		r.mutated.last = l
	default:
	}
	return l
}

// clearPending makes the rules believe in a higher partition epoch, so that nothing is pending.
func (r *replicaShell) clearPending() {
	r.mutated.shift++
	l := r.mutated.last
	l.PartitionEpoch += r.mutated.shift
	if r.w.mutant == ForgetPendingISR {
		l.Eligible = make([]bool, len(l.Replicas)) // nor is it asked for again, before the image changes
	}
	r.perform(r.leader.Changed(l, r.machine().clock()))
}

func (r *replicaShell) mutateProposal(p *replica.Proposal, m *metadata.ISRProposal) {
	switch r.w.mutant {
	case CountPendingISR:
		r.perform(r.leader.Configure(r.w.profile.MinISR - len(p.Joining)))
	case RefusalClearsPending:
		m.PartitionEpoch -= r.mutated.shift
	case ForgetPendingISR:
		m.PartitionEpoch -= r.mutated.shift
		r.w.At(time.Microsecond, &r.process.Process, func() {
			if r.leader != nil && r.leader.Pending() == p {
				r.clearPending()
			}
		})
	case StaleISRProposal:
		for i := range m.ISR {
			if reg, ok := r.process.image.Registration(m.ISR[i].Broker); ok {
				m.ISR[i].Incarnation = reg.Incarnation
			}
		}
	default:
	}
}

func (r *replicaShell) mutateRefusal(p *replica.Proposal) {
	if r.w.mutant == RefusalClearsPending && r.leader != nil && r.leader.Pending() == p {
		r.clearPending()
	}
}

// mutateAppended follows an append of the leader's own.
func (r *replicaShell) mutateAppended() {
	if r.w.mutant == CommitUnflushedLeader && r.leader != nil {
		r.perform(r.leader.Synced(r.log.cache.end))
	}
}

// mutatePosition is what a leader hears of where a follower ends.
func (r *replicaShell) mutatePosition(m *wire.Position) *wire.Position {
	changed := *m
	switch r.w.mutant {
	case AcknowledgeOwnEnd:
		// Whatever the follower has beyond what both have in common stays.
		theirs := &r.w.machines[m.Sender-1].disks[r.partition].cache
		own := &r.log.cache
		end := commonEnd(own, theirs)
		if end < own.start || end < m.LogStartOffset {
			return m
		}
		changed.LogEndOffset, changed.FlushedOffset = end, min(end, m.FlushedOffset)
		changed.LastEpoch = wire.NoEpoch
		if i := own.from(end); i > 0 && end > own.start {
			changed.LastEpoch = own.batches[i-1].epoch
		}
	case JoinByLogEnd:
		if !contains(r.leader.ISR(), m.Sender) {
			changed.FlushedOffset = m.LogEndOffset
		}
	case StaleISRProposal:
		if r.mutated.matched == nil {
			r.mutated.matched = make(map[wire.BrokerID]wire.Incarnation)
		}
		r.mutated.matched[m.Sender] = m.Incarnation
		for i, b := range r.mutated.last.Replicas {
			if b == m.Sender && r.mutated.last.Incarnations[i] != m.Incarnation {
				r.perform(r.leader.Changed(r.mutateLeadership(r.mutated.last), r.machine().clock()))
			}
		}
	default:
		return m
	}
	return &changed
}

func (r *replicaShell) mutateAcknowledgement(m *wire.Appended) *wire.Appended {
	if r.w.mutant == JoinByLogEnd && !contains(r.leader.ISR(), m.Sender) {
		changed := *m
		changed.FlushedOffset = m.LogEndOffset
		return &changed
	}
	return m
}

// mutateOrder is what a follower hears from a leader.
func (r *replicaShell) mutateOrder(m wire.PeerMessage) wire.PeerMessage {
	switch r.w.mutant {
	case ObeyLowerEpoch:
		return r.readdress(m)
	case IgnoreRun:
		return r.readdress(m)
	case TruncateAfterMatching:
		if t, ok := m.(*wire.Truncate); ok && r.follower != nil && !r.log.cutting &&
			t.LeaderEpoch == r.epoch && t.Incarnation == r.process.incarnation && t.Run == r.run && !t.Reset {
			r.followAnew()
		}
	case TruncateByOffsetOnly:
		if t, ok := m.(*wire.Truncate); ok && !t.Reset {
			changed := *t
			changed.LastEpoch = 1 << 30
			return &changed
		}
	case WatermarkToOwnEnd:
		if p, ok := m.(*wire.Probe); ok && r.follower != nil && p.LeaderEpoch == r.epoch && !r.log.cutting {
			leader := r.w.machines[p.Sender-1].process
			if leader != nil && leader.replicas[r.partition] != nil {
				r.watermark = max(r.watermark, min(r.log.cache.end, leader.replicas[r.partition].watermark))
				r.followAnew()
			}
		}
	default:
	}
	return m
}

// readdress makes a message one of the present epoch, or one that is meant for this run.
func (r *replicaShell) readdress(m wire.PeerMessage) wire.PeerMessage {
	if r.follower == nil {
		return m
	}
	change := func(epoch *wire.LeaderEpoch, incarnation *wire.Incarnation, run *uint64) {
		if r.w.mutant == ObeyLowerEpoch {
			*epoch = max(*epoch, r.epoch)
		} else {
			*incarnation, *run = r.process.incarnation, r.run
		}
	}
	switch m := m.(type) {
	case *wire.Truncate:
		changed := *m
		change(&changed.LeaderEpoch, &changed.Incarnation, &changed.Run)
		return &changed
	case *wire.Append:
		changed := *m
		change(&changed.LeaderEpoch, &changed.Incarnation, &changed.Run)
		return &changed
	}
	return m
}

// mutateReply is what a follower tells its leader.
func (r *replicaShell) mutateReply(m wire.PeerMessage) wire.PeerMessage {
	if r.w.mutant != AcknowledgeFromPageCache {
		return m
	}
	switch m := m.(type) {
	case *wire.Position:
		m.FlushedOffset = m.LogEndOffset
	case *wire.Appended:
		m.FlushedOffset = m.LogEndOffset
	}
	return m
}

// acknowledgeOwnEnd takes an Append as Raft does: what is inside the log is known already, and
// what is not replaces the tail.
func (r *replicaShell) acknowledgeOwnEnd(m *wire.Append, batches []batch) bool {
	c := &r.log.cache
	if r.log.cutting || m.LeaderEpoch != r.epoch || m.Incarnation != r.process.incarnation || m.Run != r.run ||
		m.PrevOffset >= c.end || m.PrevOffset < c.start {
		return false
	}
	if i := c.from(m.PrevOffset); i > 0 && m.PrevOffset > c.start && c.batches[i-1].epoch != m.PrevEpoch {
		return false
	}
	if len(batches) == 0 || batches[len(batches)-1].next() <= c.end {
		r.process.send(r.leaderID, &wire.Appended{
			Sender: r.machine().id, Topic: m.Topic, Partition: m.Partition, LeaderEpoch: m.LeaderEpoch,
			Incarnation: m.Incarnation, Run: m.Run, LogEndOffset: c.end, FlushedOffset: r.log.flushed,
		}, nil)
		return true
	}
	r.log.cutAtOnce(m.PrevOffset)
	r.followAnew()
	return false
}

// commonEnd is where two logs part.
func commonEnd(a, b *content) wire.Offset {
	from := max(a.start, b.start)
	i, j := a.from(from), b.from(from)
	for i < len(a.batches) && j < len(b.batches) && a.batches[i] == b.batches[j] {
		from = a.batches[i].next()
		i, j = i+1, j+1
	}
	return min(from, a.end, b.end)
}
