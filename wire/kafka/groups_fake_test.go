package kafka

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

// fakeGroups is what a fakeBackend says about groups.
type fakeGroups struct {
	asked   []wire.GroupRequest
	answer  func(ctx context.Context, q wire.GroupRequest) (wire.GroupReply, error) // nil: sensibleReply
	at      wire.BrokerID                                                           // where groups are coordinated; 0 for 1
	missing error                                                                   // what FindCoordinator fails with
	list    wire.GroupList
	filter  wire.ListGroups // that was asked for last
}

func (b *fakeBackend) FindCoordinator(_ context.Context, _ wire.GroupID) (wire.BrokerID, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.groups.at != 0 {
		return b.groups.at, b.groups.missing
	}
	return 1, b.groups.missing
}

func (b *fakeBackend) AskGroup(ctx context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
	b.mu.Lock()
	b.groups.asked = append(b.groups.asked, q)
	answer := b.groups.answer
	b.mu.Unlock()
	if answer == nil {
		return sensibleReply(q), nil
	}
	return answer(ctx, q)
}

func (b *fakeBackend) ListGroups(_ context.Context, q *wire.ListGroups) wire.GroupList {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.groups.filter = *q
	if b.groups.list.Groups == nil && b.groups.list.Err == nil {
		return wire.GroupList{Groups: []wire.ListedGroup{
			{Group: "billing", ProtocolType: "consumer", State: wire.GroupStable, Type: wire.ClassicGroup, Coordinator: 1},
		}}
	}
	return b.groups.list
}

// lastFilter returns what ListGroups was asked for.
func (b *fakeBackend) lastFilter() wire.ListGroups {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.groups.filter
}

// groupAsked returns the last request of that type that the fake coordinator got.
func groupAsked[Q wire.GroupRequest](b *fakeBackend) Q {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range slices.Backward(b.groups.asked) {
		if asked, ok := q.(Q); ok {
			return asked
		}
	}
	var none Q
	return none
}

// sensibleReply is what a group says in which all is well.
func sensibleReply(q wire.GroupRequest) wire.GroupReply {
	switch q := q.(type) {
	case *wire.JoinGroup:
		return &wire.JoinedGroup{
			Generation: 4, ProtocolType: "consumer", Protocol: "range", Leader: "m-1", Member: "m-1",
			Members: []wire.JoinedMember{{Member: "m-1", Metadata: []byte("one")}, {Member: "m-2", Instance: "i-2", Metadata: []byte("two")}},
		}
	case *wire.SyncGroup:
		return &wire.SyncedGroup{ProtocolType: "consumer", Protocol: "range", Assignment: []byte("all")}
	case *wire.GroupHeartbeat:
		return &wire.GroupHeartbeatReply{}
	case *wire.LeaveGroup:
		left := &wire.LeftGroup{}
		for _, m := range q.Members {
			left.Members = append(left.Members, wire.LeftMember{Member: m.Member, Instance: m.Instance})
		}
		return left
	case *wire.CommitOffsets:
		return &wire.CommittedOffsets{Errs: make([]error, len(q.Offsets))}
	case *wire.FetchOffsets:
		return fetchedBy(q)
	case *wire.DeleteOffsets:
		n := 0
		for _, t := range q.Topics {
			n += len(t.Partitions)
		}
		return &wire.CommittedOffsets{Errs: make([]error, n)}
	case *wire.DeleteGroup:
		return &wire.DeletedGroup{}
	case *wire.DescribeGroup:
		return describedBy(q)
	case *wire.ConsumerHeartbeat:
		return &wire.ConsumerHeartbeatReply{
			Member: q.Member, MemberEpoch: 7, HeartbeatInterval: 5 * time.Second,
			Assigned: true, Assignment: []wire.AssignedTopic{{Topic: wire.TopicID{15: 1}, Partitions: []int32{0, 1}}},
		}
	}
	panic(fmt.Sprintf("a request that no listener sends: %T", q))
}

// fetchedBy has offset 42 of every partition that is asked for; of all there are two.
func fetchedBy(q *wire.FetchOffsets) *wire.FetchedOffsets {
	at := func(topic string, id wire.TopicID, partition int32) wire.FetchedOffset {
		return wire.FetchedOffset{Topic: topic, TopicID: id, Partition: partition, Offset: 42, LeaderEpoch: 3, Metadata: "noted"}
	}
	if q.All {
		return &wire.FetchedOffsets{Offsets: []wire.FetchedOffset{at("orders", wire.TopicID{15: 1}, 0), at("gone", wire.TopicID{}, 0), at("orders", wire.TopicID{15: 1}, 1)}}
	}
	fetched := &wire.FetchedOffsets{}
	for _, t := range q.Topics {
		for _, partition := range t.Partitions {
			fetched.Offsets = append(fetched.Offsets, at(t.Topic, t.TopicID, partition))
		}
	}
	return fetched
}

