package native

import (
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// produceCall is one produce request on its way: the message for the replica and what its answer
// needs, in one allocation. It is not used again, since the replica may keep the message.
type produceCall struct {
	wire.Produce

	conn        *conn
	correlation uint32
	admitted    int
	reply       wire.ProduceReply
}

// ProduceDone queues the answer. It runs on the goroutine of whoever completes the request.
func (p *produceCall) ProduceDone(_ int, reply wire.ProduceReply) {
	a := answer{admitted: p.admitted}
	if p.Acks != wire.AcksNone {
		p.reply = reply
		a.produce = p
	}
	p.conn.out.put(a)
}

func (c *conn) produce(f wire.Frame, buf *wire.Buffer, admitted int) {
	req := &c.request
	if err := wire.Parse(f.Body, req); err != nil {
		c.refuse(f, admitted, err)
		return
	}
	call := &produceCall{conn: c, correlation: f.Correlation, admitted: admitted}
	call.Produce = wire.Produce{Topic: req.Topic, Partition: req.Partition, Acks: req.Acks, Done: call}
	if err := c.checkProduce(f.Payload, req, call); err != nil {
		c.refused(wire.KindProduce, err)
		call.ProduceDone(0, wire.ProduceReply{
			Err: err, BaseOffset: wire.NoOffset, LogStartOffset: wire.NoOffset, Leader: wire.NoHint,
		})
		return
	}
	if call.Batches != nil && &call.Batches[0] == &f.Payload[0] {
		call.Buffer = buf.Retain() // else the door has made new memory
	}
	c.s.backend.Produce(&call.Produce)
}

// checkProduce is the door for record batches; it fills in what goes to the replica.
func (c *conn) checkProduce(batches []byte, req *wire.ProduceRequest, call *produceCall) error {
	switch req.Acks {
	case wire.AcksNone, wire.AcksLeader, wire.AcksAll:
	default:
		return wire.Errorf(wire.InvalidRequiredAcks, "acks is %d: want 0, 1 or -1", req.Acks)
	}
	topic, ok := c.s.backend.View().TopicByID(req.Topic)
	if !ok {
		return wire.UnknownTopicID
	}
	if req.Partition < 0 || req.Partition >= topic.Partitions {
		return wire.Errorf(wire.UnknownTopicOrPartition, "topic %s has no partition %d", topic.Name, req.Partition)
	}
	if topic.Internal {
		return wire.Errorf(wire.InvalidTopic, "topic %s is not for clients to write to", topic.Name)
	}
	now := c.s.now()
	checked, err := record.Check(batches, topic.Limits, millis(now))
	if err != nil {
		return err
	}
	if checked.Header.Transactional() {
		return wire.Errorf(wire.TransactionalIDAuthorizationFailed, "this broker has no transactions yet")
	}
	call.Batches = checked.Batches
	call.Deadline = now.Add(req.Timeout)
	return nil
}
