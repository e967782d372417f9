package replica

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/troupe-mq/troupe/wire"
)

// epochs is a log as matching sees it: where each of its epochs begins, and its end.
type epochs struct {
	begins []wire.EpochEnd // EndOffset is where the epoch begins
	end    wire.Offset
}

func (e epochs) EpochEnd(epoch wire.LeaderEpoch) wire.EpochEnd {
	found := wire.EpochEnd{LeaderEpoch: wire.NoEpoch, EndOffset: wire.NoOffset}
	for i, b := range e.begins {
		if b.LeaderEpoch > epoch {
			break
		}
		found = wire.EpochEnd{LeaderEpoch: b.LeaderEpoch, EndOffset: e.end}
		if i+1 < len(e.begins) {
			found.EndOffset = e.begins[i+1].EndOffset
		}
	}
	return found
}

// log makes epochs out of pairs: an epoch, and how many records are of it.
func log(pairs ...int) (e epochs) {
	for i := 0; i < len(pairs); i += 2 {
		e.begins = append(e.begins, wire.EpochEnd{LeaderEpoch: wire.LeaderEpoch(pairs[i]), EndOffset: e.end})
		e.end += wire.Offset(pairs[i+1])
	}
	return e
}

func (e epochs) last() wire.LeaderEpoch {
	if len(e.begins) == 0 {
		return wire.NoEpoch
	}
	return e.begins[len(e.begins)-1].LeaderEpoch
}

// three is a partition of brokers 1, 2 and 3, led by 1 in epoch 7, of which those are in sync.
func three(isr ...wire.BrokerID) Leadership {
	return Leadership{
		Self: 1, LeaderEpoch: 7, PartitionEpoch: 20,
		Replicas:     []wire.BrokerID{1, 2, 3},
		Incarnations: []wire.Incarnation{11, 12, 13},
		Eligible:     []bool{true, true, true},
		ISR:          isr, MinISR: 2, Fsync: true, MaxLag: 10 * time.Second,
	}
}

func next(l Leadership, isr ...wire.BrokerID) Leadership {
	l.PartitionEpoch++
	l.ISR = isr
	return l
}

func position(b wire.BrokerID, lastEpoch wire.LeaderEpoch, end wire.Offset) *wire.Position {
	return &wire.Position{
		Sender: b, LeaderEpoch: 7, Incarnation: wire.Incarnation(10 + b), Run: 1,
		LastEpoch: lastEpoch, LogEndOffset: end, FlushedOffset: end, Confirmed: true,
	}
}

func ack(b wire.BrokerID, end, flushed wire.Offset) *wire.Appended {
	return &wire.Appended{
		Sender: b, LeaderEpoch: 7, Incarnation: wire.Incarnation(10 + b), Run: 1, LogEndOffset: end, FlushedOffset: flushed,
		Confirmed: true,
	}
}

// leading is a leader of a flushed log, with those followers matched at its end.
func leading(leadership Leadership, own epochs, matched ...wire.BrokerID) *Leader {
	l, _ := NewLeader(leadership, LogState{End: own.end, Flushed: own.end}, t0)
	for _, b := range matched {
		l.Positioned(position(b, own.last(), own.end), own, t0)
	}
	return l
}

// stream hands an Append with all that is due to broker 2 to its link, and returns it.
func stream(l *Leader, upTo wire.Offset) *wire.Append {
	var m wire.Append
	l.Header(2, &m)
	l.Sent(2, upTo, l.LeaderEpoch())
	return &m
}

