package replica

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/troupe-mq/troupe/wire"
)

func TestAFollowerJoinsWhenItHasFlushedAllThatIsCommitted(t *testing.T) {
	own := log(3, 5)
	l := leading(three(1, 2), own, 2)
	l.Appended(8, t0)
	own = log(3, 5, 7, 3)
	l.Positioned(position(3, 3, 4), own, t0)
	if effects := l.Acknowledged(ack(3, 8, 4), t0); effects.Propose != nil {
		t.Fatalf("it was proposed by its log end: %+v", effects.Propose)
	}
	effects := l.Acknowledged(ack(3, 8, 5), t0)
	want := &Proposal{
		LeaderEpoch: 7, PartitionEpoch: 20,
		ISR: []Member{{1, 11}, {2, 12}, {3, 13}}, Joining: []wire.BrokerID{3},
	}
	if diff := cmp.Diff(want, effects.Propose); diff != "" {
		t.Fatal(diff)
	}
}

func TestUnderReplicatedAFollowerJoinsByItsLogEnd(t *testing.T) {
	leadership := three(1, 2)
	leadership.Fsync = false
	l := leading(leadership, log(3, 5), 2)
	m := position(3, 3, 5)
	m.FlushedOffset = 0
	if effects := l.Positioned(m, log(3, 5), t0); effects.Propose == nil {
		t.Fatal("it was not proposed")
	}
}

// Kafka's isFollowerInSync: the high watermark of a new leader may be an old one, so that a follower
// has to reach the epoch's start too.
func TestAFollowerDoesNotJoinBelowTheEpochsStart(t *testing.T) {
	own := log(3, 9)
	l, _ := NewLeader(three(1, 2), LogState{End: 9, Flushed: 9, HighWatermark: 4}, t0)
	if effects := l.Positioned(position(3, 3, 8), own, t0); effects.Propose != nil {
		t.Fatalf("%+v", effects.Propose)
	}
	if effects := l.Acknowledged(ack(3, 9, 9), t0); effects.Propose == nil {
		t.Fatal("it has reached the epoch's start and was not proposed")
	}
}

// KIP-841 (KAFKA-13916): who is fenced or shutting down is not proposed.
func TestOnlyEligibleReplicasAreProposed(t *testing.T) {
	leadership := three(1, 2)
	leadership.Eligible = []bool{true, true, false}
	l := leading(leadership, log(3, 5), 2, 3)
	if l.Pending() != nil {
		t.Fatalf("%+v", l.Pending())
	}
	// Unfencing raises no partition epoch.
	if effects := l.Changed(three(1, 2), t0); effects.Propose == nil {
		t.Fatal("it was not proposed when it was unfenced")
	}
}

func TestALeaderThatIsShuttingDownTakesInWhoCanTakeOver(t *testing.T) {
	leadership := three(1)
	leadership.Eligible = []bool{false, true, true}
	l := leading(leadership, log(3, 5), 2)
	if l.Pending() == nil {
		t.Fatal("it proposes nobody, and can never stop")
	}
}

func TestNothingIsProposedWhileAMemberIsShutOut(t *testing.T) {
	leadership := three(1, 2)
	leadership.Eligible = []bool{true, false, true}
	l := leading(leadership, log(3, 5), 2, 3)
	if l.Pending() != nil {
		t.Fatalf("%+v", l.Pending())
	}
}

// KIP-903 (KAFKA-14139): who is proposed is the incarnation that has acknowledged.
func TestAFollowerIsProposedInTheIncarnationThatQualifiedIt(t *testing.T) {
	own := log(3, 5)
	l := leading(three(1, 2), own, 2)
	m := position(3, 3, 5)
	m.Incarnation = 77 // one that the image does not know yet
	if effects := l.Positioned(m, own, t0); effects.Propose != nil {
		t.Fatalf("%+v", effects.Propose)
	}
	registered := next(three(1, 2), 1, 2)
	registered.Incarnations = []wire.Incarnation{11, 12, 77}
	effects := l.Changed(registered, t0)
	if effects.Propose == nil || effects.Propose.ISR[2] != (Member{3, 77}) {
		t.Fatalf("%+v", effects.Propose)
	}
	// It begins anew before the proposal is decided: what is repeated names the one that qualified.
	registered.Incarnations = []wire.Incarnation{11, 12, 78}
	l.Changed(registered, t0)
	if effects := l.Tick(t0.Add(repeatAfter)); effects.Propose == nil || effects.Propose.ISR[2] != (Member{3, 77}) {
		t.Fatalf("%+v", effects.Propose)
	}
}

