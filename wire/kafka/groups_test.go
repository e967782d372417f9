package kafka

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

// coordinated starts a broker whose groups answer as given.
func coordinated(t *testing.T, answer func(ctx context.Context, q wire.GroupRequest) (wire.GroupReply, error)) (*harness, *rawClient, wire.Topic) {
	t.Helper()
	backend, topic := fakeBroker()
	backend.groups.answer = answer
	h := start(t, backend)
	return h, h.dial(t), topic
}

// refusing fails every request with err.
func refusing(err error) func(context.Context, wire.GroupRequest) (wire.GroupReply, error) {
	return func(context.Context, wire.GroupRequest) (wire.GroupReply, error) { return nil, err }
}

// askAt asks in that version.
func askAt[A kmsg.Response](client *rawClient, q kmsg.Request, version int16) A {
	client.t.Helper()
	q.SetVersion(version)
	return client.ask(q).(A)
}

func wantCode(t testing.TB, what string, got int16, want wire.ErrorCode) {
	t.Helper()
	if wire.ErrorCode(got) != want {
		t.Errorf("%s: %v, want %v", what, wire.ErrorCode(got), want)
	}
}

// Whatever keeps a coordinator from answering is told in each version of each API, in every place
// that the version has for it, and never as an empty answer.
func TestAnErrorOfTheCoordinatorIsToldInEveryVersion(t *testing.T) {
	for err, want := range map[error]wire.ErrorCode{
		wire.NotCoordinator:            wire.NotCoordinator,
		wire.CoordinatorLoadInProgress: wire.CoordinatorLoadInProgress,
		wire.CoordinatorNotAvailable:   wire.CoordinatorNotAvailable,
		wire.InvalidGroupID:            wire.InvalidGroupID,
		// What happens beneath a coordinator is nothing that a member knows.
		wire.Errorf(wire.NotLeaderOrFollower, "moved"):     wire.NotCoordinator,
		wire.Errorf(wire.KafkaStorageError, "disk"):        wire.NotCoordinator,
		wire.Errorf(wire.NotEnoughReplicas, "alone"):       wire.CoordinatorNotAvailable,
		wire.Errorf(wire.RequestTimedOut, "slow"):          wire.CoordinatorNotAvailable,
		fmt.Errorf("ask: %w", context.DeadlineExceeded):    wire.CoordinatorNotAvailable,
		fmt.Errorf("ask: %w", context.Canceled):            wire.NotCoordinator,
		wire.Errorf(wire.UnknownTopicOrPartition, "early"): wire.CoordinatorNotAvailable,
	} {
		t.Run(fmt.Sprint(err), func(t *testing.T) {
			_, client, topic := coordinated(t, refusing(err))
			eachVersion(func(a *api, version int16) {
				q := requestFor(a.key, topic)
				q.SetVersion(version)
				codes := groupCodes(client, q)
				for _, code := range codes {
					wantCode(t, fmt.Sprintf("%s version %d", a.name, version), code, want)
				}
			})
		})
	}
}

// groupCodes asks q, if it goes to a coordinator, and returns the errors of the answer: there is one at
// least.
func groupCodes(client *rawClient, q kmsg.Request) []int16 {
	client.t.Helper()
	var codes []int16
	switch q.(type) {
	default:
		return nil
	case *kmsg.JoinGroupRequest, *kmsg.SyncGroupRequest, *kmsg.HeartbeatRequest, *kmsg.LeaveGroupRequest, *kmsg.OffsetCommitRequest,
		*kmsg.OffsetFetchRequest, *kmsg.OffsetDeleteRequest, *kmsg.DescribeGroupsRequest, *kmsg.DeleteGroupsRequest,
		*kmsg.ConsumerGroupHeartbeatRequest, *kmsg.ConsumerGroupDescribeRequest:
	}
	switch a := client.ask(q).(type) {
	case *kmsg.JoinGroupResponse:
		codes = append(codes, a.ErrorCode)
	case *kmsg.SyncGroupResponse:
		codes = append(codes, a.ErrorCode)
	case *kmsg.HeartbeatResponse:
		codes = append(codes, a.ErrorCode)
	case *kmsg.LeaveGroupResponse:
		codes = append(codes, a.ErrorCode)
	case *kmsg.OffsetCommitResponse:
		for _, p := range a.Topics[0].Partitions {
			codes = append(codes, p.ErrorCode)
		}
	case *kmsg.OffsetFetchResponse:
		switch version := q.GetVersion(); {
		case version < 2:
			for _, p := range a.Topics[0].Partitions {
				if codes = append(codes, p.ErrorCode); p.Offset != -1 {
					client.t.Errorf("OffsetFetch version %d: the failed partition has offset %d", version, p.Offset)
				}
			}
		case version < 8:
			codes = append(codes, a.ErrorCode)
		default:
			for _, g := range a.Groups {
				codes = append(codes, g.ErrorCode)
			}
		}
	case *kmsg.OffsetDeleteResponse:
		codes = append(codes, a.ErrorCode)
	case *kmsg.DescribeGroupsResponse:
		for _, g := range a.Groups {
			codes = append(codes, g.ErrorCode)
		}
	case *kmsg.DeleteGroupsResponse:
		for _, g := range a.Groups {
			codes = append(codes, g.ErrorCode)
		}
	case *kmsg.ConsumerGroupHeartbeatResponse:
		codes = append(codes, a.ErrorCode)
	case *kmsg.ConsumerGroupDescribeResponse:
		for _, g := range a.Groups {
			codes = append(codes, g.ErrorCode)
		}
	}
	if len(codes) == 0 {
		client.t.Errorf("%T version %d: the answer has no place for an error", q, q.GetVersion())
	}
	return codes
}

