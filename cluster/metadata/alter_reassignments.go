package metadata

import (
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// AlterReassignments asks that partitions lie on other brokers, or stay where they were. Each begins
// or is refused by itself; the reply is a []wire.PartitionOutcome in the order asked. It ends by
// itself, in the entry that takes the last new replica into the ISR.
type AlterReassignments wire.AlterReassignments

// Decide implements Command.
func (c AlterReassignments) Decide(img *Image, _ Env) Decision {
	reply := make([]wire.PartitionOutcome, len(c.Partitions))
	var changes []PartitionChange
	seen := make(map[PartitionRef]bool, len(c.Partitions))
	for i, m := range c.Partitions {
		t, p, err := img.named(m.Topic, m.Partition)
		var change *PartitionChange
		switch {
		case err != nil:
		case seen[p.ref()]:
			err = wire.Errorf(wire.InvalidRequest, "%s-%d is there more than once", m.Topic, m.Partition)
		case len(changes) >= MaxPartitionsPerRequest:
			err = tooManyPartitions(len(c.Partitions))
		default:
			change, err = c.decide(img, t, &p, m.Replicas)
		}
		seen[p.ref()] = true
		if change != nil {
			changes = append(changes, *change)
		}
		reply[i] = wire.PartitionOutcome{Topic: m.Topic, Partition: m.Partition, Err: err}
	}
	return Decision{Records: changed(changes), Reply: reply}
}

// named returns a partition by the name of its topic.
func (img *Image) named(topic string, number int32) (*topic, partition, error) {
	t := img.topicByName(topic)
	if t == nil {
		return nil, partition{}, wire.Errorf(wire.UnknownTopicOrPartition, "there is no topic %.300q", topic)
	}
	p, ok := t.partition(number)
	if !ok {
		return nil, partition{}, wire.Errorf(wire.UnknownTopicOrPartition, "%s has no partition %d", t.name, number)
	}
	return t, p, nil
}

// changed returns the record of changes, which it brings in order; none if there are none.
func changed(changes []PartitionChange) []Record {
	if len(changes) == 0 {
		return nil
	}
	sortChanges(changes)
	return []Record{&PartitionsChanged{Changes: changes}}
}

func (c AlterReassignments) decide(img *Image, t *topic, p *partition, target []wire.BrokerID) (*PartitionChange, error) {
	r := img.rulesOf(t, img.standing)
	if target == nil {
		if err := img.cancel(t, p); err != nil {
			return nil, err
		}
		change := r.next(p)
		return &change, nil
	}
	if err := img.checkTarget(t, p, target); err != nil {
		return nil, err
	}
	original := len(p.replicas) - p.adding.size()
	if c.SameFactor && len(target) != original {
		return nil, wire.Errorf(wire.InvalidReplicationFactor, "%s-%d has %d replicas, and would have %d",
			t.name, p.number, original, len(target))
	}
	if p.adding|p.removing == 0 && slices.Equal(p.replicas, target) {
		return nil, nil
	}
	img.reassign(p, target)
	if len(p.replicas) > MaxReplicas {
		return nil, wire.Errorf(wire.InvalidReplicaAssignment, "%s-%d would have %d replicas on the way, of at most %d",
			t.name, p.number, len(p.replicas), MaxReplicas)
	}
	img.arrived(p)
	change := r.next(p)
	return &change, nil
}

// checkTarget checks who is to have a partition.
func (img *Image) checkTarget(t *topic, p *partition, target []wire.BrokerID) error {
	invalid := func(format string, args ...any) error {
		return wire.Errorf(wire.InvalidReplicaAssignment, format, args...)
	}
	if len(target) == 0 || len(target) > MaxReplicas {
		return invalid("%s-%d on %d brokers, of 1 to %d", t.name, p.number, len(target), MaxReplicas)
	}
	for i, id := range target {
		b := img.broker(id)
		switch {
		case b == nil:
			return invalid("broker %d is not registered", id)
		case slices.Contains(target[:i], id):
			return invalid("broker %d is there twice", id)
		case b.Draining && p.member(id) == 0:
			return invalid("broker %d is being removed", id)
		}
	}
	return nil
}

// cancel takes back a reassignment.
func (img *Image) cancel(t *topic, p *partition) error {
	switch {
	case p.adding|p.removing == 0:
		return wire.Errorf(wire.NoReassignmentInProgress, "%s-%d is not being reassigned", t.name, p.number)
	case p.adding == 0:
		p.removing, p.assigned = 0, true
	case p.isr != 0 && p.isr&^p.adding == 0, p.isr == 0 && p.elr != 0 && p.elr&^p.adding == 0:
		return wire.Errorf(wire.InvalidReplicaAssignment, "none of the replicas that %s-%d had is in sync", t.name, p.number)
	default:
		img.takeOff(p, p.adding)
	}
	return nil
}

// CompleteReassignments completes what could have been completed, but was not by a change of an ISR:
// the only one in sync was to go, and another one was elected since. The reply is nil.
type CompleteReassignments struct{}

// Decide implements Command.
func (CompleteReassignments) Decide(img *Image, _ Env) Decision {
	var changes []PartitionChange
	for t, p := range img.reassigned() {
		if len(changes) < MaxPartitionsPerRequest && img.arrived(&p) {
			r := img.rulesOf(t, img.standing)
			changes = append(changes, r.next(&p))
		}
	}
	return Decision{Records: changed(changes)}
}
