package kafka

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

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
