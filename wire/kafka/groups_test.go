package kafka

import (
	"context"
	"fmt"
	"testing"

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
