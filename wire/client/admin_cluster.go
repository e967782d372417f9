package client

import (
	"context"
	"fmt"

	"github.com/troupe-mq/troupe/wire"
)

// Cluster describes the cluster.
type Cluster struct {
	ID         string
	Controller int32 // -1 while there is none
	Brokers    []Broker
	Voters     []Voter // those who decide on the metadata
	Learners   []Voter // those who stand by to be voters
}

// Broker is a broker as an operator needs to know it.
type Broker = wire.ClusterBroker

// Voter is a broker's copy of the metadata log.
type Voter = wire.QuorumMember

// Health says how a cluster is, and what it can bear.
type Health = wire.ClusterHealth

// PartitionName names a partition.
type PartitionName = wire.TopicNamePartition

// PartitionOutcome is what became of a request for one partition.
type PartitionOutcome = wire.PartitionOutcome

// Reassignment gives a partition other replicas, the preferred leader first; without any it takes back
// the one that is under way.
type Reassignment = wire.Reassignment

// Removal tells how far the removal of a broker is.
type Removal = wire.RemovedBroker

// Reach asks whether any broker answers.
func (cl *Client) Reach(ctx context.Context) error {
	return cl.askPatiently(ctx, wire.KindMetadata, &wire.MetadataRequest{}, new(wire.MetadataReply))
}

// DescribeCluster describes the brokers and who decides on the metadata.
func (cl *Client) DescribeCluster(ctx context.Context) (Cluster, error) {
	var reply wire.ClusterDescription
	if err := cl.askPatiently(ctx, wire.KindDescribeCluster, &wire.Empty{}, &reply); err != nil {
		return Cluster{}, fmt.Errorf("describe the cluster: %w", err)
	}
	return Cluster{
		ID: reply.ClusterID, Controller: int32(reply.Quorum.Leader), Brokers: reply.Brokers,
		Voters: reply.Quorum.Voters, Learners: reply.Quorum.Learners,
	}, nil
}

// ClusterHealth says how the cluster is, and how many brokers it may lose.
func (cl *Client) ClusterHealth(ctx context.Context) (Health, error) {
	var reply wire.ClusterHealth
	if err := cl.askPatiently(ctx, wire.KindClusterHealth, &wire.Empty{}, &reply); err != nil {
		return Health{}, fmt.Errorf("ask for the cluster's health: %w", err)
	}
	return reply, nil
}

// ElectLeaders has partitions led by their preferred replica, the first one. With unclean, those
// without a leader get any replica that lives instead, and lose what only the others had. Without
// partitions it is for all. Each partition has its own outcome.
func (cl *Client) ElectLeaders(ctx context.Context, unclean bool, partitions ...PartitionName) ([]PartitionOutcome, error) {
	var reply wire.PartitionOutcomes
	if err := cl.askPatiently(ctx, wire.KindElectLeaders, &wire.ElectLeaders{Unclean: unclean, Partitions: partitions}, &reply); err != nil {
		return nil, fmt.Errorf("elect leaders: %w", err)
	}
	return reply.Partitions, nil
}

// Reassign begins or cancels reassignments. Each has its own outcome, in the order asked, and goes on
// by itself: Reassignments shows what is left of them.
func (cl *Client) Reassign(ctx context.Context, reassignments ...Reassignment) ([]PartitionOutcome, error) {
	var reply wire.PartitionOutcomes
	err := cl.askPatiently(ctx, wire.KindAlterReassignments, &wire.AlterReassignments{Partitions: reassignments}, &reply)
	if err == nil && len(reply.Partitions) != len(reassignments) {
		err = errAnswerCount
	}
	if err != nil {
		return nil, fmt.Errorf("reassign partitions: %w", err)
	}
	return reply.Partitions, nil
}

// Reassignments returns the partitions that are being reassigned, by topic.
func (cl *Client) Reassignments(ctx context.Context) (map[string][]PartitionInfo, error) {
	topics, err := cl.DescribeTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list reassignments: %w", err)
	}
	underWay := make(map[string][]PartitionInfo)
	for i := range topics {
		for _, p := range topics[i].Partitions {
			if len(p.Adding)+len(p.Removing) > 0 {
				underWay[topics[i].Name] = append(underWay[topics[i].Name], p)
			}
		}
	}
	return underWay, nil
}

// RemoveBroker takes a broker out of the cluster for good. It must be called until it is done: each time
// some more of the broker's replicas begin their way to others.
func (cl *Client) RemoveBroker(ctx context.Context, id int32) (Removal, error) {
	return cl.removeBroker(ctx, id, false)
}

// KeepBroker takes RemoveBroker back. What is on its way to other brokers goes on.
func (cl *Client) KeepBroker(ctx context.Context, id int32) error {
	_, err := cl.removeBroker(ctx, id, true)
	return err
}

func (cl *Client) removeBroker(ctx context.Context, id int32, cancel bool) (Removal, error) {
	var reply wire.RemovedBroker
	err := cl.askPatiently(ctx, wire.KindRemoveBroker, &wire.RemoveBroker{Broker: wire.BrokerID(id), Cancel: cancel}, &reply)
	if err != nil {
		return Removal{}, fmt.Errorf("remove broker %d: %w", id, err)
	}
	return reply, nil
}