func TestAFollowerInAnotherIncarnationThanTheRegisteredIsAskedAgain(t *testing.T) {
	own := log(3, 5)
	l := leading(three(1, 2), own, 2)
	stream(l, 5)
	late := position(3, 3, 5)
	late.Incarnation = 9
	l.Positioned(late, own, t0)
	effects := l.Tick(t0.Add(repeatAfter))
	if len(effects.Send) != 1 || effects.Send[0].To != 3 {
		t.Fatalf("%+v", effects)
	}
	l.Positioned(position(3, 3, 5), own, t0)
	if l.Pending() == nil {
		t.Fatal("it was not proposed")
	}
}

func TestAFollowerThatIsNotLinkedDoesNotJoin(t *testing.T) {
	own := log(3, 5)
	l := leading(three(1, 2), own, 2)
	l.LinkDown(3)
	if effects := l.Positioned(position(3, 3, 5), own, t0); effects.Propose != nil {
		t.Fatalf("%+v", effects.Propose)
	}
}

// A broker whose image is behind may still hear that its copy is to be deleted, after it was heard of in this epoch.
func TestAFollowerDoesNotJoinBeforeItsImageHasReachedTheEpoch(t *testing.T) {
	own := log(3, 5)
	l := leading(three(1, 2), own, 2)
	early := position(3, 3, 5)
	early.Confirmed = false
	if effects := l.Positioned(early, own, t0); effects.Propose != nil {
		t.Fatalf("proposed: %+v", effects.Propose)
	}
	if effects := l.Positioned(position(3, 3, 5), own, t0); effects.Propose == nil {
		t.Fatal("it is not proposed though its image has caught up")
	}

	l = leading(three(1, 2), own, 2)
	l.Positioned(early, own, t0)
	if effects := l.Acknowledged(ack(3, 5, 5), t0); effects.Propose == nil {
		t.Fatal("an acknowledgement without progress did not bring the news")
	}

	l = leading(three(1, 2), own, 2)
	l.Positioned(early, own, t0)
	effects := l.Tick(l.NextTick())
	if len(effects.Send) != 1 || effects.Send[0].To != 3 {
		t.Fatalf("it is not asked again whether its image has caught up: %+v", effects.Send)
	}
}

func TestAProposalIsRepeatedAsItIsUntilTheStateItWasMadeForIsOver(t *testing.T) {
	l := leading(three(1, 2), log(3, 5), 2, 3)
	p := l.Pending()
	if effects := l.Tick(t0.Add(repeatAfter - 1)); effects.Propose != nil {
		t.Fatal("repeated too early")
	}
	if effects := l.Tick(t0.Add(repeatAfter)); effects.Propose != p {
		t.Fatalf("%+v", effects.Propose)
	}
	if effects := l.Changed(three(1, 2), t0); effects.Propose != nil || l.Pending() != p {
		t.Fatal("a state of the same partition epoch ended it")
	}
	if l.Changed(next(three(1, 2), 1, 2, 3), t0); l.Pending() != nil {
		t.Fatalf("%+v", l.Pending())
	}
}

func TestAnOlderStateIsIgnored(t *testing.T) {
	l := leading(three(1, 2), log(3, 5), 2)
	l.Changed(next(three(1, 2), 1, 2, 3), t0)
	if effects := l.Changed(three(1), t0); effects.Advanced || len(l.ISR()) != 3 {
		t.Fatalf("ISR %v", l.ISR())
	}
}

func TestAFollowerThatLagsIsProposedForRemoval(t *testing.T) {
	l := leading(three(1, 2, 3), log(3, 5), 2, 3)
	l.Appended(6, t0)
	l.Synced(6)
	l.Acknowledged(ack(2, 6, 6), t0.Add(9*time.Second))
	if effects := l.Tick(t0.Add(10 * time.Second)); effects.Propose != nil {
		t.Fatalf("%+v", effects.Propose)
	}
	effects := l.Tick(t0.Add(10*time.Second + 1))
	want := &Proposal{LeaderEpoch: 7, PartitionEpoch: 20, ISR: []Member{{1, 11}, {2, 12}}, Leaving: []wire.BrokerID{3}}
	if diff := cmp.Diff(want, effects.Propose); diff != "" {
		t.Fatal(diff)
	}
	if l.HighWatermark() != 5 {
		t.Fatalf("a shrink counted before it was committed: %d", l.HighWatermark())
	}
	if effects := l.Changed(next(three(1, 2, 3), 1, 2), t0); effects.HighWatermark != 6 {
		t.Fatalf("%+v", effects)
	}
}

