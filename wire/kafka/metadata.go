package kafka

import (
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

// metadataTopicIDs is the version from which a topic may be asked for by its id.
const metadataTopicIDs = 12

var metadataShape = shape{
	flexible: 9,
	fields: []field{
		list(bytesOf(16).from(10), str().upTo(9), nullableStr().from(10)),
		bytesOf(1).from(4),          // allow auto-creation
		bytesOf(1).from(8).upTo(10), // cluster's authorized operations
		bytesOf(1).from(8),          // topics' authorized operations
	},
}

// notAsked stands where a client might read what it may do: there is no authorizer.
const notAsked = -1 << 31

func (c *conn) metadata(q *kmsg.MetadataRequest) kmsg.Response {
	view := c.server.backend.View()
	a := kmsg.NewPtrMetadataResponse()
	var created map[string]error
	if q.Version < 4 || q.AllowAutoTopicCreation {
		if missing := missingTopics(view, q); len(missing) > 0 {
			created = c.autoCreate(missing)
			view = c.server.backend.View()
		}
	}
	for _, b := range view.Brokers() {
		if b.Fenced {
			continue
		}
		broker := kmsg.NewMetadataResponseBroker()
		broker.NodeID, broker.Host, broker.Port, broker.Rack = int32(b.ID), b.Host, b.Port, optional(b.Rack)
		a.Brokers = append(a.Brokers, broker)
	}
	a.ClusterID = kmsg.StringPtr(view.ClusterID())
	a.ControllerID = int32(c.controller(view))
	a.AuthorizedOperations = notAsked
	if q.Topics == nil || q.Version == 0 && len(q.Topics) == 0 {
		for _, name := range view.TopicNames() {
			if topic, ok := view.Topic(name); ok {
				a.Topics = append(a.Topics, metadataTopic(view, &topic))
			}
		}
		return a
	}
	for i := range q.Topics {
		a.Topics = append(a.Topics, c.askedTopic(view, &q.Topics[i], q.Version, created))
	}
	return a
}

// controller returns the broker that a client should send administrative requests to. While the
// controller is not known, or was not heard of for a while, it is this one: each broker has the controller do
// what it is asked, and some clients give up without one.
func (c *conn) controller(view wire.View) wire.BrokerID {
	controller := view.Controller()
	for _, b := range view.Brokers() {
		if b.ID == controller && !b.Fenced {
			return controller
		}
	}
	return c.server.backend.Self()
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// missingTopics returns the names asked for that are valid and do not exist.
func missingTopics(view wire.View, q *kmsg.MetadataRequest) []string {
	var missing []string
	for i := range q.Topics {
		name := q.Topics[i].Topic
		if name == nil || !validTopicName(*name) || !wire.TopicID(q.Topics[i].TopicID).IsZero() {
			continue
		}
		if _, ok := view.Topic(*name); !ok {
			missing = append(missing, *name)
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// autoCreateMillis is how long a client that asks for metadata waits for topics to be created.
const autoCreateMillis = 10_000

// autoCreate returns what became of each name.
func (c *conn) autoCreate(names []string) map[string]error {
	ctx, cancel := c.context(autoCreateMillis)
	defer cancel()
	results := make(map[string]error, len(names))
	for _, t := range c.server.backend.AutoCreateTopics(ctx, names) {
		results[t.Name] = t.Err
	}
	return results
}

// askedTopic answers for one topic that was asked for by name or by id.
func (c *conn) askedTopic(view wire.View, q *kmsg.MetadataRequestTopic, version int16, created map[string]error) kmsg.MetadataResponseTopic {
	failed := kmsg.NewMetadataResponseTopic()
	failed.Topic, failed.TopicID, failed.AuthorizedOperations = q.Topic, q.TopicID, notAsked
	byID := wire.TopicID(q.TopicID)
	switch {
	case q.Topic == nil && version < metadataTopicIDs, !byID.IsZero() && version < metadataTopicIDs, q.Topic == nil && byID.IsZero():
		failed.ErrorCode = c.code(wire.InvalidRequest)
		return failed
	case !byID.IsZero(): // beside which a name says nothing: the Java client sends an empty one
		topic, ok := view.TopicByID(byID)
		if !ok {
			failed.Topic, failed.ErrorCode = nil, c.code(wire.UnknownTopicID)
			return failed
		}
		return metadataTopic(view, &topic)
	}
	if topic, ok := view.Topic(*q.Topic); ok {
		return metadataTopic(view, &topic)
	}
	failed.TopicID = wire.TopicID{}
	failed.ErrorCode = c.code(missingTopic(*q.Topic, created))
	return failed
}

// missingTopic says why a topic is not there; created holds those that were to be created.
func missingTopic(name string, created map[string]error) error {
	if !validTopicName(name) {
		return wire.InvalidTopic
	}
	err, tried := created[name]
	switch {
	case !tried:
		return wire.UnknownTopicOrPartition
	case err == nil, errors.Is(err, wire.TopicAlreadyExists):
		return wire.LeaderNotAvailable // this broker has not seen it yet
	}
	return err
}

func metadataTopic(view wire.View, topic *wire.Topic) kmsg.MetadataResponseTopic {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID, t.IsInternal, t.AuthorizedOperations = &topic.Name, topic.ID, topic.Internal, notAsked
	t.Partitions = make([]kmsg.MetadataResponseTopicPartition, topic.Partitions)
	for i := range t.Partitions {
		part := &t.Partitions[i]
		part.Partition = int32(i)
		p, ok := view.Partition(topic.ID, int32(i))
		if !ok {
			p = wire.Partition{Leader: wire.NoBroker, LeaderEpoch: wire.NoEpoch}
		}
		if p.Leader == wire.NoBroker {
			part.ErrorCode = int16(wire.LeaderNotAvailable)
		}
		part.Leader, part.LeaderEpoch = int32(p.Leader), int32(p.LeaderEpoch)
		part.Replicas, part.ISR, part.OfflineReplicas = brokerIDs(p.Replicas), brokerIDs(p.ISR), brokerIDs(p.Offline)
	}
	return t
}

func brokerIDs(ids []wire.BrokerID) []int32 {
	numbers := make([]int32, len(ids))
	for i, id := range ids {
		numbers[i] = int32(id)
	}
	return numbers
}

const maxTopicName = 249

// validTopicName follows Kafka's rule.
func validTopicName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > maxTopicName {
		return false
	}
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
		default:
			return false
		}
	}
	return true
}
