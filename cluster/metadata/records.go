package metadata

import "github.com/troupe-mq/troupe/wire"

// Record is one change in the metadata log. It carries results, not requests: which replicas a
// partition has, not how they were chosen; so applying it needs no rule that could differ between
// versions.
type Record interface {
	kind() Kind
	encode(w *writer) // the fields, after what every record begins with
	apply(d *draft) error
}

// Kind numbers the types of records. A number is never used for something else.
type Kind uint8

// The kinds. Reserved for what comes: 32 to 39 transactions, 40 to 47 ACLs, 48 to 55 quotas and
// client metrics, 56 to 63 credentials, 64 to 71 voters.
const (
	KindClusterCreated       Kind = 1
	KindBrokerRegistered     Kind = 2
	KindBrokerChanged        Kind = 3
	KindBrokerRemoved        Kind = 4
	KindTopicCreated         Kind = 5
	KindPartitionsAdded      Kind = 6
	KindPartitionsChanged    Kind = 7
	KindTopicDeleted         Kind = 8
	KindConfigChanged        Kind = 9
	KindProducerIDsAllocated Kind = 10
	KindFeatureLevelChanged  Kind = 11
	KindDirectoriesFailed    Kind = 12
	KindReplicaMoved         Kind = 13
	KindReplicasFailed       Kind = 14
	KindClusterRecovered     Kind = 15
	KindReplicasReported     Kind = 16
)

// DirectoryID names a log directory of a broker, as its meta.json spells it.
type DirectoryID string

// TopicNumber stands for a topic id within the metadata: 4 bytes instead of 16, counted from 1.
type TopicNumber uint32

// PartitionRef names a partition within the metadata.
type PartitionRef struct {
	Topic     TopicNumber
	Partition int32
}

// ReplicaSet is a subset of a partition's replicas: bit i stands for the i-th of them.
type ReplicaSet uint16

// MaxReplicas is how many replicas a partition may have, those on their way in or out included.
const MaxReplicas = 16

// Setting is a configuration key with its value.
type Setting struct{ Key, Value string }

// ClusterCreated is the first record of a cluster.
type ClusterCreated struct {
	ClusterID string
}

// BrokerRegistered tells that a broker process has begun. Its broker epoch is the index of the
// entry. What it means for partitions stands in the PartitionsChanged of the same entry.
type BrokerRegistered struct {
	Broker         wire.BrokerID
	Incarnation    wire.Incarnation
	Directories    []DirectoryID // those that work
	Host           string        // as advertised to clients
	Port           int32
	ClusterAddress string // where other brokers reach it
	Rack           string
	BootID         string // of the machine: another one means that its page cache was lost
	Fenced         bool
	RaftID         uint64 // 0 in the records of the version before
}

// BrokerChanged tells that a broker was fenced, unfenced, wants to shut down, or is to be removed.
type BrokerChanged struct {
	Broker       wire.BrokerID
	Epoch        uint64 // of the registration this is about
	Fenced       bool
	ShuttingDown bool
	Draining     bool
}

// BrokerRemoved tells that an operator removed a broker. Its directories never come back.
type BrokerRemoved struct {
	Broker wire.BrokerID
	Epoch  uint64
}

// TopicCreated tells of a new topic with all its partitions. They begin in leader epoch 0 and
// partition epoch 0.
type TopicCreated struct {
	Topic      TopicNumber
	ID         wire.TopicID
	Name       string
	Replicated bool // durability=replicated: fixed here for the topic's life
	Configs    []Setting
	Partitions []NewPartition
}

// NewPartition is the first state of a partition.
type NewPartition struct {
	Replicas []wire.BrokerID // the preferred leader first
	Leader   wire.BrokerID
	ISR      ReplicaSet
	// Directories are where the replicas lie: of each, the n-th directory that its broker ever
	// registered, from 1 on. 0, or an empty list, leaves it open.
	Directories []byte
}

// PartitionsAdded tells that a topic has more partitions, numbered from First on.
type PartitionsAdded struct {
	Topic      TopicNumber
	First      int32
	Partitions []NewPartition
}

// PartitionsChanged gives some partitions, of any number of topics, a new state at once. They are
// in the order of topic and partition.
type PartitionsChanged struct {
	Changes []PartitionChange
}