func TestFindCoordinatorTellsTheAddressInEveryVersion(t *testing.T) {
	h, client, _ := coordinated(t, nil)
	for version := int16(0); version <= 6; version++ {
		q := kmsg.NewPtrFindCoordinatorRequest()
		q.CoordinatorKey, q.CoordinatorKeys = "billing", []string{"billing", "other"}
		a := askAt[*kmsg.FindCoordinatorResponse](client, q, version)
		if version < 4 {
			if a.ErrorCode != 0 || a.NodeID != 1 || a.Host != "127.0.0.1" || a.Port != h.backend.view.brokers[0].Port {
				t.Errorf("version %d: %+v", version, a)
			}
			continue
		}
		if len(a.Coordinators) != 2 || a.Coordinators[1].Key != "other" || a.Coordinators[1].NodeID != 1 || a.Coordinators[1].ErrorCode != 0 {
			t.Errorf("version %d: %+v", version, a)
		}
	}
}

func TestFindCoordinatorSaysWhyThereIsNone(t *testing.T) {
	for name, c := range map[string]struct {
		kind  int8
		tune  func(*fakeBackend)
		want  wire.ErrorCode
		since int16
	}{
		"the partition has no leader":    {0, func(b *fakeBackend) { b.groups.missing = wire.CoordinatorNotAvailable }, wire.CoordinatorNotAvailable, 0},
		"its broker is not known":        {0, func(b *fakeBackend) { b.groups.at = 9 }, wire.CoordinatorNotAvailable, 0},
		"its broker is fenced":           {0, func(b *fakeBackend) { b.view.brokers[0].Fenced = true }, wire.CoordinatorNotAvailable, 0},
		"it took too long":               {0, func(b *fakeBackend) { b.groups.missing = context.DeadlineExceeded }, wire.CoordinatorNotAvailable, 0},
		"transactions":                   {1, func(*fakeBackend) {}, wire.TransactionalIDAuthorizationFailed, 1},
		"share groups":                   {2, func(*fakeBackend) {}, wire.InvalidRequest, 1},
		"a type that nobody has thought": {-1, func(*fakeBackend) {}, wire.InvalidRequest, 1},
	} {
		t.Run(name, func(t *testing.T) {
			backend, _ := fakeBroker()
			c.tune(backend)
			client := start(t, backend).dial(t)
			for version := c.since; version <= 6; version++ {
				q := kmsg.NewPtrFindCoordinatorRequest()
				q.CoordinatorType, q.CoordinatorKey, q.CoordinatorKeys = c.kind, "billing", []string{"billing"}
				a := askAt[*kmsg.FindCoordinatorResponse](client, q, version)
				code, node := a.ErrorCode, a.NodeID
				if version >= 4 {
					code, node = a.Coordinators[0].ErrorCode, a.Coordinators[0].NodeID
				}
				wantCode(t, fmt.Sprintf("version %d", version), code, c.want)
				if node != -1 {
					t.Errorf("version %d: the coordinator is broker %d", version, node)
				}
			}
		})
	}
}

func TestJoinGroupTellsTheCoordinatorWhatItsVersionMeans(t *testing.T) {
	h, client, _ := coordinated(t, nil)
	for version := int16(0); version <= 9; version++ {
		for _, instance := range []*string{nil, kmsg.StringPtr("i-1")} {
			q := requestFor(11, wire.Topic{}).(*kmsg.JoinGroupRequest)
			q.InstanceID = instance
			a := askAt[*kmsg.JoinGroupResponse](client, q, version)
			asked := groupAsked[*wire.JoinGroup](h.backend)
			static := version >= 5 && instance != nil
			if asked.MustKnowID != (version >= 4 && !static) || asked.MaySkipAssignment != (version >= 9) || (asked.Instance == "i-1") != static {
				t.Errorf("version %d: %+v", version, asked)
			}
			if asked.ClientHost != "/127.0.0.1" || asked.ClientID != "test" || asked.SessionTimeout != 10*time.Second || (asked.Reason == "because") != (version >= 8) {
				t.Errorf("version %d: %+v", version, asked)
			}
			want := time.Minute
			if version == 0 { // there was one timeout only
				want = 10 * time.Second
			}
			if asked.RebalanceTimeout != want || len(asked.Protocols) != 2 || string(asked.Protocols[0].Metadata) != "one" {
				t.Errorf("version %d: %+v", version, asked)
			}
			if a.ErrorCode != 0 || a.Generation != 4 || textOf(a.Protocol) != "range" || a.LeaderID != "m-1" || a.MemberID != "m-1" || len(a.Members) != 2 {
				t.Errorf("version %d: %+v", version, a)
			}
			if told := a.Members[1].InstanceID; (told != nil) != (version >= 5) || string(a.Members[1].ProtocolMetadata) != "two" || a.Members[0].InstanceID != nil {
				t.Errorf("version %d: member %+v", version, a.Members[1])
			}
		}
	}
}

