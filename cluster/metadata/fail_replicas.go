package metadata

import (
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// FailReplicas tells that a broker cannot use some of its replicas: it cannot open their logs. They
// neither lead nor join until the broker registers anew. The reply is an error or nil.
type FailReplicas struct {
	Broker      wire.BrokerID
	Incarnation wire.Incarnation
	Replicas    []wire.TopicPartition
}

// Decide implements Command.
func (c FailReplicas) Decide(img *Image, _ Env) Decision {
	b, err := img.process(c.Broker, c.Incarnation)
	if err != nil {
		return refused(err)
	}
	var failed []PartitionRef
	for _, tp := range c.Replicas {
		t := img.topicByID(tp.Topic)
		if t == nil {
			continue // deleted meanwhile
		}
		p, _ := t.partition(tp.Partition)
		if p.member(c.Broker) == 0 {
			return refused(wire.Errorf(wire.UnknownTopicOrPartition, "%s-%d is not on broker %d", t.name, tp.Partition, c.Broker))
		}
		if !b.hasFailed(p.ref()) {
			failed = append(failed, p.ref())
		}
	}
	if len(failed) == 0 {
		return Decision{} // all of it is known
	}
	slices.SortFunc(failed, PartitionRef.compare)
	failed = slices.Compact(failed)
	return Decision{Records: []Record{
		&ReplicasFailed{Broker: c.Broker, Epoch: b.Epoch, Replicas: failed},
		&PartitionsChanged{Changes: c.partitions(img, failed)},
	}}
}

// partitions decides what becomes of the partitions. A log that does not open may lack what it had,
// so its replica is in doubt, and not eligible by right.
func (c FailReplicas) partitions(img *Image, failed []PartitionRef) []PartitionChange {
	then := func(p *partition, replica int) standing {
		if _, fails := slices.BinarySearchFunc(failed, p.ref(), PartitionRef.compare); fails && p.replicas[replica] == c.Broker {
			return shutOut
		}
		return img.standing(p, replica)
	}
	changes := make([]PartitionChange, len(failed))
	for i, ref := range failed {
		t := img.topic(ref.Topic)
		p, _ := t.partition(ref.Partition)
		r := img.rulesOf(t, then)
		p.doubt(p.member(c.Broker))
		changes[i] = r.next(&p)
	}
	return changes
}
