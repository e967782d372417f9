package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var alterPartitionReassignmentsShape = shape{
	flexible: 0,
	fields: []field{
		bytesOf(4),         // timeout
		bytesOf(1).from(1), // whether the number of replicas may change
		list(
			str(),
			list(bytesOf(4), listOf(bytesOf(4))), // partition, replicas
		),
	},
}

// alterPartitionReassignments gives partitions other replicas, or with null takes that back (KIP-455).
func (c *conn) alterPartitionReassignments(q *kmsg.AlterPartitionAssignmentsRequest) kmsg.Response {
	asked := wire.AlterReassignments{SameFactor: q.Version >= 1 && !q.AllowReplicationFactorChange}
	for i := range q.Topics {
		t := &q.Topics[i]
		for j := range t.Partitions {
			r := wire.Reassignment{Topic: t.Topic, Partition: t.Partitions[j].Partition}
			if t.Partitions[j].Replicas != nil {
				r.Replicas = replicas(t.Partitions[j].Replicas)
			}
			asked.Partitions = append(asked.Partitions, r)
		}
	}
	a := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	ctx, cancel := c.context(q.TimeoutMillis)
	defer cancel()
	outcomes, err := c.server.backend.AlterReassignments(ctx, asked)
	if err == nil && len(outcomes) != len(asked.Partitions) {
		err = wire.UnknownServerError
	}
	if err != nil {
		a.ErrorCode, a.ErrorMessage = c.codeAndMessage(err)
		return a
	}
	for i := range q.Topics {
		t := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		t.Topic = q.Topics[i].Topic
		for range q.Topics[i].Partitions {
			p := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			p.Partition = outcomes[0].Partition
			p.ErrorCode, p.ErrorMessage = c.codeAndMessage(outcomes[0].Err)
			outcomes = outcomes[1:]
			t.Partitions = append(t.Partitions, p)
		}
		a.Topics = append(a.Topics, t)
	}
	return a
}
