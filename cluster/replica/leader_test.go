package replica

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/troupe-mq/troupe/wire"
)

var t0 = time.Unix(1_700_000_000, 0)

func alone(fsync bool) Leadership {
	return Leadership{Self: 1, LeaderEpoch: 7, Replicas: []wire.BrokerID{1}, ISR: []wire.BrokerID{1}, MinISR: 1, Fsync: fsync}
}

func TestUnderFsyncTheHighWatermarkWaitsForTheFlush(t *testing.T) {
	l, _ := NewLeader(alone(true), LogState{}, t0)
	effects := l.Appended(3, t0)
	if effects.Advanced || !effects.Sync {
		t.Fatalf("after the append: %+v, want a sync and no advance", effects)
	}
	effects = l.Synced(3)
	if !effects.Advanced || effects.HighWatermark != 3 || l.HighWatermark() != 3 {
		t.Fatalf("after the flush: %+v, high watermark %d, want 3", effects, l.HighWatermark())
	}
}

func TestUnderReplicatedTheHighWatermarkFollowsTheLogEnd(t *testing.T) {
	l, _ := NewLeader(alone(false), LogState{}, t0)
	effects := l.Appended(3, t0)
	if !effects.Advanced || effects.HighWatermark != 3 || effects.Sync {
		t.Fatalf("after the append: %+v, want an advance to 3 and no sync", effects)
	}
}

func TestAFlushThatComesLateChangesNothing(t *testing.T) {
	l, _ := NewLeader(alone(true), LogState{}, t0)
	l.Appended(5, t0)
	l.Synced(5)
	if effects := l.Synced(3); effects.Advanced || l.HighWatermark() != 5 {
		t.Fatalf("late flush: %+v, high watermark %d", effects, l.HighWatermark())
	}
	if effects := l.Synced(99); effects.Advanced {
		t.Fatalf("a flush beyond the log end moved the high watermark: %+v", effects)
	}
}

func TestANewLeaderKeepsTheHighWatermarkAndFlushesItsTail(t *testing.T) {
	l, effects := NewLeader(alone(true), LogState{Start: 2, End: 10, Flushed: 6, HighWatermark: 5}, t0)
	if !effects.Advanced || effects.HighWatermark != 6 || !effects.Sync {
		t.Fatalf("taking over: %+v, want an advance to the flushed offset 6, and a sync of the rest", effects)
	}
	// KIP-207: until the high watermark reaches the epoch's start the latest offset is not known.
	if l.CaughtUp() {
		t.Fatal("caught up before the tail was flushed")
	}
	l.Synced(10)
	if !l.CaughtUp() {
		t.Fatal("not caught up after the tail was flushed")
	}
}

func TestALogThatLostItsTailCommitsNoMoreThanItHolds(t *testing.T) {
	l, _ := NewLeader(alone(true), LogState{Start: 0, End: 4, Flushed: 4, HighWatermark: 9}, t0)
	if l.HighWatermark() != 4 {
		t.Fatalf("high watermark %d, want 4", l.HighWatermark())
	}
}

func TestAcksAllNeedsMinInsyncReplicas(t *testing.T) {
	small := alone(true)
	small.Replicas, small.MinISR = []wire.BrokerID{1, 2, 3}, 2
	l, _ := NewLeader(small, LogState{}, t0)
	if err := l.Admit(wire.AcksAll); !errors.Is(err, wire.NotEnoughReplicas) {
		t.Fatalf("acks=all with one of three in sync: %v", err)
	}
	if err := l.Admit(wire.AcksLeader); err != nil {
		t.Fatalf("acks=1: %v", err)
	}
	l.Appended(1, t0)
	if effects := l.Synced(1); effects.Advanced {
		t.Fatalf("the high watermark moved below min.insync.replicas: %+v", effects)
	}
	if effects := l.Configure(1); !effects.Advanced || effects.HighWatermark != 1 {
		t.Fatalf("after min.insync.replicas=1: %+v", effects)
	}
}

func TestMinInsyncReplicasAsksForNoMoreThanThereAre(t *testing.T) {
	one := alone(true)
	one.MinISR = 2
	l, _ := NewLeader(one, LogState{}, t0)
	if err := l.Admit(wire.AcksAll); err != nil {
		t.Fatalf("a topic of one replica refuses acks=all: %v", err)
	}
}

func TestRecordsAreDeletedUpToTheHighWatermarkOnly(t *testing.T) {
	l, _ := NewLeader(alone(true), LogState{Start: 2, End: 2, Flushed: 2}, t0)
	l.Appended(10, t0)
	l.Synced(8)
	for _, c := range []struct {
		before, want wire.Offset
		err          error
	}{
		{before: wire.NoOffset, want: 8},
		{before: 8, want: 8},
		{before: 1, want: 2},
		{before: 9, err: wire.OffsetOutOfRange},
		{before: -2, err: wire.OffsetOutOfRange},
	} {
		got, err := l.CheckDelete(c.before)
		if !errors.Is(err, c.err) || err == nil && got != c.want {
			t.Errorf("delete before %d: %d, %v, want %d, %v", c.before, got, err, c.want, c.err)
		}
	}
}

func TestALogEndThatGoesBackStopsTheReplica(t *testing.T) {
	l, _ := NewLeader(alone(true), LogState{End: 5}, t0)
	defer func() {
		if recover() == nil {
			t.Fatal("the log end went back unnoticed")
		}
	}()
	l.Appended(4, t0)
}

func TestTheHighWatermarkNeverGoesBackNorPassesWhatIsSafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fsync := rapid.Bool().Draw(t, "fsync")
		l, _ := NewLeader(alone(fsync), LogState{}, t0)
		var end, flushed, watermark wire.Offset
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			switch rapid.IntRange(0, 1).Draw(t, "step") {
			case 0:
				end += wire.Offset(rapid.IntRange(1, 5).Draw(t, "records"))
				l.Appended(end, t0)
			case 1:
				upTo := wire.Offset(rapid.Int64Range(0, int64(end)).Draw(t, "flushed"))
				flushed = max(flushed, upTo)
				l.Synced(upTo)
			}
			safe := end
			if fsync {
				safe = flushed
			}
			if got := l.HighWatermark(); got != safe || got < watermark {
				t.Fatalf("high watermark %d after %d, safe is %d", got, watermark, safe)
			}
			watermark = l.HighWatermark()
		}
	})
}
