package nativetest

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/troupe-mq/troupe/wire"
)

// DescribeCluster describes every broker; all of them vote.
func (b *Broker) DescribeCluster(context.Context) wire.ClusterDescription {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	described := wire.ClusterDescription{ClusterID: c.ClusterID(), Quorum: wire.Quorum{Leader: 1, Term: 1, Committed: 1}}
	for _, one := range c.brokers {
		standing := wire.BrokerOnline
		if one.Fenced {
			standing = wire.BrokerFenced
		}
		described.Brokers = append(described.Brokers, wire.ClusterBroker{
			Broker: one, ClusterAddress: fmt.Sprintf("%s:%d", one.Host, one.Port+1), Epoch: uint64(one.ID), Standing: standing,
		})
		described.Quorum.Voters = append(described.Quorum.Voters, wire.QuorumMember{Broker: one.ID, RaftID: uint64(one.ID), Match: 1})
	}
	return described
}

// SetFenced fences a broker, or ends that.
func (b *Broker) SetFenced(fenced bool) {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	c.brokers = slices.Clone(c.brokers)
	for i := range c.brokers {
		if c.brokers[i].ID == b.id {
			c.brokers[i].Fenced = fenced
		}
	}
}

// ClusterHealth counts the brokers that are not fenced: all but one of them may die.
func (b *Broker) ClusterHealth(context.Context) wire.ClusterHealth {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	health := wire.ClusterHealth{Healthy: true, MayLose: -1}
	for _, one := range c.brokers {
		if one.Fenced {
			health.Healthy, health.UnderReplicated = false, health.UnderReplicated+1
			health.Reasons = append(health.Reasons, fmt.Sprintf("broker %d is fenced", one.ID))
		} else {
			health.MayLose++
		}
	}
	health.MayLose = max(health.MayLose, 0)
	return health
}

// ElectLeaders finds every partition led as it should be, and no other.
func (b *Broker) ElectLeaders(_ context.Context, req wire.ElectLeaders) ([]wire.PartitionOutcome, error) {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	var outcomes []wire.PartitionOutcome
	for _, p := range req.Partitions {
		err := error(wire.ElectionNotNeeded)
		if t := c.topics[p.Topic]; t == nil || p.Partition < 0 || int(p.Partition) >= len(t.partitions) {
			err = wire.UnknownTopicOrPartition
		}
		outcomes = append(outcomes, wire.PartitionOutcome{Topic: p.Topic, Partition: p.Partition, Err: err})
	}
	return outcomes, nil
}

// AlterReassignments begins a reassignment that lasts until FinishReassignments.
func (b *Broker) AlterReassignments(_ context.Context, req wire.AlterReassignments) ([]wire.PartitionOutcome, error) {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	var outcomes []wire.PartitionOutcome
	for _, r := range req.Partitions {
		outcome := wire.PartitionOutcome{Topic: r.Topic, Partition: r.Partition}
		t := c.topics[r.Topic]
		switch {
		case t == nil || r.Partition < 0 || int(r.Partition) >= len(t.partitions):
			outcome.Err = wire.UnknownTopicOrPartition
		case r.Replicas == nil && t.partitions[r.Partition].target == nil:
			outcome.Err = wire.NoReassignmentInProgress
		default:
			t.partitions[r.Partition].target = slices.Clone(r.Replicas)
		}
		outcomes = append(outcomes, outcome)
	}
	return outcomes, nil
}

// FinishReassignments gives every partition the replicas that were asked for.
func (b *Broker) FinishReassignments() {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.topics {
		for _, p := range t.partitions {
			if p.target != nil {
				p.replicas, p.target = p.target, nil
				p.leader = p.replicas[0]
				p.epoch++
			}
		}
	}
}

// RemoveBroker moves one partition away at a time, and then forgets the broker.
func (b *Broker) RemoveBroker(_ context.Context, req wire.RemoveBroker) (wire.RemovedBroker, error) {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.brokers, func(one wire.Broker) bool { return one.ID == req.Broker })
	var hosted []*partition
	for _, t := range c.topics {
		for _, p := range t.partitions {
			if slices.Contains(p.assigned(), req.Broker) {
				hosted = append(hosted, p)
			}
		}
	}
	switch {
	case i < 0:
		return wire.RemovedBroker{}, wire.Errorf(wire.BrokerIDNotRegistered, "broker %d is not registered", req.Broker)
	case len(c.brokers) == 1:
		return wire.RemovedBroker{}, wire.Errorf(wire.InvalidRequest, "broker %d is the last one", req.Broker)
	case req.Cancel:
		return wire.RemovedBroker{}, nil
	case len(hosted) > 0:
		to := c.brokers[(i+1)%len(c.brokers)].ID
		hosted[0].replicas, hosted[0].leader = []wire.BrokerID{to}, to
		hosted[0].epoch++
		return wire.RemovedBroker{Left: len(hosted), Moving: 1}, nil
	}
	c.brokers = slices.Delete(slices.Clone(c.brokers), i, i+1)
	return wire.RemovedBroker{Done: true}, nil
}

// assigned is where a partition lies: with its leader alone, unless it was reassigned.
func (p *partition) assigned() []wire.BrokerID {
	if p.replicas == nil {
		return []wire.BrokerID{p.leader}
	}
	return p.replicas
}

// state is the partition as metadata shows it.
func (p *partition) state() wire.Partition {
	s := wire.Partition{Leader: p.leader, LeaderEpoch: p.epoch, Replicas: p.assigned(), ISR: p.assigned()}
	for _, id := range p.target {
		if !slices.Contains(s.Replicas, id) {
			s.Adding = append(s.Adding, id)
		}
	}
	if p.target != nil {
		for _, id := range s.Replicas {
			if !slices.Contains(p.target, id) {
				s.Removing = append(s.Removing, id)
			}
		}
		s.Replicas = slices.Concat(s.Replicas, s.Adding)
	}
	return s
}

// DescribeGossipKeys has one key for all, named by how often it was rotated.
func (b *Broker) DescribeGossipKeys(context.Context) []wire.GossipKeys {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	var rings []wire.GossipKeys
	for _, one := range c.brokers {
		rings = append(rings, wire.GossipKeys{Broker: one.ID, Fingerprints: []string{strconv.Itoa(c.rotations)}})
	}
	return rings
}

// RotateGossipKey changes the key, unless a broker is fenced that is not to be left behind.
func (b *Broker) RotateGossipKey(ctx context.Context, req wire.RotateGossipKey) ([]wire.GossipKeys, error) {
	c := b.cluster
	c.mu.Lock()
	for _, one := range c.brokers {
		if one.Fenced && !req.Without {
			c.mu.Unlock()
			return nil, wire.Errorf(wire.BrokerNotAvailable, "broker %d is not online", one.ID)
		}
	}
	c.rotations++
	c.mu.Unlock()
	return b.DescribeGossipKeys(ctx), nil
}