func TestOnlyALogFromBeforeTheLastUncleanElectionIsCutBelowItsHighWatermark(t *testing.T) {
	own := log(3, 5, 6, 7)
	for _, c := range []struct{ uncleanEpoch, last wire.LeaderEpoch }{{0, 4}, {0, wire.NoEpoch}, {5, 4}, {5, 5}, {6, 5}, {5, wire.NoEpoch}, {7, 6}} {
		leadership := three(1, 2, 3)
		leadership.UncleanEpoch = c.uncleanEpoch
		effects := leading(leadership, own).Positioned(position(2, c.last, 99), own, t0)
		if len(effects.Send) != 1 {
			t.Fatalf("%+v: %+v", c, effects)
		}
		order := effects.Send[0].Message.(*wire.Truncate)
		if before := c.uncleanEpoch > 0 && c.last < c.uncleanEpoch; order.Unclean != before {
			t.Errorf("the last unclean epoch is %d, the log ends in %d: %+v", c.uncleanEpoch, c.last, order)
		}
	}
}

func TestALeaderProbesEveryFollower(t *testing.T) {
	_, effects := NewLeader(three(1, 2, 3), LogState{}, t0)
	want := []Directed{
		{2, &wire.Probe{LeaderEpoch: 7}},
		{3, &wire.Probe{LeaderEpoch: 7}},
	}
	if diff := cmp.Diff(want, effects.Send); diff != "" {
		t.Fatal(diff)
	}
}

// KIP-101, KIP-279 (KAFKA-6361): logs are compared by their epochs.
func TestMatching(t *testing.T) {
	for _, c := range []struct {
		name  string
		start wire.Offset // of the leader's log
		own   epochs
		last  wire.LeaderEpoch
		from  wire.Offset // the follower's start
		end   wire.Offset
		want  *wire.Truncate // nil: matched
	}{
		{"an empty log matches", 0, log(3, 5), wire.NoEpoch, 0, 0, nil},
		{"the same log matches", 0, log(3, 5), 3, 0, 5, nil},
		{"a prefix matches", 0, log(3, 5, 4, 5), 3, 0, 4, nil},
		{"a tail of a common epoch is cut", 0, log(3, 5, 4, 5), 3, 0, 7, &wire.Truncate{To: 5, LastEpoch: 3}},
		{"an epoch that the leader does not have is cut", 0, log(3, 5, 5, 5), 4, 0, 8, &wire.Truncate{To: 5, LastEpoch: 3}},
		{"so is one that lies below an epoch of the leader", 0, log(1, 10, 3, 2), 2, 0, 6, &wire.Truncate{To: 6, LastEpoch: 1}},
		{"nothing in common begins anew", 0, log(5, 5), 4, 0, 3, &wire.Truncate{To: 0, LastEpoch: wire.NoEpoch, Reset: true}},
		{"whoever ends below the log start begins anew there", 4, log(3, 9), 3, 0, 3, &wire.Truncate{To: 4, LastEpoch: wire.NoEpoch, Reset: true}},
		{"an empty log that starts later matches: nothing in it can be another", 2, log(3, 9), wire.NoEpoch, 6, 6, nil},
		{"an empty log that starts beyond the end begins anew", 0, log(3, 5), wire.NoEpoch, 8, 8, &wire.Truncate{To: 5, LastEpoch: wire.NoEpoch, Reset: true}},
		{"what both have in common lies before the follower's start", 0, log(1, 3, 5, 9), 4, 5, 8, &wire.Truncate{To: 3, LastEpoch: wire.NoEpoch, Reset: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, _ := NewLeader(three(1), LogState{Start: c.start, End: c.own.end, Flushed: c.own.end}, t0)
			m := position(2, c.last, c.end)
			m.LogStartOffset = c.from
			effects := l.Positioned(m, c.own, t0)
			_, _, matched := l.Follower(2)
			if c.want == nil {
				if len(effects.Send) != 0 || !matched {
					t.Fatalf("matched: %v, sent: %+v", matched, effects.Send)
				}
				return
			}
			c.want.LeaderEpoch, c.want.Incarnation, c.want.Run = 7, 12, 1
			if diff := cmp.Diff([]Directed{{2, c.want}}, effects.Send); diff != "" || matched {
				t.Fatalf("matched: %v\n%s", matched, diff)
			}
		})
	}
}

