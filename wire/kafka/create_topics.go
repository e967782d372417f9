package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var createTopicsShape = shape{
	flexible: 5,
	fields: []field{
		list(
			str(),
			bytesOf(4),                           // partitions
			bytesOf(2),                           // replication factor
			list(bytesOf(4), listOf(bytesOf(4))), // assignment: partition, replicas
			list(str(), nullableStr()),           // configs
		),
		bytesOf(4), // timeout
		bytesOf(1), // validate only
	},
}

func (c *conn) createTopics(q *kmsg.CreateTopicsRequest) kmsg.Response {
	names := duplicates{}
	for i := range q.Topics {
		names.add(q.Topics[i].Topic, 0)
	}
	var asked []wire.NewTopic
	results := make([]wire.CreatedTopic, len(q.Topics)) // those refused here, and later the others
	places := make([]int, 0, len(q.Topics))             // of asked in results
	for i := range q.Topics {
		t := &q.Topics[i]
		topic, err := newTopic(t)
		if names.has(t.Topic, 0) {
			err = wire.Errorf(wire.InvalidRequest, "the request names topic %q twice", t.Topic)
		}
		if err != nil {
			results[i] = wire.CreatedTopic{Name: t.Topic, Err: err}
			continue
		}
		asked, places = append(asked, topic), append(places, i)
	}
	if len(asked) > 0 {
		ctx, cancel := c.context(q.TimeoutMillis)
		defer cancel()
		for i, created := range c.server.backend.CreateTopics(ctx, asked, q.ValidateOnly) {
			results[places[i]] = created
		}
	}
	a := kmsg.NewPtrCreateTopicsResponse()
	for i := range results {
		a.Topics = append(a.Topics, c.createdTopic(&results[i]))
	}
	return a
}

// newTopic reads one topic of the request.
func newTopic(t *kmsg.CreateTopicsRequestTopic) (wire.NewTopic, error) {
	topic := wire.NewTopic{Name: t.Topic, Partitions: t.NumPartitions, ReplicationFactor: t.ReplicationFactor}
	if !validTopicName(t.Topic) {
		return topic, wire.Errorf(wire.InvalidTopic,
			"topic name %q: want 1 to %d of the letters a-z, A-Z, the digits, '.', '_' and '-', and neither \".\" nor \"..\"",
			t.Topic, maxTopicName)
	}
	if len(t.ReplicaAssignment) > 0 {
		if t.NumPartitions != -1 || t.ReplicationFactor != -1 {
			return topic, wire.Errorf(wire.InvalidRequest,
				"with a replica assignment, the number of partitions and the replication factor must be -1")
		}
		topic.Assignment = make([][]wire.BrokerID, len(t.ReplicaAssignment))
		for _, assigned := range t.ReplicaAssignment {
			i := int(assigned.Partition)
			if i < 0 || i >= len(topic.Assignment) || topic.Assignment[i] != nil || len(assigned.Replicas) == 0 {
				return topic, wire.Errorf(wire.InvalidReplicaAssignment,
					"the replica assignment must give each partition from 0 to %d its replicas once", len(topic.Assignment)-1)
			}
			topic.Assignment[i] = replicas(assigned.Replicas)
		}
	}
	for _, config := range t.Configs {
		topic.Configs = append(topic.Configs, wire.ConfigValue{Name: config.Name, Value: config.Value})
	}
	return topic, nil
}

func replicas(numbers []int32) []wire.BrokerID {
	ids := make([]wire.BrokerID, len(numbers))
	for i, n := range numbers {
		ids[i] = wire.BrokerID(n)
	}
	return ids
}

func (c *conn) createdTopic(created *wire.CreatedTopic) kmsg.CreateTopicsResponseTopic {
	t := kmsg.NewCreateTopicsResponseTopic()
	t.Topic = created.Name
	t.ErrorCode, t.ErrorMessage = c.codeAndMessage(created.Err)
	t.NumPartitions, t.ReplicationFactor = -1, -1
	if created.Err != nil {
		return t
	}
	t.TopicID, t.NumPartitions, t.ReplicationFactor = created.ID, created.Partitions, created.ReplicationFactor
	for _, entry := range created.Configs {
		config := kmsg.NewCreateTopicsResponseTopicConfig()
		config.Name, config.Value, config.ReadOnly = entry.Name, entry.Value, entry.ReadOnly
		config.Source, config.IsSensitive = int8(entry.Source), entry.Sensitive
		t.Configs = append(t.Configs, config)
	}
	return t
}
