package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

const (
	// maxAsks bounds the questions that are asked of the cluster at once.
	maxAsks = 32
	// offsetTimeout bounds one question for offsets: a partition that does not answer is shown
	// without, since that is what somebody may be looking for.
	offsetTimeout = 5 * time.Second

	unknownOffset = -1
)

// describeTopics returns the named topics, or all with or without internal ones, by name, with their
// offsets and configurations.
func describeTopics(ctx context.Context, c *client.Client, names []string, internal bool) ([]topicJSON, error) {
	topics, err := c.DescribeTopics(ctx, names...)
	if err != nil {
		return nil, err
	}
	described := []topicJSON{}
	for i := range topics {
		if len(names) > 0 || internal || !topics[i].Internal {
			described = append(described, newTopicJSON(&topics[i]))
		}
	}
	asks, ctx := errgroup.WithContext(ctx)
	asks.SetLimit(maxAsks)
	for i := range described {
		topic := &described[i]
		asks.Go(func() error { return askConfigs(ctx, c, topic) })
		for number := range topic.Partitions {
			p := &topic.Partitions[number]
			if p.Leader == int32(wire.NoBroker) {
				continue
			}
			asks.Go(func() error { return askOffsets(ctx, c, topic.Name, p) })
		}
	}
	err = asks.Wait()
	for i := range described {
		described[i].State, described[i].Records = state(described[i]), records(described[i])
	}
	return described, err
}

// describeNamed describes those of the named topics that there are, or all. The error has a line for each that there is not.
func describeNamed(ctx context.Context, c *client.Client, names []string) ([]topicJSON, error) {
	var missing []error
	for {
		topics, err := describeTopics(ctx, c, names, false)
		if err == nil {
			return topics, errors.Join(missing...)
		}
		name := mentioned(err, names)
		missing = append(missing, explain(err, hintFor(err, name)))
		others := slices.DeleteFunc(slices.Clone(names), func(other string) bool { return other == name })
		if name == "" || len(others) == 0 { // no name would stand for all
			return nil, errors.Join(missing...)
		}
		names = others
	}
}

// mentioned returns the one of names that an error is about.
func mentioned(err error, names []string) string {
	for _, name := range names {
		if err != nil && strings.Contains(err.Error(), "topic "+name+": ") {
			return name
		}
	}
	return ""
}

func newTopicJSON(topic *client.Topic) topicJSON {
	shown := topicJSON{Name: topic.Name, TopicID: topic.ID, Configs: map[string]string{}, Partitions: []partitionJSON{}}
	for _, p := range topic.Partitions {
		shown.Partitions = append(shown.Partitions, partitionJSON{
			Partition: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
			Replicas: p.Replicas, ISR: p.ISR, Adding: p.Adding, Removing: p.Removing,
			LogStartOffset: unknownOffset, HighWatermark: unknownOffset,
		})
	}
	return shown
}

// askConfigs fills in what was set for the topic itself.
func askConfigs(ctx context.Context, c *client.Client, topic *topicJSON) error {
	entries, err := c.DescribeConfigs(ctx, client.TopicConfigs(topic.Name))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Source == wire.SourceDynamicTopic && entry.Value != nil {
			topic.Configs[entry.Name] = *entry.Value
		}
	}
	return nil
}

// askOffsets fills in the ends of a partition.
func askOffsets(ctx context.Context, c *client.Client, topic string, p *partitionJSON) error {
	short, cancel := context.WithTimeout(ctx, offsetTimeout)
	defer cancel()
	for timestamp, offset := range map[int64]*int64{client.Earliest: &p.LogStartOffset, client.Latest: &p.HighWatermark} {
		found, _, err := c.ListOffset(short, topic, p.Partition, timestamp)
		switch {
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			return nil
		case err != nil:
			return err
		}
		*offset = int64(found)
	}
	return nil
}

// maxMessageBytes returns the largest record batch that a topic takes, and whether it exists. One
// that does not exist yet is going to have the default.
func maxMessageBytes(ctx context.Context, c *client.Client, topic string) (maximum int, exists bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	entries, err := c.DescribeConfigs(ctx, client.TopicConfigs(topic))
	switch {
	case errors.Is(err, wire.UnknownTopicOrPartition):
		return defaultMaxMessageBytes, false, nil
	case err != nil:
		return 0, false, err
	}
	for _, entry := range entries {
		if entry.Name == "max.message.bytes" && entry.Value != nil {
			maximum, err = strconv.Atoi(*entry.Value)
			return maximum, true, err
		}
	}
	return defaultMaxMessageBytes, true, nil
}

// defaultMaxMessageBytes is max.message.bytes where nobody has set it, as in Kafka.
const defaultMaxMessageBytes = 1<<20 + 12

// checkPartition says that a topic does not have a partition. -1 stands for any.
func checkPartition(ctx context.Context, c *client.Client, topic string, partition int32) error {
	if partition < 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	count, err := partitionCount(ctx, c, topic)
	if err != nil {
		return err
	}
	if partition >= count {
		there := place{topic, 0}.String()
		if count > 1 {
			there += " to " + place{topic, count - 1}.String()
		}
		return fmt.Errorf("there is no partition %v, only %s; see \"troupe topic describe %s\"", place{topic, partition}, there, topic)
	}
	return nil
}

// checkTopic refuses a topic that does not exist.
func checkTopic(ctx context.Context, c *client.Client, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	_, err := partitionCount(ctx, c, topic)
	return err
}

// partitionCount returns how many partitions a topic has.
func partitionCount(ctx context.Context, c *client.Client, topic string) (int32, error) {
	topics, err := c.DescribeTopics(ctx, topic)
	if err != nil {
		return 0, err
	}
	if len(topics) != 1 {
		return 0, wire.UnknownTopicOrPartition
	}
	return int32(len(topics[0].Partitions)), nil
}
