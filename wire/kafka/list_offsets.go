package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var listOffsetsShape = shape{
	flexible: 6,
	fields: []field{
		bytesOf(4),         // replica id
		bytesOf(1).from(2), // isolation level
		list(
			str(),
			list(
				bytesOf(4),         // partition
				bytesOf(4).from(4), // current leader epoch
				bytesOf(8),         // timestamp
			),
		),
		bytesOf(4).from(10), // timeout
	},
}

// earliestPendingUpload asks for the first offset that is not tiered yet (KIP-1023).
const earliestPendingUpload = -6

// specialSince is the version of ListOffsets that introduced a special timestamp.
func specialSince(timestamp int64) int16 {
	switch timestamp {
	case wire.LatestTimestamp, wire.EarliestTimestamp:
		return 1
	case wire.MaxTimestamp:
		return 7
	case wire.EarliestLocalTimestamp:
		return 8
	case wire.LatestTieredTimestamp:
		return 9
	case earliestPendingUpload:
		return 11
	}
	const never = 1<<15 - 1
	return never
}

func (c *conn) listOffsets(q *kmsg.ListOffsetsRequest) kmsg.Response {
	a := kmsg.NewPtrListOffsetsResponse()
	view := c.server.backend.View()
	twice := duplicates{}
	for i := range q.Topics {
		for j := range q.Topics[i].Partitions {
			twice.add(q.Topics[i].Topic, q.Topics[i].Partitions[j].Partition)
		}
	}
	for i := range q.Topics {
		t := &q.Topics[i]
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic = t.Topic
		for j := range t.Partitions {
			asked := &t.Partitions[j]
			listed := failedOffset(wire.InvalidRequest)
			if !twice.has(t.Topic, asked.Partition) {
				listed = c.listOffset(view, t.Topic, asked, q)
			}
			p := kmsg.NewListOffsetsResponseTopicPartition()
			p.Partition, p.ErrorCode = asked.Partition, c.code(listed.Err)
			if listed.Err != nil {
				listed = failedOffset(nil)
			}
			p.Offset, p.Timestamp, p.LeaderEpoch = int64(listed.Offset), listed.Timestamp, int32(listed.LeaderEpoch)
			topic.Partitions = append(topic.Partitions, p)
		}
		a.Topics = append(a.Topics, topic)
	}
	return a
}

func failedOffset(err error) wire.ListedOffset {
	return wire.ListedOffset{Err: err, Offset: wire.NoOffset, Timestamp: -1, LeaderEpoch: wire.NoEpoch, Leader: wire.NoHint}
}

func (c *conn) listOffset(view wire.View, name string, asked *kmsg.ListOffsetsRequestTopicPartition, q *kmsg.ListOffsetsRequest) wire.ListedOffset {
	topic, err := partitionOf(view, name, asked.Partition)
	if err != nil {
		return failedOffset(err)
	}
	timestamp := asked.Timestamp
	if timestamp < 0 && q.Version < specialSince(timestamp) {
		return failedOffset(wire.UnsupportedVersion)
	}
	if timestamp == earliestPendingUpload {
		timestamp = wire.LatestTieredTimestamp // nothing is tiered, so nothing is pending either
	}
	return c.server.backend.ListOffsets(&wire.ListOffsets{
		Topic: topic.ID, Partition: asked.Partition, CurrentEpoch: wire.LeaderEpoch(asked.CurrentLeaderEpoch),
		Timestamp: timestamp, Isolation: wire.IsolationLevel(q.IsolationLevel),
	})
}

// topicOf finds a topic by its id, where the version of the request has ids, or else by its name.
func topicOf(view wire.View, byID bool, id wire.TopicID, name string) (wire.Topic, error) {
	if byID {
		topic, ok := view.TopicByID(id)
		if !ok {
			return topic, wire.UnknownTopicID
		}
		return topic, nil
	}
	topic, ok := view.Topic(name)
	if !ok {
		return topic, wire.UnknownTopicOrPartition
	}
	return topic, nil
}

// partitionOf finds the topic and checks that it has the partition.
func partitionOf(view wire.View, name string, partition int32) (wire.Topic, error) {
	topic, ok := view.Topic(name)
	if !ok || partition < 0 || partition >= topic.Partitions {
		return wire.Topic{}, wire.UnknownTopicOrPartition
	}
	return topic, nil
}

// duplicates finds what a request names twice.
type duplicates map[namedPartition]int

type namedPartition struct {
	topic     string
	partition int32
}

func (d duplicates) add(topic string, partition int32) { d[namedPartition{topic, partition}]++ }

func (d duplicates) has(topic string, partition int32) bool {
	return d[namedPartition{topic, partition}] > 1
}
