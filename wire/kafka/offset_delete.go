package kafka

import (
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var offsetDeleteShape = shape{
	flexible: math.MaxInt16,
	fields:   []field{str(), list(str(), list(bytesOf(4)))},
}

func (c *conn) offsetDelete(q *kmsg.OffsetDeleteRequest) kmsg.Response {
	asked := &wire.DeleteOffsets{Group: wire.GroupID(q.Group)}
	for i := range q.Topics {
		topic := wire.NamedPartitions{Topic: q.Topics[i].Topic}
		for _, p := range q.Topics[i].Partitions {
			topic.Partitions = append(topic.Partitions, p.Partition)
		}
		asked.Topics = append(asked.Topics, topic)
	}
	ctx, cancel := c.context(groupMillis)
	defer cancel()
	deleted, err := ask[wire.CommittedOffsets](ctx, c, asked)
	a := kmsg.NewPtrOffsetDeleteResponse()
	if a.ErrorCode = c.code(err); err != nil {
		return a
	}
	slot := 0
	for i := range q.Topics {
		t := kmsg.NewOffsetDeleteResponseTopic()
		t.Topic = q.Topics[i].Topic
		for j := range q.Topics[i].Partitions {
			p := kmsg.NewOffsetDeleteResponseTopicPartition()
			p.Partition, p.ErrorCode = q.Topics[i].Partitions[j].Partition, c.code(outcome(deleted.Errs, slot))
			t.Partitions = append(t.Partitions, p)
			slot++
		}
		a.Topics = append(a.Topics, t)
	}
	return a
}
