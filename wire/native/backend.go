package native

import (
	"context"

	"github.com/troupe-mq/troupe/wire"
)

// Backend is what the listener needs of a broker. All methods may be called from many
// connections at once.
type Backend interface {
	View() wire.View
	Self() wire.BrokerID

	// Produce takes p over and completes it exactly once through p.Done. It may block while the
	// partition has too much in flight, which stops the reading of this connection.
	Produce(p *wire.Produce)

	// Fetch answers at once with what there is.
	Fetch(f *wire.Fetch) wire.Fetched
	// Park wakes w once the partition's high watermark is above beyond, or the partition changes
	// in another way that a fetch should see. It may wake w for nothing.
	Park(w *wire.Waiter, topic wire.TopicID, partition int32, beyond wire.Offset)
	// Unpark takes w out of every partition.
	Unpark(w *wire.Waiter)

	ListOffsets(q *wire.ListOffsets) wire.ListedOffset
	OffsetForEpoch(q *wire.OffsetForEpoch) wire.OffsetForEpochReply
	DeleteRecords(ctx context.Context, q *wire.DeleteRecords) (wire.Offset, error)
	InitProducerID(ctx context.Context, q wire.InitProducerID) (wire.ProducerIdentity, error)

	CreateTopics(ctx context.Context, topics []wire.NewTopic, validateOnly bool) []wire.CreatedTopic
	AutoCreateTopics(ctx context.Context, names []string) []wire.CreatedTopic
	DeleteTopics(ctx context.Context, refs []wire.TopicRef) []wire.DeletedTopic
	CreatePartitions(ctx context.Context, more []wire.MorePartitions, validateOnly bool) []error
	AlterConfigs(ctx context.Context, changes []wire.AlterConfigs, validateOnly bool) []error
	DescribeConfigs(resource wire.ConfigResource) ([]wire.ConfigEntry, error)
	LogDirs() []wire.LogDir

	DescribeCluster(ctx context.Context) wire.ClusterDescription
	ClusterHealth(ctx context.Context) wire.ClusterHealth
	ElectLeaders(ctx context.Context, req wire.ElectLeaders) ([]wire.PartitionOutcome, error)
	AlterReassignments(ctx context.Context, req wire.AlterReassignments) ([]wire.PartitionOutcome, error)
	RemoveBroker(ctx context.Context, req wire.RemoveBroker) (wire.RemovedBroker, error)
	DescribeGossipKeys(ctx context.Context) []wire.GossipKeys
	RotateGossipKey(ctx context.Context, req wire.RotateGossipKey) ([]wire.GossipKeys, error)

	// AskGroup has a request answered by the coordinator of its group, wherever that is. An error says that it could not
	// be asked: what it refuses is in its reply, which has the type that belongs to the request.
	AskGroup(ctx context.Context, q wire.GroupRequest) (wire.GroupReply, error)
	// ListGroups lists the groups of all brokers.
	ListGroups(ctx context.Context, q *wire.ListGroups) wire.GroupList
	// AppendTimes tells when records were appended, wherever their partitions are led.
	AppendTimes(ctx context.Context, queries []wire.AppendTimeQuery) []wire.AppendTime
}

// Forwarder is a Backend that also reaches what other brokers lead: its Produce and DeleteRecords
// do, and these are for the rest, which may then wait for another broker. The connection calls them on goroutines of
// their own.
type Forwarder interface {
	// Elsewhere says that another broker leads a partition.
	Elsewhere(topic wire.TopicID, partition int32) bool
	// FetchElsewhere answers a fetch wherever its partitions are led, and waits for records as it
	// says. The caller releases the records.
	FetchElsewhere(ctx context.Context, req *wire.FetchRequest) []wire.Fetched
	ListOffsetsElsewhere(ctx context.Context, queries []wire.ListOffsets) []wire.ListedOffset
	OffsetsForEpochsElsewhere(ctx context.Context, queries []wire.OffsetForEpoch) []wire.OffsetForEpochReply
}
