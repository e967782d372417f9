package wire

import (
	"math"
	"time"
)

// What a native client asks of the coordinator of a group. The classic protocol's JoinGroup, SyncGroup and Heartbeat
// have no kind: native members speak ConsumerHeartbeat. LeaveGroup has one, for operators who take members out.

// GroupMessage is a GroupReply that travels in a frame.
type GroupMessage interface {
	GroupReply
	Message
}

// groupKinds pairs each kind with its request and its reply.
var groupKinds = map[Kind]struct {
	request func() groupRequestMessage
	reply   func() GroupMessage
}{
	KindConsumerHeartbeat: {newGroupRequest[ConsumerHeartbeat], newGroupReply[ConsumerHeartbeatReply]},
	KindCommitOffsets:     {newGroupRequest[CommitOffsets], newGroupReply[CommittedOffsets]},
	KindFetchOffsets:      {newGroupRequest[FetchOffsets], newGroupReply[FetchedOffsets]},
	KindDeleteOffsets:     {newGroupRequest[DeleteOffsets], newGroupReply[CommittedOffsets]},
	KindDescribeGroup:     {newGroupRequest[DescribeGroup], newGroupReply[GroupDescription]},
	KindDeleteGroup:       {newGroupRequest[DeleteGroup], newGroupReply[DeletedGroup]},
	KindGroupHistory:      {newGroupRequest[GroupHistory], newGroupReply[GroupRebalances]},
	KindLeaveGroup:        {newGroupRequest[LeaveGroup], newGroupReply[LeftGroup]},
}

type groupRequestMessage interface {
	GroupRequest
	Message
}

func newGroupRequest[T any, P interface {
	*T
	groupRequestMessage
}]() groupRequestMessage {
	return P(new(T))
}

func newGroupReply[T any, P interface {
	*T
	GroupMessage
}]() GroupMessage {
	return P(new(T))
}

// GroupKind returns the kind of a request, and the request as it is sent. Those of members of the classic protocol have none.
func GroupKind(q GroupRequest) (Kind, Message, bool) {
	switch q := q.(type) {
	case *ConsumerHeartbeat:
		return KindConsumerHeartbeat, q, true
	case *CommitOffsets:
		return KindCommitOffsets, q, true
	case *FetchOffsets:
		return KindFetchOffsets, q, true
	case *DeleteOffsets:
		return KindDeleteOffsets, q, true
	case *DescribeGroup:
		return KindDescribeGroup, q, true
	case *DeleteGroup:
		return KindDeleteGroup, q, true
	case *GroupHistory:
		return KindGroupHistory, q, true
	case *LeaveGroup:
		return KindLeaveGroup, q, true
	}
	return 0, nil, false
}

// IsGroupKind says that requests of this kind are for the coordinator of a group: ParseGroupRequest reads them.
func IsGroupKind(k Kind) bool {
	_, ok := groupKinds[k]
	return ok
}

// ParseGroupRequest reads a request to a coordinator.
func ParseGroupRequest(k Kind, body []byte) (GroupRequest, error) {
	of, ok := groupKinds[k]
	if !ok {
		return nil, malformed("a %s is no request to a group's coordinator", k)
	}
	q := of.request()
	return q, Parse(body, q)
}

// NewGroupReply returns an empty answer to requests of a kind, for Parse; nil where it is no kind of a group's.
func NewGroupReply(k Kind) GroupMessage {
	if of, ok := groupKinds[k]; ok {
		return of.reply()
	}
	return nil
}

const (
	minAssignedTopicBytes   = 1 + encodedTopicIDBytes + 1
	minNamedPartitionsBytes = 1 + 1 + encodedTopicIDBytes + 1
	minOffsetCommitBytes    = 1 + 1 + encodedTopicIDBytes + 4
	minFetchedOffsetBytes   = 1 + 2 + encodedTopicIDBytes + 5
	minLeavingMemberBytes   = 1 + 3
	minLeftMemberBytes      = 1 + 3
	minListedGroupBytes     = 1 + 5
)

// millis encodes a duration; what is negative has no meaning.
func (e *Encoder) millis(d time.Duration) { e.int(max(d.Milliseconds(), 0)) }

func (d *Decoder) millis() time.Duration {
	n := d.int64()
	if n < 0 || n > math.MaxInt64/int64(time.Millisecond) {
		d.fail(malformed("%d is no number of milliseconds", n))
		return 0
	}
	return time.Duration(n) * time.Millisecond
}

