package replica

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/troupe-mq/troupe/wire"
)

var follower2 = Self{Broker: 2, Incarnation: 12, Run: 1}

func following(flushed wire.Offset, own epochs, watermark wire.Offset) *Follower {
	f, _ := NewFollower(follower2, 1, 7, FollowerLog{End: own.end, Flushed: flushed, HighWatermark: watermark, LastEpoch: own.last()}, true, true)
	return f
}

func appendAt(prev epochs, watermark wire.Offset, batches string) *wire.Append {
	return &wire.Append{
		Sender: 1, LeaderEpoch: 7, Incarnation: 12, Run: 1, PrevOffset: prev.end, PrevEpoch: prev.last(),
		HighWatermark: watermark, Batches: []byte(batches),
	}
}

func truncate(to wire.Offset, lastEpoch wire.LeaderEpoch) *wire.Truncate {
	return &wire.Truncate{Sender: 1, LeaderEpoch: 7, Incarnation: 12, Run: 1, To: to, LastEpoch: lastEpoch}
}

func same(t *testing.T, want, got wire.PeerMessage) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestAReplicaThatBeginsToFollowTellsWhereItsLogEnds(t *testing.T) {
	f, effects := NewFollower(follower2, 1, 7, FollowerLog{Start: 1, End: 5, Flushed: 3, LastEpoch: 4}, true, true)
	want := position(2, 4, 5)
	want.LogStartOffset, want.FlushedOffset = 1, 3
	same(t, want, effects.Reply)
	if !effects.Sync || f.HighWatermark() != 1 {
		t.Fatalf("%+v, high watermark %d", effects, f.HighWatermark())
	}
	same(t, want, f.Probe(&wire.Probe{LeaderEpoch: 7}).Reply)
	same(t, nil, f.Probe(&wire.Probe{LeaderEpoch: 6}).Reply)
}

func TestALeaderIsToldOnceTheImageSaysTheSame(t *testing.T) {
	f, effects := NewFollower(follower2, 1, 7, FollowerLog{End: 5, Flushed: 5, LastEpoch: 4}, true, false)
	want := position(2, 4, 5)
	want.Confirmed = false
	same(t, want, effects.Reply)
	want.Confirmed = true
	same(t, want, f.Confirm().Reply)
	same(t, nil, f.Confirm().Reply)

	f, _ = NewFollower(follower2, 1, 7, FollowerLog{End: 5, Flushed: 5, LastEpoch: 3}, true, false)
	f.Append(appendAt(log(3, 5), 0, ""))
	same(t, ack(2, 5, 5), f.Confirm().Reply)
}

func TestWhereNobodyLeadsNobodyIsTold(t *testing.T) {
	if _, effects := NewFollower(follower2, wire.NoBroker, 7, FollowerLog{}, true, true); effects.Reply != nil {
		t.Fatalf("%+v", effects)
	}
}

func TestAnAppendAppliesOnlyAtTheLogsEnd(t *testing.T) {
	own := log(3, 5)
	for name, prev := range map[string]epochs{
		"before the end":         log(3, 4),
		"beyond the end":         log(3, 6),
		"after another epoch":    log(2, 5),
		"at the end, of no log":  {end: 5},
		"at the log's beginning": log(),
	} {
		t.Run(name, func(t *testing.T) {
			f := following(5, own, 0)
			apply, effects := f.Append(appendAt(prev, 5, "batch"))
			if apply || effects.Advanced || f.Matched() {
				t.Fatalf("applied: %v, %+v", apply, effects)
			}
			same(t, position(2, 3, 5), effects.Reply)
		})
	}
	f := following(5, own, 0)
	if apply, _ := f.Append(appendAt(own, 5, "batch")); !apply {
		t.Fatal("it does not apply at the log's end")
	}
}

func TestUnderFsyncWhatIsFlushedIsAcknowledged(t *testing.T) {
	own := log(3, 5)
	f := following(5, own, 0)
	m := appendAt(own, 5, "batch")
	f.Append(m)
	effects := f.Written(m, 6, 7)
	same(t, ack(2, 6, 5), effects.Reply) // the first one: it says that the logs match
	if !effects.Sync || !effects.Advanced || effects.HighWatermark != 5 {
		t.Fatalf("%+v", effects)
	}
	if effects := f.Written(appendAt(log(3, 5, 7, 1), 5, "batch"), 7, 7); effects.Reply != nil {
		t.Fatalf("%+v", effects)
	}
	same(t, ack(2, 7, 7), f.Synced(7).Reply)
	same(t, nil, f.Synced(6).Reply)
}