func TestAMemberThatMustKnowItsIDIsToldIt(t *testing.T) {
	_, client, _ := coordinated(t, func(context.Context, wire.GroupRequest) (wire.GroupReply, error) {
		return &wire.JoinedGroup{Err: wire.MemberIDRequired, Generation: -1, Member: "m-7"}, nil
	})
	for version := int16(4); version <= 9; version++ {
		a := askAt[*kmsg.JoinGroupResponse](client, requestFor(11, wire.Topic{}), version)
		wantCode(t, "join", a.ErrorCode, wire.MemberIDRequired)
		if a.MemberID != "m-7" || a.Generation != -1 || (a.Protocol == nil) != (version >= 7) {
			t.Errorf("version %d: %+v", version, a)
		}
	}
}

func TestAnInstanceIDIsCheckedLikeTheNameOfATopic(t *testing.T) {
	h, client, _ := coordinated(t, nil)
	for _, instance := range []string{"", ".", "a b", strings.Repeat("x", 250), "\x00"} {
		q := requestFor(11, wire.Topic{}).(*kmsg.JoinGroupRequest)
		q.InstanceID = &instance
		wantCode(t, instance, askAt[*kmsg.JoinGroupResponse](client, q, 9).ErrorCode, wire.InvalidRequest)
	}
	if asked := groupAsked[*wire.JoinGroup](h.backend); asked != nil {
		t.Errorf("the coordinator was asked: %+v", asked)
	}
}

// A member's metadata are kept by the coordinator for as long as it is a member; the frame that they
// came in is used again for the next request.
func TestWhatAMemberBringsOutlivesItsRequest(t *testing.T) {
	h, client, _ := coordinated(t, nil)
	join := requestFor(11, wire.Topic{}).(*kmsg.JoinGroupRequest)
	sync := requestFor(14, wire.Topic{}).(*kmsg.SyncGroupRequest)
	askAt[*kmsg.JoinGroupResponse](client, join, 9)
	askAt[*kmsg.SyncGroupResponse](client, sync, 5)
	metadata := groupAsked[*wire.JoinGroup](h.backend).Protocols[0].Metadata
	assignment := groupAsked[*wire.SyncGroup](h.backend).Assignments[0].Assignment
	join.Protocols[0].Metadata, sync.GroupAssignment[0].MemberAssignment = []byte("TWO"), []byte("ALL")
	for range 3 {
		askAt[*kmsg.JoinGroupResponse](client, join, 9)
		askAt[*kmsg.SyncGroupResponse](client, sync, 5)
	}
	if string(metadata) != "one" || string(assignment) != "all" {
		t.Errorf("they are %q and %q now", metadata, assignment)
	}
}

func TestSyncGroupMustTellItsProtocolFromVersion5On(t *testing.T) {
	_, client, _ := coordinated(t, nil)
	for version := int16(0); version <= 5; version++ {
		q := requestFor(14, wire.Topic{}).(*kmsg.SyncGroupRequest)
		a := askAt[*kmsg.SyncGroupResponse](client, q, version)
		if a.ErrorCode != 0 || string(a.MemberAssignment) != "all" || (a.Protocol != nil) != (version >= 5) {
			t.Errorf("version %d: %+v", version, a)
		}
		q.Protocol = nil
		want := wire.None
		if version >= 5 {
			want = wire.InconsistentGroupProtocol
		}
		wantCode(t, fmt.Sprintf("version %d", version), askAt[*kmsg.SyncGroupResponse](client, q, version).ErrorCode, want)
	}
}

func TestLeaveGroupTellsTheOutcomeOfEachMemberFromVersion3On(t *testing.T) {
	h, client, _ := coordinated(t, func(_ context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
		left := sensibleReply(q).(*wire.LeftGroup)
		left.Members[len(left.Members)-1].Err = wire.UnknownMemberID
		return left, nil
	})
	for version := int16(0); version <= 5; version++ {
		a := askAt[*kmsg.LeaveGroupResponse](client, requestFor(13, wire.Topic{}), version)
		asked := groupAsked[*wire.LeaveGroup](h.backend)
		if version < 3 {
			wantCode(t, "the one member", a.ErrorCode, wire.UnknownMemberID)
			if len(asked.Members) != 1 || asked.Members[0].Member != "m-1" {
				t.Errorf("version %d: %+v", version, asked)
			}
			continue
		}
		wantCode(t, "all members", a.ErrorCode, wire.None)
		wantCode(t, "the first member", a.Members[0].ErrorCode, wire.None)
		wantCode(t, "the second member", a.Members[1].ErrorCode, wire.UnknownMemberID)
		if (asked.Members[0].Reason == "over") != (version >= 5) || asked.Members[1].Instance != "i-2" || textOf(a.Members[1].InstanceID) != "i-2" {
			t.Errorf("version %d: %+v, answered %+v", version, asked, a)
		}
	}
}

func TestOffsetCommitTellsTheCoordinatorWhatItsVersionMeans(t *testing.T) {
	h, client, topic := coordinated(t, nil)
	for version := int16(2); version <= 10; version++ {
		q := requestFor(8, topic).(*kmsg.OffsetCommitRequest)
		q.RetentionTimeMillis, q.InstanceID = 60_000, kmsg.StringPtr("i-1")
		a := askAt[*kmsg.OffsetCommitResponse](client, q, version)
		asked := groupAsked[*wire.CommitOffsets](h.backend)
		if asked.Modern != (version >= 9) || asked.Generation != 4 || asked.Member != "m-1" || (asked.Instance == "i-1") != (version >= 7) {
			t.Errorf("version %d: %+v", version, asked)
		}
		first := wire.OffsetCommit{Topic: "orders", Partition: 0, Offset: 42, LeaderEpoch: wire.NoEpoch, Metadata: "noted"}
		if version >= 6 {
			first.LeaderEpoch = 3
		}
		if version <= 4 {
			first.ExpiresAfter = time.Minute
		}
		if version >= 10 {
			first.TopicID = topic.ID
		}
		if len(asked.Offsets) != 2 || asked.Offsets[0] != first || asked.Offsets[1].Metadata != "" || asked.Offsets[1].Offset != 43 {
			t.Errorf("version %d: %+v", version, asked.Offsets)
		}
		if len(a.Topics) != 1 || len(a.Topics[0].Partitions) != 2 || a.Topics[0].Partitions[1].Partition != 1 || a.Topics[0].Partitions[1].ErrorCode != 0 {
			t.Errorf("version %d: %+v", version, a)
		}
	}
}

