package wire

import "time"

// ProduceRequest is the body of a produce frame; its payload is whole record batches v2.
type ProduceRequest struct {
	Topic     TopicID
	Partition int32
	Acks      Acks
	Timeout   time.Duration // how long an acks=all may take to replicate; whole milliseconds
}

func (m *ProduceRequest) encode(e *Encoder) {
	e.array(4)
	e.topicID(m.Topic)
	e.int(int64(m.Partition))
	e.int(int64(m.Acks))
	e.int(m.Timeout.Milliseconds())
}

func (m *ProduceRequest) decode(d *Decoder) {
	_, outer := d.open()
	m.Topic = d.topicID()
	m.Partition = integer[int32](d)
	m.Acks = integer[Acks](d)
	m.Timeout = time.Duration(d.length()) * time.Millisecond
	d.close(outer)
}

func (m *ProduceReply) encode(e *Encoder) {
	e.array(4)
	e.failure(m.Err)
	e.int(int64(m.BaseOffset))
	e.int(int64(m.LogStartOffset))
	e.leader(m.Err, m.Leader)
}

func (m *ProduceReply) decode(d *Decoder) {
	_, outer := d.open()
	m.Err = d.failure()
	m.BaseOffset, m.LogStartOffset = integer[Offset](d), integer[Offset](d)
	m.Leader = d.leader()
	d.close(outer)
}

// leader encodes a hint as nil or [broker, leader epoch]. Without an error there is none: the
// broker that answered is the leader.
func (e *Encoder) leader(err error, h LeaderHint) {
	if err == nil || h.Broker == NoBroker {
		e.nothing()
		return
	}
	e.array(2)
	e.int(int64(h.Broker))
	e.int(int64(h.LeaderEpoch))
}

func (d *Decoder) leader() LeaderHint {
	if d.isNil() {
		return NoHint
	}
	_, outer := d.open()
	h := LeaderHint{Broker: integer[BrokerID](d), LeaderEpoch: integer[LeaderEpoch](d)}
	d.close(outer)
	return h
}

func (m *InitProducerID) encode(e *Encoder) {
	e.array(4)
	e.optionalString(m.TransactionalID)
	e.int(int64(m.TimeoutMillis))
	e.int(int64(m.Producer))
	e.int(int64(m.Epoch))
}

func (m *InitProducerID) decode(d *Decoder) {
	_, outer := d.open()
	m.TransactionalID = d.optionalString()
	m.TimeoutMillis = integer[int32](d)
	m.Producer, m.Epoch = integer[ProducerID](d), integer[ProducerEpoch](d)
	d.close(outer)
}

func (m *ProducerIdentity) encode(e *Encoder) {
	e.array(2)
	e.int(int64(m.Producer))
	e.int(int64(m.Epoch))
}

func (m *ProducerIdentity) decode(d *Decoder) {
	_, outer := d.open()
	m.Producer, m.Epoch = integer[ProducerID](d), integer[ProducerEpoch](d)
	d.close(outer)
}
