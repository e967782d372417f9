package group

import (
	"slices"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// crowded is a group in which a member of the classic protocol is to give up what others are to have that came, and has joined
// to hear of that.
func crowded(t *testing.T) (*consumerBench, *oldClient, []*consumerClient) {
	b, old, young := mixedGroup(t, 4)
	others := []*consumerClient{young, b.client("younger", "t").join(), b.client("youngest", "t").join()}
	joined := old.rejoins()
	if joined.Err != nil || joined.Generation != old.generation {
		t.Fatalf("a member that is to give partitions up keeps its generation %d, and it joins %+v", old.generation, joined)
	}
	return b, old, others
}

func TestWhatAHeartbeatOfBeforeHeardIsDoneWhenAMemberSyncs(t *testing.T) {
	_, old, others := crowded(t)
	old.beatsFor(40*time.Second, wire.RebalanceInProgress, others...) // sent before it joined
	if err := old.syncs(); err != nil {
		t.Fatal(err)
	}
	old.beatsFor(55*time.Second, wire.RebalanceInProgress, others...) // it gives up
	if joined := old.rejoins(); joined.Err != nil {
		t.Errorf("it has given up in time, and hears %v", joined.Err)
	}
}

func TestAMemberThatSyncsAgainAndAgainHasToGiveUpAllTheSame(t *testing.T) {
	b, old, others := crowded(t)
	for range 12 {
		if err := old.syncs(); err != nil {
			t.Fatal(err)
		}
		old.beatsFor(5*time.Second, wire.RebalanceInProgress, others...)
	}
	b.pass(5 * time.Second)
	old.heartbeats(wire.UnknownMemberID)
}

// It was in time to hear that the group went on meanwhile, and has as long as any other to join again.
func TestAMemberThatSyncsInTimeHasTimeToJoinAgain(t *testing.T) {
	b, old, young := mixedGroup(t, 2)
	old.rejoins()
	old.beatsFor(55*time.Second, wire.None, young)
	b.topics(map[string]int{"t": 4})
	young.beat()
	if err := old.syncs(); wire.Code(err) != wire.RebalanceInProgress {
		t.Fatalf("it syncs, and hears %v", err)
	}
	old.beatsFor(55*time.Second, wire.RebalanceInProgress, young)
	if joined := old.rejoins(); joined.Err != nil {
		t.Errorf("it joins in time, and hears %v", joined.Err)
	}
}

// It would commit them once more when it gives them up, as a member in good standing.
func TestACooperativeMemberThatStillHasWhatOthersWereGivenIsFenced(t *testing.T) {
	b, old, young := mixedGroup(t, 4)
	mine, theirs := slices.Clone(old.owned), young.owned.partitionsOf(topicID("t"))
	if len(mine) == 0 || len(theirs) == 0 {
		t.Fatalf("they have %v and %v", mine, theirs)
	}
	old.owned = append(old.owned, theirs[0]) // from a generation that it missed
	if joined := old.rejoins(); wire.Code(joined.Err) != wire.UnknownMemberID {
		t.Fatalf("it joins with what another member has, and hears %v", joined.Err)
	}
	old.owned = mine
	old.heartbeats(wire.UnknownMemberID)
	if err := old.commit(); wire.Code(err) != wire.UnknownMemberID {
		t.Errorf("it commits, and hears %v", err)
	}
	b.turns(nil, young)
	young.has(0, 1, 2, 3)
	old.joinsAnew()
	b.sharedOut([]*oldClient{old}, young)
}

// Nothing could be kept of it for the member when the group moved; what it commits would count beside what those do who are given it,
// also where nobody is for the moment.
func TestATopicThatOnlyTheLeaderKnewIsCommittedByWhomTheCoordinatorGivesIt(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 4})
	old := b.oldClient(false, "t")
	b.classicGroup(old)
	b.topics(map[string]int{"s": 1}) // as a coordinator has it that has not heard of t
	young := b.client("young", "t").join()
	b.topics(map[string]int{"t": 4})
	for range 3 {
		young.beat()
		young.adopt()
	}
	theirs := young.owned.partitionsOf(topicID("t"))
	if len(theirs) == 0 || len(theirs) == 4 {
		t.Fatalf("the new member has %v", theirs)
	}
	q := &wire.CommitOffsets{Group: "g", Member: old.id, Generation: old.generation}
	for p := range int32(4) {
		q.Offsets = append(q.Offsets, wire.OffsetCommit{Topic: "t", Partition: p, Offset: 1})
	}
	reply := b.ask(q).(*wire.CommittedOffsets)
	for p, err := range reply.Errs {
		if wire.Code(err) != wire.RebalanceInProgress {
			t.Errorf("the commit of %d hears %v", p, err)
		}
	}
	b.sharedOut([]*oldClient{old}, young)
}