// It is not enough to be behind: under load every follower is behind at every moment.
// Kafka: it is given as long as one that is slow.
func TestAFollowerWithoutALinkIsGivenUpSooner(t *testing.T) {
	l := leading(three(1, 2, 3), log(3, 5), 2, 3)
	l.Appended(6, t0)
	l.LinkDown(3)
	l.Acknowledged(ack(2, 6, 6), t0)
	if effects := l.Tick(t0.Add(unlinkedLag)); effects.Propose != nil {
		t.Fatalf("it may be back at once: %+v", effects.Propose)
	}
	if next := l.NextTick(); next.IsZero() || next.After(t0.Add(unlinkedLag+1)) {
		t.Fatalf("the clock is looked at again at %v", next)
	}
	effects := l.Tick(t0.Add(unlinkedLag + 1))
	if effects.Propose == nil || !cmp.Equal(effects.Propose.Leaving, []wire.BrokerID{3}) {
		t.Fatalf("%+v", effects.Propose)
	}
}

func TestALinkThatIsBackInTimeKeepsItsFollowerInSync(t *testing.T) {
	l := leading(three(1, 2, 3), log(3, 5), 2, 3)
	l.Appended(6, t0)
	l.LinkDown(3)
	l.Acknowledged(ack(2, 6, 6), t0)
	l.LinkUp(3, t0.Add(unlinkedLag/2))
	if effects := l.Tick(t0.Add(2 * unlinkedLag)); effects.Propose != nil {
		t.Fatalf("%+v", effects.Propose)
	}
}

func TestAFollowerThatKeepsUpAtADistanceStays(t *testing.T) {
	l := leading(three(1, 2), log(3, 5), 2)
	l.LinkDown(3)
	end := wire.Offset(5)
	for second := range 60 {
		now := t0.Add(time.Duration(second) * time.Second)
		end++
		l.Appended(end, now)
		l.Acknowledged(ack(2, end-4, end-4), now)
		if effects := l.Tick(now); effects.Propose != nil {
			t.Fatalf("after %d s: %+v", second, effects.Propose)
		}
	}
}

// A follower that has all that is committed may be far from the log's end, where nothing is committed
// for want of members. Were it removed for that at once, it would join again at once.
func TestWhoJoinsHasAllOfTheTimeThatAMemberHas(t *testing.T) {
	own := log(3, 5)
	l := leading(three(1), own, 2)
	l.LinkDown(3)
	now := t0
	for range 20 {
		now = now.Add(time.Second)
		l.Appended(l.end+1, now)
	}
	if effects := l.Changed(next(three(1), 1, 2), now); effects.Propose != nil {
		t.Fatalf("%+v", effects.Propose)
	}
	if effects := l.Tick(now.Add(10 * time.Second)); effects.Propose != nil {
		t.Fatalf("%+v", effects.Propose)
	}
	if effects := l.Tick(now.Add(10*time.Second + 1)); effects.Propose == nil {
		t.Fatal("it is not removed after that time")
	}
}

func TestNothingUnacknowledgedMeansNoClock(t *testing.T) {
	l := leading(three(1, 2), log(3, 5), 2)
	l.LinkDown(2)
	l.LinkDown(3)
	if !l.Idle() {
		t.Fatalf("a tick is due at %v", l.NextTick())
	}
	if effects := l.Tick(t0.Add(time.Hour)); effects.Propose != nil {
		t.Fatalf("%+v", effects.Propose)
	}
}

func TestAFollowerThatIsNeverMatchedLags(t *testing.T) {
	l := leading(three(1, 2), log(3, 5))
	if effects := l.Tick(t0.Add(11 * time.Second)); effects.Propose == nil || effects.Propose.Leaving[0] != 2 {
		t.Fatalf("%+v", effects.Propose)
	}
}

func TestOneProposalIsPendingAtATime(t *testing.T) {
	own := log(3, 5)
	l := leading(three(1), own, 2)
	p := l.Pending()
	if effects := l.Positioned(position(3, 3, 5), own, t0); effects.Propose != nil || l.Pending() != p {
		t.Fatalf("%+v", effects.Propose)
	}
	effects := l.Changed(next(three(1), 1, 2), t0)
	if effects.Propose == nil || effects.Propose.PartitionEpoch != 21 || len(effects.Propose.ISR) != 3 {
		t.Fatalf("%+v", effects.Propose)
	}
}

func TestReplicasMayBeAddedWithinALeaderEpoch(t *testing.T) {
	l := leading(three(1, 2), log(3, 5), 2)
	l.Appended(7, t0)
	grown := next(three(1, 2), 1, 2)
	grown.Replicas = append(grown.Replicas, 4)
	grown.Incarnations, grown.Eligible = append(grown.Incarnations, 14), append(grown.Eligible, true)
	effects := l.Changed(grown, t0)
	if len(effects.Send) != 1 || effects.Send[0].To != 4 {
		t.Fatalf("%+v", effects)
	}
	if _, _, due := l.Due(2); !due {
		t.Fatal("the others were forgotten")
	}
}
