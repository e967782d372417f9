package storage

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// fours returns batches of four records each, a second apart, from offset base on.
func fours(base wire.Offset, count int, epoch wire.LeaderEpoch) (all [][]byte) {
	for range count {
		all = append(all, at(batch(4, testNow.UnixMilli()+int64(base)*1000, "four"), base, epoch))
		base += 4
	}
	return all
}

// expectSame compares what a log tells clients with what another one does.
func expectSame(t *testing.T, got, want *Log) {
	t.Helper()
	if got.StartOffset() != want.StartOffset() || got.EndOffset() != want.EndOffset() || !slices.Equal(got.Epochs(), want.Epochs()) {
		t.Fatalf("the log is %d to %d, epochs %v; want %d to %d, epochs %v",
			got.StartOffset(), got.EndOffset(), got.Epochs(), want.StartOffset(), want.EndOffset(), want.Epochs())
	}
	start, end := want.StartOffset(), want.EndOffset()
	if !bytes.Equal(readAll(t, got, 150), readAll(t, want, 150)) {
		t.Fatal("the log holds other batches")
	}
	if _, err := got.Read(start-1, end, 100, true); !errors.Is(err, wire.OffsetOutOfRange) {
		t.Errorf("read below the start: %v", err)
	}
	type answer struct {
		offset    wire.Offset
		timestamp int64
		epoch     wire.LeaderEpoch
		err       error
	}
	ask := func(l *Log, timestamp int64, upTo wire.Offset) (a answer) {
		a.offset, a.timestamp, a.epoch, a.err = l.OffsetForTimestamp(timestamp, upTo)
		return a
	}
	largest := func(l *Log, upTo wire.Offset) (a answer) {
		a.offset, a.timestamp, a.epoch, a.err = l.MaxTimestampOffset(upTo)
		return a
	}
	for offset := start - 4; offset <= end; offset++ {
		timestamp := testNow.UnixMilli() + int64(offset)*1000
		if got, want := ask(got, timestamp, end), ask(want, timestamp, end); got != want {
			t.Errorf("offset of the timestamp of %d: %+v, want %+v", offset, got, want)
		}
		if got, want := largest(got, offset), largest(want, offset); got != want {
			t.Errorf("largest timestamp below %d: %+v, want %+v", offset, got, want)
		}
	}
}

