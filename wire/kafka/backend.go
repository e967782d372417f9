package kafka

import (
	"context"

	"github.com/troupe-mq/troupe/wire"
)

// Backend is what the listener asks; the broker's actor system satisfies it. Its methods are
// called from many connections at once. An error wraps a wire.ErrorCode where a client should
// learn the cause.
type Backend interface {
	// View returns the newest metadata this broker has seen.
	View() wire.View
	// Self returns this broker's id.
	Self() wire.BrokerID

	// Produce takes the message over and completes it exactly once. It may block the calling
	// connection while the partition has too many bytes in flight.
	Produce(p *wire.Produce)
	// Fetch answers at once with what is there.
	Fetch(f *wire.Fetch) wire.Fetched
	// ParkAt has s woken once the partition has something for f beyond the offset, or is not what it was;
	// false says that this is so already. It looks at topic, partition and rack of f alone.
	ParkAt(s *wire.Spot, f *wire.Fetch, beyond wire.Offset) bool

	ListOffsets(q *wire.ListOffsets) wire.ListedOffset
	OffsetForEpoch(q *wire.OffsetForEpoch) wire.OffsetForEpochReply
	DeleteRecords(ctx context.Context, q *wire.DeleteRecords) (wire.Offset, error)
	Producers(ctx context.Context, topic wire.TopicID, partition int32) ([]wire.ProducerState, error)
	LogDirs() []wire.LogDir
	InitProducerID(ctx context.Context, q wire.InitProducerID) (wire.ProducerIdentity, error)

	// CreateTopics, DeleteTopics, CreatePartitions and AlterConfigs answer each element in the
	// place it was asked in.
	CreateTopics(ctx context.Context, topics []wire.NewTopic, validateOnly bool) []wire.CreatedTopic
	// AutoCreateTopics creates topics that a client asked for and that do not exist, if
	// auto.create.topics.enable allows it; else every answer is wire.UnknownTopicOrPartition.
	AutoCreateTopics(ctx context.Context, names []string) []wire.CreatedTopic
	DeleteTopics(ctx context.Context, refs []wire.TopicRef) []wire.DeletedTopic
	CreatePartitions(ctx context.Context, more []wire.MorePartitions, validateOnly bool) []error
	AlterConfigs(ctx context.Context, changes []wire.AlterConfigs, validateOnly bool) []error
	DescribeConfigs(resource wire.ConfigResource) ([]wire.ConfigEntry, error)

	// ElectLeaders answers in any order, if all partitions are asked for; it and AlterReassignments
	// answer the partitions that are named in the place they were asked in.
	ElectLeaders(ctx context.Context, req wire.ElectLeaders) ([]wire.PartitionOutcome, error)
	AlterReassignments(ctx context.Context, req wire.AlterReassignments) ([]wire.PartitionOutcome, error)
	// FindCoordinator returns the broker that coordinates the group.
	FindCoordinator(ctx context.Context, g wire.GroupID) (wire.BrokerID, error)
	// AskGroup has the group's coordinator, which must be on this broker, answer q. It may take as long as a
	// rebalance; when ctx ends, nobody waits for the answer any more.
	AskGroup(ctx context.Context, q wire.GroupRequest) (wire.GroupReply, error)
	// ListGroups returns the groups that this broker coordinates.
	ListGroups(ctx context.Context, q *wire.ListGroups) wire.GroupList
	// DescribeCluster describes the brokers and who keeps the metadata log.
	DescribeCluster(ctx context.Context) wire.ClusterDescription
}
