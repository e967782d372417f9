package kafka

import (
	"errors"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// checkProduction decides for each partition whether it may go to the Backend: then its records
// are left in place; else they are taken away and reply.Err says why. It returns how many may.
func (c *conn) checkProduction(p *production) (accepted int) {
	view := c.server.backend.View()
	fault := c.checkRequest(p)
	slot := 0
	for i := range p.topics {
		t := &p.topics[i]
		topic, err := produceTopic(view, t, p.version)
		if err == nil && topic.Internal && string(c.request.clientID) != adminClient {
			err = errInternal
		}
		for range t.parts {
			part := &p.parts[slot]
			slot++
			switch {
			case fault != nil:
				part.refuse(fault)
			case err != nil:
				part.refuse(err)
			case part.number < 0 || part.number >= topic.Partitions:
				part.refuse(wire.UnknownTopicOrPartition)
			default:
				if err := c.checkBatch(part, &topic, p); err != nil {
					part.refuse(err)
					c.refuse(badBatch, err)
					continue
				}
				accepted++
			}
		}
	}
	return accepted - c.refuseDuplicates(p)
}

func (part *producedPartition) refuse(err error) {
	part.records = nil
	part.reply = wire.ProduceReply{Err: err, Leader: wire.NoHint}
}

// checkRequest finds what is wrong with the request as a whole.
func (c *conn) checkRequest(p *production) error {
	switch {
	case p.version < produceTransactions:
		return wire.UnsupportedVersion
	case p.acks != wire.AcksAll && p.acks != wire.AcksLeader && p.acks != wire.AcksNone:
		c.refuse(badAcks, wire.InvalidRequiredAcks)
		return wire.InvalidRequiredAcks
	case p.transaction:
		c.refuse(badTransactional, errTransactional)
		return errTransactional
	}
	return nil
}

// adminClient is the client id that may write to internal topics, for repairs, as in Kafka.
const adminClient = "__admin_client"

var errInternal = wire.Errorf(wire.InvalidTopic, "clients do not write to internal topics")

// produceTopic finds the topic and completes t.
func produceTopic(view wire.View, t *producedTopic, version int16) (wire.Topic, error) {
	topic, err := topicOf(view, version >= produceTopicIDs, t.id, t.name)
	if err == nil {
		t.id = topic.ID
	}
	return topic, err
}

// checkBatch opens the door to one batch, or says why it stays shut.
func (c *conn) checkBatch(part *producedPartition, topic *wire.Topic, p *production) error {
	nowMillis := p.received.UnixMilli()
	checked, err := record.Check(part.records, topic.Limits, nowMillis)
	if err != nil {
		var invalid *record.InvalidRecordsError
		if errors.As(err, &invalid) {
			for _, r := range invalid.Records {
				part.refused = append(part.refused, recordError{index: r.Index, message: r.Message})
			}
		}
		return err
	}
	switch {
	case checked.Header.Transactional():
		return errTransactional
	case checked.Header.Codec() == record.Zstd && p.version < produceZstd:
		return wire.UnsupportedCompressionType
	}
	part.records, part.rewritten = checked.Batches, checked.Rewritten
	if topic.Limits.LogAppendTime {
		part.appendTime = nowMillis
	}
	return nil
}

// errTransactional is what Kafka answers to a producer that may not use its transactional id; every
// client takes it for final, and transactions are not advertised.
var errTransactional = wire.Errorf(wire.TransactionalIDAuthorizationFailed, "this broker has no transactions yet")

var errDuplicate = wire.Errorf(wire.InvalidRequest, "the request names a partition twice")

// refuseDuplicates refuses every part that names the same partition as another, since nobody can say
// which of them the client would take the answer to be for. It returns how many it refused that
// were accepted.
func (c *conn) refuseDuplicates(p *production) (refused int) {
	if len(p.parts) < 2 {
		return 0
	}
	first := c.places // used again: most requests name several partitions
	clear(first)
	if first == nil || len(p.parts) > namesKept {
		first = make(map[wire.TopicPartition]int, len(p.parts))
	}
	if len(p.parts) <= namesKept {
		c.places = first
	}
	slot := 0
	for _, t := range p.topics {
		for range t.parts {
			part := &p.parts[slot]
			place := wire.TopicPartition{Topic: t.id, Partition: part.number}
			if earlier, twice := first[place]; !twice {
				first[place] = slot
			} else {
				for _, d := range []*producedPartition{part, &p.parts[earlier]} {
					if d.records != nil {
						d.refuse(errDuplicate)
						refused++
					}
				}
			}
			slot++
		}
	}
	if refused > 0 {
		c.refuse(badDuplicate, errDuplicate)
	}
	return refused
}