// describedBy knows two groups: modern, of KIP-848, and billing.
func describedBy(q *wire.DescribeGroup) *wire.GroupDescription {
	switch q.Group {
	case "billing":
		return &wire.GroupDescription{
			Group: q.Group, Type: wire.ClassicGroup, State: wire.GroupStable, ProtocolType: "consumer", Protocol: "range", Generation: 4,
			Members: []wire.DescribedMember{{Member: "m-1", Instance: "i-1", ClientID: "test", ClientHost: "/10.0.0.1", Metadata: []byte("one"), Assignment: []byte("all")}},
		}
	case "modern":
		parts := []wire.NamedPartitions{{Topic: "orders", TopicID: wire.TopicID{15: 1}, Partitions: []int32{0, 1}}}
		return &wire.GroupDescription{
			Group: q.Group, Type: wire.ConsumerGroup, State: wire.GroupReconciling, ProtocolType: "consumer", Protocol: "uniform", Epoch: 9, AssignmentEpoch: 8,
			Members: []wire.DescribedMember{
				{Member: "m-1", Rack: "a", ClientID: "test", ClientHost: "/10.0.0.1", Epoch: 8, SubscribedTopics: []string{"orders"}, Assigned: parts, Target: parts},
				{Member: "m-2", Instance: "i-2", ClientID: "test", ClientHost: "/10.0.0.2", Epoch: 9, Pattern: "ord.*", Classic: true},
			},
		}
	}
	return &wire.GroupDescription{Err: wire.GroupIDNotFound, Group: q.Group, State: wire.GroupDead}
}

// fillGroupRequest makes a request that makes sense to the fake coordinator.
func fillGroupRequest(q kmsg.Request, topic wire.Topic) {
	switch q := q.(type) {
	case *kmsg.FindCoordinatorRequest:
		q.CoordinatorKey, q.CoordinatorKeys = "billing", []string{"billing", "modern"}
	case *kmsg.JoinGroupRequest:
		q.Group, q.SessionTimeoutMillis, q.RebalanceTimeoutMillis, q.ProtocolType = "billing", 10_000, 60_000, "consumer"
		q.InstanceID, q.Reason = kmsg.StringPtr("i-1"), kmsg.StringPtr("because")
		q.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("one")}, {Name: "roundrobin", Metadata: []byte{}}}
	case *kmsg.SyncGroupRequest:
		q.Group, q.Generation, q.MemberID = "billing", 4, "m-1"
		q.ProtocolType, q.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
		q.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: "m-1", MemberAssignment: []byte("all")}}
	case *kmsg.HeartbeatRequest:
		q.Group, q.Generation, q.MemberID = "billing", 4, "m-1"
	case *kmsg.LeaveGroupRequest:
		q.Group, q.MemberID = "billing", "m-1"
		q.Members = []kmsg.LeaveGroupRequestMember{{MemberID: "m-1", Reason: kmsg.StringPtr("over")}, {InstanceID: kmsg.StringPtr("i-2")}}
	case *kmsg.OffsetCommitRequest:
		q.Group, q.Generation, q.MemberID, q.RetentionTimeMillis = "billing", 4, "m-1", -1
		q.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic.Name, TopicID: topic.ID, Partitions: []kmsg.OffsetCommitRequestTopicPartition{
			{Partition: 0, Offset: 42, LeaderEpoch: 3, Metadata: kmsg.StringPtr("noted")}, {Partition: 1, Offset: 43, LeaderEpoch: -1},
		}}}
	case *kmsg.OffsetFetchRequest:
		q.Group, q.Topics = "billing", []kmsg.OffsetFetchRequestTopic{{Topic: topic.Name, Partitions: []int32{0, 1}}}
		one, all := kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroup()
		one.Group, one.Topics = "billing", []kmsg.OffsetFetchRequestGroupTopic{{Topic: topic.Name, TopicID: topic.ID, Partitions: []int32{0, 1}}}
		all.Group, all.MemberID, all.MemberEpoch = "modern", kmsg.StringPtr("m-1"), 7
		q.Groups = []kmsg.OffsetFetchRequestGroup{one, all}
	case *kmsg.OffsetDeleteRequest:
		q.Group = "billing"
		q.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: topic.Name, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}, {Partition: 1}}}}
	case *kmsg.DescribeGroupsRequest:
		q.Groups = []string{"billing", "modern", "nowhere"}
	case *kmsg.DeleteGroupsRequest:
		q.Groups = []string{"billing"}
	case *kmsg.ConsumerGroupHeartbeatRequest:
		q.Group, q.MemberID, q.RebalanceTimeoutMillis = "modern", "m-1", 60_000
		q.SubscribedTopicNames, q.Topics = []string{topic.Name}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	case *kmsg.ConsumerGroupDescribeRequest:
		q.Groups = []string{"billing", "modern", "nowhere"}
	}
}
