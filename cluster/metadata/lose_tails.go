package metadata

import (
	"github.com/troupe-mq/troupe/wire"
)

// LoseTails tells that some logs of a broker end before what they had made durable: a disk has forgotten, or
// what lay there is damaged. The replicas are filled again; until then they are counted for nothing. The
// reply is an error or nil.
//
// A broker sends it once it has opened its logs, while it is fenced still: it is not elected before.
type LoseTails struct {
	Broker      wire.BrokerID
	Incarnation wire.Incarnation
	Replicas    []wire.TopicPartition
}

// Decide implements Command.
func (c LoseTails) Decide(img *Image, _ Env) Decision {
	if _, err := img.process(c.Broker, c.Incarnation); err != nil {
		return refused(err)
	}
	var changes []PartitionChange
	seen := make(map[wire.TopicPartition]bool, len(c.Replicas))
	for _, tp := range c.Replicas {
		t := img.topicByID(tp.Topic)
		if t == nil || seen[tp] {
			continue // deleted meanwhile, or named twice
		}
		seen[tp] = true
		p, _ := t.partition(tp.Partition)
		member := p.member(c.Broker)
		if member == 0 || (p.isr|p.elr)&member == 0 {
			continue // it is counted for nothing already
		}
		p.doubt(member)
		r := img.rulesOf(t, img.standing)
		changes = append(changes, r.next(&p))
	}
	if len(changes) == 0 {
		return Decision{}
	}
	sortChanges(changes)
	return Decision{Records: []Record{&PartitionsChanged{Changes: changes}}}
}

func (LoseTails) commandKind() CommandKind { return CommandLoseTails }

func (c LoseTails) encode(w *writer) {
	w.array(3)
	w.int(int64(c.Broker))
	w.uint(uint64(c.Incarnation))
	encodeTopicPartitions(w, c.Replicas)
}

func decodeLoseTails(r *reader) Command {
	return LoseTails{
		Broker: signed[wire.BrokerID](r), Incarnation: unsigned[wire.Incarnation](r), Replicas: decodeTopicPartitions(r),
	}
}
