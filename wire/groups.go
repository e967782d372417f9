package wire

import (
	"net"
	"time"
)

// GroupID names a consumer group.
type GroupID string

// MemberID names a member of a group: given by the coordinator in the classic protocol, chosen by the member
// itself in that of KIP-848.
type MemberID string

// GenerationID counts the rebalances of a classic group. In a group of KIP-848 its place is taken by the
// member epoch.
type GenerationID int32

// NoGeneration is the generation of a commit that no member makes: a tool's, or that of a consumer that chooses its
// partitions itself.
const NoGeneration GenerationID = -1

// OffsetsTopic holds what coordinators remember. The leader of the partition that a group's name is hashed to coordinates
// the group.
const OffsetsTopic = "__consumer_offsets"

// GroupRequest is what only the coordinator of a group answers, with a reply of the type that its comment names.
type GroupRequest interface {
	Of() GroupID
}

// GroupReply answers a GroupRequest.
type GroupReply interface {
	// Failure is why the request as a whole was refused, and nil where it was not; single partitions and members
	// may have been.
	Failure() error
}

// JoinGroup enters a member into a group, or enters it again, and is answered with JoinedGroup when the rebalance ends
// that this leads to.
type JoinGroup struct {
	Group            GroupID
	Member           MemberID // "" for a new one
	Instance         string   // group.instance.id of a static member; "" of a dynamic one (KIP-345)
	ClientID         string
	ClientHost       string
	SessionTimeout   time.Duration
	RebalanceTimeout time.Duration
	ProtocolType     string // "consumer", "connect"
	Protocols        []GroupProtocol
	// MustKnowID refuses a new member that comes without an id and gives it one (MEMBER_ID_REQUIRED, KIP-394).
	MustKnowID bool
	// MaySkipAssignment says that a static leader understands SkipAssignment (KIP-814).
	MaySkipAssignment bool
	Reason            string // KIP-800
}

// ClientHost is where a member's client is, in the way that Kafka's tools show it.
func ClientHost(addr net.Addr) string {
	at := addr.String()
	if host, _, err := net.SplitHostPort(at); err == nil {
		at = host
	}
	return "/" + at
}

// GroupProtocol is a way to share out partitions that a member supports, by its metadata.
type GroupProtocol struct {
	Name     string
	Metadata []byte
}

// JoinedGroup answers JoinGroup. The leader is told the members.
type JoinedGroup struct {
	Err            error
	Generation     GenerationID
	ProtocolType   string
	Protocol       string // that was chosen
	Leader         MemberID
	Member         MemberID
	SkipAssignment bool
	Members        []JoinedMember
}

// JoinedMember is a member as the leader of a generation is told of it.
type JoinedMember struct {
	Member   MemberID
	Instance string
	Metadata []byte
}

// SyncGroup asks for a member's assignment; the leader brings those of all members. It is answered with SyncedGroup when
// the leader has.
type SyncGroup struct {
	Group        GroupID
	Generation   GenerationID
	Member       MemberID
	Instance     string
	ProtocolType string // "": not told, and not checked
	Protocol     string
	Assignments  []MemberAssignment
}

// MemberAssignment is what a leader assigns to a member, in the words of the group's protocol.
type MemberAssignment struct {
	Member     MemberID
	Assignment []byte
}

// SyncedGroup answers SyncGroup.
type SyncedGroup struct {
	Err          error
	ProtocolType string
	Protocol     string
	Assignment   []byte
}

// GroupHeartbeat keeps a classic member alive and is answered with GroupHeartbeatReply: RebalanceInProgress when it has
// to join again.
type GroupHeartbeat struct {
	Group      GroupID
	Generation GenerationID
	Member     MemberID
	Instance   string
}

// GroupHeartbeatReply answers GroupHeartbeat.
type GroupHeartbeatReply struct{ Err error }

// LeaveGroup takes members out of a group, static ones by their instance; answered with LeftGroup.
type LeaveGroup struct {
	Group   GroupID
	Members []LeavingMember
}

// LeavingMember is one of those that LeaveGroup takes out.
type LeavingMember struct {
	Member   MemberID // "" for a static one of whom only the instance is known
	Instance string
	Reason   string
}

// LeftGroup answers LeaveGroup, each member in the place it was asked in.
type LeftGroup struct {
	Err     error
	Members []LeftMember
}

// LeftMember is the outcome for one member.
type LeftMember struct {
	Err      error
	Member   MemberID
	Instance string
}

// CommitOffsets commits offsets and is answered with CommittedOffsets. By a member it must carry the group's present
// generation or, in a group of KIP-848, the member's epoch.
type CommitOffsets struct {
	Group      GroupID
	Generation GenerationID // NoGeneration: no member
	Member     MemberID
	Instance   string
	// Modern says that the client knows of member epochs: it understands StaleMemberEpoch (OffsetCommit from version 9 on).
	// A member that speaks the protocol of KIP-848 and does not is told UnsupportedVersion; to others it makes no difference.
	Modern  bool
	Offsets []OffsetCommit
}