func TestUnderReplicatedWhatIsWrittenIsAcknowledged(t *testing.T) {
	f, _ := NewFollower(follower2, 1, 7, FollowerLog{LastEpoch: wire.NoEpoch}, false, true)
	m := appendAt(log(), 0, "batch")
	f.Append(m)
	f.Written(m, 1, 7)
	effects := f.Written(appendAt(log(7, 1), 0, "batch"), 2, 7)
	same(t, ack(2, 2, 0), effects.Reply)
	if effects.Sync {
		t.Fatal("durability=replicated asked for a sync")
	}
}

func TestNothingIsReportedBeforeAnAppendApplied(t *testing.T) {
	f := following(3, log(3, 5), 0)
	if effects := f.Synced(5); effects.Reply != nil {
		t.Fatalf("%+v", effects)
	}
}

// The tail may be another than the leader's.
func TestTheHighWatermarkIsTakenOnlyForWhatIsMatched(t *testing.T) {
	own := log(3, 5)
	f := following(5, own, 2)
	f.Probe(&wire.Probe{LeaderEpoch: 7})
	f.Append(appendAt(log(3, 9), 9, ""))
	if f.HighWatermark() != 2 {
		t.Fatalf("high watermark %d", f.HighWatermark())
	}
	if apply, effects := f.Append(appendAt(own, 9, "")); !apply || !effects.Advanced || effects.HighWatermark != 5 {
		t.Fatalf("an empty Append that applies: %+v", effects)
	}
}

func TestAnEmptyAppendIsAnsweredOnce(t *testing.T) {
	own := log(3, 5)
	f := following(5, own, 0)
	_, effects := f.Append(appendAt(own, 3, ""))
	same(t, ack(2, 5, 5), effects.Reply)
	if _, effects := f.Append(appendAt(own, 5, "")); effects.Reply != nil || effects.HighWatermark != 5 {
		t.Fatalf("%+v", effects)
	}
}

func TestAMatchedReplicaAnswersAnAppendThatDoesNotApplyWithItsEnd(t *testing.T) {
	own := log(3, 5)
	f := following(5, own, 0)
	f.Append(appendAt(own, 3, ""))
	_, effects := f.Append(appendAt(log(3, 9), 9, "batch"))
	same(t, ack(2, 5, 5), effects.Reply)
}

// KIP-101 and KIP-279.
func TestATruncateGoesByEpochs(t *testing.T) {
	for _, c := range []struct {
		name string
		own  epochs
		m    *wire.Truncate
		want *Cut
	}{
		{"to an offset", log(3, 9), truncate(5, 3), &Cut{To: 5, Below: wire.NoOffset}},
		{"of later epochs", log(1, 3, 2, 3), truncate(6, 1), &Cut{To: 3, Below: wire.NoOffset}},
		{"of nothing", log(3, 5), truncate(5, 3), nil},
		{"of all", log(3, 5), truncate(5, 2), &Cut{To: 0, Below: wire.NoOffset}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := following(c.own.end, c.own, 0)
			effects := f.Truncate(c.m, c.own)
			if diff := cmp.Diff(c.want, effects.Cut); diff != "" {
				t.Fatal(diff)
			}
			if c.want == nil {
				same(t, position(2, 3, 5), effects.Reply)
			}
		})
	}
}

func TestWhileALogIsCutNothingElseCounts(t *testing.T) {
	own := log(3, 9)
	f := following(9, own, 4)
	f.Truncate(truncate(5, 3), own)
	apply, _ := f.Append(appendAt(own, 9, "batch"))
	if apply || f.Probe(&wire.Probe{LeaderEpoch: 7}).Reply != nil || f.Synced(9).Reply != nil ||
		f.Truncate(truncate(4, 3), own).Cut != nil {
		t.Fatal("something was obeyed during the cut")
	}
	effects := f.Cut(FollowerLog{End: 5, Flushed: 5, LastEpoch: 3})
	same(t, position(2, 3, 5), effects.Reply)
	if effects.Sync {
		t.Fatal("all is flushed, yet a sync was asked for")
	}
	if f.HighWatermark() != 4 {
		t.Fatalf("high watermark %d", f.HighWatermark())
	}
}

func TestWhatACutLeavesUnflushedIsFlushed(t *testing.T) {
	own := log(3, 9)
	f := following(4, own, 4)
	f.Truncate(truncate(6, 3), own)
	if !f.Cut(FollowerLog{End: 6, Flushed: 4, LastEpoch: 3}).Sync {
		t.Fatal("no sync was asked for")
	}
}

// What was acknowledged in this epoch may be committed; the order is a late one.
func TestNothingIsCutAfterAnAppendApplied(t *testing.T) {
	own := log(3, 5)
	f := following(5, own, 0)
	f.Append(appendAt(own, 0, ""))
	effects := f.Truncate(truncate(3, 3), own)
	if effects.Cut != nil {
		t.Fatalf("%+v", effects.Cut)
	}
	same(t, position(2, 3, 5), effects.Reply)
}

