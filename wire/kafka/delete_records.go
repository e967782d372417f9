package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var deleteRecordsShape = shape{
	flexible: 2,
	fields: []field{
		list(str(), list(bytesOf(4), bytesOf(8))), // partition, offset
		bytesOf(4), // timeout
	},
}

func (c *conn) deleteRecords(q *kmsg.DeleteRecordsRequest) kmsg.Response {
	a := kmsg.NewPtrDeleteRecordsResponse()
	view := c.server.backend.View()
	ctx, cancel := c.context(q.TimeoutMillis)
	defer cancel()
	for i := range q.Topics {
		t := &q.Topics[i]
		topic := kmsg.NewDeleteRecordsResponseTopic()
		topic.Topic = t.Topic
		for j := range t.Partitions {
			logStart, err := c.deleteBefore(ctx, view, t.Topic, &t.Partitions[j])
			p := kmsg.NewDeleteRecordsResponseTopicPartition()
			p.Partition, p.ErrorCode, p.LowWatermark = t.Partitions[j].Partition, c.code(err), int64(logStart)
			topic.Partitions = append(topic.Partitions, p)
		}
		a.Topics = append(a.Topics, topic)
	}
	return a
}

func (c *conn) deleteBefore(ctx context.Context, view wire.View, name string, asked *kmsg.DeleteRecordsRequestTopicPartition) (wire.Offset, error) {
	topic, err := partitionOf(view, name, asked.Partition)
	switch {
	case err != nil:
		return wire.NoOffset, err
	case topic.Internal:
		return wire.NoOffset, wire.InvalidTopic
	case asked.Offset < int64(wire.NoOffset):
		return wire.NoOffset, wire.OffsetOutOfRange
	}
	logStart, err := c.server.backend.DeleteRecords(ctx, &wire.DeleteRecords{
		Topic: topic.ID, Partition: asked.Partition, Before: wire.Offset(asked.Offset),
	})
	if err != nil {
		return wire.NoOffset, err
	}
	return logStart, nil
}
