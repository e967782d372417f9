package metadata

import (
	"cmp"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// ChangeBrokers fences brokers, unfences them, or lets them shut down. What that means for their
// partitions is in the same entry, so that no replica is in sync on a broker that is shut out; and
// brokers that fail together go together, or one of them might be elected in between. The reply is
// an error or nil.
type ChangeBrokers struct {
	Brokers []BrokerState
}

// BrokerState is what a broker is to become.
type BrokerState struct {
	ID           wire.BrokerID
	Epoch        uint64 // of the registration this is about
	Fenced       bool
	ShuttingDown bool
}

// Decide implements Command.
func (c ChangeBrokers) Decide(img *Image, _ Env) Decision {
	var records []Record
	after := make(map[wire.BrokerID]standing, len(c.Brokers))
	for _, s := range c.Brokers {
		b := img.broker(s.ID)
		if b == nil {
			return refused(brokerUnknown(s.ID))
		}
		if _, twice := after[s.ID]; twice {
			return refused(wire.Errorf(wire.InvalidRequest, "broker %d is there more than once", s.ID))
		}
		if b.Epoch != s.Epoch {
			return refused(wire.Errorf(wire.StaleBrokerEpoch, "broker %d is in broker epoch %d, not %d", s.ID, b.Epoch, s.Epoch))
		}
		after[s.ID] = standingOf(s.Fenced, s.ShuttingDown)
		if b.Fenced != s.Fenced || b.ShuttingDown != s.ShuttingDown {
			records = append(records, &BrokerChanged{
				Broker: s.ID, Epoch: s.Epoch, Fenced: s.Fenced, ShuttingDown: s.ShuttingDown, Draining: b.Draining,
			})
		}
	}
	if len(records) == 0 {
		return Decision{}
	}
	if changes := c.partitions(img, after); len(changes) > 0 {
		records = append(records, &PartitionsChanged{Changes: changes})
	}
	return Decision{Records: records}
}

// partitions decides what the change means for all that those brokers have replicas of.
func (c ChangeBrokers) partitions(img *Image, after map[wire.BrokerID]standing) []PartitionChange {
	then := func(p *partition, replica int) standing {
		s, changes := after[p.replicas[replica]]
		if !changes || img.lost(p, replica) {
			return img.standing(p, replica)
		}
		return s
	}
	var changes []PartitionChange
	var of *topic
	var r rules
	for _, at := range img.hostedByAny(c.Brokers) {
		if of == nil || of.number != at.Topic {
			of = img.topic(at.Topic)
			r = img.rulesOf(of, then)
		}
		p, _ := of.partition(at.Partition)
		if r.regroup(&p, after) {
			changes = append(changes, r.next(&p))
		}
	}
	return changes
}

// hostedByAny returns the partitions that have replicas on any of those brokers, in order.
func (img *Image) hostedByAny(brokers []BrokerState) []PartitionRef {
	var refs []PartitionRef
	for _, s := range brokers {
		for t, p := range img.hosted(s.ID) {
			refs = append(refs, PartitionRef{t.number, p.number})
		}
	}
	if len(brokers) == 1 {
		return refs
	}
	slices.SortFunc(refs, PartitionRef.compare)
	return slices.Compact(refs)
}

func (ref PartitionRef) compare(other PartitionRef) int {
	return cmp.Or(cmp.Compare(ref.Topic, other.Topic), cmp.Compare(ref.Partition, other.Partition))
}

// regroup takes brokers out of the ISR that may not be in it any more, and says whether the
// partition gets a new state: with every broker that leaves, even if it was not in the ISR, since a
// proposal to take it in may be under way; and with one that comes if there is no leader.
func (r *rules) regroup(p *partition, after map[wire.BrokerID]standing) bool {
	var leaving ReplicaSet
	elects := false
	for i, id := range p.replicas {
		s, changes := after[id]
		switch {
		case changes && s != usable:
			leaving |= 1 << i
		case changes && p.leader == noLeader:
			elects = true
		}
	}
	if p.isr&^leaving == 0 && p.leader != noLeader && r.leaderStanding(p) == going {
		leaving &^= 1 << p.leader // nobody else can lead
	}
	r.leave(p, leaving)
	return leaving != 0 || elects
}

// sortChanges brings changes into the order that a record has them in.
func sortChanges(changes []PartitionChange) {
	slices.SortFunc(changes, func(a, b PartitionChange) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
}
