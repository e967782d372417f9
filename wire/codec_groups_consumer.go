package wire

import "bytes"

const (
	minDescribedMemberBytes = 1 + 13
	minRebalanceBytes       = 1 + 14
	minPauseBytes           = 1 + 5
)

func (e *Encoder) assigned(topics []AssignedTopic) {
	e.array(len(topics))
	for i := range topics {
		e.array(2)
		e.topicID(topics[i].Topic)
		e.partitions(topics[i].Partitions)
	}
}

func (d *Decoder) assigned() []AssignedTopic {
	return orNil(structs(d, minAssignedTopicBytes, func(t *AssignedTopic) {
		t.Topic, t.Partitions = d.topicID(), d.partitions()
	}))
}

func (m *ConsumerHeartbeat) encode(e *Encoder) {
	e.array(12)
	e.string(string(m.Group))
	e.string(string(m.Member))
	e.int(int64(m.MemberEpoch))
	e.string(m.Instance)
	e.string(m.Rack)
	e.string(m.ClientID)
	e.string(m.ClientHost)
	e.millis(m.RebalanceTimeout)
	if m.Subscribed {
		e.strings(m.Topics)
	} else {
		e.nothing()
	}
	e.optionalString(m.Pattern)
	e.string(m.Assignor)
	if m.OwnedTold {
		e.assigned(m.Owned)
	} else {
		e.nothing()
	}
}

func (m *ConsumerHeartbeat) decode(d *Decoder) {
	_, outer := d.open()
	m.Group, m.Member, m.MemberEpoch = GroupID(d.string()), MemberID(d.string()), integer[int32](d)
	m.Instance, m.Rack, m.ClientID, m.ClientHost = d.string(), d.string(), d.string(), d.string()
	m.RebalanceTimeout = d.millis()
	if m.Subscribed = !d.isNil(); m.Subscribed {
		m.Topics = d.strings()
	}
	m.Pattern, m.Assignor = d.optionalString(), d.string()
	if m.OwnedTold = !d.isNil(); m.OwnedTold {
		m.Owned = d.assigned()
	}
	d.close(outer)
}

func (m *ConsumerHeartbeatReply) encode(e *Encoder) {
	e.array(5)
	e.failure(m.Err)
	e.string(string(m.Member))
	e.int(int64(m.MemberEpoch))
	e.millis(m.HeartbeatInterval)
	if m.Assigned {
		e.assigned(m.Assignment)
	} else {
		e.nothing()
	}
}

func (m *ConsumerHeartbeatReply) decode(d *Decoder) {
	_, outer := d.open()
	m.Err, m.Member, m.MemberEpoch = d.failure(), MemberID(d.string()), integer[int32](d)
	m.HeartbeatInterval = d.millis()
	if m.Assigned = !d.isNil(); m.Assigned {
		m.Assignment = d.assigned()
	}
	d.close(outer)
}

func (m *GroupDescription) encode(e *Encoder) {
	e.array(11)
	e.failure(m.Err)
	e.string(string(m.Group))
	e.string(string(m.Type))
	e.string(string(m.State))
	e.string(m.ProtocolType)
	e.string(m.Protocol)
	e.int(int64(m.Generation))
	e.int(int64(m.Epoch))
	e.int(int64(m.AssignmentEpoch))
	e.int(int64(m.Coordinator))
	e.array(len(m.Members))
	for i := range m.Members {
		e.describedMember(&m.Members[i])
	}
}

func (m *GroupDescription) decode(d *Decoder) {
	_, outer := d.open()
	m.Err, m.Group = d.failure(), GroupID(d.string())
	m.Type, m.State = GroupType(d.string()), GroupState(d.string())
	m.ProtocolType, m.Protocol = d.string(), d.string()
	m.Generation, m.Epoch, m.AssignmentEpoch = integer[GenerationID](d), integer[int32](d), integer[int32](d)
	m.Coordinator = integer[BrokerID](d)
	m.Members = structs(d, minDescribedMemberBytes, d.describedMember)
	d.close(outer)
}

func (e *Encoder) describedMember(m *DescribedMember) {
	e.array(13)
	e.string(string(m.Member))
	e.string(m.Instance)
	e.string(m.ClientID)
	e.string(m.ClientHost)
	e.bytes(m.Metadata)
	e.bytes(m.Assignment)
	e.bool(m.Classic)
	e.int(int64(m.Epoch))
	e.string(m.Rack)
	e.strings(m.SubscribedTopics)
	e.string(m.Pattern)
	e.namedPartitions(m.Assigned)
	e.namedPartitions(m.Target)
}

func (d *Decoder) describedMember(m *DescribedMember) {
	m.Member, m.Instance, m.ClientID, m.ClientHost = MemberID(d.string()), d.string(), d.string(), d.string()
	m.Metadata, m.Assignment = ownBytes(d.bytes()), ownBytes(d.bytes())
	m.Classic, m.Epoch, m.Rack = d.bool(), integer[int32](d), d.string()
	m.SubscribedTopics, m.Pattern = d.strings(), d.string()
	m.Assigned, m.Target = d.namedPartitions(), d.namedPartitions()
}

// ownBytes takes bytes out of the frame, which is given back; none are nil.
func ownBytes(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return bytes.Clone(b)
}

func (m *GroupRebalances) encode(e *Encoder) {
	e.array(2)
	e.failure(m.Err)
	e.array(len(m.Rebalances))
	for i := range m.Rebalances {
		e.rebalance(&m.Rebalances[i])
	}
}

func (m *GroupRebalances) decode(d *Decoder) {
	_, outer := d.open()
	m.Err, m.Rebalances = d.failure(), structs(d, minRebalanceBytes, d.rebalance)
	d.close(outer)
}

func (e *Encoder) rebalance(r *Rebalance) {
	e.array(14)
	e.int(r.Number)
	e.moment(r.Began)
	e.millis(r.Took)
	e.string(string(r.Type))
	e.int(int64(r.Generation))
	e.string(string(r.Trigger))
	e.string(string(r.Cause))
	e.string(r.Detail)
	e.int(int64(r.Members))
	e.string(string(r.Slowest))
	e.millis(r.SlowestTook)
	e.int(int64(r.Moved))
	e.bool(r.Complete)
	e.array(len(r.Pauses))
	for i := range r.Pauses {
		p := &r.Pauses[i]
		e.array(5)
		e.string(p.Topic)
		e.int(int64(p.Partition))
		e.millis(p.Pause)
		e.string(string(p.From))
		e.string(string(p.To))
	}
}

func (d *Decoder) rebalance(r *Rebalance) {
	r.Number, r.Began, r.Took = d.int64(), d.moment(), d.millis()
	r.Type, r.Generation = GroupType(d.string()), integer[int32](d)
	r.Trigger, r.Cause, r.Detail = RebalanceTrigger(d.string()), MemberID(d.string()), d.string()
	r.Members, r.Slowest, r.SlowestTook = d.length(), MemberID(d.string()), d.millis()
	r.Moved, r.Complete = d.length(), d.bool()
	r.Pauses = orNil(structs(d, minPauseBytes, func(p *PartitionPause) {
		p.Topic, p.Partition, p.Pause = d.string(), integer[int32](d), d.millis()
		p.From, p.To = MemberID(d.string()), MemberID(d.string())
	}))
}