func TestOffsetCommitTellsEachPartitionItsOwnError(t *testing.T) {
	h, client, topic := coordinated(t, func(_ context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
		errs := make([]error, len(q.(*wire.CommitOffsets).Offsets))
		errs[len(errs)-1] = wire.OffsetMetadataTooLarge
		return &wire.CommittedOffsets{Errs: errs}, nil
	})
	q := requestFor(8, topic).(*kmsg.OffsetCommitRequest)
	stranger := q.Topics[0]
	stranger.TopicID = wire.TopicID{1, 2, 3}
	q.Topics = []kmsg.OffsetCommitRequestTopic{stranger, q.Topics[0]}
	a := askAt[*kmsg.OffsetCommitResponse](client, q, 10)
	for _, p := range a.Topics[0].Partitions {
		wantCode(t, "of a topic that is not known", p.ErrorCode, wire.UnknownTopicID)
	}
	wantCode(t, "the first partition", a.Topics[1].Partitions[0].ErrorCode, wire.None)
	wantCode(t, "the second partition", a.Topics[1].Partitions[1].ErrorCode, wire.OffsetMetadataTooLarge)
	if asked := groupAsked[*wire.CommitOffsets](h.backend); len(asked.Offsets) != 2 {
		t.Errorf("the coordinator was asked for %+v", asked.Offsets)
	}
}

func TestARetentionTimeBeyondAllMeasureIsTheLongestThereIs(t *testing.T) {
	h, client, topic := coordinated(t, nil)
	for given, want := range map[int64]time.Duration{-1: 0, 0: 0, 5: 5 * time.Millisecond, 1<<63 - 1: 9223372036854 * time.Millisecond} {
		q := requestFor(8, topic).(*kmsg.OffsetCommitRequest)
		q.RetentionTimeMillis = given
		askAt[*kmsg.OffsetCommitResponse](client, q, 2)
		if got := groupAsked[*wire.CommitOffsets](h.backend).Offsets[0].ExpiresAfter; got != want {
			t.Errorf("%d ms is %v", given, got)
		}
	}
}

func TestOffsetFetchOfAGroupThatNobodyKnowsIsNoError(t *testing.T) {
	_, client, topic := coordinated(t, func(_ context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
		fetched := fetchedBy(q.(*wire.FetchOffsets))
		for i := range fetched.Offsets {
			fetched.Offsets[i] = wire.FetchedOffset{Topic: fetched.Offsets[i].Topic, Partition: fetched.Offsets[i].Partition, Offset: wire.NoOffset, LeaderEpoch: wire.NoEpoch}
		}
		return fetched, nil
	})
	for version := int16(1); version <= 7; version++ {
		a := askAt[*kmsg.OffsetFetchResponse](client, requestFor(9, topic), version)
		for _, p := range a.Topics[0].Partitions {
			if p.ErrorCode != 0 || p.Offset != -1 || p.LeaderEpoch != -1 || p.Metadata == nil || *p.Metadata != "" {
				t.Errorf("version %d: %+v", version, p)
			}
		}
	}
	for version := int16(8); version <= 10; version++ {
		a := askAt[*kmsg.OffsetFetchResponse](client, requestFor(9, topic), version)
		for _, p := range a.Groups[0].Topics[0].Partitions {
			if p.ErrorCode != 0 || p.Offset != -1 || p.LeaderEpoch != -1 || p.Metadata == nil || *p.Metadata != "" {
				t.Errorf("version %d: %+v", version, p)
			}
		}
	}
}

func TestOffsetFetchTellsWhatIsCommittedInEveryVersion(t *testing.T) {
	h, client, topic := coordinated(t, nil)
	for version := int16(1); version <= 10; version++ {
		q := requestFor(9, topic).(*kmsg.OffsetFetchRequest)
		q.RequireStable = true
		a := askAt[*kmsg.OffsetFetchResponse](client, q, version)
		if version < 8 {
			asked := groupAsked[*wire.FetchOffsets](h.backend)
			p := a.Topics[0].Partitions[1]
			if asked.All || asked.MemberEpoch != -1 || asked.Stable != (version >= 7) || a.Topics[0].Topic != "orders" || p.Partition != 1 || p.Offset != 42 || *p.Metadata != "noted" {
				t.Errorf("version %d: %+v of %+v", version, a, asked)
			}
			continue
		}
		asked := groupAsked[*wire.FetchOffsets](h.backend) // the second group
		if !asked.All || (asked.Member == "m-1") != (version >= 9) || (asked.MemberEpoch == 7) != (version >= 9) || version < 9 && asked.MemberEpoch != -1 {
			t.Errorf("version %d: %+v", version, asked)
		}
		one, all := a.Groups[0], a.Groups[1]
		if one.Group != "billing" || len(one.Topics) != 1 || one.Topics[0].Partitions[1].Offset != 42 || one.Topics[0].Partitions[1].LeaderEpoch != 3 {
			t.Errorf("version %d: %+v", version, one)
		}
		// By id nobody can be told of a topic that has none any more.
		if want := map[bool]int{true: 1, false: 2}[version >= 10]; len(all.Topics) != want || len(all.Topics[0].Partitions) != 2 {
			t.Errorf("version %d: %+v", version, all)
		}
		if version >= 10 && (one.Topics[0].TopicID != topic.ID || all.Topics[0].TopicID != topic.ID) {
			t.Errorf("version %d: the ids are not those of the topic", version)
		}
	}
}

