package wire

// Reassignment asks that a partition lie on other brokers, the preferred leader first. Without
// Replicas it cancels the one that is going on.
type Reassignment struct {
	Topic     string
	Partition int32
	Replicas  []BrokerID // nil: cancel
}

// TopicNamePartition names a partition by its topic's name.
type TopicNamePartition struct {
	Topic     string
	Partition int32
}
