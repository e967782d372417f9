package replica

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/troupe-mq/troupe/wire"
)

func TestANewLinkAsksAndGoesOnWhereTheFollowerIs(t *testing.T) {
	own := log(3, 5)
	l := leading(three(1, 2), own, 2)
	own = log(3, 5, 7, 4)
	l.Appended(9, t0)
	stream(l, 9)
	l.LinkDown(2)
	if _, _, due := l.Due(2); due || l.Announce(2) {
		t.Fatal("there is no link, yet something is to be sent")
	}
	effects := l.LinkUp(2, t0)
	if len(effects.Send) != 1 {
		t.Fatalf("%+v", effects)
	}
	if end, _, _ := l.Follower(2); end != 5 {
		t.Fatalf("what was acknowledged is forgotten: %d", end)
	}
	l.Positioned(position(2, 7, 7), own, t0)
	if from, prevEpoch, due := l.Due(2); from != 7 || prevEpoch != 7 || !due {
		t.Fatalf("due from %d after epoch %d: %v", from, prevEpoch, due)
	}
}

// It may be from before the follower was matched, and name a tail that was cut since then.
func TestALatePositionOfAMatchedFollowerIsComparedToo(t *testing.T) {
	l := leading(three(1, 2), log(3, 5), 2)
	l.Appended(9, t0)
	l.LinkUp(2, t0)
	if effects := l.Positioned(position(2, 3, 8), log(3, 5, 7, 4), t0); effects.Stream || len(effects.Send) != 1 {
		t.Fatalf("%+v", effects)
	}
	if end, _, _ := l.Follower(2); end != 5 || l.HighWatermark() != 5 {
		t.Fatalf("the follower is taken to have %d; high watermark %d", end, l.HighWatermark())
	}
}

func TestAFollowerWhoseEpochWasDeletedMeanwhileBeginsAnewWhereItEnds(t *testing.T) {
	l := leading(three(1, 2), log(3, 5), 2)
	l.Appended(9, t0)
	l.StartMoved(5)
	l.LinkUp(2, t0)
	kept := epochs{begins: []wire.EpochEnd{{LeaderEpoch: 7, EndOffset: 5}}, end: 9}
	effects := l.Positioned(position(2, 3, 5), kept, t0)
	want := &wire.Truncate{LeaderEpoch: 7, Incarnation: 12, Run: 1, To: 5, LastEpoch: wire.NoEpoch, Reset: true}
	if diff := cmp.Diff([]Directed{{2, want}}, effects.Send); diff != "" {
		t.Fatal(diff)
	}
}

func TestTheSameOrderIsNotGivenAgainAtOnce(t *testing.T) {
	own := log(3, 5)
	l := leading(three(1, 2), own)
	m := position(2, 3, 9)
	if effects := l.Positioned(m, own, t0); len(effects.Send) != 1 {
		t.Fatalf("%+v", effects)
	}
	if effects := l.Positioned(m, own, t0.Add(repeatAfter-1)); len(effects.Send) != 0 {
		t.Fatalf("%+v", effects)
	}
	l.Tick(t0.Add(repeatAfter)) // which probes it
	if effects := l.Positioned(m, own, t0.Add(repeatAfter)); len(effects.Send) != 1 {
		t.Fatalf("%+v", effects)
	}
}

func TestTheHighWatermarkIsAnnouncedWhenNothingIsDue(t *testing.T) {
	own := log(3, 5)
	l := leading(three(1, 2), own)
	effects := l.Positioned(position(2, 3, 5), own, t0)
	if !effects.Announce || !l.Announce(2) {
		t.Fatalf("a follower that was matched has not heard anything: %+v", effects)
	}
	if m := stream(l, 5); m.HighWatermark != 5 || l.Announce(2) {
		t.Fatalf("%+v", m)
	}
	l.Appended(6, t0)
	stream(l, 6)
	l.Synced(6)
	if effects := l.Acknowledged(ack(2, 6, 6), t0); !effects.Advanced || !effects.Announce {
		t.Fatalf("%+v", effects)
	}
	stream(l, 6)
	if effects := l.StartMoved(3); !effects.Announce {
		t.Fatalf("the log start moved: %+v", effects)
	}
}

func TestAFollowerBehindTheNewLogStartIsAskedAndBeginsAnew(t *testing.T) {
	own := log(3, 9)
	l := leading(three(1), own)
	l.Configure(1)
	l.Positioned(position(2, 3, 2), own, t0)
	effects := l.StartMoved(6)
	if len(effects.Send) != 1 || effects.Stream {
		t.Fatalf("what is due to it is gone: %+v", effects)
	}
	effects = l.Positioned(position(2, 3, 2), own, t0)
	want := &wire.Truncate{LeaderEpoch: 7, Incarnation: 12, Run: 1, To: 6, LastEpoch: wire.NoEpoch, Reset: true}
	if diff := cmp.Diff([]Directed{{2, want}}, effects.Send); diff != "" {
		t.Fatal(diff)
	}
}

func TestQuestionsAreRepeatedMoreAndMoreSlowly(t *testing.T) {
	l, _ := NewLeader(three(1, 2), LogState{}, t0)
	l.LinkDown(3)
	now := t0
	var waited []time.Duration
	for range 7 {
		at := l.NextTick()
		waited = append(waited, at.Sub(now))
		if effects := l.Tick(at.Add(-1)); len(effects.Send) != 0 {
			t.Fatalf("asked too early: %+v", effects)
		}
		now = at
		if effects := l.Tick(now); len(effects.Send) != 1 || effects.Send[0].To != 2 {
			t.Fatalf("%+v", effects)
		}
		l.leadership.MaxLag = time.Hour
	}
	half := 500 * time.Millisecond
	if want := []time.Duration{half, 2 * half, 4 * half, 8 * half, 16 * half, 16 * half, 16 * half}; !slices.Equal(waited, want) {
		t.Fatalf("waited %v", waited)
	}
}

func TestAStreamThatMakesNoProgressIsProbed(t *testing.T) {
	l := leading(three(1, 2), log(3, 5), 2)
	l.LinkDown(3)
	stream(l, 5)
	if !l.Idle() {
		t.Fatalf("all is acknowledged, yet a tick is due at %v", l.NextTick())
	}
	l.Appended(6, t0)
	stream(l, 6)
	if effects := l.Tick(t0.Add(stalledAfter - 1)); len(effects.Send) != 0 {
		t.Fatalf("%+v", effects)
	}
	if effects := l.Tick(t0.Add(stalledAfter)); len(effects.Send) != 1 {
		t.Fatalf("%+v", effects)
	}
	if _, _, due := l.Due(2); due {
		t.Fatal("the stream goes on before the answer")
	}
}

func TestTheHotPathAllocatesNothing(t *testing.T) {
	l := leading(three(1, 2, 3), log(3, 5), 2, 3)
	end := wire.Offset(5)
	var m wire.Append
	acks := []*wire.Appended{ack(2, 0, 0), ack(3, 0, 0)}
	allocated := testing.AllocsPerRun(100, func() {
		end++
		l.Appended(end, t0)
		l.Synced(end)
		for _, a := range acks {
			l.Header(a.Sender, &m)
			l.Sent(a.Sender, end, 7)
			a.LogEndOffset, a.FlushedOffset = end, end
			l.Acknowledged(a, t0)
		}
	})
	if allocated != 0 || l.HighWatermark() != end {
		t.Fatalf("%v allocations; high watermark %d of %d", allocated, l.HighWatermark(), end)
	}
}