func TestOffsetFetchOfNoTopicsIsOfAllFromVersion2On(t *testing.T) {
	h, client, _ := coordinated(t, nil)
	for version := int16(1); version <= 7; version++ {
		q := kmsg.NewPtrOffsetFetchRequest()
		q.Group = "billing"
		a := askAt[*kmsg.OffsetFetchResponse](client, q, version)
		if asked := groupAsked[*wire.FetchOffsets](h.backend); asked.All != (version >= 2) || (len(a.Topics) == 2) != (version >= 2) {
			t.Errorf("version %d: asked %+v, answered %+v", version, asked, a)
		}
		q.Topics = []kmsg.OffsetFetchRequestTopic{}
		a = askAt[*kmsg.OffsetFetchResponse](client, q, version)
		if asked := groupAsked[*wire.FetchOffsets](h.backend); asked.All || len(a.Topics) != 0 {
			t.Errorf("version %d: an empty list: asked %+v, answered %+v", version, asked, a)
		}
	}
}

func TestOffsetFetchByIDSaysWhichTopicsAreNotKnown(t *testing.T) {
	_, client, topic := coordinated(t, nil)
	q := requestFor(9, topic).(*kmsg.OffsetFetchRequest)
	q.Groups = q.Groups[:1]
	stranger := kmsg.OffsetFetchRequestGroupTopic{TopicID: wire.TopicID{1, 2, 3}, Partitions: []int32{5}}
	q.Groups[0].Topics = []kmsg.OffsetFetchRequestGroupTopic{stranger, q.Groups[0].Topics[0]}
	a := askAt[*kmsg.OffsetFetchResponse](client, q, 10)
	unknown := a.Groups[0].Topics[0].Partitions[0]
	wantCode(t, "unknown", unknown.ErrorCode, wire.UnknownTopicID)
	if unknown.Partition != 5 || unknown.Offset != -1 || a.Groups[0].Topics[1].Partitions[0].Offset != 42 {
		t.Errorf("answer: %+v", a.Groups[0])
	}
}

// Each group of a request fares on its own.
func TestOffsetFetchTellsEachGroupItsOwnError(t *testing.T) {
	_, client, topic := coordinated(t, func(_ context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
		if q.Of() == "modern" {
			return &wire.FetchedOffsets{Err: wire.StaleMemberEpoch}, nil
		}
		return sensibleReply(q), nil
	})
	a := askAt[*kmsg.OffsetFetchResponse](client, requestFor(9, topic), 9)
	wantCode(t, "the first group", a.Groups[0].ErrorCode, wire.None)
	wantCode(t, "the second group", a.Groups[1].ErrorCode, wire.StaleMemberEpoch)
	if len(a.Groups[0].Topics) != 1 || len(a.Groups[1].Topics) != 0 {
		t.Errorf("answer: %+v", a)
	}
}

// A coordinator that answers with less than it was asked for, or with something else, is a bug; the
// client gets an error, and never another partition's offset.
func TestAnAnswerThatDoesNotFitIsAnError(t *testing.T) {
	for name, answer := range map[string]wire.GroupReply{
		"nothing of it": &wire.FetchedOffsets{}, "another": &wire.DeletedGroup{}, "none": nil, "a nil one": (*wire.FetchedOffsets)(nil),
	} {
		_, client, topic := coordinated(t, func(context.Context, wire.GroupRequest) (wire.GroupReply, error) { return answer, nil })
		q := requestFor(9, topic).(*kmsg.OffsetFetchRequest)
		q.Groups = q.Groups[:1]
		wantCode(t, name, askAt[*kmsg.OffsetFetchResponse](client, q, 9).Groups[0].ErrorCode, wire.UnknownServerError)
	}
	_, client, topic := coordinated(t, func(context.Context, wire.GroupRequest) (wire.GroupReply, error) {
		return &wire.CommittedOffsets{Errs: []error{nil}}, nil
	})
	a := askAt[*kmsg.OffsetCommitResponse](client, requestFor(8, topic), 9)
	wantCode(t, "answered", a.Topics[0].Partitions[0].ErrorCode, wire.None)
	wantCode(t, "not answered", a.Topics[0].Partitions[1].ErrorCode, wire.UnknownServerError)
}