// moment encodes a time in milliseconds since 1970, the zero time as -1.
func (e *Encoder) moment(t time.Time) {
	if t.IsZero() {
		e.int(-1)
		return
	}
	e.int(t.UnixMilli())
}

func (d *Decoder) moment() time.Time {
	if n := d.int64(); n >= 0 {
		return time.UnixMilli(n)
	}
	return time.Time{}
}

func (e *Encoder) namedPartitions(topics []NamedPartitions) {
	e.array(len(topics))
	for i := range topics {
		e.array(3)
		e.string(topics[i].Topic)
		e.topicID(topics[i].TopicID)
		e.partitions(topics[i].Partitions)
	}
}

func (d *Decoder) namedPartitions() []NamedPartitions {
	return orNil(structs(d, minNamedPartitionsBytes, func(t *NamedPartitions) {
		t.Topic, t.TopicID, t.Partitions = d.string(), d.topicID(), d.partitions()
	}))
}

// A commit that is sent natively is Modern, and is kept as long as the broker keeps offsets.
func (m *CommitOffsets) encode(e *Encoder) {
	e.array(5)
	e.string(string(m.Group))
	e.int(int64(m.Generation))
	e.string(string(m.Member))
	e.string(m.Instance)
	e.array(len(m.Offsets))
	for i := range m.Offsets {
		o := &m.Offsets[i]
		e.array(6)
		e.string(o.Topic)
		e.topicID(o.TopicID)
		e.int(int64(o.Partition))
		e.int(int64(o.Offset))
		e.int(int64(o.LeaderEpoch))
		e.string(o.Metadata)
	}
}

func (m *CommitOffsets) decode(d *Decoder) {
	_, outer := d.open()
	m.Group, m.Generation = GroupID(d.string()), integer[GenerationID](d)
	m.Member, m.Instance, m.Modern = MemberID(d.string()), d.string(), true
	m.Offsets = structs(d, minOffsetCommitBytes, func(o *OffsetCommit) {
		o.Topic, o.TopicID, o.Partition = d.string(), d.topicID(), integer[int32](d)
		o.Offset, o.LeaderEpoch, o.Metadata = integer[Offset](d), integer[LeaderEpoch](d), d.string()
	})
	d.close(outer)
}

func (m *CommittedOffsets) encode(e *Encoder) {
	e.array(2)
	e.failure(m.Err)
	e.failures(m.Errs)
}

func (m *CommittedOffsets) decode(d *Decoder) {
	_, outer := d.open()
	m.Err, m.Errs = d.failure(), d.failures()
	d.close(outer)
}

func (m *FetchOffsets) encode(e *Encoder) {
	if !m.All {
		e.array(5)
	} else {
		e.array(7)
	}
	e.string(string(m.Group))
	e.string(string(m.Member))
	e.int(int64(m.MemberEpoch))
	e.bool(m.Stable)
	if !m.All {
		e.namedPartitions(m.Topics)
		return
	}
	e.nothing()
	e.string(m.After.Topic)
	e.int(int64(m.After.Partition))
}

func (m *FetchOffsets) decode(d *Decoder) {
	_, outer := d.open()
	m.Group, m.Member = GroupID(d.string()), MemberID(d.string())
	m.MemberEpoch, m.Stable = integer[int32](d), d.bool()
	if m.All = d.isNil(); !m.All {
		m.Topics = d.namedPartitions()
	} else if d.more() {
		m.After = TopicNamePartition{Topic: d.string(), Partition: integer[int32](d)}
	}
	d.close(outer)
}

func (m *FetchedOffsets) encode(e *Encoder) {
	e.array(3)
	e.failure(m.Err)
	e.array(len(m.Offsets))
	for i := range m.Offsets {
		o := &m.Offsets[i]
		e.array(8)
		e.failure(o.Err)
		e.string(o.Topic)
		e.topicID(o.TopicID)
		e.int(int64(o.Partition))
		e.int(int64(o.Offset))
		e.int(int64(o.LeaderEpoch))
		e.string(o.Metadata)
		e.moment(o.Committed)
	}
	e.bool(m.More)
}

