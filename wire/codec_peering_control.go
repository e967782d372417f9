package wire

// What brokers and the controller say to each other, actors of two brokers about their lives, and
// requests that one broker hands to another.

func (m *RaftStep) encode(e *Encoder) { e.array(0) }

func (m *RaftStep) decode(d *Decoder) {
	_, outer := d.open()
	d.close(outer)
}

func (m *Propose) encode(e *Encoder) {
	e.array(1)
	e.unsigned(m.ID)
}

func (m *Propose) decode(d *Decoder) {
	_, outer := d.open()
	m.ID = d.unsigned()
	d.close(outer)
}

func (m *Proposed) encode(e *Encoder) {
	e.array(3)
	e.unsigned(m.ID)
	e.failure(m.Err)
	e.unsigned(m.Index)
}

func (m *Proposed) decode(d *Decoder) {
	_, outer := d.open()
	m.ID, m.Err, m.Index = d.unsigned(), d.failure(), d.unsigned()
	d.close(outer)
}

func (m *FetchMetadata) encode(e *Encoder) {
	e.array(3)
	e.unsigned(m.ID)
	e.unsigned(m.Index)
	e.int(int64(m.MaxWaitMillis))
}

func (m *FetchMetadata) decode(d *Decoder) {
	_, outer := d.open()
	m.ID, m.Index, m.MaxWaitMillis = d.unsigned(), d.unsigned(), int32(d.length())
	d.close(outer)
}

func (m *MetadataFetched) encode(e *Encoder) {
	e.array(5)
	e.unsigned(m.ID)
	e.failure(m.Err)
	e.int(int64(m.Controller))
	e.unsigned(m.First)
	e.bool(m.Snapshot)
}

func (m *MetadataFetched) decode(d *Decoder) {
	_, outer := d.open()
	m.ID, m.Err, m.Controller = d.unsigned(), d.failure(), integer[BrokerID](d)
	m.First, m.Snapshot = d.unsigned(), d.bool()
	d.close(outer)
}

func (m *Heartbeat) encode(e *Encoder) {
	e.array(5)
	e.unsigned(m.ID)
	e.unsigned(uint64(m.Incarnation))
	e.unsigned(m.Applied)
	e.bool(m.DiskHealthy)
	e.bool(m.ShuttingDown)
}

func (m *Heartbeat) decode(d *Decoder) {
	_, outer := d.open()
	m.ID, m.Incarnation, m.Applied = d.unsigned(), Incarnation(d.unsigned()), d.unsigned()
	m.DiskHealthy, m.ShuttingDown = d.bool(), d.bool()
	d.close(outer)
}

func (m *HeartbeatReply) encode(e *Encoder) {
	e.array(5)
	e.unsigned(m.ID)
	e.failure(m.Err)
	e.int(int64(m.Controller))
	e.bool(m.Fenced)
	e.bool(m.MayStop)
}

func (m *HeartbeatReply) decode(d *Decoder) {
	_, outer := d.open()
	m.ID, m.Err, m.Controller = d.unsigned(), d.failure(), integer[BrokerID](d)
	m.Fenced, m.MayStop = d.bool(), d.bool()
	d.close(outer)
}

func (m *Hint) encode(e *Encoder) {
	e.array(4)
	e.int(int64(m.Broker))
	e.unsigned(uint64(m.Incarnation))
	e.bool(m.Refused)
	e.bool(m.Failed)
}

func (m *Hint) decode(d *Decoder) {
	_, outer := d.open()
	m.Broker, m.Incarnation = integer[BrokerID](d), Incarnation(d.unsigned())
	m.Refused, m.Failed = d.bool(), d.bool()
	d.close(outer)
}

func (*Watch) encode(e *Encoder) { e.array(0) }

func (*Watch) decode(d *Decoder) {
	_, outer := d.open()
	d.close(outer)
}

func (*Unwatch) encode(e *Encoder) { e.array(0) }

func (*Unwatch) decode(d *Decoder) {
	_, outer := d.open()
	d.close(outer)
}

func (m *Terminated) encode(e *Encoder) {
	e.array(1)
	e.bool(m.NotFound)
}

func (m *Terminated) decode(d *Decoder) {
	_, outer := d.open()
	m.NotFound = d.bool()
	d.close(outer)
}

func (m *Forward) encode(e *Encoder) {
	e.array(3)
	e.unsigned(m.ID)
	e.int(int64(m.Request))
	e.bytes(m.Body)
}

// The body stays in the frame, which the message's Buffer holds.
func (m *Forward) decode(d *Decoder) {
	_, outer := d.open()
	m.ID, m.Request, m.Body = d.unsigned(), integer[Kind](d), d.bytes()
	d.close(outer)
}

func (m *Forwarded) encode(e *Encoder) {
	e.array(3)
	e.unsigned(m.ID)
	e.int(int64(m.Answer))
	e.bytes(m.Body)
}

func (m *Forwarded) decode(d *Decoder) {
	_, outer := d.open()
	m.ID, m.Answer, m.Body = d.unsigned(), integer[Kind](d), d.bytes()
	d.close(outer)
}
