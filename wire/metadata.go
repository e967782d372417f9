package wire

import "time"

// Broker is a broker as clients may know it.
type Broker struct {
	ID     BrokerID
	Host   string // as advertised to clients
	Port   int32
	Rack   string // "" when it has none
	Fenced bool
}

// Topic is a topic as listeners need it. It is a snapshot: values and shared immutable parts.
type Topic struct {
	Name       string
	ID         TopicID
	Partitions int32
	Internal   bool
	Limits     *RecordLimits // what may be produced to it; never nil
}

// RecordLimits is what a topic accepts, checked before a batch reaches a replica's mailbox.
type RecordLimits struct {
	MaxBatchBytes    int           // max.message.bytes: of one record batch, header included
	LogAppendTime    bool          // message.timestamp.type: the broker stamps the records
	TimestampBefore  time.Duration // message.timestamp.before.max.ms: oldest allowed, as an age; <0: any
	TimestampAfter   time.Duration // message.timestamp.after.max.ms: how far ahead of the clock; <0: any
	Compression      string        // compression.type: "producer" keeps what the client chose
	CompressionLevel int           // of Compression; 0 the codec's default
	Compacted        bool          // every record needs a key
}

// Partition is the state of a partition in the metadata image.
type Partition struct {
	Leader         BrokerID // NoBroker while it has none
	LeaderEpoch    LeaderEpoch
	PartitionEpoch PartitionEpoch
	Replicas       []BrokerID // the first is the preferred leader
	ISR            []BrokerID
	ELR            []BrokerID // eligible leader replicas (KIP-966)
	LastKnownELR   []BrokerID
	Offline        []BrokerID // replicas on brokers that are fenced or whose directory is offline
	Adding         []BrokerID // replicas that a reassignment is bringing in
	Removing       []BrokerID // replicas that it takes off once those are in sync
}

// View is one immutable state of the cluster's metadata, as a listener may see it.
type View interface {
	ClusterID() string
	Controller() BrokerID
	Brokers() []Broker // sorted by id
	Topic(name string) (Topic, bool)
	TopicByID(id TopicID) (Topic, bool)
	TopicNames() []string // sorted; not to be changed
	// Partition returns the state of one partition of a topic of this view.
	Partition(id TopicID, partition int32) (Partition, bool)
}

// ConfigResourceType tells what a configuration belongs to, in Kafka's numbers.
type ConfigResourceType int8

// The resources that have configurations. A broker resource with an empty name is the default
// of all brokers.
const (
	ConfigUnknown       ConfigResourceType = 0
	ConfigTopic         ConfigResourceType = 2
	ConfigBroker        ConfigResourceType = 4
	ConfigBrokerLogger  ConfigResourceType = 8
	ConfigClientMetrics ConfigResourceType = 16
	ConfigGroup         ConfigResourceType = 32
)

// ConfigResource names one thing that is configured.
type ConfigResource struct {
	Type ConfigResourceType
	Name string
}

// ConfigSource tells where a value comes from, in Kafka's numbers.
type ConfigSource int8

// From the most particular to the most general.
const (
	SourceDynamicTopic         ConfigSource = 1
	SourceDynamicBroker        ConfigSource = 2
	SourceDynamicDefaultBroker ConfigSource = 3
	SourceStaticBroker         ConfigSource = 4
	SourceDefault              ConfigSource = 5
)

// ConfigType is the type of a configuration's value, in Kafka's numbers.
type ConfigType int8

// The types of values.
const (
	TypeBoolean  ConfigType = 1
	TypeString   ConfigType = 2
	TypeInt      ConfigType = 3
	TypeShort    ConfigType = 4
	TypeLong     ConfigType = 5
	TypeDouble   ConfigType = 6
	TypeList     ConfigType = 7
	TypeClass    ConfigType = 8
	TypePassword ConfigType = 9
)

// ConfigEntry is one configuration with the value in force and where it comes from.
type ConfigEntry struct {
	Name      string
	Value     *string // nil when it is sensitive or has none
	Source    ConfigSource
	Type      ConfigType
	ReadOnly  bool
	Sensitive bool
	Doc       string
	Synonyms  []ConfigSynonym // in order of precedence, the one in force first
}

// ConfigSynonym is one of the places that a value could come from.
type ConfigSynonym struct {
	Name   string
	Value  *string
	Source ConfigSource
}

// ConfigOp is what an incremental change does to one configuration, in Kafka's numbers.
type ConfigOp int8

// The operations of IncrementalAlterConfigs.
const (
	OpSet      ConfigOp = 0
	OpDelete   ConfigOp = 1
	OpAppend   ConfigOp = 2
	OpSubtract ConfigOp = 3
)

// ConfigChange changes one configuration.
type ConfigChange struct {
	Name  string
	Op    ConfigOp
	Value *string
}

// AlterConfigs asks for changes to one resource. With Replace, every configuration that is not
// named goes back to its default (Kafka's older AlterConfigs).
type AlterConfigs struct {
	Resource ConfigResource
	Replace  bool
	Changes  []ConfigChange
}

// NewTopic asks for a topic. -1 stands for the cluster's default.
type NewTopic struct {
	Name              string
	Partitions        int32
	ReplicationFactor int16
	Assignment        [][]BrokerID // by partition; nil: the controller places the replicas
	Configs           []ConfigValue
}

// ConfigValue is a configuration given with a new topic. A nil value is invalid, as in Kafka.
type ConfigValue struct {
	Name  string
	Value *string
}

// CreatedTopic answers a NewTopic.
type CreatedTopic struct {
	Name              string
	ID                TopicID
	Err               error
	Partitions        int32
	ReplicationFactor int16
	Configs           []ConfigEntry
}

// TopicRef names a topic by name or, when Name is "", by id.
type TopicRef struct {
	Name string
	ID   TopicID
}

// DeletedTopic answers the deletion of a topic.
type DeletedTopic struct {
	Name string
	ID   TopicID
	Err  error
}

// MorePartitions asks that a topic have Count partitions in all.
type MorePartitions struct {
	Topic      string
	Count      int32
	Assignment [][]BrokerID // of the new ones; nil: the controller places them
}
