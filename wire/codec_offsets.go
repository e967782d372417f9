package wire

// ListOffsetsRequest asks for offsets by time in several partitions.
type ListOffsetsRequest struct{ Partitions []ListOffsets }

// ListOffsetsReply answers them in their order.
type ListOffsetsReply struct{ Partitions []ListedOffset }

// OffsetForEpochRequest asks where leader epochs end, in several partitions.
type OffsetForEpochRequest struct{ Partitions []OffsetForEpoch }

// OffsetForEpochsReply answers them in their order.
type OffsetForEpochsReply struct{ Partitions []OffsetForEpochReply }

// DeleteRecordsReply carries the log start offset that a DeleteRecords led to.
type DeleteRecordsReply struct{ LogStartOffset Offset }

const (
	minListOffsetsBytes    = 1 + 2 + len(TopicID{}) + 4
	minListedOffsetBytes   = 1 + 5
	minOffsetForEpochBytes = 1 + 2 + len(TopicID{}) + 3
	minEpochReplyBytes     = 1 + 2
)

func (m *ListOffsetsRequest) encode(e *Encoder) {
	e.array(1)
	e.array(len(m.Partitions))
	for i := range m.Partitions {
		p := &m.Partitions[i]
		e.array(5)
		e.topicID(p.Topic)
		e.int(int64(p.Partition))
		e.int(p.Timestamp)
		e.int(int64(p.CurrentEpoch))
		e.int(int64(p.Isolation))
	}
}

func (m *ListOffsetsRequest) decode(d *Decoder) {
	_, outer := d.open()
	m.Partitions = structs(d, minListOffsetsBytes, func(p *ListOffsets) {
		p.Topic = d.topicID()
		p.Partition = integer[int32](d)
		p.Timestamp = d.int64()
		p.CurrentEpoch = integer[LeaderEpoch](d)
		p.Isolation = integer[IsolationLevel](d)
	})
	d.close(outer)
}

func (m *ListOffsetsReply) encode(e *Encoder) {
	e.array(1)
	e.array(len(m.Partitions))
	for i := range m.Partitions {
		p := &m.Partitions[i]
		e.array(5)
		e.failure(p.Err)
		e.int(int64(p.Offset))
		e.int(p.Timestamp)
		e.int(int64(p.LeaderEpoch))
		e.leader(p.Err, p.Leader)
	}
}

func (m *ListOffsetsReply) decode(d *Decoder) {
	_, outer := d.open()
	m.Partitions = structs(d, minListedOffsetBytes, func(p *ListedOffset) {
		p.Err = d.failure()
		p.Offset = integer[Offset](d)
		p.Timestamp = d.int64()
		p.LeaderEpoch = integer[LeaderEpoch](d)
		p.Leader = d.leader()
	})
	d.close(outer)
}

func (m *OffsetForEpochRequest) encode(e *Encoder) {
	e.array(1)
	e.array(len(m.Partitions))
	for i := range m.Partitions {
		p := &m.Partitions[i]
		e.array(4)
		e.topicID(p.Topic)
		e.int(int64(p.Partition))
		e.int(int64(p.CurrentEpoch))
		e.int(int64(p.LeaderEpoch))
	}
}

func (m *OffsetForEpochRequest) decode(d *Decoder) {
	_, outer := d.open()
	m.Partitions = structs(d, minOffsetForEpochBytes, func(p *OffsetForEpoch) {
		p.Topic = d.topicID()
		p.Partition = integer[int32](d)
		p.CurrentEpoch, p.LeaderEpoch = integer[LeaderEpoch](d), integer[LeaderEpoch](d)
	})
	d.close(outer)
}

func (m *OffsetForEpochsReply) encode(e *Encoder) {
	e.array(1)
	e.array(len(m.Partitions))
	for i := range m.Partitions {
		e.array(2)
		e.failure(m.Partitions[i].Err)
		e.epochEnd(&m.Partitions[i].End)
	}
}

func (m *OffsetForEpochsReply) decode(d *Decoder) {
	_, outer := d.open()
	m.Partitions = structs(d, minEpochReplyBytes, func(p *OffsetForEpochReply) {
		p.Err, p.End = d.failure(), EpochEnd{LeaderEpoch: NoEpoch, EndOffset: NoOffset}
		if end := d.epochEnd(); end != nil {
			p.End = *end
		}
	})
	d.close(outer)
}

func (m *DeleteRecords) encode(e *Encoder) {
	e.array(3)
	e.topicID(m.Topic)
	e.int(int64(m.Partition))
	e.int(int64(m.Before))
}

func (m *DeleteRecords) decode(d *Decoder) {
	_, outer := d.open()
	m.Topic = d.topicID()
	m.Partition = integer[int32](d)
	m.Before = integer[Offset](d)
	d.close(outer)
}

func (m *DeleteRecordsReply) encode(e *Encoder) {
	e.array(1)
	e.int(int64(m.LogStartOffset))
}

func (m *DeleteRecordsReply) decode(d *Decoder) {
	_, outer := d.open()
	m.LogStartOffset = integer[Offset](d)
	d.close(outer)
}
