package group

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// Members of the classic protocol have generations: the errors are those that they know.
func TestAClassicMemberIsFencedByItsGeneration(t *testing.T) {
	b, old, young := mixedGroup(t, 2)
	g := old.generation
	for name, test := range map[string]struct {
		q    wire.GroupRequest
		want wire.ErrorCode
	}{
		"heartbeat of an old generation": {&wire.GroupHeartbeat{Group: "g", Member: old.id, Generation: g - 1}, wire.IllegalGeneration},
		"sync of an old generation":      {&wire.SyncGroup{Group: "g", Member: old.id, Generation: g - 1}, wire.IllegalGeneration},
		"sync of another protocol":       {&wire.SyncGroup{Group: "g", Member: old.id, Generation: g, Protocol: "x"}, wire.InconsistentGroupProtocol},
		"heartbeat of nobody":            {&wire.GroupHeartbeat{Group: "g", Member: "x", Generation: g}, wire.UnknownMemberID},
		"heartbeat of a new member":      {&wire.GroupHeartbeat{Group: "g", Member: "young", Generation: g}, wire.UnknownMemberID},
		"commit of an old generation":    {&wire.CommitOffsets{Group: "g", Member: old.id, Generation: g - 1, Modern: true}, wire.IllegalGeneration},
		"fetch of an old generation":     {&wire.FetchOffsets{Group: "g", Member: old.id, MemberEpoch: int32(g) - 1}, wire.IllegalGeneration},
		"fetch of an old epoch":          {&wire.FetchOffsets{Group: "g", Member: "young", MemberEpoch: 0}, wire.StaleMemberEpoch},
		"fetch of nobody":                {&wire.FetchOffsets{Group: "g", Member: "x", MemberEpoch: 1}, wire.UnknownMemberID},
		"fetch of a tool":                {&wire.FetchOffsets{Group: "g", MemberEpoch: -1}, wire.None},
		"commit of a new member by an old request": {
			&wire.CommitOffsets{Group: "g", Member: "young", Generation: wire.GenerationID(young.epoch)}, wire.UnsupportedVersion,
		},
		"commit of a tool": {&wire.CommitOffsets{Group: "g", Generation: -1}, wire.UnknownMemberID},
	} {
		t.Run(name, func(t *testing.T) {
			if reply := b.ask(test.q); wire.Code(reply.Failure()) != test.want {
				t.Errorf("told %v, want %s", reply.Failure(), test.want.Name())
			}
		})
	}
}

func TestAClassicMemberThatDoesNotRejoinIsFenced(t *testing.T) {
	b, old, young := mixedGroup(t, 2)
	b.topics(map[string]int{"t": 4})
	young.beat()
	for i := range 20 { // it sends heartbeats, is told to join, and does not
		want := wire.RebalanceInProgress
		if i*5 >= 60 {
			want = wire.UnknownMemberID
		}
		old.heartbeats(want)
		young.beat()
		young.adopt()
		b.pass(5 * time.Second)
	}
	young.has(0, 1, 2, 3)
}

// Its partitions may be another member's by now, and it would commit them once more as a member in good standing.
func TestAClassicMemberThatWasTakenOutComesBackAsANewOneOnly(t *testing.T) {
	b, old, young := mixedGroup(t, 2)
	if len(old.owned) == 0 {
		t.Fatal("it has nothing to lose")
	}
	for range 10 { // it is not heard of
		b.pass(5 * time.Second)
		young.beat()
		young.adopt()
	}
	young.has(0, 1)
	old.join()
	if !errors.Is(old.err, wire.UnknownMemberID) {
		t.Fatalf("it joins with what it had and hears %v", old.err)
	}
	old.joinsAnew()
	if old.err != nil {
		t.Fatalf("it joins as a new one and hears %v", old.err)
	}
}

func TestAClassicMemberThatDoesNotSyncIsFenced(t *testing.T) {
	b, old, young := mixedGroup(t, 2)
	old.rejoins()
	for i := range 13 {
		want := wire.None
		if i == 12 {
			want = wire.UnknownMemberID
		}
		old.heartbeats(want)
		young.beat()
		b.pass(5 * time.Second)
	}
}

// A group that has another epoch by the time that a member syncs has it join once more.
func TestASyncThatComesTooLateIsARebalanceInProgress(t *testing.T) {
	b, old, young := mixedGroup(t, 2)
	b.topics(map[string]int{"t": 4})
	young.beat()
	if err := old.syncs(); wire.Code(err) != wire.RebalanceInProgress {
		t.Errorf("told %v", err)
	}
	b.sharedOut([]*oldClient{old}, young)
}

func TestLeavingByTheClassicProtocol(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 3})
	young, gone := b.client("young", "t").join(), b.client("gone", "t").join()
	static := b.client("static", "t").as("i").join()
	old := b.oldClient(true, "t")
	old.join()
	b.turns([]*oldClient{old}, young, static, gone)
	reply := b.ask(&wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{
		{Member: "gone"},                 // an operator takes it out
		{Member: "x", Instance: "i"},     // is not the member with the instance
		{Member: "x"},                    // is nobody
		{Instance: "i"},                  // so is this one
		{Member: old.id, Reason: "done"}, // leaves
		{Member: old.id},
	}}).(*wire.LeftGroup)
	var got []string
	for _, m := range reply.Members {
		got = append(got, string(m.Member)+"/"+m.Instance+" "+wire.Code(m.Err).Name())
	}
	// Each is told in the words of the request.
	want := []string{
		"gone/ NONE", "x/i FENCED_INSTANCE_ID", "x/ UNKNOWN_MEMBER_ID", "/i NONE",
		string(old.id) + "/ NONE", string(old.id) + "/ UNKNOWN_MEMBER_ID",
	}
	if !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	b.settle(young)
	young.has(0, 1, 2)
}
