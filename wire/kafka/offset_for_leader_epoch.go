package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var offsetForLeaderEpochShape = shape{
	flexible: 4,
	fields: []field{
		bytesOf(4).from(3), // replica id
		list(
			str(),
			list(bytesOf(4), bytesOf(4), bytesOf(4)), // partition, current leader epoch, leader epoch
		),
	},
}

func (c *conn) offsetForLeaderEpoch(q *kmsg.OffsetForLeaderEpochRequest) kmsg.Response {
	a := kmsg.NewPtrOffsetForLeaderEpochResponse()
	view := c.server.backend.View()
	for i := range q.Topics {
		t := &q.Topics[i]
		topic := kmsg.NewOffsetForLeaderEpochResponseTopic()
		topic.Topic = t.Topic
		for j := range t.Partitions {
			asked := &t.Partitions[j]
			reply := c.epochEnd(view, t.Topic, asked)
			p := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			p.Partition, p.ErrorCode = asked.Partition, c.code(reply.Err)
			p.LeaderEpoch, p.EndOffset = int32(wire.NoEpoch), int64(wire.NoOffset)
			if reply.Err == nil {
				p.LeaderEpoch, p.EndOffset = int32(reply.End.LeaderEpoch), int64(reply.End.EndOffset)
			}
			topic.Partitions = append(topic.Partitions, p)
		}
		a.Topics = append(a.Topics, topic)
	}
	return a
}

func (c *conn) epochEnd(view wire.View, name string, asked *kmsg.OffsetForLeaderEpochRequestTopicPartition) wire.OffsetForEpochReply {
	topic, err := partitionOf(view, name, asked.Partition)
	if err != nil {
		return wire.OffsetForEpochReply{Err: err}
	}
	return c.server.backend.OffsetForEpoch(&wire.OffsetForEpoch{
		Topic: topic.ID, Partition: asked.Partition,
		CurrentEpoch: wire.LeaderEpoch(asked.CurrentLeaderEpoch), LeaderEpoch: wire.LeaderEpoch(asked.LeaderEpoch),
	})
}