func TestALogThatBeginsInsideABatchIsOneWhoseStartMovedThere(t *testing.T) {
	batches := fours(100, 30, 3)
	moved := openLog(t, openDir(t, t.TempDir()), testLogConfig())
	cutLog(t, moved, 100, true)
	path := t.TempDir()
	d := openDir(t, path)
	begun := openLog(t, d, testLogConfig())
	fill(t, begun, 30, 1)
	cutLog(t, begun, 102, true)
	for i, l := range []*Log{moved, begun} {
		if next, err := l.AppendReplicated(bytes.Join(batches[:3], nil)); err != nil || next != 112 {
			t.Fatalf("log %d: appended up to %d, %v", i, next, err)
		}
	}
	if err := moved.AdvanceStart(102); err != nil {
		t.Fatal(err)
	}
	expectSame(t, begun, moved)
	killed := openLog(t, openDir(t, crashed(t, path)), testLogConfig())
	expectSame(t, killed, moved)
	for _, l := range []*Log{moved, begun, killed} {
		if _, err := l.AppendReplicated(bytes.Join(batches[3:], nil)); err != nil {
			t.Fatal(err)
		}
		syncLog(t, l)
	}
	expectSame(t, begun, moved)
	expectSame(t, killed, moved)
	if begun.segments[0].base != 100 || begun.Size() != moved.Size() || begun.FlushedOffset() != 220 {
		t.Fatalf("the first segment is of %d, %d bytes, %d flushed", begun.segments[0].base, begun.Size(), begun.FlushedOffset())
	}
	d.keeper.tick()
	if damage, err := Verify(OSFS{}, path); err != nil || len(damage) != 0 {
		t.Fatalf("%v, %v", damage, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	begun = openLog(t, openDir(t, path), testLogConfig())
	expectSame(t, begun, moved)
	cfg := testLogConfig()
	cfg.RetentionBytes, cfg.RetentionAge = -1, time.Minute
	for _, l := range []*Log{moved, begun} {
		l.SetConfig(cfg)
		if _, removed, err := l.ApplyRetention(testNow.Add(200*time.Second), 220); err != nil || removed == 0 {
			t.Fatalf("%d segments removed, %v", removed, err)
		}
	}
	expectSame(t, begun, moved)
}

func TestOnlyABatchThatHoldsTheEndOfAnEmptyLogBeginsBelowIt(t *testing.T) {
	d := openDir(t, t.TempDir())
	l := openLog(t, d, testLogConfig())
	cutLog(t, l, 102, true)
	spoiled := fours(100, 1, 1)[0]
	spoiled[len(spoiled)-1] ^= 1
	for name, test := range map[string]struct {
		batches []byte
		want    wire.ErrorCode
	}{
		"one that ends before it":   {fours(98, 1, 1)[0], wire.OffsetOutOfRange},
		"one with a wrong checksum": {spoiled, wire.CorruptMessage},
		"two that hold it":          {append(fours(100, 1, 1)[0], fours(101, 1, 1)[0]...), wire.OffsetOutOfRange},
		"one of no epoch":           {fours(100, 1, wire.NoEpoch)[0], wire.FencedLeaderEpoch},
		"one behind a good one":     {append(fours(102, 1, 1)[0], fours(104, 1, 1)[0]...), wire.OffsetOutOfRange},
	} {
		if _, err := l.AppendReplicated(test.batches); !errors.Is(err, test.want) || l.EndOffset() != 102 {
			t.Errorf("%s: %v, the log ends at %d", name, err, l.EndOffset())
		}
	}
	if _, err := l.AppendReplicated(fours(102, 1, 1)[0]); err != nil {
		t.Fatal(err)
	}
	if err := l.AdvanceStart(106); err != nil { // it is empty, but has been written to
		t.Fatal(err)
	}
	if _, err := l.AppendReplicated(fours(104, 1, 1)[0]); !errors.Is(err, wire.OffsetOutOfRange) {
		t.Errorf("behind a batch: %v", err)
	}
	if d.Err() != nil {
		t.Error(d.Err())
	}
}

func TestABeginInsideABatchWaitsUntilOlderSegmentsAreRemoved(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	cfg := testLogConfig()
	cfg.RetentionAge = time.Minute
	l := openLog(t, d, cfg)
	for _, b := range fours(0, 20, 1) {
		if _, err := l.AppendReplicated(b); err != nil {
			t.Fatal(err)
		}
	}
	base := l.active().base // the segment that the batch will want the name of
	if _, err := l.AppendReplicated(at(batch(2, testNow.UnixMilli(), "two"), 80, 1)); err != nil {
		t.Fatal(err)
	}
	syncLog(t, l)
	if start, _, err := l.ApplyRetention(testNow.Add(time.Hour), 82); err != nil || start != 82 {
		t.Fatalf("start %d, %v", start, err)
	}
	whole := at(batch(int(86-base), testNow.UnixMilli(), "whole"), base, 2)
	if _, err := l.AppendReplicated(whole); !errors.Is(err, wire.KafkaStorageError) || d.Err() != nil {
		t.Fatalf("%v; directory %v", err, d.Err())
	}
	d.keeper.tick()
	if next, err := l.AppendReplicated(whole); err != nil || next != 86 {
		t.Fatalf("appended up to %d, %v", next, err)
	}
	if want := []EpochStart{{2, 82}}; !slices.Equal(l.Epochs(), want) {
		t.Errorf("epochs %v, want %v", l.Epochs(), want)
	}
	d.keeper.tick()
	if names, _ := filepath.Glob(filepath.Join(l.path, "*.log")); len(names) != 1 || filepath.Base(names[0]) != offsetFile(base, logSuffix) {
		t.Errorf("the segments are %v", names)
	}
	expectLog(t, l, [][]byte{whole})
}

// A process that is killed before it has given the file its name leaves a batch that is whole, and
// may hold bytes that look like another one.
func TestABatchWhoseSegmentHasNotGotItsNameIsCutOff(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	cutLog(t, openLog(t, d, testLogConfig()), 102, true)
	d.keeper.tick()
	var b record.Builder
	b.Reset(record.None, 0, false)
	for range 4 {
		b.Append(testNow.UnixMilli(), nil, fours(200, 1, 5)[0], nil)
	}
	killed := crashed(t, path)
	name := filepath.Join(killed, testRef().String(), offsetFile(102, logSuffix))
	content := at(bytes.Clone(b.Finish(wire.NoProducer, -1, -1)), 100, 1)
	for _, n := range []int{len(content), len(content) - 1, record.HeaderBytes, 10} {
		if err := os.WriteFile(name, content[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		d := openDir(t, killed)
		l := openLog(t, d, testLogConfig())
		if l.StartOffset() != 102 || l.EndOffset() != 102 || l.Size() != 0 || l.LostDurable() {
			t.Fatalf("%d bytes: the log is %d to %d, %d bytes", n, l.StartOffset(), l.EndOffset(), l.Size())
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheStartInsideABatchOutlivesKillsThatNoCheckpointIsAheadOf(t *testing.T) {
	path := t.TempDir()
	cutLog(t, openLog(t, openDir(t, path), testLogConfig()), 102, true)
	path = crashed(t, path)
	l := openLog(t, openDir(t, path), testLogConfig())
	want := fours(100, 2, 1)
	if _, err := l.AppendReplicated(bytes.Join(want, nil)); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, openDir(t, crashed(t, path)), testLogConfig())
	if l.StartOffset() != 102 || l.EndOffset() != 108 {
		t.Fatalf("the log is %d to %d", l.StartOffset(), l.EndOffset())
	}
	expectLog(t, l, want)
}