// PartitionChange is the new state of one partition. It applies to the partition epoch before its
// own and to no other.
type PartitionChange struct {
	Topic          TopicNumber
	Partition      int32
	PartitionEpoch wire.PartitionEpoch
	LeaderEpoch    wire.LeaderEpoch
	Leader         wire.BrokerID
	ISR            ReplicaSet
	ELR            ReplicaSet // eligible leader replicas (KIP-966)
	LastKnownELR   ReplicaSet
	Unclean        bool // the leader of this epoch may lack what was committed

	// Replicas are the partition's from now on, and the sets are sets of these; nil: as they were,
	// and then what follows is too.
	Replicas    []wire.BrokerID
	Directories []byte // as in a NewPartition
	Adding      ReplicaSet
	Removing    ReplicaSet

	// Awaiting says that nobody leads before the replicas have reported how far they are.
	Awaiting bool
}

// TopicDeleted tells that a topic and all its partitions are gone.
type TopicDeleted struct {
	Topic TopicNumber
}

// ConfigChanged sets and unsets configurations of one resource.
type ConfigChanged struct {
	Resource wire.ConfigResource
	Set      []Setting
	Unset    []string
}

// ProducerIDsAllocated gives a broker the producer ids from First on.
type ProducerIDsAllocated struct {
	Broker wire.BrokerID
	First  wire.ProducerID
	Count  int32
}

// FeatureLevelChanged raises or lowers a feature, such as metadata.version.
type FeatureLevelChanged struct {
	Feature string
	Level   uint16
}

// DirectoriesFailed tells that log directories of a broker do not work any more. They can come back
// when the broker registers anew.
type DirectoriesFailed struct {
	Broker      wire.BrokerID
	Epoch       uint64
	Directories []DirectoryID
}

// ReplicaMoved tells that a broker has a replica in another of its directories.
type ReplicaMoved struct {
	Topic     TopicNumber
	Partition int32
	Broker    wire.BrokerID
	Directory byte // the n-th that the broker ever registered, from 1 on
}

// ReplicasFailed tells that a broker cannot use some of its replicas, in the order of topic and
// partition. They can come back when the broker registers anew.
type ReplicasFailed struct {
	Broker   wire.BrokerID
	Epoch    uint64
	Replicas []PartitionRef
}

// ClusterRecovered tells that an operator made one voter the only one, after the others were lost. Of
// what was committed, some may be gone, and what is left may contradict itself. So no broker takes part
// before it registers again, every leader epoch is left behind by far, and no partition is led before
// its replicas have reported.
type ClusterRecovered struct {
	RecoveryEpoch uint32
	RaftID        uint64 // of the voter; the other raft ids belong to nobody any more
}

// ReplicasReported tells how far a broker's replicas are, in the order of topic and partition.
type ReplicasReported struct {
	Broker  wire.BrokerID
	Epoch   uint64
	Reports []ReplicaReport
}

// ReplicaReport tells how far a replica is: the leader epoch of its last batch, and where its log ends.
type ReplicaReport struct {
	PartitionRef
	LastEpoch wire.LeaderEpoch
	End       wire.Offset
}

// ignored stands for a record that its writer marked as one that older versions may pass over.
type ignored struct{ of Kind }

func (*ClusterCreated) kind() Kind       { return KindClusterCreated }
func (*BrokerRegistered) kind() Kind     { return KindBrokerRegistered }
func (*BrokerChanged) kind() Kind        { return KindBrokerChanged }
func (*BrokerRemoved) kind() Kind        { return KindBrokerRemoved }
func (*TopicCreated) kind() Kind         { return KindTopicCreated }
func (*PartitionsAdded) kind() Kind      { return KindPartitionsAdded }
func (*PartitionsChanged) kind() Kind    { return KindPartitionsChanged }
func (*TopicDeleted) kind() Kind         { return KindTopicDeleted }
func (*ConfigChanged) kind() Kind        { return KindConfigChanged }
func (*ProducerIDsAllocated) kind() Kind { return KindProducerIDsAllocated }
func (*FeatureLevelChanged) kind() Kind  { return KindFeatureLevelChanged }
func (*DirectoriesFailed) kind() Kind    { return KindDirectoriesFailed }
func (*ReplicaMoved) kind() Kind         { return KindReplicaMoved }
func (*ReplicasFailed) kind() Kind       { return KindReplicasFailed }
func (*ClusterRecovered) kind() Kind     { return KindClusterRecovered }
func (*ReplicasReported) kind() Kind     { return KindReplicasReported }
func (r *ignored) kind() Kind            { return r.of }
