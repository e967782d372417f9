package wire

// What leaders and followers say to each other. The sender is not encoded: the link knows it.

func (m *Probe) encode(e *Encoder) {
	e.array(3)
	e.topicID(m.Topic)
	e.int(int64(m.Partition))
	e.int(int64(m.LeaderEpoch))
}

func (m *Probe) decode(d *Decoder) {
	_, outer := d.open()
	m.Topic, m.Partition, m.LeaderEpoch = d.topicID(), integer[int32](d), integer[LeaderEpoch](d)
	d.close(outer)
}

func (m *Position) encode(e *Encoder) {
	e.array(10)
	e.topicID(m.Topic)
	e.int(int64(m.Partition))
	e.int(int64(m.LeaderEpoch))
	e.unsigned(uint64(m.Incarnation))
	e.unsigned(m.Run)
	e.int(int64(m.LastEpoch))
	e.int(int64(m.LogStartOffset))
	e.int(int64(m.LogEndOffset))
	e.int(int64(m.FlushedOffset))
	e.bool(m.Confirmed)
}

func (m *Position) decode(d *Decoder) {
	_, outer := d.open()
	m.Topic, m.Partition, m.LeaderEpoch = d.topicID(), integer[int32](d), integer[LeaderEpoch](d)
	m.Incarnation, m.Run = Incarnation(d.unsigned()), d.unsigned()
	m.LastEpoch = integer[LeaderEpoch](d)
	m.LogStartOffset, m.LogEndOffset, m.FlushedOffset = integer[Offset](d), integer[Offset](d), integer[Offset](d)
	m.Confirmed = d.bool()
	d.close(outer)
}

func (m *Truncate) encode(e *Encoder) {
	e.array(9)
	e.topicID(m.Topic)
	e.int(int64(m.Partition))
	e.int(int64(m.LeaderEpoch))
	e.unsigned(uint64(m.Incarnation))
	e.unsigned(m.Run)
	e.int(int64(m.To))
	e.int(int64(m.LastEpoch))
	e.bool(m.Reset)
	e.bool(m.Unclean)
}

func (m *Truncate) decode(d *Decoder) {
	_, outer := d.open()
	m.Topic, m.Partition, m.LeaderEpoch = d.topicID(), integer[int32](d), integer[LeaderEpoch](d)
	m.Incarnation, m.Run = Incarnation(d.unsigned()), d.unsigned()
	m.To, m.LastEpoch = integer[Offset](d), integer[LeaderEpoch](d)
	m.Reset, m.Unclean = d.bool(), d.bool()
	d.close(outer)
}

func (m *Append) encode(e *Encoder) {
	e.array(9)
	e.topicID(m.Topic)
	e.int(int64(m.Partition))
	e.int(int64(m.LeaderEpoch))
	e.unsigned(uint64(m.Incarnation))
	e.unsigned(m.Run)
	e.int(int64(m.PrevOffset))
	e.int(int64(m.PrevEpoch))
	e.int(int64(m.HighWatermark))
	e.int(int64(m.LogStartOffset))
}

func (m *Append) decode(d *Decoder) {
	_, outer := d.open()
	m.Topic, m.Partition, m.LeaderEpoch = d.topicID(), integer[int32](d), integer[LeaderEpoch](d)
	m.Incarnation, m.Run = Incarnation(d.unsigned()), d.unsigned()
	m.PrevOffset, m.PrevEpoch = integer[Offset](d), integer[LeaderEpoch](d)
	m.HighWatermark, m.LogStartOffset = integer[Offset](d), integer[Offset](d)
	d.close(outer)
}

func (m *Appended) encode(e *Encoder) {
	e.array(8)
	e.topicID(m.Topic)
	e.int(int64(m.Partition))
	e.int(int64(m.LeaderEpoch))
	e.unsigned(uint64(m.Incarnation))
	e.unsigned(m.Run)
	e.int(int64(m.LogEndOffset))
	e.int(int64(m.FlushedOffset))
	e.bool(m.Confirmed)
}

func (m *Appended) decode(d *Decoder) {
	_, outer := d.open()
	m.Topic, m.Partition, m.LeaderEpoch = d.topicID(), integer[int32](d), integer[LeaderEpoch](d)
	m.Incarnation, m.Run = Incarnation(d.unsigned()), d.unsigned()
	m.LogEndOffset, m.FlushedOffset = integer[Offset](d), integer[Offset](d)
	m.Confirmed = d.bool()
	d.close(outer)
}
