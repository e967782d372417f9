package actors

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// This file is what operators ask of a cluster, by way of any broker.

// describeTime is how long the controller's broker is waited for before this one tells what it
// knows itself.
const describeTime = 2 * time.Second

// DescribeCluster describes the brokers and who keeps the metadata log. Who leads that knows most about it, and
// is asked.
func (b *Broker) DescribeCluster(ctx context.Context) wire.ClusterDescription {
	image := b.image.Load()
	controller, ok := image.Registration(image.Controller())
	if ok && controller.ID != b.cfg.ID {
		ctx, cancel := context.WithTimeout(ctx, describeTime)
		defer cancel()
		var described wire.ClusterDescription
		to := owner{controller.ID, controller.Incarnation}
		if b.Forwarding().askAndWait(ctx, to, wire.KindDescribeCluster, &wire.Empty{}, &described) == nil {
			return described
		}
	}
	return b.Cluster()
}

// Cluster describes the cluster as this broker knows it, without asking anybody.
func (b *Broker) Cluster() wire.ClusterDescription {
	image := b.image.Load()
	described := wire.ClusterDescription{
		ClusterID: image.ClusterID(), Quorum: wire.Quorum{Leader: image.Controller()},
	}
	if q := b.quorum.Load(); q != nil {
		described.Quorum = *q
	}
	for _, one := range image.Brokers() {
		r, ok := image.Registration(one.ID)
		if !ok {
			continue
		}
		described.Brokers = append(described.Brokers, wire.ClusterBroker{
			Broker: one, ClusterAddress: r.ClusterAddress, Epoch: r.Epoch, Incarnation: r.Incarnation, Standing: standingOf(&r),
		})
	}
	return described
}

func standingOf(r *metadata.Registration) wire.BrokerStanding {
	switch {
	case r.Fenced:
		return wire.BrokerFenced
	case r.ShuttingDown:
		return wire.BrokerShuttingDown
	case r.Draining:
		return wire.BrokerDraining
	}
	return wire.BrokerOnline
}

// ClusterHealth says how the cluster is, and how many brokers it may lose.
func (b *Broker) ClusterHealth(ctx context.Context) wire.ClusterHealth {
	described := b.DescribeCluster(ctx)
	for range quorumLooks { // a broker that has just begun is about to hear who votes
		if len(described.Quorum.Voters) > 0 {
			break
		}
		timer := time.NewTimer(quorumLookInterval)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		described = b.DescribeCluster(ctx)
	}
	return healthOf(b.image.Load(), &described.Quorum)
}

const (
	quorumLooks        = 20
	quorumLookInterval = 50 * time.Millisecond
)

// ElectLeaders has partitions led by their preferred replica, or by anyone who is left.
func (b *Broker) ElectLeaders(ctx context.Context, req wire.ElectLeaders) ([]wire.PartitionOutcome, error) {
	return outcomesOf(b.ask(ctx, metadata.ElectLeaders(req)))
}

// AlterReassignments begins and cancels reassignments.
func (b *Broker) AlterReassignments(ctx context.Context, req wire.AlterReassignments) ([]wire.PartitionOutcome, error) {
	return outcomesOf(b.ask(ctx, metadata.AlterReassignments(req)))
}

func outcomesOf(reply any, err error) ([]wire.PartitionOutcome, error) {
	if err != nil {
		return nil, err
	}
	switch reply := reply.(type) {
	case []wire.PartitionOutcome:
		return reply, nil
	case error:
		return nil, reply
	}
	return nil, wire.UnknownServerError
}

// RemoveBroker takes another step in removing a broker.
func (b *Broker) RemoveBroker(ctx context.Context, req wire.RemoveBroker) (wire.RemovedBroker, error) {
	reply, err := b.ask(ctx, metadata.RemoveBroker{Broker: req.Broker, Cancel: req.Cancel})
	if err != nil {
		return wire.RemovedBroker{}, err
	}
	removed, ok := reply.(metadata.RemovedBroker)
	if !ok {
		return wire.RemovedBroker{}, wire.UnknownServerError
	}
	return wire.RemovedBroker{Left: removed.Left, Moving: removed.Moving, Done: removed.Done}, removed.Err
}

// Kill ends an actor of this broker, for those who try out what happens then: "controller",
// "replica/<topic>/<partition>" or "group/<group id>"; by "panic" or "stop".
func (b *Broker) Kill(name, how string) error {
	pid, err := b.victim(name)
	if err != nil {
		return err
	}
	switch how {
	case "panic":
		b.root.Send(pid, &killActor{})
	case "stop":
		b.root.Stop(pid)
	default:
		return wire.Errorf(wire.InvalidRequest, `actors are killed by "panic" or "stop", not by %q`, how)
	}
	b.logger.Warn("actor killed on request", "actor", name, "how", how)
	return nil
}

func (b *Broker) victim(name string) (*actor.PID, error) {
	if name == controllerName {
		if _, pid := b.controller.present(); pid != nil {
			return pid, nil
		}
		return nil, wire.Errorf(wire.ResourceNotFound, "there is no controller on broker %d at the moment", b.cfg.ID)
	}
	if id, is := strings.CutPrefix(name, "group/"); is {
		return b.coordinatorOf(wire.GroupID(id))
	}
	topic, partition, ok := replicaNamed(name)
	if !ok {
		return nil, wire.Errorf(wire.InvalidRequest,
			`actors that can be killed are "controller", "replica/<topic>/<partition>" and "group/<group id>", not %.300q`, name)
	}
	described, known := b.View().Topic(topic)
	if !known {
		return nil, wire.Errorf(wire.UnknownTopicOrPartition, "there is no topic %.300q", topic)
	}
	if part := b.routes.find(described.ID, partition); part != nil {
		if pid := part.actor.Load(); pid != nil {
			return pid, nil
		}
	}
	return nil, wire.Errorf(wire.ResourceNotFound, "broker %d has no replica of %s/%d at the moment", b.cfg.ID, topic, partition)
}

func replicaNamed(name string) (topic string, partition int32, ok bool) {
	rest, is := strings.CutPrefix(name, "replica/")
	at := strings.LastIndexByte(rest, '/')
	if !is || at < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseInt(rest[at+1:], 10, 32)
	return rest[:at], int32(n), err == nil && n >= 0
}