func TestAStreamGoesOnWhereTheFollowerEnds(t *testing.T) {
	own := log(3, 5)
	l := leading(three(1, 2), own)
	if _, _, due := l.Due(2); due {
		t.Fatal("something is due to a follower that is not matched")
	}
	if effects := l.Positioned(position(2, 3, 4), own, t0); !effects.Stream {
		t.Fatalf("after matching: %+v", effects)
	}
	from, prevEpoch, due := l.Due(2)
	if from != 4 || prevEpoch != 3 || !due {
		t.Fatalf("due from %d after epoch %d: %v", from, prevEpoch, due)
	}
	want := &wire.Append{LeaderEpoch: 7, Incarnation: 12, Run: 1, PrevOffset: 4, PrevEpoch: 3, HighWatermark: 4}
	if diff := cmp.Diff(want, stream(l, 5)); diff != "" {
		t.Fatal(diff)
	}
	if _, _, due := l.Due(2); due {
		t.Fatal("all was sent, yet more is due")
	}
	if effects := l.Appended(8, t0); !effects.Stream {
		t.Fatalf("after an append: %+v", effects)
	}
	if m := stream(l, 8); m.PrevOffset != 5 || m.PrevEpoch != 7 {
		t.Fatalf("the second Append goes on after %d of epoch %d", m.PrevOffset, m.PrevEpoch)
	}
	if from, upTo := l.Unacknowledged(2); from != 4 || upTo != 8 {
		t.Fatalf("[%d, %d) is not acknowledged", from, upTo)
	}
}

func TestTheHighWatermarkIsTheLeastThatTheISRHasFlushed(t *testing.T) {
	own := log(3, 5)
	l := leading(three(1, 2, 3), own)
	l.Positioned(position(2, 3, 5), own, t0)
	if l.HighWatermark() != 0 {
		t.Fatalf("high watermark %d before all of the ISR was matched", l.HighWatermark())
	}
	if effects := l.Positioned(position(3, 3, 5), own, t0); !effects.Advanced || effects.HighWatermark != 5 {
		t.Fatalf("all of the ISR has 5: %+v", effects)
	}
	l.Appended(9, t0)
	l.Synced(9)
	l.Acknowledged(ack(2, 9, 9), t0)
	if effects := l.Acknowledged(ack(3, 9, 7), t0); !effects.Advanced || effects.HighWatermark != 7 {
		t.Fatalf("one member has flushed 7: %+v", effects)
	}
}

func TestUnderReplicatedTheHighWatermarkIsTheLeastLogEnd(t *testing.T) {
	leadership := three(1, 2)
	leadership.Fsync = false
	l := leading(leadership, log(3, 5), 2)
	l.Appended(9, t0)
	if effects := l.Acknowledged(ack(2, 8, 5), t0); effects.HighWatermark != 8 {
		t.Fatalf("the follower's log ends at 8: %+v", effects)
	}
}

func TestAFollowerOutsideTheISRDoesNotHoldTheHighWatermark(t *testing.T) {
	l := leading(three(1, 2), log(3, 5), 2)
	if l.HighWatermark() != 5 {
		t.Fatalf("high watermark %d", l.HighWatermark())
	}
}

// KIP-966: fewer than min.insync.replicas commit nothing.
func TestASmallISRCommitsNothing(t *testing.T) {
	l := leading(three(1), log(3, 5), 2, 3)
	if l.HighWatermark() != 0 {
		t.Fatalf("an ISR of one committed up to %d", l.HighWatermark())
	}
	if l.Pending() == nil {
		t.Fatal("nobody was proposed")
	}
	if effects := l.Appended(6, t0); effects.Advanced {
		t.Fatal("a pending expansion was counted for min.insync.replicas")
	}
	if effects := l.Changed(next(three(1), 1, 2), t0); !effects.Advanced || effects.HighWatermark != 5 {
		t.Fatalf("with two members: %+v", effects)
	}
}

