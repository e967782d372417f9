package storage

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// dirtyLog returns a log of which some is to be compacted, and what makes more of it so.
func dirtyLog(t *testing.T, d *Dir, partition int32, batches int) (l *Log, soil func()) {
	t.Helper()
	l, err := d.OpenLog(LogRef{Topic: "orders", Partition: partition, ID: wire.TopicID{7}}, compactedConfig())
	if err != nil {
		t.Fatal(err)
	}
	soil = func() {
		for i := range batches {
			var b record.Builder
			b.Reset(record.None, 0, false)
			b.Append(testNow.UnixMilli(), fmt.Appendf(nil, "key-%d", i%3), make([]byte, 200), nil)
			appendBatch(t, l, bytes.Clone(b.Finish(wire.NoProducer, -1, -1)), 1)
		}
		syncLog(t, l)
		l.SetHighWatermark(l.EndOffset())
		d.keeper.tick()
	}
	soil()
	return l, soil
}

func TestALogThatIsAlwaysDirtyDoesNotKeepOthersFromBeingCompacted(t *testing.T) {
	k := openKeyedLog(t, t.TempDir(), quickFS{}, compactedConfig())
	busy, soil := dirtyLog(t, k.dir, 1, 30)
	quiet, soilQuiet := dirtyLog(t, k.dir, 2, 12)
	k.dir.cleaner.pass(unpaced)
	first := quiet.CleanedOffset()
	soilQuiet() // less of it is dirty
	soil()
	soil()
	turns, cleaned, soils := 0, busy.CleanedOffset(), 0
	k.dir.cleaner.pass(func(int64) bool {
		if now := busy.CleanedOffset(); now > cleaned {
			cleaned, turns = now, turns+1
		}
		if busy.EndOffset()-busy.CleanedOffset() < 300 && soils < 20 {
			soils++
			soil()
		}
		if turns > 1 && quiet.CleanedOffset() == first {
			t.Error("a log had its second turn before another one had its first")
			return false
		}
		return true
	})
	if turns == 0 || quiet.CleanedOffset() == first {
		t.Errorf("%d turns; cleaned to %d and %d", turns, busy.CleanedOffset(), quiet.CleanedOffset())
	}
}

func TestALogDoesNotRestForLongerBecauseTheClockWentBack(t *testing.T) {
	k := openKeyedLog(t, t.TempDir(), quickFS{}, compactedConfig())
	for range 40 {
		k.put("a=1")
	}
	k.settleAll()
	k.rest(k.now, errNoRoom)
	for _, step := range []struct {
		by  time.Duration
		due bool
	}{{time.Minute, false}, {-24 * time.Hour, true}} {
		k.now = k.now.Add(step.by)
		if _, due, err := k.dirty(k.now); due != step.due || err != nil {
			t.Errorf("after %s it is to be compacted: %t, %v", step.by, due, err)
		}
	}
	k.rest(k.now, errTooMany)
	if _, due, _ := k.dirty(k.now); due {
		t.Error("what cannot be compacted is tried again")
	}
}
