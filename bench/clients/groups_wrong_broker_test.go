package clients

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/bench/testbed"
)

// toTheCoordinator are requests that only the coordinator of a group may answer, each with the error that is in its
// answer. The group has committed something: an answer that knows nothing of it would set consumers back.
var toTheCoordinator = map[string]func(a *asker, group string) string{
	"JoinGroup": func(a *asker, group string) string {
		return named(ask[*kmsg.JoinGroupResponse](a, a.joinRequest(group)).ErrorCode)
	},
	"SyncGroup": func(a *asker, group string) string {
		return named(ask[*kmsg.SyncGroupResponse](a, a.syncRequest(group, "somebody", 1)).ErrorCode)
	},
	"Heartbeat": func(a *asker, group string) string {
		q := kmsg.NewPtrHeartbeatRequest()
		q.Group, q.MemberID, q.Generation = group, "somebody", 1
		return named(ask[*kmsg.HeartbeatResponse](a, q).ErrorCode)
	},
	"LeaveGroup": func(a *asker, group string) string {
		q := kmsg.NewPtrLeaveGroupRequest()
		q.Group, q.Members = group, []kmsg.LeaveGroupRequestMember{{MemberID: "somebody"}}
		return named(ask[*kmsg.LeaveGroupResponse](a, q).ErrorCode)
	},
	"OffsetCommit": func(a *asker, group string) string { return a.commit(a.commitRequest(group, "", -1)) },
	"OffsetFetch":  func(a *asker, group string) string { return a.fetchAll(group) },
	"OffsetDelete": func(a *asker, group string) string {
		q := kmsg.NewPtrOffsetDeleteRequest()
		q.Group = group
		q.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: a.topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{}}}}
		return named(ask[*kmsg.OffsetDeleteResponse](a, q).ErrorCode)
	},
	"DescribeGroups": func(a *asker, group string) string {
		q := kmsg.NewPtrDescribeGroupsRequest()
		q.Groups = []string{group}
		return named(ask[*kmsg.DescribeGroupsResponse](a, q).Groups[0].ErrorCode)
	},
	"DeleteGroups": func(a *asker, group string) string {
		q := kmsg.NewPtrDeleteGroupsRequest()
		q.Groups = []string{group}
		return named(ask[*kmsg.DeleteGroupsResponse](a, q).Groups[0].ErrorCode)
	},
	"ConsumerGroupHeartbeat": func(a *asker, group string) string { return a.beat(a.heartbeatRequest(group, 0)) },
	"ConsumerGroupDescribe": func(a *asker, group string) string {
		q := kmsg.NewPtrConsumerGroupDescribeRequest()
		q.Groups = []string{group}
		return named(ask[*kmsg.ConsumerGroupDescribeResponse](a, q).Groups[0].ErrorCode)
	},
}

// fetchAll asks for all that a group has committed.
func (a *asker) fetchAll(group string) string {
	a.t.Helper()
	return a.fetch(group, func(g *kmsg.OffsetFetchRequestGroup) { g.Topics = nil })
}

func TestOnlyItsCoordinatorAnswersForAGroup(t *testing.T) {
	t.Parallel()
	bed := testbed.Start(t, 3)
	const topic, group = "orders", "billing"
	if _, err := (franz{bed.Brokers[0].Kafka()}).do(t.Context(), request{Op: "create", Topic: topic, Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	var all []*asker
	for _, b := range bed.Brokers {
		c, err := kgo.NewClient(kgo.SeedBrokers(b.Kafka()), kgo.RequestRetries(0), kgo.ClientID("asker"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		a := &asker{t: t, client: c, topic: topic, assignor: "range"}
		bed.Eventually("the broker knows the topic", func() bool {
			q := kmsg.NewPtrMetadataRequest()
			q.Topics = []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr(topic)}}
			described := ask[*kmsg.MetadataResponse](a, q).Topics[0]
			a.id = described.TopicID
			return described.ErrorCode == 0
		})
		all = append(all, a)
	}
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = []string{group}
	var coordinator kmsg.FindCoordinatorResponseCoordinator
	bed.Eventually("there is a coordinator", func() bool {
		coordinator = ask[*kmsg.FindCoordinatorResponse](all[0], find).Coordinators[0]
		return coordinator.ErrorCode == 0
	})
	for i, a := range all {
		if bed.Brokers[i].ID() != coordinator.NodeID {
			continue
		}
		bed.Eventually("an offset is committed", func() bool { return a.commit(a.commitRequest(group, "", -1)) == "NONE" })
	}
	for i, a := range all {
		id := bed.Brokers[i].ID()
		bed.Eventually("every broker names the same coordinator", func() bool {
			found := ask[*kmsg.FindCoordinatorResponse](a, find).Coordinators[0]
			return found.ErrorCode == 0 && found.NodeID == coordinator.NodeID
		})
		if id == coordinator.NodeID {
			if got, want := a.fetchAll(group), "NONE 0:NONE:5"; got != want {
				t.Errorf("at its coordinator the group has %s, want %s", got, want)
			}
			continue
		}
		for api, asks := range toTheCoordinator {
			t.Run(fmt.Sprintf("%s/%d", api, id), func(t *testing.T) {
				here := *a
				here.t = t
				if got := asks(&here, group); got != "NOT_COORDINATOR" {
					t.Errorf("%s, want NOT_COORDINATOR", got)
				}
			})
		}
	}
}
