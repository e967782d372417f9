package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// Topic describes a topic.
type Topic struct {
	Name       string
	ID         string // 22 characters, as Kafka's tools print it
	Internal   bool
	Partitions []PartitionInfo
}

// PartitionInfo describes a partition. Brokers are named by their ids.
type PartitionInfo struct {
	Partition      int32
	Leader         int32 // -1 while it has none
	LeaderEpoch    int32
	PartitionEpoch int32   // grows with each change of what is described here
	Replicas       []int32 // the first is the preferred leader
	ISR            []int32
	ELR            []int32 // may lead when none in sync is left (KIP-966)
	Offline        []int32
	Adding         []int32 // those of the replicas that a reassignment brings in
	Removing       []int32 // and those that it takes off
}

// DescribeTopics describes topics in the order of their names' mention, or without names all
// topics, internal ones too. A topic that does not exist is an error.
func (cl *Client) DescribeTopics(ctx context.Context, names ...string) ([]Topic, error) {
	req := wire.MetadataRequest{All: len(names) == 0, Names: names}
	var reply wire.MetadataReply
	if err := cl.askPatiently(ctx, wire.KindMetadata, &req, &reply); err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	topics := make([]Topic, 0, len(reply.Topics))
	for i := range reply.Topics {
		t := &reply.Topics[i]
		if t.Err != nil {
			return nil, fmt.Errorf("topic %s: %w", t.Name, t.Err)
		}
		topics = append(topics, describeTopic(t))
	}
	return topics, nil
}

func describeTopic(t *wire.TopicMetadata) Topic {
	described := Topic{Name: t.Name, ID: t.ID.String(), Internal: t.Internal}
	for i := range t.Partitions {
		p := &t.Partitions[i]
		described.Partitions = append(described.Partitions, PartitionInfo{
			Partition: int32(i), Leader: int32(p.Leader), LeaderEpoch: int32(p.LeaderEpoch), PartitionEpoch: int32(p.PartitionEpoch),
			Replicas: plain(p.Replicas), ISR: plain(p.ISR), ELR: plain(p.ELR), Offline: plain(p.Offline),
			Adding: plain(p.Adding), Removing: plain(p.Removing),
		})
	}
	return described
}

func plain(ids []wire.BrokerID) []int32 {
	list := make([]int32, len(ids))
	for i, id := range ids {
		list[i] = int32(id)
	}
	return list
}

// askPatiently asks any broker, again after errors that pass, until ctx ends or RequestTimeout is
// over.
func (cl *Client) askPatiently(ctx context.Context, kind wire.Kind, req, reply wire.Message) error {
	ctx, cancel := context.WithTimeout(ctx, cl.cfg.RequestTimeout)
	defer cancel()
	for failures := 1; ; failures++ {
		err := cl.askAny(ctx, kind, req, reply)
		if err == nil || !retriable(err) {
			return err
		}
		if pauseErr := cl.pause(ctx, failures); pauseErr != nil {
			return fmt.Errorf("%w: %w", pauseErr, err)
		}
	}
}

// NewTopic asks for a topic. What is zero is the cluster's default.
type NewTopic struct {
	Name              string
	Partitions        int32
	ReplicationFactor int16
	Configs           map[string]string
}

// CreateTopic creates a topic. It exists when CreateTopic returns; a moment may pass until every
// partition has a leader.
func (cl *Client) CreateTopic(ctx context.Context, topic NewTopic) error {
	orDefault(&topic.Partitions, -1)
	orDefault(&topic.ReplicationFactor, -1)
	asked := wire.NewTopic{
		Name: topic.Name, Partitions: topic.Partitions, ReplicationFactor: topic.ReplicationFactor,
	}
	for _, name := range slices.Sorted(maps.Keys(topic.Configs)) {
		value := topic.Configs[name]
		asked.Configs = append(asked.Configs, wire.ConfigValue{Name: name, Value: &value})
	}
	var reply wire.CreateTopicsReply
	err := cl.askOnce(ctx, wire.KindCreateTopics, &wire.CreateTopicsRequest{Topics: []wire.NewTopic{asked}}, &reply)
	if err == nil && len(reply.Topics) != 1 {
		err = errAnswerCount
	}
	if err == nil {
		err = reply.Topics[0].Err
	}
	if err != nil {
		return fmt.Errorf("create topic %s: %w", topic.Name, err)
	}
	return nil
}

