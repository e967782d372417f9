package actors

import (
	"context"
	"errors"
	"strconv"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// This file is what the listeners ask of a broker. Every method may be called from any
// goroutine.

// View returns the cluster's metadata as this broker knows it.
func (b *Broker) View() wire.View { return b.image.Load() }

// Self returns this broker's id.
func (b *Broker) Self() wire.BrokerID { return b.cfg.ID }

// Produce takes p over and completes it exactly once. It waits while the partition has too many
// bytes in flight, which stops the reading of the connection that calls it.
func (b *Broker) Produce(p *wire.Produce) {
	part := b.routes.find(p.Topic, p.Partition)
	if part == nil {
		hint, err := b.elsewhere(p.Topic, p.Partition)
		p.Buffer.Release()
		reply := refused(err)
		reply.Leader = hint
		p.Done.ProduceDone(p.Slot, reply)
		return
	}
	if m, pid := part.door.enter(p); m != nil {
		b.root.Send(pid, m)
	}
}

// elsewhere says why a partition has no replica here.
func (b *Broker) elsewhere(topic wire.TopicID, partition int32) (wire.LeaderHint, error) {
	state, ok := b.image.Load().Partition(topic, partition)
	if !ok {
		return wire.NoHint, wire.UnknownTopicOrPartition
	}
	return wire.LeaderHint{Broker: state.Leader, LeaderEpoch: state.LeaderEpoch}, wire.NotLeaderOrFollower
}

// ListOffsets finds the offset that belongs to a timestamp.
func (b *Broker) ListOffsets(q *wire.ListOffsets) wire.ListedOffset {
	listed := wire.ListedOffset{Offset: wire.NoOffset, Timestamp: -1, LeaderEpoch: wire.NoEpoch}
	view, hint, err := b.leading(q.Topic, q.Partition, q.CurrentEpoch)
	if err != nil {
		listed.Err, listed.Leader = err, hint
		return listed
	}
	listed.Leader = wire.NoHint
	switch q.Timestamp {
	case wire.LatestTimestamp:
		if !view.caughtUp {
			listed.Err = wire.OffsetNotAvailable
			return listed
		}
		listed.Offset, listed.LeaderEpoch = view.highWatermark, view.leaderEpoch
	case wire.EarliestTimestamp, wire.EarliestLocalTimestamp:
		listed.Offset, listed.LeaderEpoch = view.start, epochAt(view.log, view.start)
	case wire.MaxTimestamp:
		listed.Offset, listed.Timestamp, listed.LeaderEpoch, err = view.log.MaxTimestampOffset(view.highWatermark)
	case wire.LatestTieredTimestamp:
	default:
		if q.Timestamp < 0 {
			err = wire.Errorf(wire.InvalidRequest, "%d is no timestamp", q.Timestamp)
			break
		}
		listed.Offset, listed.Timestamp, listed.LeaderEpoch, err = view.log.OffsetForTimestamp(q.Timestamp, view.highWatermark)
	}
	listed.Err = err
	return listed
}

// epochAt is the leader epoch of the record at an offset.
func epochAt(log *storage.Log, offset wire.Offset) wire.LeaderEpoch {
	epoch := wire.NoEpoch
	for _, e := range log.Epochs() {
		if e.StartOffset > offset && epoch != wire.NoEpoch {
			break
		}
		epoch = e.LeaderEpoch
	}
	return epoch
}

// OffsetForEpoch tells where a leader epoch ended.
func (b *Broker) OffsetForEpoch(q *wire.OffsetForEpoch) wire.OffsetForEpochReply {
	none := wire.EpochEnd{LeaderEpoch: wire.NoEpoch, EndOffset: wire.NoOffset}
	view, _, err := b.leading(q.Topic, q.Partition, q.CurrentEpoch)
	if err != nil {
		return wire.OffsetForEpochReply{Err: err, End: none}
	}
	// Kafka: the epoch that is led in ends at the log's end, even if nothing was appended in it.
	if q.LeaderEpoch == view.leaderEpoch {
		return wire.OffsetForEpochReply{End: wire.EpochEnd{LeaderEpoch: q.LeaderEpoch, EndOffset: view.log.EndOffset()}}
	}
	if q.LeaderEpoch > view.leaderEpoch || q.LeaderEpoch < 0 {
		return wire.OffsetForEpochReply{End: none}
	}
	return wire.OffsetForEpochReply{End: view.log.EpochEnd(q.LeaderEpoch)}
}

// DeleteRecords moves a partition's log start and returns it.
func (b *Broker) DeleteRecords(ctx context.Context, q *wire.DeleteRecords) (wire.Offset, error) {
	if topic, ok := b.View().TopicByID(q.Topic); ok && topic.Internal {
		return wire.NoOffset, wire.Errorf(wire.InvalidTopic, "topic %s belongs to the brokers: its records are not to be deleted", topic.Name)
	}
	reply := make(chan deletedRecords, 1)
	deleted, err := askReplica(ctx, b, q.Topic, q.Partition, &deleteRecords{before: q.Before, reply: reply}, reply)
	if err != nil {
		return wire.NoOffset, err
	}
	return deleted.start, deleted.err
}

// Producers describes the idempotent producers of a partition.
func (b *Broker) Producers(ctx context.Context, topic wire.TopicID, partition int32) ([]wire.ProducerState, error) {
	reply := make(chan []wire.ProducerState, 1)
	return askReplica(ctx, b, topic, partition, &describeProducers{reply: reply}, reply)
}

// askReplica sends a command to a replica and waits for its reply, for the end of that replica
// actor, or for ctx.
func askReplica[T any](ctx context.Context, b *Broker, topic wire.TopicID, partition int32, command any, reply <-chan T) (T, error) {
	var none T
	part := b.routes.find(topic, partition)
	if part == nil {
		_, err := b.elsewhere(topic, partition)
		return none, err
	}
	ended, pid := part.ended(), part.door.address()
	if pid == nil || ended == nil {
		_, err := part.door.reason()
		return none, err
	}
	b.root.Send(pid, command)
	select {
	case answer := <-reply:
		return answer, nil
	case <-ended:
		return none, wire.NotLeaderOrFollower
	case <-ctx.Done():
		return none, wire.RequestTimedOut
	}
}

// LogDirs describes the log directories and what lies in them.
func (b *Broker) LogDirs() []wire.LogDir {
	dirs := make([]wire.LogDir, 0, len(b.dirs))
	index := make(map[*storage.Dir]int)
	for _, d := range b.dirs {
		index[d] = len(dirs)
		described := wire.LogDir{Path: d.Path(), TotalBytes: -1, UsableBytes: -1}
		if d.Err() != nil {
			described.Err = wire.KafkaStorageError
		} else {
			described.TotalBytes, described.UsableBytes = d.Usage()
		}
		dirs = append(dirs, described)
	}
	b.routes.each(func(p *partition) bool {
		if log := p.current(); log != nil {
			if i, ok := index[log.Dir()]; ok {
				dirs[i].Partitions = append(dirs[i].Partitions, wire.LogDirPartition{Topic: p.topic, Partition: p.tp.Partition, Bytes: log.Size()})
			}
		}
		return true
	})
	return dirs
}

// InitProducerID gives out a producer id, or the next epoch of one (KIP-360).
func (b *Broker) InitProducerID(ctx context.Context, q wire.InitProducerID) (wire.ProducerIdentity, error) {
	none := wire.ProducerIdentity{Producer: wire.NoProducer, Epoch: -1}
	if q.TransactionalID != nil {
		return none, wire.Errorf(wire.TransactionalIDAuthorizationFailed, "transactions are not supported")
	}
	reply := make(chan allocatedID, 1)
	b.root.Send(b.producerIDs, &allocateID{reply: reply})
	select {
	case allocated := <-reply:
		if allocated.err != nil {
			return none, allocated.err
		}
		// Kafka: a producer without a transactional id that asks for its next epoch gets a new id
		// too, which serves the same end.
		return wire.ProducerIdentity{Producer: allocated.id, Epoch: 0}, nil
	case <-ctx.Done():
		return none, wire.RequestTimedOut
	}
}

// CreateTopics creates topics; each has its own outcome.
func (b *Broker) CreateTopics(ctx context.Context, topics []wire.NewTopic, validateOnly bool) []wire.CreatedTopic {
	reply, err := b.ask(ctx, metadata.CreateTopics{Topics: topics, ValidateOnly: validateOnly})
	if created, ok := reply.([]wire.CreatedTopic); ok && err == nil {
		return created
	}
	failed := make([]wire.CreatedTopic, len(topics))
	for i, t := range topics {
		failed[i] = wire.CreatedTopic{Name: t.Name, Err: orUnknown(err)}
	}
	return failed
}

func orUnknown(err error) error {
	if err == nil {
		return wire.UnknownServerError
	}
	return err
}

// AutoCreateTopics creates topics that a client has named, if auto.create.topics.enable says so.
// One that exists meanwhile is no error.
func (b *Broker) AutoCreateTopics(ctx context.Context, names []string) []wire.CreatedTopic {
	if !b.cfg.AutoCreateTopics {
		failed := make([]wire.CreatedTopic, len(names))
		for i, name := range names {
			failed[i] = wire.CreatedTopic{Name: name, Err: wire.UnknownTopicOrPartition}
		}
		return failed
	}
	topics := make([]wire.NewTopic, len(names))
	for i, name := range names {
		topics[i] = wire.NewTopic{Name: name, Partitions: -1, ReplicationFactor: -1}
	}
	created := b.CreateTopics(ctx, topics, false)
	for i := range created {
		if errors.Is(created[i].Err, wire.TopicAlreadyExists) {
			if t, ok := b.View().Topic(created[i].Name); ok {
				created[i].Err, created[i].ID, created[i].Partitions = nil, t.ID, t.Partitions
			}
		}
	}
	return created
}

// DeleteTopics deletes topics and their records.
func (b *Broker) DeleteTopics(ctx context.Context, refs []wire.TopicRef) []wire.DeletedTopic {
	reply, err := b.ask(ctx, metadata.DeleteTopics{Topics: refs})
	if deleted, ok := reply.([]wire.DeletedTopic); ok && err == nil {
		return deleted
	}
	failed := make([]wire.DeletedTopic, len(refs))
	for i, r := range refs {
		failed[i] = wire.DeletedTopic{Name: r.Name, ID: r.ID, Err: orUnknown(err)}
	}
	return failed
}

// CreatePartitions adds partitions to topics.
func (b *Broker) CreatePartitions(ctx context.Context, more []wire.MorePartitions, validateOnly bool) []error {
	reply, err := b.ask(ctx, metadata.CreatePartitions{Topics: more, ValidateOnly: validateOnly})
	return outcomes(reply, err, len(more))
}

// AlterConfigs changes configurations.
func (b *Broker) AlterConfigs(ctx context.Context, changes []wire.AlterConfigs, validateOnly bool) []error {
	reply, err := b.ask(ctx, metadata.AlterConfigs{Changes: changes, ValidateOnly: validateOnly})
	return outcomes(reply, err, len(changes))
}

func outcomes(reply any, err error, n int) []error {
	if errs, ok := reply.([]error); ok && err == nil && len(errs) == n {
		return errs
	}
	failed := make([]error, n)
	for i := range failed {
		failed[i] = orUnknown(err)
	}
	return failed
}

// DescribeConfigs lists the configurations of a resource with the values in force here.
func (b *Broker) DescribeConfigs(resource wire.ConfigResource) ([]wire.ConfigEntry, error) {
	image := b.image.Load()
	switch resource.Type {
	case wire.ConfigTopic:
		if entries := image.TopicConfigEntries(resource.Name); entries != nil {
			return entries, nil
		}
		if err := metadata.ValidateTopicName(resource.Name); err != nil {
			return nil, err
		}
		return nil, wire.UnknownTopicOrPartition
	case wire.ConfigBroker:
		switch resource.Name {
		case "":
			return image.ClusterConfigEntries(), nil
		case strconv.Itoa(int(b.cfg.ID)):
			return image.BrokerConfigEntries(), nil
		}
		return nil, wire.Errorf(wire.InvalidRequest, "this is broker %d: ask broker %q itself for its configuration", b.cfg.ID, resource.Name)
	default:
		return nil, wire.Errorf(wire.InvalidRequest, "resources of type %d have no configuration here", resource.Type)
	}
}
