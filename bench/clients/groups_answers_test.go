package clients

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What is wrong is told with Kafka's error, but for a few that the table names; the same table holds for Apache
// Kafka 4.3.
func TestBadInputToGroupsIsAnsweredAsKafkaDoes(t *testing.T) {
	t.Parallel()
	for _, c := range badInput {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			want := c.want
			if process == nil && c.kafka != "" {
				want = c.kafka
			}
			if got := c.ask(newAsker(t)); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

var badInput = []struct {
	name  string
	ask   func(*asker) string
	want  string
	kafka string // where that is something else
}{
	{"a group without a name", changedJoin(func(q *kmsg.JoinGroupRequest) { q.Group = "" }), "INVALID_GROUP_ID", ""},
	{"a session that is too short", changedJoin(func(q *kmsg.JoinGroupRequest) { q.SessionTimeoutMillis = 1 }), "INVALID_SESSION_TIMEOUT", ""},
	{"a session that is too long", changedJoin(func(q *kmsg.JoinGroupRequest) { q.SessionTimeoutMillis = 1<<31 - 1 }), "INVALID_SESSION_TIMEOUT", ""},
	{"a session below zero", changedJoin(func(q *kmsg.JoinGroupRequest) { q.SessionTimeoutMillis = -1 }), "INVALID_SESSION_TIMEOUT", ""},
	{"a member that nobody knows", changedJoin(func(q *kmsg.JoinGroupRequest) { q.MemberID = "nobody" }), "UNKNOWN_MEMBER_ID", ""},
	{"a member without an id", changedJoin(func(*kmsg.JoinGroupRequest) {}), "MEMBER_ID_REQUIRED", ""},
	{"no protocol", changedJoin(func(q *kmsg.JoinGroupRequest) { q.Protocols = nil }), "INCONSISTENT_GROUP_PROTOCOL", ""},
	{"no protocol type", changedJoin(func(q *kmsg.JoinGroupRequest) { q.ProtocolType = "" }), "INCONSISTENT_GROUP_PROTOCOL", ""},
	{"another protocol type", joinInto(func(q *kmsg.JoinGroupRequest) { q.ProtocolType = "connect" }), "INCONSISTENT_GROUP_PROTOCOL", ""},
	{"another protocol", joinInto(func(q *kmsg.JoinGroupRequest) { q.Protocols[0].Name = "other" }), "INCONSISTENT_GROUP_PROTOCOL", ""},
	{"a member that the group does not know", joinInto(func(q *kmsg.JoinGroupRequest) { q.MemberID = "nobody" }), "UNKNOWN_MEMBER_ID", ""},
	{"an instance of another member", joinInto(func(q *kmsg.JoinGroupRequest) { q.MemberID, q.InstanceID = "nobody", kmsg.StringPtr("one") }), "UNKNOWN_MEMBER_ID", ""},
	{"sync: a group that does not exist", changedSync(func(q *kmsg.SyncGroupRequest) { q.Group += "-not" }), "UNKNOWN_MEMBER_ID", ""},
	{"sync: a group without a name", changedSync(func(q *kmsg.SyncGroupRequest) { q.Group = "" }), "INVALID_GROUP_ID", ""},
	{"sync: an unknown member", changedSync(func(q *kmsg.SyncGroupRequest) { q.MemberID = "nobody" }), "UNKNOWN_MEMBER_ID", ""},
	{"sync: an old generation", changedSync(func(q *kmsg.SyncGroupRequest) { q.Generation-- }), "ILLEGAL_GENERATION", ""},
	{"sync: another protocol", changedSync(func(q *kmsg.SyncGroupRequest) { q.Protocol = kmsg.StringPtr("other") }), "INCONSISTENT_GROUP_PROTOCOL", ""},
	{"sync: another protocol type", changedSync(func(q *kmsg.SyncGroupRequest) { q.ProtocolType = kmsg.StringPtr("connect") }), "INCONSISTENT_GROUP_PROTOCOL", ""},
	{"sync: no protocol", changedSync(func(q *kmsg.SyncGroupRequest) { q.Protocol = nil }), "INCONSISTENT_GROUP_PROTOCOL", ""},
	{"sync: an unknown instance", changedSync(func(q *kmsg.SyncGroupRequest) { q.InstanceID = kmsg.StringPtr("two") }), "UNKNOWN_MEMBER_ID", ""},
	{"heartbeat: a group that does not exist", changedHeartbeat(func(q *kmsg.HeartbeatRequest) { q.Group += "-not" }), "UNKNOWN_MEMBER_ID", ""},
	{"heartbeat: a group without a name", changedHeartbeat(func(q *kmsg.HeartbeatRequest) { q.Group = "" }), "INVALID_GROUP_ID", ""},
	{"heartbeat: an unknown member", changedHeartbeat(func(q *kmsg.HeartbeatRequest) { q.MemberID = "nobody" }), "UNKNOWN_MEMBER_ID", ""},
	{"heartbeat: a generation to come", changedHeartbeat(func(q *kmsg.HeartbeatRequest) { q.Generation++ }), "ILLEGAL_GENERATION", ""},
	{"leave: a group that does not exist", changedLeave(func(q *kmsg.LeaveGroupRequest) { q.Group += "-not" }), "NONE UNKNOWN_MEMBER_ID", ""},
	{"leave: a group without a name", changedLeave(func(q *kmsg.LeaveGroupRequest) { q.Group = "" }), "INVALID_GROUP_ID", ""},
	{"leave: an unknown member", changedLeave(func(q *kmsg.LeaveGroupRequest) { q.Members[0].MemberID = "nobody" }), "NONE UNKNOWN_MEMBER_ID", ""},
	{"leave: an unknown instance", changedLeave(func(q *kmsg.LeaveGroupRequest) {
		q.Members[0].MemberID, q.Members[0].InstanceID = "", kmsg.StringPtr("two")
	}), "NONE UNKNOWN_MEMBER_ID", ""},
	{"leave: an instance of another member", changedLeave(func(q *kmsg.LeaveGroupRequest) {
		q.Members[0].MemberID, q.Members[0].InstanceID = "nobody", kmsg.StringPtr("one")
	}), "NONE FENCED_INSTANCE_ID", ""},
	{"leave: twice", changedLeave(func(q *kmsg.LeaveGroupRequest) { q.Members = append(q.Members, q.Members[0]) }), "NONE NONE UNKNOWN_MEMBER_ID", ""},
	{"leave: nobody", changedLeave(func(q *kmsg.LeaveGroupRequest) { q.Members = nil }), "NONE", ""},
	{"commit: an unknown topic", changedCommit(func(q *kmsg.OffsetCommitRequest) { q.Topics[0].TopicID = [16]byte{1} }), "UNKNOWN_TOPIC_ID", ""},
	{"commit: an unknown partition", changedCommit(func(q *kmsg.OffsetCommitRequest) { q.Topics[0].Partitions[0].Partition = 2 }), "UNKNOWN_TOPIC_OR_PARTITION", ""},
	{"commit: a partition below zero", changedCommit(func(q *kmsg.OffsetCommitRequest) { q.Topics[0].Partitions[0].Partition = -1 }), "UNKNOWN_TOPIC_OR_PARTITION", ""},
	{"commit: an offset below zero", changedCommit(func(q *kmsg.OffsetCommitRequest) { q.Topics[0].Partitions[0].Offset = -7 }), "NONE", ""},
	{"commit: an unknown member", changedCommit(func(q *kmsg.OffsetCommitRequest) { q.MemberID = "nobody" }), "UNKNOWN_MEMBER_ID", ""},
	{"commit: an old generation", changedCommit(func(q *kmsg.OffsetCommitRequest) { q.Generation-- }), "ILLEGAL_GENERATION", ""},
	{"commit: a generation to come", changedCommit(func(q *kmsg.OffsetCommitRequest) { q.Generation++ }), "ILLEGAL_GENERATION", ""},
	{"commit: no member, while there are some", changedCommit(func(q *kmsg.OffsetCommitRequest) { q.MemberID, q.Generation = "", -1 }), "UNKNOWN_MEMBER_ID", ""},
	{"commit: no generation", changedCommit(func(q *kmsg.OffsetCommitRequest) { q.Generation = -1 }), "ILLEGAL_GENERATION", ""},
	{"commit: another's instance", changedCommit(func(q *kmsg.OffsetCommitRequest) { q.MemberID, q.InstanceID = "nobody", kmsg.StringPtr("one") }), "FENCED_INSTANCE_ID", ""},
	{"commit: an unknown instance", changedCommit(func(q *kmsg.OffsetCommitRequest) { q.InstanceID = kmsg.StringPtr("two") }), "UNKNOWN_MEMBER_ID", ""},
	{"commit: much metadata", changedCommit(func(q *kmsg.OffsetCommitRequest) {
		q.Topics[0].Partitions[0].Metadata = kmsg.StringPtr(strings.Repeat("x", 4097))
	}), "OFFSET_METADATA_TOO_LARGE", ""},
	{"commit: as much metadata as there may be", changedCommit(func(q *kmsg.OffsetCommitRequest) {
		q.Topics[0].Partitions[0].Metadata = kmsg.StringPtr(strings.Repeat("x", 4096))
	}), "NONE", ""},
	{"commit: a group without a name", changedCommit(func(q *kmsg.OffsetCommitRequest) { q.Group = "" }), "INVALID_GROUP_ID", "GROUP_ID_NOT_FOUND"},
	{"commit: a member of a group that does not exist", changedCommit(func(q *kmsg.OffsetCommitRequest) { q.Group += "-not" }), "ILLEGAL_GENERATION", "GROUP_ID_NOT_FOUND"},
	{"commit: no member of a group that does not exist", changedCommit(func(q *kmsg.OffsetCommitRequest) {
		q.Group, q.MemberID, q.Generation = q.Group+"-not", "", -1
	}), "NONE", ""},
	{"fetch: a group that does not exist", func(a *asker) string { return a.fetch(a.group(), nil) }, "NONE 0:NONE:-1 9:NONE:-1", ""},
	{"fetch: a group without a name", func(a *asker) string { return a.fetch("", nil) }, "INVALID_GROUP_ID", "NONE 0:NONE:-1 9:NONE:-1"},
	{"fetch: an unknown topic", func(a *asker) string {
		return a.fetch(a.group(), func(g *kmsg.OffsetFetchRequestGroup) { g.Topics[0].TopicID = [16]byte{1} })
	}, "NONE 0:UNKNOWN_TOPIC_ID:-1 9:UNKNOWN_TOPIC_ID:-1", ""},
	{"fetch: a member of a group that does not exist", func(a *asker) string {
		return a.fetch(a.group(), func(g *kmsg.OffsetFetchRequestGroup) { g.MemberID, g.MemberEpoch = kmsg.StringPtr("nobody"), 3 })
	}, "NONE 0:NONE:-1 9:NONE:-1", ""},
	{"fetch: all of a group that does not exist", func(a *asker) string {
		return a.fetch(a.group(), func(g *kmsg.OffsetFetchRequestGroup) { g.Topics = nil })
	}, "NONE", ""},
	{"delete offsets: a group that does not exist", func(a *asker) string {
		q := kmsg.NewPtrOffsetDeleteRequest()
		q.Group = a.group()
		q.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: a.topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{}}}}
		return named(ask[*kmsg.OffsetDeleteResponse](a, q).ErrorCode)
	}, "GROUP_ID_NOT_FOUND", ""},
	{"delete offsets: of partitions that have none, or are subscribed to", func(a *asker) string {
		q := kmsg.NewPtrOffsetDeleteRequest()
		q.Group = a.group()
		a.joined(q.Group, nil)
		q.Topics = []kmsg.OffsetDeleteRequestTopic{
			{Topic: a.topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{}}},
			{Topic: "nowhere", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{}}},
		}
		got := ask[*kmsg.OffsetDeleteResponse](a, q)
		by := map[string]string{}
		for _, t := range got.Topics {
			by[t.Topic] = named(t.Partitions[0].ErrorCode)
		}
		return named(got.ErrorCode) + " " + by[a.topic] + " " + by["nowhere"]
	}, "NONE GROUP_SUBSCRIBED_TO_TOPIC UNKNOWN_TOPIC_OR_PARTITION", ""},
	{"delete: groups of all kinds", func(a *asker) string {
		q := kmsg.NewPtrDeleteGroupsRequest()
		alive, gone := a.group(), a.group()
		a.joined(alive, nil)
		q.Groups = []string{alive, gone, ""}
		by := map[string]string{}
		for _, g := range ask[*kmsg.DeleteGroupsResponse](a, q).Groups {
			by[g.Group] = named(g.ErrorCode)
		}
		return by[alive] + " " + by[gone] + " " + by[""]
	}, "NON_EMPTY_GROUP GROUP_ID_NOT_FOUND INVALID_GROUP_ID", "NON_EMPTY_GROUP GROUP_ID_NOT_FOUND GROUP_ID_NOT_FOUND"},
	{"describe: groups of all kinds", func(a *asker) string {
		q := kmsg.NewPtrDescribeGroupsRequest()
		alive, gone := a.group(), a.group()
		a.joined(alive, nil)
		q.Groups = []string{alive, gone, ""}
		by := map[string]string{}
		for _, g := range ask[*kmsg.DescribeGroupsResponse](a, q).Groups {
			by[g.Group] = named(g.ErrorCode) + ":" + g.State
		}
		return by[alive] + " " + by[gone] + " " + by[""]
	}, "NONE:Stable GROUP_ID_NOT_FOUND:Dead INVALID_GROUP_ID:", "NONE:Stable GROUP_ID_NOT_FOUND:Dead GROUP_ID_NOT_FOUND:Dead"},
	{"describe KIP-848: groups of all kinds", func(a *asker) string {
		q := kmsg.NewPtrConsumerGroupDescribeRequest()
		classic, alive, gone := a.group(), a.group(), a.group()
		a.joined(classic, nil)
		a.in(alive, nil)
		q.Groups = []string{alive, classic, gone, ""}
		by := map[string]string{}
		for _, g := range ask[*kmsg.ConsumerGroupDescribeResponse](a, q).Groups {
			by[g.Group] = named(g.ErrorCode) + ":" + g.State
		}
		return by[alive] + " " + by[classic] + " " + by[gone] + " " + by[""]
	}, "NONE:Stable GROUP_ID_NOT_FOUND: GROUP_ID_NOT_FOUND: INVALID_GROUP_ID:", ""},
	{"list: a state and a type that there are not", func(a *asker) string {
		q := kmsg.NewPtrListGroupsRequest()
		q.StatesFilter = []string{"Upset"}
		first := ask[*kmsg.ListGroupsResponse](a, q)
		q.StatesFilter, q.TypesFilter = nil, []string{"modern"}
		second := ask[*kmsg.ListGroupsResponse](a, q)
		return fmt.Sprintf("%s %d %s %d", named(first.ErrorCode), len(first.Groups), named(second.ErrorCode), len(second.Groups))
	}, "NONE 0 NONE 0", ""},
	{"KIP-848: a group without a name", changedBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Group = "" }), "INVALID_REQUEST", ""},
	{"KIP-848: a member without an id", changedBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberID = "" }), "INVALID_REQUEST", ""},
	{"KIP-848: an empty instance", changedBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.InstanceID = new(string) }), "INVALID_REQUEST", ""},
	{"KIP-848: an empty rack", changedBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.RackID = new(string) }), "INVALID_REQUEST", ""},
	{"KIP-848: no rebalance timeout", changedBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.RebalanceTimeoutMillis = -1 }), "INVALID_REQUEST", ""},
	{"KIP-848: no subscription", changedBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicNames = nil }), "INVALID_REQUEST", ""},
	{"KIP-848: an empty subscription", changedBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicNames = []string{} }), "NONE", ""},
	{"KIP-848: no list of what it has", changedBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Topics = nil }), "INVALID_REQUEST", ""},
	{"KIP-848: it has something already", changedBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) {
		q.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{Partitions: []int32{0}}}
	}), "INVALID_REQUEST", ""},
	{"KIP-848: an epoch below all", changedBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberEpoch = -3 }), "INVALID_REQUEST", ""},
	{"KIP-848: a pause without an instance", changedBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberEpoch = -2 }), "INVALID_REQUEST", ""},
	{"KIP-848: an unknown assignor", changedBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.ServerAssignor = kmsg.StringPtr("best") }), "UNSUPPORTED_ASSIGNOR", ""},
	{"KIP-848: an empty assignor", changedBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.ServerAssignor = new(string) }), "UNSUPPORTED_ASSIGNOR", ""},
	{"KIP-848: an expression that is none", changedBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicRegex = kmsg.StringPtr("(a") }), "INVALID_REGULAR_EXPRESSION", ""},
	{"KIP-848: a topic that does not exist", changedBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicNames = []string{"nowhere"} }), "NONE", ""},
	{"KIP-848: leaves a group that does not exist", changedBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberEpoch = -1 }), "UNKNOWN_MEMBER_ID", "GROUP_ID_NOT_FOUND"},
	{"KIP-848: a member of a group that does not exist", changedBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberEpoch = 5 }), "UNKNOWN_MEMBER_ID", "GROUP_ID_NOT_FOUND"},
	{"KIP-848: an unknown member", laterBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberID = "nobody" }), "UNKNOWN_MEMBER_ID", ""},
	{"KIP-848: an unknown member leaves", laterBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberID, q.MemberEpoch = "nobody", -1 }), "UNKNOWN_MEMBER_ID", ""},
	{"KIP-848: an epoch to come", laterBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberEpoch += 7 }), "FENCED_MEMBER_EPOCH", ""},
	{"KIP-848: another's instance", laterBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) {
		q.MemberID, q.InstanceID = "nobody", kmsg.StringPtr("one")
	}), "FENCED_INSTANCE_ID", ""},
	{"KIP-848: an unknown instance", laterBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.InstanceID = kmsg.StringPtr("two") }), "UNKNOWN_MEMBER_ID", ""},
	{"KIP-848: an instance in use", laterBeat(func(q *kmsg.ConsumerGroupHeartbeatRequest) {
		q.MemberID, q.MemberEpoch, q.InstanceID, q.RebalanceTimeoutMillis = "another", 0, kmsg.StringPtr("one"), 30_000
		q.SubscribedTopicNames, q.Topics = []string{"nowhere"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}), "UNRELEASED_INSTANCE_ID", ""},
	{"KIP-848 commit: an old epoch", modernCommit(func(q *kmsg.OffsetCommitRequest) { q.Generation-- }), "STALE_MEMBER_EPOCH", ""},
	{"KIP-848 commit: an epoch to come", modernCommit(func(q *kmsg.OffsetCommitRequest) { q.Generation++ }), "STALE_MEMBER_EPOCH", ""},
	{"KIP-848 commit: an unknown member", modernCommit(func(q *kmsg.OffsetCommitRequest) { q.MemberID = "nobody" }), "UNKNOWN_MEMBER_ID", ""},
	{"KIP-848 commit: no member, while there are some", modernCommit(func(q *kmsg.OffsetCommitRequest) { q.MemberID, q.Generation = "", -1 }), "UNKNOWN_MEMBER_ID", ""},
	{"KIP-848 fetch: an unknown member", modernFetch(func(g *kmsg.OffsetFetchRequestGroup) { g.MemberID = kmsg.StringPtr("nobody") }), "UNKNOWN_MEMBER_ID", ""},
	{"KIP-848 fetch: an epoch to come", modernFetch(func(g *kmsg.OffsetFetchRequestGroup) { g.MemberEpoch++ }), "STALE_MEMBER_EPOCH", ""},
	{"KIP-848 fetch: no member", modernFetch(func(g *kmsg.OffsetFetchRequestGroup) { g.MemberID, g.MemberEpoch = nil, -1 }), "NONE 0:NONE:-1 9:NONE:-1", ""},
	{"a classic member into a group of KIP-848, without a subscription", func(a *asker) string {
		group := a.group()
		a.in(group, nil)
		q := a.joinRequest(group)
		q.Protocols[0].Metadata = []byte("this is no subscription")
		got := ask[*kmsg.JoinGroupResponse](a, q)
		if got.ErrorCode == kerr.MemberIDRequired.Code {
			q.MemberID = got.MemberID
			got = ask[*kmsg.JoinGroupResponse](a, q)
		}
		return named(got.ErrorCode)
	}, "INCONSISTENT_GROUP_PROTOCOL", "UNKNOWN_SERVER_ERROR"},
	{"a member of KIP-848 into a classic group of another kind", func(a *asker) string {
		group := a.group()
		q := a.joinRequest(group)
		q.ProtocolType = "connect"
		got := ask[*kmsg.JoinGroupResponse](a, q)
		q.MemberID = got.MemberID
		if got = ask[*kmsg.JoinGroupResponse](a, q); got.ErrorCode != 0 {
			return "join: " + named(got.ErrorCode)
		}
		return a.beat(a.heartbeatRequest(group, 0))
	}, "GROUP_ID_NOT_FOUND", ""},
	{"old join: a member without an id has one", inVersion(kmsg.JoinGroup, 3, changedJoin(func(*kmsg.JoinGroupRequest) {})), "NONE", ""},
	{"old join: a session that is too short", inVersion(kmsg.JoinGroup, 0, changedJoin(func(q *kmsg.JoinGroupRequest) { q.SessionTimeoutMillis = 1 })), "INVALID_SESSION_TIMEOUT", ""},
	{"old sync: an old generation", inVersion(kmsg.SyncGroup, 0, changedSync(func(q *kmsg.SyncGroupRequest) { q.Generation-- })), "ILLEGAL_GENERATION", ""},
	{"old leave: an unknown member", inVersion(kmsg.LeaveGroup, 2, changedLeave(func(q *kmsg.LeaveGroupRequest) { q.MemberID = "nobody" })), "UNKNOWN_MEMBER_ID", ""},
	{"old leave: a group that does not exist", inVersion(kmsg.LeaveGroup, 0, changedLeave(func(q *kmsg.LeaveGroupRequest) { q.Group += "-not" })), "UNKNOWN_MEMBER_ID", ""},
	{"old commit: an unknown topic", inVersion(kmsg.OffsetCommit, 9, changedCommit(func(q *kmsg.OffsetCommitRequest) { q.Topics[0].Topic = "nowhere" })), "UNKNOWN_TOPIC_OR_PARTITION", ""},
	{"old commit: no name of a topic", inVersion(kmsg.OffsetCommit, 9, changedCommit(func(q *kmsg.OffsetCommitRequest) { q.Topics[0].Topic = "" })), "UNKNOWN_TOPIC_OR_PARTITION", ""},
	{"old commit: a member of a group that does not exist", inVersion(kmsg.OffsetCommit, 8, changedCommit(func(q *kmsg.OffsetCommitRequest) { q.Group += "-not" })), "ILLEGAL_GENERATION", ""},
	{"old commit: an old generation", inVersion(kmsg.OffsetCommit, 2, changedCommit(func(q *kmsg.OffsetCommitRequest) { q.Generation-- })), "ILLEGAL_GENERATION", ""},
	{"old commit: a partition twice", inVersion(kmsg.OffsetCommit, 5, changedCommit(func(q *kmsg.OffsetCommitRequest) {
		q.Topics = append(q.Topics, q.Topics[0])
	})), "NONE NONE", ""},
	{"old describe: a group that does not exist", inVersion(kmsg.DescribeGroups, 5, func(a *asker) string {
		q := kmsg.NewPtrDescribeGroupsRequest()
		q.Groups = []string{a.group()}
		got := ask[*kmsg.DescribeGroupsResponse](a, q).Groups[0]
		return named(got.ErrorCode) + " " + got.State
	}), "NONE Dead", ""},
	{"old describe: a group of KIP-848", inVersion(kmsg.DescribeGroups, 5, func(a *asker) string {
		q := kmsg.NewPtrDescribeGroupsRequest()
		q.Groups = []string{a.group()}
		a.in(q.Groups[0], nil)
		got := ask[*kmsg.DescribeGroupsResponse](a, q).Groups[0]
		return named(got.ErrorCode) + " " + got.State
	}), "NONE Dead", ""},
	{"old fetch: a group that does not exist", inVersion(kmsg.OffsetFetch, 1, oldFetch), "NONE 0:NONE:-1 9:NONE:-1", ""},
	{"old fetch of a group that does not exist", inVersion(kmsg.OffsetFetch, 7, oldFetch), "NONE 0:NONE:-1 9:NONE:-1", ""},
	{"KIP-848 commit: in a version from before", inVersion(kmsg.OffsetCommit, 8, modernCommit(func(*kmsg.OffsetCommitRequest) {})), "UNSUPPORTED_VERSION", ""},
	{"KIP-848 heartbeat: a classic one", func(a *asker) string {
		q := kmsg.NewPtrHeartbeatRequest()
		q.Group, q.MemberID = a.group(), aMember
		q.Generation = a.in(q.Group, nil)
		return named(ask[*kmsg.HeartbeatResponse](a, q).ErrorCode)
	}, "UNKNOWN_MEMBER_ID", ""},
	{"KIP-848 sync: a classic one", func(a *asker) string {
		group := a.group()
		return named(ask[*kmsg.SyncGroupResponse](a, a.syncRequest(group, aMember, a.in(group, nil))).ErrorCode)
	}, "UNKNOWN_MEMBER_ID", ""},
	{"KIP-848 leave: a classic one", func(a *asker) string {
		q := kmsg.NewPtrLeaveGroupRequest()
		q.Group = a.group()
		a.in(q.Group, nil)
		q.Members = []kmsg.LeaveGroupRequestMember{{MemberID: aMember}}
		got := ask[*kmsg.LeaveGroupResponse](a, q)
		return named(got.ErrorCode) + " " + named(got.Members[0].ErrorCode)
	}, "NONE NONE", ""},
	{"KIP-848: takes a classic group over", func(a *asker) string {
		group := a.group()
		a.joined(group, nil)
		return a.beat(a.heartbeatRequest(group, 0))
	}, "NONE", ""},
	{"KIP-848: delete a group with members", func(a *asker) string {
		q := kmsg.NewPtrDeleteGroupsRequest()
		q.Groups = []string{a.group()}
		a.in(q.Groups[0], nil)
		return named(ask[*kmsg.DeleteGroupsResponse](a, q).Groups[0].ErrorCode)
	}, "NON_EMPTY_GROUP", ""},
}
