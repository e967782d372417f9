package wire

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"
)

var otherTopic = TopicID{15: 9}

// groupSamples has every message about groups, with every field set.
func groupSamples() map[string]Message {
	refused := &CodedError{Code: UnknownMemberID, Message: "the session of the member has ended"}
	moment := time.UnixMilli(1_790_000_000_123)
	topics := []NamedPartitions{{Topic: "a", TopicID: someTopic, Partitions: []int32{0, 300}}, {Topic: "b"}}
	named := []NamedPartitions{{Topic: "a", TopicID: someTopic, Partitions: []int32{1, 2}}}
	assigned := []AssignedTopic{{Topic: someTopic, Partitions: []int32{0, 70_000}}, {Topic: otherTopic}}
	return map[string]Message{
		"a heartbeat that joins": &ConsumerHeartbeat{
			Group: "g", Member: "m", Instance: "i", Rack: "r", ClientID: "c", ClientHost: "/10.0.0.1",
			RebalanceTimeout: 5 * time.Minute, Subscribed: true, Topics: []string{"a", "b"}, Pattern: text("^log-"),
			Assignor: "uniform", OwnedTold: true, Owned: assigned,
		},
		"a heartbeat that tells nothing new": &ConsumerHeartbeat{Group: "g", Member: "m", MemberEpoch: 7},
		"a heartbeat that gives all up":      &ConsumerHeartbeat{Group: "g", Member: "m", MemberEpoch: 7, Subscribed: true, Pattern: text(""), OwnedTold: true},
		"a heartbeat that leaves":            &ConsumerHeartbeat{Group: "g", Member: "m", MemberEpoch: StaticMemberPauses, Instance: "i"},
		"a heartbeat's answer":               &ConsumerHeartbeatReply{Member: "m", MemberEpoch: 8, HeartbeatInterval: 5 * time.Second, Assigned: true, Assignment: assigned},
		"a heartbeat's answer without news":  &ConsumerHeartbeatReply{Member: "m", MemberEpoch: 8, HeartbeatInterval: 5 * time.Second},
		"a heartbeat refused":                &ConsumerHeartbeatReply{Err: refused},
		"commit offsets":                     &CommitOffsets{Group: "g", Generation: 7, Member: "m", Instance: "i", Modern: true, Offsets: []OffsetCommit{{Topic: "a", TopicID: someTopic, Partition: 1, Offset: 1 << 40, LeaderEpoch: 3, Metadata: "why"}}},
		"committed offsets":                  &CommittedOffsets{Err: refused, Errs: []error{nil, UnknownTopicOrPartition, refused}},
		"fetch offsets":                      &FetchOffsets{Group: "g", Member: "m", MemberEpoch: 7, Topics: topics, Stable: true},
		"fetch all offsets":                  &FetchOffsets{Group: "g", MemberEpoch: UnknownMemberEpoch, All: true},
		"fetch the offsets behind one":       &FetchOffsets{Group: "g", MemberEpoch: UnknownMemberEpoch, All: true, After: TopicNamePartition{Topic: "a", Partition: 7}},
		"some of all fetched offsets":        &FetchedOffsets{Offsets: []FetchedOffset{{Topic: "a", Offset: 9}}, More: true},
		"fetched offsets":                    &FetchedOffsets{Err: refused, Offsets: []FetchedOffset{{Topic: "a", TopicID: someTopic, Partition: 1, Offset: 9, LeaderEpoch: 2, Metadata: "why", Committed: moment}, {Err: UnstableOffsetCommit, Topic: "b", Offset: NoOffset, LeaderEpoch: NoEpoch}}},
		"delete offsets":                     &DeleteOffsets{Group: "g", Topics: topics},
		"list groups":                        &ListGroups{States: []string{"Stable"}, Types: []string{"consumer"}},
		"listed groups":                      &GroupList{Err: CoordinatorLoadInProgress, Groups: []ListedGroup{{Group: "g", ProtocolType: "consumer", State: GroupStable, Type: ConsumerGroup, Coordinator: 3}}},
		"describe group":                     &DescribeGroup{Group: "g"},
		"delete group":                       &DeleteGroup{Group: "g"},
		"deleted group":                      &DeletedGroup{Err: NonEmptyGroup},
		"group history":                      &GroupHistory{Group: "g"},
		"leave group":                        &LeaveGroup{Group: "g", Members: []LeavingMember{{Member: "m", Reason: "gone"}, {Instance: "i"}}},
		"left group":                         &LeftGroup{Err: refused, Members: []LeftMember{{Member: "m"}, {Err: UnknownMemberID, Instance: "i"}}},
		"described group": &GroupDescription{
			Err: refused, Group: "g", Type: ConsumerGroup, State: GroupReconciling, ProtocolType: "consumer", Protocol: "uniform",
			Generation: 1, Epoch: 2, AssignmentEpoch: 3, Coordinator: 4, Members: []DescribedMember{{
				Member: "m", Instance: "i", ClientID: "c", ClientHost: "/10.0.0.1", Metadata: []byte{1}, Assignment: []byte{2, 3},
				Classic: true, Epoch: ClassicMemberEpochs, Rack: "r", SubscribedTopics: []string{"a"}, Pattern: "^log-", Assigned: named, Target: named,
			}},
		},
		"a group's rebalances": &GroupRebalances{Err: refused, Rebalances: []Rebalance{{
			Number: 1 << 33, Began: moment, Took: time.Second, Type: ClassicGroup, Generation: 5, Trigger: MemberLeft, Cause: "m",
			Detail: "it left", Members: 3, Slowest: "n", SlowestTook: 900 * time.Millisecond, Moved: 7, Complete: true,
			Pauses: []PartitionPause{{Topic: "a", Partition: 4, Pause: 800 * time.Millisecond, From: "m", To: "n"}},
		}}},
		"append times": &AppendTimesRequest{Partitions: []AppendTimeQuery{{Topic: someTopic, Partition: 2, Offset: 1 << 40}}},
		"append times told": &AppendTimesReply{Partitions: []AppendTime{
			{Appended: moment, Age: 90 * time.Second, LogStartOffset: 3, HighWatermark: 1 << 41, Leader: NoHint},
			{Err: NotLeaderOrFollower, LogStartOffset: NoOffset, HighWatermark: NoOffset, Leader: LeaderHint{Broker: 2, LeaderEpoch: 5}},
		}},
	}
}