func TestAPendingExpansionHoldsTheHighWatermark(t *testing.T) {
	l := leading(three(1, 2), log(3, 5), 2, 3)
	if p := l.Pending(); p == nil || !slices.Equal(p.Joining, []wire.BrokerID{3}) {
		t.Fatalf("pending: %+v", p)
	}
	l.Appended(9, t0)
	l.Synced(9)
	if effects := l.Acknowledged(ack(2, 9, 9), t0); effects.Advanced {
		t.Fatalf("the one that may have joined has only 5: %+v", effects)
	}
	// Refused: the same ISR in a higher partition epoch.
	refused := next(three(1, 2), 1, 2)
	refused.Eligible = []bool{true, true, false}
	if effects := l.Changed(refused, t0); effects.HighWatermark != 9 || effects.Propose != nil {
		t.Fatalf("after the refusal: %+v", effects)
	}
}

func TestAcknowledgementsThatDoNotCount(t *testing.T) {
	for name, change := range map[string]func(m *wire.Appended){
		"another epoch":        func(m *wire.Appended) { m.LeaderEpoch = 6 },
		"another incarnation":  func(m *wire.Appended) { m.Incarnation = 99 },
		"another run":          func(m *wire.Appended) { m.Run = 2 },
		"beyond the log's end": func(m *wire.Appended) { m.LogEndOffset = 10 },
		"more flushed than written": func(m *wire.Appended) {
			m.LogEndOffset, m.FlushedOffset = 8, 9
		},
		"of a stranger": func(m *wire.Appended) { m.Sender = 4 },
		"of oneself":    func(m *wire.Appended) { m.Sender = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			l := leading(three(1, 2), log(3, 5), 2)
			l.Appended(9, t0)
			l.Synced(9)
			m := ack(2, 9, 9)
			change(m)
			if effects := l.Acknowledged(m, t0); effects.Advanced || l.HighWatermark() != 5 {
				t.Fatalf("%+v", effects)
			}
		})
	}
}

func TestNothingCountsBeforeMatching(t *testing.T) {
	l := leading(three(1, 2), log(3, 5))
	if effects := l.Acknowledged(ack(2, 5, 5), t0); effects.Advanced {
		t.Fatalf("%+v", effects)
	}
}

func TestAnotherRunIsMatchedAnew(t *testing.T) {
	own := log(3, 5)
	l := leading(three(1, 2), own, 2)
	again := position(2, 3, 2)
	again.Run = 2
	if effects := l.Positioned(again, own, t0); !effects.Stream || effects.Advanced {
		t.Fatalf("%+v", effects)
	}
	if end, _, _ := l.Follower(2); end != 2 || l.HighWatermark() != 5 {
		t.Fatalf("the new run has %d; high watermark %d, which never goes back", end, l.HighWatermark())
	}
	if m := stream(l, 5); m.PrevOffset != 2 || m.Run != 2 {
		t.Fatalf("%+v", m)
	}
}

// A leader that deleted records, and led no more before it said so.
func TestWhoLacksTheFirstRecordsIsKnownToBothSides(t *testing.T) {
	f, _ := NewFollower(Self{}, 1, 5, FollowerLog{Start: 4, End: 9, Flushed: 9, HighWatermark: 9, LastEpoch: 4}, true, true)
	if f.Gone() != wire.NoOffset || f.LogStartOffset() != 4 {
		t.Errorf("before it has heard of its leader: gone below %d, log from %d", f.Gone(), f.LogStartOffset())
	}
	for start, want := range map[wire.Offset]wire.Offset{2: 2, 4: 4, 6: 6} {
		f, _ := NewFollower(Self{}, 1, 5, FollowerLog{Start: 4, End: 9, Flushed: 9, HighWatermark: 9, LastEpoch: 4}, true, true)
		if applies, _ := f.Append(&wire.Append{LeaderEpoch: 5, PrevOffset: 9, PrevEpoch: 4, HighWatermark: 9, LogStartOffset: start}); !applies {
			t.Fatal("the leader is not heard")
		}
		if f.Gone() != want {
			t.Errorf("a leader whose log begins at %d: gone below %d", start, f.Gone())
		}
	}
}
