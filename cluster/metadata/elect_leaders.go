package metadata

import (
	"iter"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// ElectLeaders asks for elections by hand: of the preferred leader, the first of the replicas, or with
// Unclean of whoever there is, where a partition has no leader. The reply is a
// []wire.PartitionOutcome in the order asked; where all partitions are asked for, those that need no
// election are left out.
type ElectLeaders wire.ElectLeaders

// Decide implements Command.
func (c ElectLeaders) Decide(img *Image, _ Env) Decision {
	if c.Partitions == nil {
		return c.decideAll(img)
	}
	var e election
	seen := make(map[wire.TopicNamePartition]bool, len(c.Partitions))
	for _, m := range c.Partitions {
		t, p, err := img.named(m.Topic, m.Partition)
		switch {
		case err == nil && seen[m]:
			err = wire.Errorf(wire.InvalidRequest, "%s-%d is there more than once", m.Topic, m.Partition)
		case err == nil && len(e.changes) >= MaxPartitionsPerRequest:
			err = tooManyPartitions(len(c.Partitions))
		case err == nil:
			err = c.elect(img, t, &p)
		}
		seen[m] = true
		e.add(m, &p, err)
	}
	return Decision{Records: changed(e.changes), Reply: e.outcomes}
}

// decideAll elects wherever that changes something, as far as it fits an entry.
func (c ElectLeaders) decideAll(img *Image) Decision {
	var e election
	for t, p := range img.everywhere() {
		err := c.elect(img, t, &p)
		if wire.Code(err) == wire.ElectionNotNeeded {
			continue
		}
		if e.add(wire.TopicNamePartition{Topic: t.name, Partition: p.number}, &p, err); len(e.outcomes) >= MaxPartitionsPerRequest {
			break
		}
	}
	return Decision{Records: changed(e.changes), Reply: e.outcomes}
}

// everywhere walks all partitions.
func (img *Image) everywhere() iter.Seq2[*topic, partition] {
	return func(yield func(*topic, partition) bool) {
		for t := range img.topics.all() {
			for p := range t.all {
				if !yield(t, p) {
					return
				}
			}
		}
	}
}

// election is what one ElectLeaders has come to so far.
type election struct {
	outcomes []wire.PartitionOutcome
	changes  []PartitionChange
}

func (e *election) add(m wire.TopicNamePartition, p *partition, err error) {
	e.outcomes = append(e.outcomes, wire.PartitionOutcome{Topic: m.Topic, Partition: m.Partition, Err: err})
	if err == nil {
		e.changes = append(e.changes, p.change())
	}
}

// elect gives the partition the leader that is asked for. The errors are Kafka's.
func (c ElectLeaders) elect(img *Image, t *topic, p *partition) error {
	r := img.rulesOf(t, img.standing)
	switch {
	case c.Unclean && p.leader != noLeader, !c.Unclean && p.leader == 0:
		return wire.Errorf(wire.ElectionNotNeeded, "%s-%d is led by broker %d", t.name, p.number, p.leaderID())
	case c.Unclean:
		r.unclean, r.haste, p.awaiting = true, noReplicas, true
		if r.firstUsable(p, p.all()) == noLeader {
			img.beginAnew(p)
		}
		r.elect(p)
		if p.leader == noLeader {
			return wire.Errorf(wire.EligibleLeadersNotAvailable, "no replica of %s-%d can be used", t.name, p.number)
		}
	case !r.prefer(p):
		return wire.Errorf(wire.PreferredLeaderNotAvailable, "broker %d is fenced, or not in sync with %s-%d", p.replicas[0], t.name, p.number)
	}
	return nil
}

// beginAnew gives up copies in directories that are gone, where nothing else is left: a broker that
// works makes an empty one in another. Nobody does that but an operator.
func (img *Image) beginAnew(p *partition) {
	for i, id := range p.replicas {
		if b := img.broker(id); b.Usable() && b.offline(p.dirs[i]) {
			p.dirs, p.assigned = slices.Clone(p.dirs), true
			p.dirs[i] = b.nextDirectory(int(p.topic) + int(p.number))
			return
		}
	}
}

// prefer makes the first of the replicas the leader, if it may be.
func (r *rules) prefer(p *partition) bool {
	if !p.isr.has(0) || r.standing(p, 0) != usable {
		return false
	}
	p.leader, p.unclean = 0, false
	p.leaderEpoch++
	return true
}
