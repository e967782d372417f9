package wire

import "time"

// AppendTimesRequest asks when records were appended, in several partitions.
type AppendTimesRequest struct{ Partitions []AppendTimeQuery }

// AppendTimeQuery asks the leader of a partition when it appended the record at an offset or, where that is not kept
// any more, the first one that is.
type AppendTimeQuery struct {
	Topic     TopicID
	Partition int32
	Offset    Offset
}

// AppendTimesReply answers them in their order.
type AppendTimesReply struct{ Partitions []AppendTime }

// AppendTime answers an AppendTimeQuery. It tells how old the first record is that a reader at an offset has not read, by the
// clock of the broker that appended it: what producers put into timestamps does not matter.
type AppendTime struct {
	Err            error
	Appended       time.Time     // zero when there is no such record yet, or nobody knows
	Age            time.Duration // how long ago that was when the leader answered: whoever asks may have another clock
	LogStartOffset Offset
	HighWatermark  Offset
	Leader         LeaderHint
}

const (
	minAppendTimeQueryBytes = 1 + encodedTopicIDBytes + 2
	minAppendTimeBytes      = 1 + 6
)

func (m *AppendTimesRequest) encode(e *Encoder) {
	e.array(1)
	e.array(len(m.Partitions))
	for _, p := range m.Partitions {
		e.array(3)
		e.topicID(p.Topic)
		e.int(int64(p.Partition))
		e.int(int64(p.Offset))
	}
}

func (m *AppendTimesRequest) decode(d *Decoder) {
	_, outer := d.open()
	m.Partitions = structs(d, minAppendTimeQueryBytes, func(p *AppendTimeQuery) {
		p.Topic, p.Partition, p.Offset = d.topicID(), integer[int32](d), integer[Offset](d)
	})
	d.close(outer)
}

func (m *AppendTimesReply) encode(e *Encoder) {
	e.array(1)
	e.array(len(m.Partitions))
	for i := range m.Partitions {
		p := &m.Partitions[i]
		e.array(6)
		e.failure(p.Err)
		e.moment(p.Appended)
		e.millis(p.Age)
		e.int(int64(p.LogStartOffset))
		e.int(int64(p.HighWatermark))
		e.leader(p.Err, p.Leader)
	}
}

func (m *AppendTimesReply) decode(d *Decoder) {
	_, outer := d.open()
	m.Partitions = structs(d, minAppendTimeBytes, func(p *AppendTime) {
		p.Err, p.Appended, p.Age = d.failure(), d.moment(), d.millis()
		p.LogStartOffset, p.HighWatermark = integer[Offset](d), integer[Offset](d)
		p.Leader = d.leader()
	})
	d.close(outer)
}
