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
	n, outer := d.list(minAssignedTopicBytes)
	defer d.close(outer)
	if n == 0 {
		return nil
	}
	topics := make([]AssignedTopic, n)
	for i := range topics {
		_, one := d.open()
		topics[i] = AssignedTopic{Topic: d.topicID(), Partitions: d.partitions()}
		d.close(one)
	}
	return topics
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
		m.Members[i].encode(e)
	}
}

func (m *GroupDescription) decode(d *Decoder) {
	_, outer := d.open()
	m.Err, m.Group = d.failure(), GroupID(d.string())
	m.Type, m.State = GroupType(d.string()), GroupState(d.string())
	m.ProtocolType, m.Protocol = d.string(), d.string()
	m.Generation, m.Epoch, m.AssignmentEpoch = integer[GenerationID](d), integer[int32](d), integer[int32](d)
	m.Coordinator = integer[BrokerID](d)
	n, list := d.list(minDescribedMemberBytes)
	m.Members = make([]DescribedMember, n)
	for i := range m.Members {
		m.Members[i].decode(d)
	}
	d.close(list)
	d.close(outer)
}

func (m *DescribedMember) encode(e *Encoder) {
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

func (m *DescribedMember) decode(d *Decoder) {
	_, outer := d.open()
	m.Member, m.Instance, m.ClientID, m.ClientHost = MemberID(d.string()), d.string(), d.string(), d.string()
	m.Metadata, m.Assignment = ownBytes(d.bytes()), ownBytes(d.bytes())
	m.Classic, m.Epoch, m.Rack = d.bool(), integer[int32](d), d.string()
	m.SubscribedTopics, m.Pattern = d.strings(), d.string()
	m.Assigned, m.Target = d.namedPartitions(), d.namedPartitions()
	d.close(outer)
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
		m.Rebalances[i].encode(e)
	}
}

func (m *GroupRebalances) decode(d *Decoder) {
	_, outer := d.open()
	m.Err = d.failure()
	n, list := d.list(minRebalanceBytes)
	m.Rebalances = make([]Rebalance, n)
	for i := range m.Rebalances {
		m.Rebalances[i].decode(d)
	}
	d.close(list)
	d.close(outer)
}

func (m *Rebalance) encode(e *Encoder) {
	e.array(14)
	e.int(m.Number)
	e.moment(m.Began)
	e.millis(m.Took)
	e.string(string(m.Type))
	e.int(int64(m.Generation))
	e.string(string(m.Trigger))
	e.string(string(m.Cause))
	e.string(m.Detail)
	e.int(int64(m.Members))
	e.string(string(m.Slowest))
	e.millis(m.SlowestTook)
	e.int(int64(m.Moved))
	e.bool(m.Complete)
	e.array(len(m.Pauses))
	for i := range m.Pauses {
		p := &m.Pauses[i]
		e.array(5)
		e.string(p.Topic)
		e.int(int64(p.Partition))
		e.millis(p.Pause)
		e.string(string(p.From))
		e.string(string(p.To))
	}
}

func (m *Rebalance) decode(d *Decoder) {
	_, outer := d.open()
	m.Number, m.Began, m.Took = d.int64(), d.moment(), d.millis()
	m.Type, m.Generation = GroupType(d.string()), integer[int32](d)
	m.Trigger, m.Cause, m.Detail = RebalanceTrigger(d.string()), MemberID(d.string()), d.string()
	m.Members, m.Slowest, m.SlowestTook = d.length(), MemberID(d.string()), d.millis()
	m.Moved, m.Complete = d.length(), d.bool()
	m.Pauses = d.pauses()
	d.close(outer)
}

func (d *Decoder) pauses() []PartitionPause {
	n, outer := d.list(minPauseBytes)
	defer d.close(outer)
	if n == 0 {
		return nil
	}
	pauses := make([]PartitionPause, n)
	for i := range pauses {
		_, one := d.open()
		pauses[i] = PartitionPause{
			Topic: d.string(), Partition: integer[int32](d), Pause: d.millis(),
			From: MemberID(d.string()), To: MemberID(d.string()),
		}
		d.close(one)
	}
	return pauses
}
