package kafka

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var electLeadersShape = shape{
	flexible: 2,
	fields: []field{
		bytesOf(1).from(1),              // election type
		list(str(), listOf(bytesOf(4))), // partitions
		bytesOf(4),                      // timeout
	},
}

// The elections that a client may ask for (KIP-460).
const (
	preferredElection = 0
	uncleanElection   = 1
)

func (c *conn) electLeaders(q *kmsg.ElectLeadersRequest) kmsg.Response {
	a := kmsg.NewPtrElectLeadersResponse()
	if q.ElectionType != preferredElection && q.ElectionType != uncleanElection {
		a.ErrorCode = c.code(wire.Errorf(wire.InvalidRequest, "election type %d is not known", q.ElectionType))
		return a
	}
	asked := wire.ElectLeaders{Unclean: q.ElectionType == uncleanElection}
	all := q.Topics == nil
	if !all {
		asked.Partitions = []wire.TopicNamePartition{}
	}
	for i := range q.Topics {
		for _, partition := range q.Topics[i].Partitions {
			asked.Partitions = append(asked.Partitions, wire.TopicNamePartition{Topic: q.Topics[i].Topic, Partition: partition})
		}
	}
	ctx, cancel := c.context(q.TimeoutMillis)
	defer cancel()
	outcomes, err := c.server.backend.ElectLeaders(ctx, asked)
	if err != nil {
		a.ErrorCode = c.code(err)
		if q.Version > 0 {
			return a
		}
		outcomes = make([]wire.PartitionOutcome, 0, len(asked.Partitions)) // there is no other place to say it
		for _, p := range asked.Partitions {
			outcomes = append(outcomes, wire.PartitionOutcome{Topic: p.Topic, Partition: p.Partition, Err: err})
		}
	}
	for _, outcome := range outcomes {
		// Kafka: who asks for all hears only of those that were elected, or could not be.
		if all && errors.Is(outcome.Err, wire.ElectionNotNeeded) {
			continue
		}
		p := kmsg.NewElectLeadersResponseTopicPartition()
		p.Partition = outcome.Partition
		p.ErrorCode, p.ErrorMessage = c.codeAndMessage(outcome.Err)
		n := len(a.Topics)
		if n == 0 || a.Topics[n-1].Topic != outcome.Topic {
			t := kmsg.NewElectLeadersResponseTopic()
			t.Topic = outcome.Topic
			a.Topics, n = append(a.Topics, t), n+1
		}
		a.Topics[n-1].Partitions = append(a.Topics[n-1].Partitions, p)
	}
	return a
}