func TestOffsetDeleteTellsEachPartitionItsOwnError(t *testing.T) {
	h, client, topic := coordinated(t, func(context.Context, wire.GroupRequest) (wire.GroupReply, error) {
		return &wire.CommittedOffsets{Errs: []error{nil, wire.GroupSubscribedToTopic}}, nil
	})
	a := askAt[*kmsg.OffsetDeleteResponse](client, requestFor(47, topic), 0)
	wantCode(t, "all", a.ErrorCode, wire.None)
	wantCode(t, "the first partition", a.Topics[0].Partitions[0].ErrorCode, wire.None)
	wantCode(t, "the second partition", a.Topics[0].Partitions[1].ErrorCode, wire.GroupSubscribedToTopic)
	if asked := groupAsked[*wire.DeleteOffsets](h.backend); len(asked.Topics) != 1 || !slices.Equal(asked.Topics[0].Partitions, []int32{0, 1}) {
		t.Errorf("asked for %+v", asked)
	}
}

func TestListGroupsPassesTheFiltersOn(t *testing.T) {
	h, client, _ := coordinated(t, nil)
	for version := int16(0); version <= 5; version++ {
		q := kmsg.NewPtrListGroupsRequest()
		q.StatesFilter, q.TypesFilter = []string{"stable"}, []string{"Classic"}
		a := askAt[*kmsg.ListGroupsResponse](client, q, version)
		filter := h.backend.lastFilter()
		if (len(filter.States) == 1) != (version >= 4) || (len(filter.Types) == 1) != (version >= 5) {
			t.Errorf("version %d: the filter is %+v", version, filter)
		}
		g := a.Groups[0]
		if g.Group != "billing" || g.ProtocolType != "consumer" || (g.GroupState == "Stable") != (version >= 4) || (g.GroupType == "classic") != (version >= 5) {
			t.Errorf("version %d: %+v", version, g)
		}
	}
}

func TestListGroupsSaysThatSomeAreMissing(t *testing.T) {
	backend, _ := fakeBroker()
	backend.groups.list = wire.GroupList{Err: wire.CoordinatorLoadInProgress, Groups: []wire.ListedGroup{{Group: "loaded"}}}
	client := start(t, backend).dial(t)
	for version := int16(0); version <= 5; version++ {
		a := askAt[*kmsg.ListGroupsResponse](client, kmsg.NewPtrListGroupsRequest(), version)
		wantCode(t, "list", a.ErrorCode, wire.CoordinatorLoadInProgress)
	}
}

func TestAGroupThatDoesNotExistIsDeadToOldClients(t *testing.T) {
	_, client, _ := coordinated(t, nil)
	for version := int16(0); version <= 6; version++ {
		a := askAt[*kmsg.DescribeGroupsResponse](client, requestFor(15, wire.Topic{}), version)
		known := a.Groups[0]
		if known.ErrorCode != 0 || known.State != "Stable" || known.Protocol != "range" || len(known.Members) != 1 {
			t.Errorf("version %d: %+v", version, known)
		}
		m := known.Members[0]
		if m.ClientHost != "/10.0.0.1" || string(m.MemberAssignment) != "all" || (textOf(m.InstanceID) == "i-1") != (version >= 4) {
			t.Errorf("version %d: %+v", version, m)
		}
		// A group of KIP-848 is none to this API, so that administrators ask the other one.
		for _, g := range a.Groups[1:] {
			want := wire.None
			if version >= 6 {
				want = wire.GroupIDNotFound
			}
			wantCode(t, fmt.Sprintf("version %d of %s", version, g.Group), g.ErrorCode, want)
			if g.State != "Dead" || (g.ErrorMessage != nil) != (version >= 6) || len(g.Members) > 0 {
				t.Errorf("version %d: %+v", version, g)
			}
		}
	}
}

func TestConsumerGroupDescribeDescribesGroupsOfItsOwnProtocol(t *testing.T) {
	_, client, topic := coordinated(t, nil)
	for version := int16(0); version <= 1; version++ {
		a := askAt[*kmsg.ConsumerGroupDescribeResponse](client, requestFor(69, topic), version)
		wantCode(t, "a classic group", a.Groups[0].ErrorCode, wire.GroupIDNotFound)
		wantCode(t, "no group", a.Groups[2].ErrorCode, wire.GroupIDNotFound)
		g := a.Groups[1]
		if g.ErrorCode != 0 || g.State != "Reconciling" || g.Epoch != 9 || g.AssignmentEpoch != 8 || g.AssignorName != "uniform" || len(g.Members) != 2 {
			t.Fatalf("version %d: %+v", version, g)
		}
		first, second := g.Members[0], g.Members[1]
		if first.MemberEpoch != 8 || textOf(first.RackID) != "a" || first.InstanceID != nil || first.SubscribedTopicRegex != nil || len(first.Assignment.TopicPartitions) != 1 {
			t.Errorf("version %d: %+v", version, first)
		}
		if part := first.TargetAssignment.TopicPartitions[0]; part.Topic != "orders" || part.TopicID != topic.ID || len(part.Partitions) != 2 {
			t.Errorf("version %d: %+v", version, part)
		}
		if textOf(second.SubscribedTopicRegex) != "ord.*" || textOf(second.InstanceID) != "i-2" {
			t.Errorf("version %d: %+v", version, second)
		}
		if version >= 1 && (first.MemberType != 1 || second.MemberType != 0) {
			t.Errorf("the types are %d and %d", first.MemberType, second.MemberType)
		}
	}
}

