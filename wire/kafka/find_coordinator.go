package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var findCoordinatorShape = shape{
	flexible: 3,
	fields: []field{
		str().upTo(3),
		bytesOf(1).from(1), // type of the keys
		listOf(str()).from(4),
	},
}

// coordinatorsBatched is the version from which several coordinators are found at once (KIP-699).
const coordinatorsBatched = 4

// The kinds of names that have coordinators.
const (
	groupCoordinator       = 0
	transactionCoordinator = 1
)

func (c *conn) findCoordinator(q *kmsg.FindCoordinatorRequest) kmsg.Response {
	ctx, cancel := c.context(groupMillis)
	defer cancel()
	a := kmsg.NewPtrFindCoordinatorResponse()
	if q.Version >= coordinatorsBatched {
		for _, key := range q.CoordinatorKeys {
			a.Coordinators = append(a.Coordinators, c.coordinator(ctx, q.CoordinatorType, key))
		}
		return a
	}
	found := c.coordinator(ctx, q.CoordinatorType, q.CoordinatorKey)
	a.ErrorCode, a.ErrorMessage = found.ErrorCode, found.ErrorMessage
	a.NodeID, a.Host, a.Port = found.NodeID, found.Host, found.Port
	return a
}

func (c *conn) coordinator(ctx context.Context, kind int8, key string) kmsg.FindCoordinatorResponseCoordinator {
	found := kmsg.NewFindCoordinatorResponseCoordinator()
	found.Key = key
	broker, err := c.findBroker(ctx, kind, key)
	if err != nil {
		found.ErrorCode, found.ErrorMessage = c.codeAndMessage(err)
		found.NodeID, found.Port = int32(wire.NoBroker), -1
		return found
	}
	found.NodeID, found.Host, found.Port = int32(broker.ID), broker.Host, broker.Port
	return found
}

func (c *conn) findBroker(ctx context.Context, kind int8, key string) (wire.Broker, error) {
	switch kind {
	case groupCoordinator:
	case transactionCoordinator:
		// Kafka: it has transactions. To say that the coordinator is not available would have producers
		// ask again until their patience ends.
		c.refuse(badTransactional, errTransactional)
		return wire.Broker{}, errTransactional
	default: // share groups among them
		return wire.Broker{}, wire.Errorf(wire.InvalidRequest, "there are no coordinators of type %d", kind)
	}
	id, err := c.server.backend.FindCoordinator(ctx, wire.GroupID(key))
	if err != nil {
		return wire.Broker{}, coordinatorError(err)
	}
	for _, b := range c.server.backend.View().Brokers() {
		if b.ID == id && !b.Fenced {
			return b, nil
		}
	}
	return wire.Broker{}, wire.Errorf(wire.CoordinatorNotAvailable, "broker %d, which coordinates the group, is not there", id)
}
