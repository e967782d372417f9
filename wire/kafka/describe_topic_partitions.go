package kafka

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var describeTopicPartitionsShape = shape{
	flexible: 0,
	fields: []field{
		list(str()),
		bytesOf(4),               // limit of partitions
		maybe(str(), bytesOf(4)), // cursor: topic, partition
	},
}

// maxDescribedPartitions is max.request.partition.size.limit.
const maxDescribedPartitions = 2000

// describeTopicPartitions answers in the order of topic names, from the cursor on, as many partitions
// as the limit allows, and with a cursor to go on from (KIP-966).
func (c *conn) describeTopicPartitions(q *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	a := kmsg.NewPtrDescribeTopicPartitionsResponse()
	view := c.server.backend.View()
	var names []string
	for i := range q.Topics {
		names = append(names, q.Topics[i].Topic)
	}
	if len(names) == 0 {
		names = slices.Clone(view.TopicNames())
	}
	slices.Sort(names)
	names = slices.Compact(names)
	left := min(max(int(q.ResponsePartitionLimit), 1), maxDescribedPartitions)
	for _, name := range names {
		first := 0
		if q.Cursor != nil {
			if name < q.Cursor.Topic {
				continue
			}
			if name == q.Cursor.Topic {
				first = int(max(q.Cursor.Partition, 0))
			}
		}
		if left == 0 {
			a.NextCursor = describeCursor(name, first)
			return a
		}
		topic, ok := view.Topic(name)
		if !ok {
			a.Topics = append(a.Topics, c.undescribed(name))
			continue
		}
		last := min(int(topic.Partitions), first+left)
		a.Topics = append(a.Topics, describedTopic(view, &topic, first, last))
		left -= max(last-first, 0)
		if last < int(topic.Partitions) {
			a.NextCursor = describeCursor(name, last)
			return a
		}
	}
	return a
}

func describeCursor(topic string, partition int) *kmsg.DescribeTopicPartitionsResponseNextCursor {
	cursor := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	cursor.Topic, cursor.Partition = topic, int32(partition)
	return &cursor
}

func (c *conn) undescribed(name string) kmsg.DescribeTopicPartitionsResponseTopic {
	t := kmsg.NewDescribeTopicPartitionsResponseTopic()
	t.Topic, t.AuthorizedOperations = &name, notAsked
	t.ErrorCode = c.code(missingTopic(name, nil))
	return t
}

func describedTopic(view wire.View, topic *wire.Topic, first, last int) kmsg.DescribeTopicPartitionsResponseTopic {
	t := kmsg.NewDescribeTopicPartitionsResponseTopic()
	t.Topic, t.TopicID, t.IsInternal, t.AuthorizedOperations = &topic.Name, topic.ID, topic.Internal, notAsked
	for i := first; i < last; i++ {
		p, ok := view.Partition(topic.ID, int32(i))
		if !ok {
			p = wire.Partition{Leader: wire.NoBroker, LeaderEpoch: wire.NoEpoch}
		}
		d := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		if p.Leader == wire.NoBroker {
			d.ErrorCode = int16(wire.LeaderNotAvailable)
		}
		d.Partition, d.LeaderID, d.LeaderEpoch = int32(i), int32(p.Leader), int32(p.LeaderEpoch)
		d.Replicas, d.ISR, d.OfflineReplicas = brokerIDs(p.Replicas), brokerIDs(p.ISR), brokerIDs(p.Offline)
		d.EligibleLeaderReplicas, d.LastKnownELR = brokerIDs(p.ELR), brokerIDs(p.LastKnownELR)
		t.Partitions = append(t.Partitions, d)
	}
	return t
}
