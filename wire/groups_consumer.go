package wire

import "time"

// ConsumerHeartbeat is all that a member of a group of KIP-848 says: it joins with epoch 0, stays, tells of what has
// changed, and leaves with epoch -1, or -2 when it is static and will be back. It is answered with ConsumerHeartbeatReply.
type ConsumerHeartbeat struct {
	Group       GroupID
	Member      MemberID // chosen by the member; "" only from members of version 0, which are given one
	MemberEpoch int32
	Instance    string
	Rack        string
	ClientID    string
	ClientHost  string
	// RebalanceTimeout is how long the member may take to give partitions up; 0: as told before.
	RebalanceTimeout time.Duration
	// Subscribed says that Topics is told; else it is as before.
	Subscribed bool
	Topics     []string
	// Pattern is a regular expression (RE2) for names of topics, besides Topics; nil: as before, "": none.
	Pattern  *string
	Assignor string // that the member wants the group to use; "": as before, or any
	// Owned is what the member has at present; OwnedTold says that it is told.
	OwnedTold bool
	Owned     []AssignedTopic
}

// Member epochs that say what a member does, and not where it stands.
const (
	MemberJoins         int32 = 0
	MemberLeaves        int32 = -1
	StaticMemberPauses  int32 = -2 // it leaves, and its instance keeps its partitions until its session ends
	UnknownMemberEpoch  int32 = -1 // of an OffsetFetch that no member makes
	ClassicMemberEpochs int32 = -1 // in descriptions: the member speaks the classic protocol
)

// AssignedTopic is partitions of a topic that a member has or is to have.
type AssignedTopic struct {
	Topic      TopicID
	Partitions []int32 // sorted
}

// ConsumerHeartbeatReply answers ConsumerHeartbeat.
type ConsumerHeartbeatReply struct {
	Err               error
	Member            MemberID
	MemberEpoch       int32
	HeartbeatInterval time.Duration
	// Assigned says that Assignment is told: it is new, or the member was out of date.
	Assigned   bool
	Assignment []AssignedTopic
}

// GroupState is the state of a group, in Kafka's words.
type GroupState string

// The states of classic groups and of those of KIP-848.
const (
	GroupPreparingRebalance  GroupState = "PreparingRebalance"
	GroupCompletingRebalance GroupState = "CompletingRebalance"
	GroupStable              GroupState = "Stable"
	GroupEmpty               GroupState = "Empty"
	GroupDead                GroupState = "Dead"
	GroupAssigning           GroupState = "Assigning"
	GroupReconciling         GroupState = "Reconciling"
)

// GroupType is the protocol of a group, in Kafka's words.
type GroupType string

// The types of groups.
const (
	ClassicGroup  GroupType = "classic"
	ConsumerGroup GroupType = "consumer"
)

// ListGroups asks a broker for the groups that it coordinates. Empty filters let all pass; they are compared without
// regard to case.
type ListGroups struct {
	States []string
	Types  []string
}

// ListedGroup is a group in a list.
type ListedGroup struct {
	Group        GroupID
	ProtocolType string
	State        GroupState
	Type         GroupType
	Coordinator  BrokerID
}

// GroupList answers ListGroups. With Err, CoordinatorLoadInProgress, some groups are missing.
type GroupList struct {
	Err    error
	Groups []ListedGroup
}

// GroupDescription answers DescribeGroup. Generation, or Epoch and AssignmentEpoch, are told by Type.
type GroupDescription struct {
	Err             error
	Group           GroupID
	Type            GroupType
	State           GroupState
	ProtocolType    string
	Protocol        string // of a classic group the one that was chosen, of the others the assignor
	Generation      GenerationID
	Epoch           int32 // of the group's state (KIP-848)
	AssignmentEpoch int32 // that the target assignment was computed from
	Coordinator     BrokerID
	Members         []DescribedMember // sorted by id
}

// DescribedMember is a member in a description. Metadata and Assignment are the bytes of the classic protocol; the rest
// from Epoch on is filled in for the protocol of KIP-848, Assigned also where the classic bytes can be read.
type DescribedMember struct {
	Member     MemberID
	Instance   string
	ClientID   string
	ClientHost string
	Metadata   []byte
	Assignment []byte

	Classic          bool // it speaks the classic protocol
	Epoch            int32
	Rack             string
	SubscribedTopics []string
	Pattern          string
	Assigned         []NamedPartitions // what it may use
	Target           []NamedPartitions // what it is to have once all others have given it up
}

// Rebalance is one rebalance of a group on record.
type Rebalance struct {
	Number     int64 // the first of a group is 1
	Began      time.Time
	Took       time.Duration
	Type       GroupType
	Generation int32 // or group epoch that it led to
	Trigger    RebalanceTrigger
	Cause      MemberID // who triggered it; "" where nobody did
	Detail     string   // a sentence for a person: the reason that a member gave, the topic that changed
	Members    int
	// Slowest is who was waited for longest, and how long.
	Slowest     MemberID
	SlowestTook time.Duration
	Moved       int              // partitions that changed hands
	Pauses      []PartitionPause // of each partition that nobody consumed for a while; longest first, at most 1,000
	Complete    bool             // false: another rebalance began before this one had ended
}

// PartitionPause is how long a partition belonged to nobody.
type PartitionPause struct {
	Topic     string
	Partition int32
	Pause     time.Duration
	From, To  MemberID // "" when there was nobody
}

// RebalanceTrigger says what a rebalance was for.
type RebalanceTrigger string

// What leads to rebalances.
const (
	MemberJoined        RebalanceTrigger = "member-joined"
	MemberLeft          RebalanceTrigger = "member-left"
	MemberExpired       RebalanceTrigger = "session-expired"
	MemberTooSlow       RebalanceTrigger = "rebalance-timeout"
	SubscriptionChanged RebalanceTrigger = "subscription-changed"
	TopicsChanged       RebalanceTrigger = "topics-changed"
	ProtocolChanged     RebalanceTrigger = "protocol-changed" // between classic and consumer
	LeaderRejoined      RebalanceTrigger = "leader-rejoined"
	AssignorChanged     RebalanceTrigger = "assignor-changed"
	NoAssignmentCame    RebalanceTrigger = "no-assignment" // the leader of a generation did not bring one in time
)

// GroupRebalances answers GroupHistory.
type GroupRebalances struct {
	Err        error
	Rebalances []Rebalance
}

// Of implements GroupRequest.
func (m *ConsumerHeartbeat) Of() GroupID { return m.Group }

// Failure implements GroupReply.
func (m *ConsumerHeartbeatReply) Failure() error { return m.Err }

// Failure implements GroupReply.
func (m *GroupDescription) Failure() error { return m.Err }

// Failure implements GroupReply.
func (m *GroupRebalances) Failure() error { return m.Err }
