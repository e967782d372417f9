package metadata

import (
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// AlterPartitions is how leaders ask for other in-sync replicas. The reply is a []error in the order
// asked. It carries no state: a leader takes that from its image, in the order of the log.
type AlterPartitions struct {
	Broker      wire.BrokerID
	Incarnation wire.Incarnation
	Proposals   []ISRProposal
}

// ISRProposal is made for one state of a partition and holds for no other.
type ISRProposal struct {
	Topic          wire.TopicID
	Partition      int32
	LeaderEpoch    wire.LeaderEpoch
	PartitionEpoch wire.PartitionEpoch
	ISR            []ISRMember
}

// ISRMember is a replica in the incarnation whose acknowledgements qualified it.
type ISRMember struct {
	Broker      wire.BrokerID
	Incarnation wire.Incarnation
}

// Decide implements Command.
func (c AlterPartitions) Decide(img *Image, _ Env) Decision {
	reply := make([]error, len(c.Proposals))
	var changes []PartitionChange
	seen := make(map[wire.TopicPartition]bool, len(c.Proposals))
	for i, m := range c.Proposals {
		tp := wire.TopicPartition{Topic: m.Topic, Partition: m.Partition}
		if seen[tp] {
			reply[i] = wire.Errorf(wire.InvalidRequest, "%s is there more than once", tp)
			continue
		}
		seen[tp] = true
		change, err := c.decide(img, m)
		reply[i] = err
		if change != nil {
			changes = append(changes, *change)
		}
	}
	return Decision{Records: changed(changes), Reply: reply}
}

// decide compares a proposal with the partition. One whose epochs fit is always answered by a new
// partition epoch, even if it is refused: only that tells its leader that it is void, since a copy
// of it may still be under way.
func (c AlterPartitions) decide(img *Image, m ISRProposal) (*PartitionChange, error) {
	t := img.topicByID(m.Topic)
	if t == nil {
		return nil, wire.Errorf(wire.UnknownTopicID, "no topic has id %s", m.Topic)
	}
	p, ok := t.partition(m.Partition)
	b := img.broker(c.Broker)
	switch {
	case !ok:
		return nil, wire.Errorf(wire.UnknownTopicOrPartition, "%s has no partition %d", t.name, m.Partition)
	case b == nil || b.Incarnation != c.Incarnation:
		return nil, wire.Errorf(wire.StaleBrokerEpoch, "broker %d has begun anew since", c.Broker)
	case p.leaderID() != c.Broker || p.leaderEpoch != m.LeaderEpoch:
		return nil, wire.Errorf(wire.FencedLeaderEpoch, "%s-%d is led by broker %d in leader epoch %d",
			t.name, m.Partition, p.leaderID(), p.leaderEpoch)
	case p.partitionEpoch != m.PartitionEpoch:
		return nil, wire.Errorf(wire.InvalidUpdateVersion, "%s-%d is in partition epoch %d, not %d",
			t.name, m.Partition, p.partitionEpoch, m.PartitionEpoch)
	}
	r := img.rulesOf(t, img.standing)
	proposed, err := img.members(&p, m.ISR)
	if err == nil && !proposed.has(int(p.leader)) {
		err = wire.Errorf(wire.InvalidRequest, "an ISR of %s-%d without its leader", t.name, m.Partition)
	}
	if err == nil {
		r.leave(&p, p.isr&^proposed)
		p.isr |= proposed
		p.elr &^= proposed
		img.arrived(&p)
	}
	change := r.next(&p)
	return &change, err
}

// members returns the replicas that a proposal names, if all of them may be in sync.
func (img *Image) members(p *partition, isr []ISRMember) (set ReplicaSet, err error) {
	for _, m := range isr {
		b := img.broker(m.Broker)
		switch member := p.member(m.Broker); {
		case member == 0:
			return 0, wire.Errorf(wire.InvalidRequest, "broker %d has no replica of the partition", m.Broker)
		case !b.Usable() && (m.Broker != p.leaderID() || img.leaderStanding(p) != going): // that one stays until others have come
			return 0, wire.Errorf(wire.IneligibleReplica, "broker %d is fenced or shutting down", m.Broker)
		case img.lost(p, slices.Index(p.replicas, m.Broker)):
			return 0, wire.Errorf(wire.IneligibleReplica, "broker %d cannot use its replica", m.Broker)
		case b.Incarnation != m.Incarnation:
			return 0, wire.Errorf(wire.IneligibleReplica, "broker %d has begun anew since", m.Broker)
		default:
			set |= member
		}
	}
	return set, nil
}
