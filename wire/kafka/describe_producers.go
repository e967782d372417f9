package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var describeProducersShape = shape{
	flexible: 0,
	fields:   []field{list(str(), listOf(bytesOf(4)))},
}

// describeProducersMillis is how long a client waits; the request does not say.
const describeProducersMillis = 30_000

func (c *conn) describeProducers(q *kmsg.DescribeProducersRequest) kmsg.Response {
	a := kmsg.NewPtrDescribeProducersResponse()
	view := c.server.backend.View()
	ctx, cancel := c.context(describeProducersMillis)
	defer cancel()
	for i := range q.Topics {
		t := &q.Topics[i]
		described := kmsg.NewDescribeProducersResponseTopic()
		described.Topic = t.Topic
		for _, number := range t.Partitions {
			var states []wire.ProducerState
			topic, err := partitionOf(view, t.Topic, number)
			if err == nil {
				states, err = c.server.backend.Producers(ctx, topic.ID, number)
			}
			p := kmsg.NewDescribeProducersResponseTopicPartition()
			p.Partition = number
			p.ErrorCode, p.ErrorMessage = c.codeAndMessage(err)
			if err == nil {
				p.ActiveProducers = activeProducers(states)
			}
			described.Partitions = append(described.Partitions, p)
		}
		a.Topics = append(a.Topics, described)
	}
	return a
}

func activeProducers(states []wire.ProducerState) []kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
	active := make([]kmsg.DescribeProducersResponseTopicPartitionActiveProducer, len(states))
	for i, s := range states {
		active[i] = kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
		active[i].ProducerID, active[i].ProducerEpoch = int64(s.Producer), int32(s.Epoch)
		active[i].LastSequence, active[i].LastTimestamp = int32(s.LastSequence), s.LastTimestamp
		active[i].CoordinatorEpoch, active[i].CurrentTxnStartOffset = s.CoordinatorEpoch, int64(s.CurrentTxnStart)
	}
	return active
}