func (m *FetchedOffsets) decode(d *Decoder) {
	_, outer := d.open()
	m.Err = d.failure()
	m.Offsets = structs(d, minFetchedOffsetBytes, func(o *FetchedOffset) {
		o.Err, o.Topic, o.TopicID, o.Partition = d.failure(), d.string(), d.topicID(), integer[int32](d)
		o.Offset, o.LeaderEpoch = integer[Offset](d), integer[LeaderEpoch](d)
		o.Metadata, o.Committed = d.string(), d.moment()
	})
	m.More = d.more() && d.bool()
	d.close(outer)
}

func (m *DeleteOffsets) encode(e *Encoder) {
	e.array(2)
	e.string(string(m.Group))
	e.namedPartitions(m.Topics)
}

func (m *DeleteOffsets) decode(d *Decoder) {
	_, outer := d.open()
	m.Group, m.Topics = GroupID(d.string()), d.namedPartitions()
	d.close(outer)
}

func (e *Encoder) group(id GroupID) {
	e.array(1)
	e.string(string(id))
}

func (d *Decoder) group() GroupID {
	_, outer := d.open()
	id := GroupID(d.string())
	d.close(outer)
	return id
}

func (m *DescribeGroup) encode(e *Encoder) { e.group(m.Group) }
func (m *DescribeGroup) decode(d *Decoder) { m.Group = d.group() }
func (m *DeleteGroup) encode(e *Encoder)   { e.group(m.Group) }
func (m *DeleteGroup) decode(d *Decoder)   { m.Group = d.group() }
func (m *GroupHistory) encode(e *Encoder)  { e.group(m.Group) }
func (m *GroupHistory) decode(d *Decoder)  { m.Group = d.group() }

func (m *DeletedGroup) encode(e *Encoder) {
	e.array(1)
	e.failure(m.Err)
}

func (m *DeletedGroup) decode(d *Decoder) {
	_, outer := d.open()
	m.Err = d.failure()
	d.close(outer)
}

func (m *ListGroups) encode(e *Encoder) {
	e.array(2)
	e.strings(m.States)
	e.strings(m.Types)
}

func (m *ListGroups) decode(d *Decoder) {
	_, outer := d.open()
	m.States, m.Types = d.strings(), d.strings()
	d.close(outer)
}

func (m *GroupList) encode(e *Encoder) {
	e.array(2)
	e.failure(m.Err)
	e.array(len(m.Groups))
	for i := range m.Groups {
		g := &m.Groups[i]
		e.array(5)
		e.string(string(g.Group))
		e.string(g.ProtocolType)
		e.string(string(g.State))
		e.string(string(g.Type))
		e.int(int64(g.Coordinator))
	}
}

func (m *GroupList) decode(d *Decoder) {
	_, outer := d.open()
	m.Err = d.failure()
	m.Groups = structs(d, minListedGroupBytes, func(g *ListedGroup) {
		g.Group, g.ProtocolType = GroupID(d.string()), d.string()
		g.State, g.Type = GroupState(d.string()), GroupType(d.string())
		g.Coordinator = integer[BrokerID](d)
	})
	d.close(outer)
}

func (m *LeaveGroup) encode(e *Encoder) {
	e.array(2)
	e.string(string(m.Group))
	e.array(len(m.Members))
	for i := range m.Members {
		e.array(3)
		e.string(string(m.Members[i].Member))
		e.string(m.Members[i].Instance)
		e.string(m.Members[i].Reason)
	}
}

func (m *LeaveGroup) decode(d *Decoder) {
	_, outer := d.open()
	m.Group = GroupID(d.string())
	m.Members = structs(d, minLeavingMemberBytes, func(l *LeavingMember) {
		l.Member, l.Instance, l.Reason = MemberID(d.string()), d.string(), d.string()
	})
	d.close(outer)
}

func (m *LeftGroup) encode(e *Encoder) {
	e.array(2)
	e.failure(m.Err)
	e.array(len(m.Members))
	for i := range m.Members {
		e.array(3)
		e.failure(m.Members[i].Err)
		e.string(string(m.Members[i].Member))
		e.string(m.Members[i].Instance)
	}
}

func (m *LeftGroup) decode(d *Decoder) {
	_, outer := d.open()
	m.Err = d.failure()
	m.Members = structs(d, minLeftMemberBytes, func(l *LeftMember) {
		l.Err, l.Member, l.Instance = d.failure(), MemberID(d.string()), d.string()
	})
	d.close(outer)
}
