package testbed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// View is what one broker says of the cluster. Brokers may differ: a paused one says nothing, one
// that was cut off says what was.
type View struct {
	Controller int32
	Brokers    []int32          // that it takes for alive
	Addresses  map[int32]string // of these, for clients
	Partitions []PartitionView
}

// PartitionView is a partition of the topic that was asked for.
type PartitionView struct {
	Leader   int32 // -1 without one
	Epoch    int32
	Replicas []int32
	ISR      []int32
}

// Whole says that the partition has a leader and all of its replicas are in sync.
func (p PartitionView) Whole() bool {
	return p.Leader >= 0 && len(p.ISR) == len(p.Replicas) && len(p.Replicas) > 0
}

// Whole says that every partition is, and that there are so many brokers.
func (v *View) Whole(brokers int) bool {
	return len(v.Brokers) == brokers && len(v.Partitions) > 0 &&
		!slices.ContainsFunc(v.Partitions, func(p PartitionView) bool { return !p.Whole() })
}

// Led are the partitions that a broker leads.
func (v *View) Led(broker int32) []int32 {
	var led []int32
	for i, p := range v.Partitions {
		if p.Leader == broker {
			led = append(led, int32(i))
		}
	}
	return led
}

// View asks this broker, over a connection that is kept and never another broker that it hears of,
// about the cluster and one topic. It may be called at any time.
func (m *Member) View(ctx context.Context, topic string) (*View, error) {
	client, err := m.ask()
	if err != nil {
		return nil, err
	}
	request := kmsg.NewPtrMetadataRequest()
	asked := kmsg.NewMetadataRequestTopic()
	asked.Topic = kmsg.StringPtr(topic)
	request.Topics = append(request.Topics, asked)
	answer, err := client.SeedBrokers()[0].Request(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("ask the broker at %s: %w", m.Kafka(), err)
	}
	return newView(answer.(*kmsg.MetadataResponse)), nil
}

// Voters asks this broker how many brokers keep the metadata log together.
func (m *Member) Voters(ctx context.Context) (int, error) {
	client, err := m.ask()
	if err != nil {
		return 0, err
	}
	partition := kmsg.NewDescribeQuorumRequestTopicPartition()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic, topic.Partitions = "__cluster_metadata", append(topic.Partitions, partition)
	request := kmsg.NewPtrDescribeQuorumRequest()
	request.Topics = append(request.Topics, topic)
	response, err := client.SeedBrokers()[0].Request(ctx, request)
	if err != nil {
		return 0, fmt.Errorf("ask the broker at %s: %w", m.Kafka(), err)
	}
	answer := response.(*kmsg.DescribeQuorumResponse)
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return 0, err
	}
	if len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return 0, fmt.Errorf("the broker at %s describes another quorum than that of the metadata", m.Kafka())
	}
	described := answer.Topics[0].Partitions[0]
	return len(described.CurrentVoters), kerr.ErrorForCode(described.ErrorCode)
}

// AwaitVoters waits until as many brokers keep the metadata log as are to: before that, the death of
// one may be that of the cluster.
func (c *Cluster) AwaitVoters(ctx context.Context) error {
	want := votersOf(len(c.Members))
	for {
		voters, err := c.Members[0].Voters(ctx)
		if err == nil && voters >= want {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d of %d brokers keep the metadata log: %w", voters, want, errors.Join(ctx.Err(), err))
		}
	}
}

// votersOf is how many of so many brokers keep the metadata log.
func votersOf(brokers int) int {
	switch {
	case brokers >= 5:
		return 5
	case brokers >= 3:
		return 3
	}
	return 1
}

func (m *Member) ask() (*kgo.Client, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watcher != nil {
		return m.watcher, nil
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(m.listen), kgo.DialTimeout(time.Second))
	m.watcher = client
	return client, err
}

// listenAt notes where the broker is, and drops the connection that View keeps.
func (m *Member) listenAt(address string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listen = address
	if m.watcher != nil {
		m.watcher.Close()
		m.watcher = nil
	}
}

func newView(answer *kmsg.MetadataResponse) *View {
	v := &View{Controller: answer.ControllerID, Addresses: make(map[int32]string)}
	for _, b := range answer.Brokers {
		v.Brokers = append(v.Brokers, b.NodeID)
		v.Addresses[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
	}
	slices.Sort(v.Brokers)
	if len(answer.Topics) != 1 {
		return v
	}
	partitions := answer.Topics[0].Partitions
	v.Partitions = make([]PartitionView, len(partitions))
	for _, p := range partitions {
		if p.Partition < 0 || int(p.Partition) >= len(partitions) {
			continue
		}
		v.Partitions[p.Partition] = PartitionView{Leader: p.Leader, Epoch: p.LeaderEpoch, Replicas: p.Replicas, ISR: p.ISR}
	}
	return v
}