func TestAnOrderToBeginAnewAtTheEndOrBeyondIsObeyedAtAnyTime(t *testing.T) {
	own := log(3, 5)
	f := following(5, own, 0)
	f.Append(appendAt(own, 5, ""))
	m := truncate(4, wire.NoEpoch)
	m.Reset = true
	if cut := f.Truncate(m, own).Cut; cut != nil {
		t.Fatalf("what was acknowledged was cut: %+v", cut)
	}
	m.To = 8
	if diff := cmp.Diff(&Cut{To: 8, Reset: true, Below: wire.NoOffset}, f.Truncate(m, own).Cut); diff != "" {
		t.Fatal(diff)
	}
	f.Cut(FollowerLog{Start: 8, End: 8, Flushed: 8, LastEpoch: wire.NoEpoch})
	if f.HighWatermark() != 8 {
		t.Fatalf("high watermark %d: all below the leader's log start is committed", f.HighWatermark())
	}
	if f.Truncate(m, epochs{end: 8}).Cut != nil {
		t.Fatal("obeyed twice")
	}
	m.To = 6
	if f.Truncate(m, epochs{end: 8}).Cut != nil {
		t.Fatal("an order from before was obeyed")
	}
}

// Records that were deleted leave their epoch behind. A leader that does not have that epoch asks for it to be
// forgotten, and would ask for ever.
func TestALogWhoseRecordsWereAllDeletedBeginsAnew(t *testing.T) {
	f, _ := NewFollower(follower2, 1, 7, FollowerLog{Start: 8, End: 8, Flushed: 8, LastEpoch: 4}, true, true)
	m := truncate(8, wire.NoEpoch)
	m.Reset = true
	if diff := cmp.Diff(&Cut{To: 8, Reset: true, Below: wire.NoOffset}, f.Truncate(m, epochs{end: 8}).Cut); diff != "" {
		t.Fatal(diff)
	}
	f.Cut(FollowerLog{Start: 8, End: 8, Flushed: 8, LastEpoch: wire.NoEpoch})
	if f.Truncate(m, epochs{end: 8}).Cut != nil {
		t.Fatal("obeyed twice")
	}
}

func TestACutBelowTheHighWatermarkStopsTheReplica(t *testing.T) {
	own := log(3, 5)
	f := following(5, own, 4)
	defer func() {
		if recover() == nil {
			t.Fatal("committed records were cut")
		}
	}()
	f.Truncate(truncate(3, 3), own)
}

func TestAfterAnUncleanElectionACutBelowTheHighWatermarkIsTold(t *testing.T) {
	own := log(3, 5)
	f := following(5, own, 4)
	m := truncate(3, 3)
	m.Unclean = true
	if diff := cmp.Diff(&Cut{To: 3, Below: 4}, f.Truncate(m, own).Cut); diff != "" {
		t.Fatal(diff)
	}
	f.Cut(FollowerLog{End: 3, Flushed: 3, LastEpoch: 3})
	if f.HighWatermark() != 3 {
		t.Fatalf("high watermark %d", f.HighWatermark())
	}
}

func TestMessagesThatAreNotForThisRunAreIgnored(t *testing.T) {
	own := log(3, 5)
	for name, self := range map[string]Self{
		"another incarnation": {Broker: 2, Incarnation: 13, Run: 1},
		"another run":         {Broker: 2, Incarnation: 12, Run: 2},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := NewFollower(self, 1, 7, FollowerLog{End: 5, Flushed: 5, LastEpoch: 3}, true, true)
			apply, effects := f.Append(appendAt(own, 5, "batch"))
			if apply || effects.Reply != nil || f.Truncate(truncate(2, 3), own).Cut != nil {
				t.Fatalf("%+v", effects)
			}
		})
	}
}

func TestTheLogStartFollowsTheLeadersAsFarAsAllIsCommitted(t *testing.T) {
	own := log(3, 5)
	f := following(5, own, 0)
	m := appendAt(own, 3, "")
	m.LogStartOffset = 4
	if _, effects := f.Append(m); effects.LogStart != 3 {
		t.Fatalf("log start %d", effects.LogStart)
	}
	if _, effects := f.Append(m); effects.LogStart != wire.NoOffset {
		t.Fatalf("log start %d, again", effects.LogStart)
	}
}

func TestAHigherEpochOutranksWhateverAReplicaIs(t *testing.T) {
	if !Outranks(wire.NoEpoch, 0) || !Outranks(6, 7) || Outranks(7, 7) || Outranks(7, 6) {
		t.Fatal("epochs compare otherwise")
	}
}
