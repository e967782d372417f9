package kafka

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var listPartitionReassignmentsShape = shape{
	flexible: 0,
	fields: []field{
		bytesOf(4),                      // timeout
		list(str(), listOf(bytesOf(4))), // partitions
	},
}

// listPartitionReassignments shows what is under way, of the partitions that are named or of all. One
// that is not being reassigned is left out, and so is one that does not exist, as Kafka does.
func (c *conn) listPartitionReassignments(q *kmsg.ListPartitionReassignmentsRequest) kmsg.Response {
	a := kmsg.NewPtrListPartitionReassignmentsResponse()
	view := c.server.backend.View()
	if q.Topics == nil {
		for _, name := range view.TopicNames() {
			if topic, ok := view.Topic(name); ok {
				a.Topics = appendReassigned(a.Topics, view, &topic, partitionsOf(&topic))
			}
		}
		return a
	}
	for i := range q.Topics {
		if topic, ok := view.Topic(q.Topics[i].Topic); ok {
			numbers := slices.Clone(q.Topics[i].Partitions)
			slices.Sort(numbers)
			a.Topics = appendReassigned(a.Topics, view, &topic, slices.Compact(numbers))
		}
	}
	return a
}

func partitionsOf(topic *wire.Topic) []int32 {
	numbers := make([]int32, topic.Partitions)
	for i := range numbers {
		numbers[i] = int32(i)
	}
	return numbers
}

// appendReassigned appends those partitions of a topic that are being reassigned.
func appendReassigned(list []kmsg.ListPartitionReassignmentsResponseTopic, view wire.View, topic *wire.Topic, numbers []int32) []kmsg.ListPartitionReassignmentsResponseTopic {
	t := kmsg.NewListPartitionReassignmentsResponseTopic()
	t.Topic = topic.Name
	for _, number := range numbers {
		state, ok := view.Partition(topic.ID, number)
		if !ok || len(state.Adding)+len(state.Removing) == 0 {
			continue
		}
		p := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
		p.Partition = number
		p.Replicas, p.AddingReplicas, p.RemovingReplicas = brokerIDs(state.Replicas), brokerIDs(state.Adding), brokerIDs(state.Removing)
		t.Partitions = append(t.Partitions, p)
	}
	if len(t.Partitions) == 0 {
		return list
	}
	return append(list, t)
}