func TestConsumerGroupHeartbeatTellsWhatIsNewFromWhatIsAsBefore(t *testing.T) {
	h, client, topic := coordinated(t, nil)
	first := requestFor(68, topic).(*kmsg.ConsumerGroupHeartbeatRequest)
	first.InstanceID, first.RackID, first.ServerAssignor = kmsg.StringPtr("i-1"), kmsg.StringPtr("a"), kmsg.StringPtr("uniform")
	first.SubscribedTopicRegex = kmsg.StringPtr("ord.*")
	a := askAt[*kmsg.ConsumerGroupHeartbeatResponse](client, first, 1)
	asked := groupAsked[*wire.ConsumerHeartbeat](h.backend)
	if !asked.Subscribed || !slices.Equal(asked.Topics, []string{"orders"}) || asked.Pattern == nil || !asked.OwnedTold || asked.RebalanceTimeout != time.Minute ||
		asked.Instance != "i-1" || asked.Rack != "a" || asked.Assignor != "uniform" || asked.ClientHost != "/127.0.0.1" || asked.ClientID != "test" {
		t.Errorf("the first heartbeat: %+v", asked)
	}
	if a.MemberEpoch != 7 || textOf(a.MemberID) != "m-1" || a.HeartbeatIntervalMillis != 5000 || a.Assignment == nil || a.Assignment.Topics[0].TopicID != topic.ID {
		t.Errorf("answer: %+v", a)
	}

	later := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	later.Group, later.MemberID, later.MemberEpoch = "modern", "m-1", 7
	askAt[*kmsg.ConsumerGroupHeartbeatResponse](client, later, 1)
	asked = groupAsked[*wire.ConsumerHeartbeat](h.backend)
	if asked.Subscribed || asked.Pattern != nil || asked.OwnedTold || asked.RebalanceTimeout != 0 || asked.Instance != "" || asked.MemberEpoch != 7 {
		t.Errorf("the next heartbeat: %+v", asked)
	}

	later.RebalanceTimeoutMillis, later.SubscribedTopicRegex = 0, kmsg.StringPtr("")
	later.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: topic.ID, Partitions: []int32{1}}}
	askAt[*kmsg.ConsumerGroupHeartbeatResponse](client, later, 1)
	asked = groupAsked[*wire.ConsumerHeartbeat](h.backend)
	if asked.RebalanceTimeout == 0 || asked.Pattern == nil || *asked.Pattern != "" || !asked.OwnedTold || len(asked.Owned) != 1 || asked.Owned[0].Topic != topic.ID {
		t.Errorf("a heartbeat with news: %+v", asked)
	}
}

func TestConsumerGroupHeartbeatWithoutAssignmentTellsNone(t *testing.T) {
	_, client, topic := coordinated(t, func(context.Context, wire.GroupRequest) (wire.GroupReply, error) {
		return &wire.ConsumerHeartbeatReply{Member: "m-1", MemberEpoch: 7, HeartbeatInterval: time.Second}, nil
	})
	if a := askAt[*kmsg.ConsumerGroupHeartbeatResponse](client, requestFor(68, topic), 1); a.Assignment != nil {
		t.Errorf("answer: %+v", a.Assignment)
	}
}

func TestConsumerGroupHeartbeatRefusesWhatIsEmpty(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*kmsg.ConsumerGroupHeartbeatRequest)
		want  wire.ErrorCode
		since int16
	}{
		"group":    {func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Group = "" }, wire.InvalidRequest, 0},
		"member":   {func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberID = "" }, wire.InvalidRequest, 1},
		"instance": {func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.InstanceID = new(string) }, wire.InvalidRequest, 0},
		"rack":     {func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.RackID = new(string) }, wire.InvalidRequest, 0},
		"assignor": {func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.ServerAssignor = new(string) }, wire.UnsupportedAssignor, 0},
	} {
		h, client, topic := coordinated(t, nil)
		for version := int16(0); version <= 1; version++ {
			q := requestFor(68, topic).(*kmsg.ConsumerGroupHeartbeatRequest)
			c.spoil(q)
			a := askAt[*kmsg.ConsumerGroupHeartbeatResponse](client, q, version)
			if version < c.since { // the coordinator gives the member an id
				wantCode(t, name, a.ErrorCode, wire.None)
				continue
			}
			wantCode(t, name, a.ErrorCode, c.want)
			if a.ErrorMessage == nil {
				t.Errorf("%s: nothing tells what is wrong", name)
			}
		}
		if asked := groupAsked[*wire.ConsumerHeartbeat](h.backend); asked != nil && c.since == 0 {
			t.Errorf("%s: the coordinator was asked: %+v", name, asked)
		}
	}
}

func TestApiVersionsTellsThatGroupsSpeakKIP848(t *testing.T) {
	_, client, _ := coordinated(t, nil)
	for version := int16(0); version <= 4; version++ {
		q := kmsg.NewPtrApiVersionsRequest()
		q.ClientSoftwareName, q.ClientSoftwareVersion = "test", "1"
		a := askAt[*kmsg.ApiVersionsResponse](client, q, version)
		if version < 3 {
			if a.FinalizedFeatures != nil || a.SupportedFeatures != nil {
				t.Errorf("version %d tells features", version)
			}
			continue
		}
		if a.FinalizedFeaturesEpoch < 0 || len(a.FinalizedFeatures) != 1 || a.FinalizedFeatures[0].Name != "group.version" || a.FinalizedFeatures[0].MaxVersionLevel != 1 {
			t.Errorf("version %d: %+v", version, a)
		}
		// KAFKA-17011: clients of version 3 take a lowest level of 0 for an error.
		if (len(a.SupportedFeatures) == 1) != (version >= 4) {
			t.Errorf("version %d: %+v", version, a.SupportedFeatures)
		}
	}
}