func TestEveryRequestToACoordinatorHasItsKindAndItsReply(t *testing.T) {
	var found []Kind
	for name, m := range groupSamples() {
		q, ok := m.(GroupRequest)
		if !ok {
			continue
		}
		kind, body, ok := GroupKind(q)
		if !ok || !IsGroupKind(kind) {
			t.Errorf("%s: has no kind", name)
			continue
		}
		found = append(found, kind)
		got, err := ParseGroupRequest(kind, AppendMessage(nil, body))
		if err != nil || !reflect.DeepEqual(got, q) {
			t.Errorf("%s: came back as %+v, %v", name, got, err)
		}
		if NewGroupReply(kind) == nil {
			t.Errorf("%s: has no reply", name)
		}
	}
	for kind := range groupKinds {
		if !slices.Contains(found, kind) {
			t.Errorf("%s has no sample", kind)
		}
	}
}

func TestMembersOfTheClassicProtocolHaveNoNativeKind(t *testing.T) {
	for _, q := range []GroupRequest{new(JoinGroup), new(SyncGroup), new(GroupHeartbeat)} {
		if kind, _, ok := GroupKind(q); ok {
			t.Errorf("%T is a %s", q, kind)
		}
	}
	if q, err := ParseGroupRequest(KindListGroups, []byte{0x92, 0x90, 0x90}); !errors.Is(err, ErrMalformed) {
		t.Errorf("a list of groups was read as %+v, %v", q, err)
	}
	if NewGroupReply(KindPing) != nil {
		t.Error("a ping has a coordinator's reply")
	}
}

func TestTimesAndLengthsOfTimeThatCannotBeAreRefused(t *testing.T) {
	whole := AppendMessage(nil, &ConsumerHeartbeatReply{HeartbeatInterval: 5 * time.Millisecond})
	at := slices.Index(whole, 5)
	if at < 0 {
		t.Fatalf("no interval in % x", whole)
	}
	for _, n := range [][]byte{{0xff}, {0xd3, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}} { // -1, and 292 million years
		b := slices.Concat(whole[:at], n, whole[at+1:])
		if err := Parse(b, new(ConsumerHeartbeatReply)); !errors.Is(err, ErrMalformed) {
			t.Errorf("an interval of % x: %v", n, err)
		}
	}
}

func TestTheCoordinatorIsFoundByJavasHashOfTheName(t *testing.T) {
	for name, want := range map[GroupID]int32{ // as Java's Math.abs(name.hashCode()) % 50
		"": 0, "a": 47, "billing": 9, "gr\u00fcn": 49, "\U0001F600": 49, "polygenelubricants": 0,
	} {
		if got := name.Partition(50); got != want {
			t.Errorf("%q: partition %d, want %d", name, got, want)
		}
	}
	if got := GroupID("a").Partition(0); got != 0 {
		t.Errorf("of no partitions: %d", got)
	}
}