// DeleteTopic deletes a topic with all its records.
func (cl *Client) DeleteTopic(ctx context.Context, name string) error {
	var reply wire.DeleteTopicsReply
	err := cl.askOnce(ctx, wire.KindDeleteTopics, &wire.DeleteTopicsRequest{Topics: []wire.TopicRef{{Name: name}}}, &reply)
	if err == nil && len(reply.Topics) != 1 {
		err = errAnswerCount
	}
	if err == nil {
		err = reply.Topics[0].Err
	}
	if err != nil {
		return fmt.Errorf("delete topic %s: %w", name, err)
	}
	return nil
}

// CreatePartitions gives a topic more partitions, so that it has count in all. Keys that are
// produced from then on may go to other partitions than before.
func (cl *Client) CreatePartitions(ctx context.Context, name string, count int32) error {
	req := wire.CreatePartitionsRequest{Topics: []wire.MorePartitions{{Topic: name, Count: count}}}
	if err := cl.askErrors(ctx, wire.KindCreatePartitions, &req); err != nil {
		return fmt.Errorf("create partitions of %s: %w", name, err)
	}
	return nil
}

// askErrors asks for one thing that is answered by nil or an error.
func (cl *Client) askErrors(ctx context.Context, kind wire.Kind, req wire.Message) error {
	var reply wire.ErrorsReply
	if err := cl.askOnce(ctx, kind, req, &reply); err != nil {
		return err
	}
	if len(reply.Errors) != 1 {
		return errAnswerCount
	}
	return reply.Errors[0]
}

// DeleteRecords deletes the records of a partition before an offset, or all for which an
// acknowledgement was given when the offset is -1. It returns the first offset that is kept.
func (cl *Client) DeleteRecords(ctx context.Context, topicName string, partition int32, before Offset) (Offset, error) {
	var reply wire.DeleteRecordsReply
	err := cl.askLeader(ctx, topicName, partition, func(ctx context.Context, c *conn, t *topic) (wire.LeaderHint, error) {
		req := wire.DeleteRecords{Topic: t.id, Partition: partition, Before: before}
		return wire.NoHint, c.ask(ctx, wire.KindDeleteRecords, &req, &reply)
	})
	if err != nil {
		return wire.NoOffset, fmt.Errorf("delete records: %w", err)
	}
	return reply.LogStartOffset, nil
}

// ConfigResource names a thing that has configurations.
type ConfigResource = wire.ConfigResource

// ConfigEntry is a configuration with the value in force, in Kafka's terms and numbers.
type ConfigEntry = wire.ConfigEntry

// ConfigSource tells where a value comes from, in Kafka's numbers.
type ConfigSource = wire.ConfigSource

// ConfigChange changes one configuration: see Set and Unset.
type ConfigChange = wire.ConfigChange

// TopicConfigs names the configurations of a topic.
func TopicConfigs(topic string) ConfigResource {
	return ConfigResource{Type: wire.ConfigTopic, Name: topic}
}

// BrokerConfigs names the configurations of a broker; "" are the defaults of all brokers.
func BrokerConfigs(id string) ConfigResource {
	return ConfigResource{Type: wire.ConfigBroker, Name: id}
}

// Set is the change that gives a configuration a value.
func Set(name, value string) ConfigChange {
	return ConfigChange{Name: name, Op: wire.OpSet, Value: &value}
}

// Unset is the change that takes a value away, so that the default holds.
func Unset(name string) ConfigChange { return ConfigChange{Name: name, Op: wire.OpDelete} }

// DescribeConfigs returns the configurations in force of a topic or broker.
func (cl *Client) DescribeConfigs(ctx context.Context, resource ConfigResource) ([]ConfigEntry, error) {
	req := wire.DescribeConfigsRequest{Resources: []wire.ConfigResource{resource}}
	var reply wire.DescribeConfigsReply
	err := cl.askPatiently(ctx, wire.KindDescribeConfigs, &req, &reply)
	if err == nil && len(reply.Resources) != 1 {
		err = errAnswerCount
	}
	if err == nil {
		err = reply.Resources[0].Err
	}
	if err != nil {
		return nil, fmt.Errorf("describe configurations of %q: %w", resource.Name, err)
	}
	return reply.Resources[0].Entries, nil
}

// AlterConfigs changes configurations of a topic or broker, all of them or none.
func (cl *Client) AlterConfigs(ctx context.Context, resource ConfigResource, changes ...ConfigChange) error {
	if len(changes) == 0 {
		return errors.New("alter configurations: there are no changes")
	}
	req := wire.AlterConfigsRequest{Changes: []wire.AlterConfigs{{Resource: resource, Changes: changes}}}
	if err := cl.askErrors(ctx, wire.KindAlterConfigs, &req); err != nil {
		return fmt.Errorf("alter configurations of %q: %w", resource.Name, err)
	}
	return nil
}