// OffsetCommit is one committed offset.
type OffsetCommit struct {
	Topic       string
	TopicID     TopicID // zero where the client does not tell it
	Partition   int32
	Offset      Offset
	LeaderEpoch LeaderEpoch // of the last record that was consumed; NoEpoch: not told
	Metadata    string
	// ExpiresAfter is how long an offset of an old client is kept (retention_time of OffsetCommit 2 to 4); 0: as long as the broker
	// keeps them.
	ExpiresAfter time.Duration
}

// CommittedOffsets answers CommitOffsets: an error or nil for each offset, in the place it was asked in.
type CommittedOffsets struct {
	Err  error // of all
	Errs []error
}

// FetchOffsets asks for committed offsets and is answered with FetchedOffsets. A group that nobody knows has none, which is
// not an error.
type FetchOffsets struct {
	Group GroupID
	// Member and MemberEpoch are told by members of a group of KIP-848 ("" and -1 by others) and checked (OffsetFetch 9).
	Member      MemberID
	MemberEpoch int32
	// All asks for every offset of the group, in the order of topics and partitions, beginning behind After; an answer has as many
	// as one may carry. Else those of Topics are asked for.
	All    bool
	After  TopicNamePartition // zero: from the first
	Topics []NamedPartitions
	// Stable wants no answer from before a pending transaction's end (KIP-447). There are none yet.
	Stable bool
}

// NamedPartitions is partitions of a topic, with both of its names.
type NamedPartitions struct {
	Topic      string
	TopicID    TopicID // zero where it is not told
	Partitions []int32 // in descriptions sorted
}

// FetchedOffsets answers FetchOffsets. Unless all were asked for, it has every partition that was, in that order, with
// offset NoOffset where nothing is committed.
type FetchedOffsets struct {
	Err     error
	Offsets []FetchedOffset
	More    bool // of all that were asked for: the next come behind the last of these
}

// Next returns what the next request has to name as After, if more is to be asked for.
func (m *FetchedOffsets) Next() (after TopicNamePartition, more bool) {
	if !m.More || len(m.Offsets) == 0 {
		return TopicNamePartition{}, false
	}
	last := &m.Offsets[len(m.Offsets)-1]
	return TopicNamePartition{Topic: last.Topic, Partition: last.Partition}, true
}

// FetchedOffset is what is committed of one partition.
type FetchedOffset struct {
	Err         error
	Topic       string
	TopicID     TopicID
	Partition   int32
	Offset      Offset
	LeaderEpoch LeaderEpoch
	Metadata    string
	Committed   time.Time // zero: nothing is
}

// DeleteOffsets forgets committed offsets of topics that no member is subscribed to; answered with CommittedOffsets,
// one error for each partition in the order they were asked in.
type DeleteOffsets struct {
	Group  GroupID
	Topics []NamedPartitions
}

// DeleteGroup deletes a group without members; answered with DeletedGroup.
type DeleteGroup struct{ Group GroupID }

// DeletedGroup answers DeleteGroup.
type DeletedGroup struct{ Err error }

// DescribeGroup is answered with GroupDescription, of a group of either protocol. Of a group that does not exist it
// is an error, GroupIDNotFound: listeners say what their protocol says then.
type DescribeGroup struct{ Group GroupID }

// GroupHistory asks for the last rebalances of a group, the newest first; answered with GroupRebalances.
type GroupHistory struct{ Group GroupID }

// Of implements GroupRequest.
func (m *JoinGroup) Of() GroupID { return m.Group }

// Of implements GroupRequest.
func (m *SyncGroup) Of() GroupID { return m.Group }

// Of implements GroupRequest.
func (m *GroupHeartbeat) Of() GroupID { return m.Group }

// Of implements GroupRequest.
func (m *LeaveGroup) Of() GroupID { return m.Group }

// Of implements GroupRequest.
func (m *CommitOffsets) Of() GroupID { return m.Group }

// Of implements GroupRequest.
func (m *FetchOffsets) Of() GroupID { return m.Group }

// Of implements GroupRequest.
func (m *DeleteOffsets) Of() GroupID { return m.Group }

// Of implements GroupRequest.
func (m *DeleteGroup) Of() GroupID { return m.Group }

// Of implements GroupRequest.
func (m *DescribeGroup) Of() GroupID { return m.Group }

// Of implements GroupRequest.
func (m *GroupHistory) Of() GroupID { return m.Group }

// Failure implements GroupReply.
func (m *JoinedGroup) Failure() error { return m.Err }

// Failure implements GroupReply.
func (m *SyncedGroup) Failure() error { return m.Err }

// Failure implements GroupReply.
func (m *GroupHeartbeatReply) Failure() error { return m.Err }

// Failure implements GroupReply.
func (m *LeftGroup) Failure() error { return m.Err }

// Failure implements GroupReply.
func (m *CommittedOffsets) Failure() error { return m.Err }

// Failure implements GroupReply.
func (m *FetchedOffsets) Failure() error { return m.Err }

// Failure implements GroupReply.
func (m *DeletedGroup) Failure() error { return m.Err }