// parking is a coordinator whose JoinGroup waits until its context ends or it is let go.
type parking struct {
	parked chan struct{}
	letGo  chan struct{}
	ended  chan error
}

func newParking() *parking {
	return &parking{parked: make(chan struct{}, 1), letGo: make(chan struct{}, 1), ended: make(chan error, 1)}
}

func (p *parking) answer(ctx context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
	if _, join := q.(*wire.JoinGroup); !join {
		return sensibleReply(q), nil
	}
	p.parked <- struct{}{}
	select {
	case <-p.letGo:
		p.ended <- nil
		return sensibleReply(q), nil
	case <-ctx.Done():
		p.ended <- ctx.Err()
		return nil, ctx.Err()
	}
}

// expectAnswered waits until the coordinator has let one go, which nothing may have cancelled.
func (p *parking) expectAnswered(t *testing.T) {
	t.Helper()
	if err := <-p.ended; err != nil {
		t.Errorf("it was cancelled: %v", err)
	}
}

func TestAParkedJoinGroupIsCancelledWhenItsClientGoesAway(t *testing.T) {
	p := newParking()
	_, client, _ := coordinated(t, p.answer)
	q := requestFor(11, wire.Topic{})
	q.SetVersion(9)
	client.send(q)
	<-p.parked
	_ = client.net.Close()
	if err := <-p.ended; err == nil {
		t.Error("it was answered")
	}
}

func TestRequestsBehindAParkedJoinGroupAreAnsweredAfterIt(t *testing.T) {
	p := newParking()
	h, client, topic := coordinated(t, p.answer)
	join, beat := requestFor(11, topic), requestFor(12, topic)
	join.SetVersion(9)
	beat.SetVersion(4)
	client.send(join)
	<-p.parked
	frame := frameOf(beat, 2)
	client.write(frame[:3]) // read ahead, and not whole
	other := h.dial(t)
	other.ask(beat) // another connection is not held up
	client.write(frame[3:])
	p.letGo <- struct{}{}
	if a := client.receive(join, 1).(*kmsg.JoinGroupResponse); a.ErrorCode != 0 || a.MemberID != "m-1" {
		t.Errorf("join: %+v", a)
	}
	if a := client.receive(beat, 2).(*kmsg.HeartbeatResponse); a.ErrorCode != 0 {
		t.Errorf("heartbeat: %+v", a)
	}
	p.expectAnswered(t)
	client.correlation = 2
	client.ask(beat) // the connection goes on
}

// What is read ahead must not overwrite the request that waits.
func TestAParkedRequestKeepsItsBytes(t *testing.T) {
	const size = 40_000 // two do not fit into one chunk
	var mu sync.Mutex
	var lengths []int
	p := newParking()
	_, client, topic := coordinated(t, func(ctx context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
		join := q.(*wire.JoinGroup)
		reply, err := p.answer(ctx, q)
		mu.Lock()
		defer mu.Unlock()
		lengths = append(lengths, strings.Count(string(join.Protocols[0].Metadata), string(join.Protocols[0].Metadata[0])))
		return reply, err
	})
	var frames [][]byte
	var asked []kmsg.Request
	for i := range 4 {
		q := requestFor(11, topic).(*kmsg.JoinGroupRequest)
		q.SetVersion(9)
		q.Protocols[0].Metadata = []byte(strings.Repeat(string(rune('a'+i)), size))
		asked, frames = append(asked, q), append(frames, frameOf(q, int32(i+1)))
	}
	for i := range frames {
		client.write(frames[i])
	}
	for i := range frames {
		<-p.parked
		p.letGo <- struct{}{}
		p.expectAnswered(t)
		client.receive(asked[i], int32(i+1))
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(lengths, []int{size, size, size, size}) {
		t.Errorf("of %d bytes were kept %v", size, lengths)
	}
}

func TestShutdownAnswersAParkedJoinGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParking()
		backend, _ := fakeBroker()
		backend.groups.answer = p.answer
		s := New(DefaultConfig(), backend, quiet, NewMetrics(nil), time.Now)
		near, far := net.Pipe()
		go s.ServeConn(addressed{far}, nil)
		client := &rawClient{t: t, net: near}
		q := requestFor(11, wire.Topic{})
		q.SetVersion(9)
		client.send(q)
		<-p.parked
		stopped := make(chan error, 1)
		go func() { stopped <- s.Shutdown(t.Context()) }()
		a := client.receive(q, 1).(*kmsg.JoinGroupResponse)
		wantCode(t, "join", a.ErrorCode, wire.NotCoordinator)
		client.expectClosed()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if err := <-p.ended; err == nil {
			t.Error("it was answered in time")
		}
	})
}

// The beginning of the next request may lie there for as long as the rebalance takes.
func TestAParkedJoinGroupIsNotARequestThatTakesTooLongToArrive(t *testing.T) {
	inBubble(t, func(s *Server, client net.Conn) {
		p := newParking()
		backend := s.backend.(*fakeBackend)
		backend.groups.answer = p.answer
		c := &rawClient{t: t, net: client}
		join, beat := requestFor(11, wire.Topic{}), requestFor(12, wire.Topic{})
		join.SetVersion(9)
		beat.SetVersion(4)
		c.send(join)
		<-p.parked
		frame := frameOf(beat, 2)
		c.write(frame[:2])
		time.Sleep(5 * time.Minute)
		p.letGo <- struct{}{}
		c.receive(join, 1)
		p.expectAnswered(t)
		c.write(frame[2:])
		c.receive(beat, 2)
	})
}
