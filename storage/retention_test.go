package storage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

func TestRetentionByBytesKeepsAtLeastSoMany(t *testing.T) {
	cfg := testLogConfig()
	cfg.RetentionBytes, cfg.RetentionAge = 2500, -1
	l := openLog(t, openDir(t, t.TempDir()), cfg)
	want := fill(t, l, 60, 1)
	if l.RetentionDue(testNow, 0) {
		t.Error("due though nothing is committed")
	}
	if !l.RetentionDue(testNow, 120) {
		t.Error("not due")
	}
	oldest := l.segments[0].size
	start, removed, err := l.ApplyRetention(testNow, 120)
	if err != nil || removed == 0 || start != l.segments[0].base || start != l.StartOffset() {
		t.Fatalf("removed %d, start %d, %v", removed, start, err)
	}
	if l.Size() < 2500 || l.Size() >= 2500+oldest+200 {
		t.Errorf("%d bytes are kept", l.Size())
	}
	if l.RetentionDue(testNow, 120) {
		t.Error("still due")
	}
	expectLog(t, l, want[start/2:])
	if _, err := l.Read(start-1, 120, 100, true); !errors.Is(err, wire.OffsetOutOfRange) {
		t.Errorf("read below the start: %v", err)
	}
}

func TestRetentionByAgeStopsAtTheHighWatermark(t *testing.T) {
	cfg := testLogConfig()
	cfg.RetentionAge = time.Minute
	l := openLog(t, openDir(t, t.TempDir()), cfg)
	fill(t, l, 60, 1) // a second apart
	now := testNow.Add(90 * time.Second)
	if l.RetentionDue(testNow.Add(30*time.Second), 120) {
		t.Error("due though no segment is old enough")
	}
	hw := l.segments[2].base + 1
	if start, removed, err := l.ApplyRetention(now, hw); err != nil || removed != 2 || start != l.segments[0].base {
		t.Fatalf("up to the high watermark: removed %d, start %d, %v", removed, start, err)
	}
	start, _, err := l.ApplyRetention(now, 120)
	if err != nil {
		t.Fatal(err)
	}
	largest, err := l.largestTimestamp(l.segments[0])
	if err != nil || now.UnixMilli()-largest.timestamp > 60_000 || start >= 60 {
		t.Errorf("the oldest segment left, from %d on, is of %d", start, largest.timestamp)
	}
}

func TestRetentionRollsAnActiveSegmentThatHasHadItsTime(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	cfg := testLogConfig()
	cfg.RetentionAge = time.Minute
	l := openLog(t, d, cfg)
	fill(t, l, 60, 1)
	start, _, err := l.ApplyRetention(testNow.Add(time.Hour), 120)
	if err != nil || start != 120 || l.Size() != 0 || l.LastEpoch() != 1 {
		t.Fatalf("start %d, %d bytes, epoch %d, %v", start, l.Size(), l.LastEpoch(), err)
	}
	d.keeper.tick()
	logs, err := filepath.Glob(filepath.Join(path, testRef().String(), "*.*i*")) // .index and .timeindex
	if err != nil || len(logs) > 0 {
		t.Errorf("left: %v, %v", logs, err)
	}
	if _, removed, err := l.ApplyRetention(testNow.Add(time.Hour), 120); err != nil || removed != 0 {
		t.Errorf("again: removed %d, %v", removed, err)
	}
	l = openLog(t, openDir(t, crashed(t, path)), cfg)
	if l.StartOffset() != 120 || l.EndOffset() != 120 {
		t.Fatalf("after a kill the log is %d to %d", l.StartOffset(), l.EndOffset())
	}
	if base := appendBatch(t, l, batch(1, 1, "x"), 2); base != 120 {
		t.Errorf("the next record gets %d", base)
	}
}

func TestRetentionKnowsTheAgeOfSegmentsOfAnEarlierRun(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	cfg := testLogConfig()
	cfg.RetentionAge = time.Minute
	fill(t, openLog(t, d, cfg), 60, 1)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	l := openLog(t, openDir(t, path), cfg)
	if !l.RetentionDue(testNow.Add(90*time.Second), 120) || l.RetentionDue(testNow.Add(60*time.Second), 120) {
		t.Fatal("the age of the oldest segment is not known")
	}
}

func TestDeleteRecordsMovesTheStartIntoASegment(t *testing.T) {
	l := openLog(t, openDir(t, t.TempDir()), testLogConfig())
	want := fill(t, l, 30, 1)
	fill(t, l, 10, 2)
	for _, step := range []struct{ to, start wire.Offset }{{7, 7}, {5, 7}, {33, 33}} {
		if err := l.AdvanceStart(step.to); err != nil || l.StartOffset() != step.start {
			t.Fatalf("advance to %d: start %d, %v", step.to, l.StartOffset(), err)
		}
	}
	got := readFrom(t, l, 33, 60, 1)
	if string(got) != string(want[16]) { // the batch that holds 33 comes whole
		t.Error("not the batch that holds the start")
	}
	if epochs := l.Epochs(); epochs[0] != (EpochStart{1, 33}) || len(epochs) != 2 {
		t.Errorf("epochs %v", epochs)
	}
	for _, to := range []wire.Offset{81, -1} {
		if err := l.AdvanceStart(to); !errors.Is(err, wire.OffsetOutOfRange) {
			t.Errorf("advance to %d: %v", to, err)
		}
	}
	if err := l.AdvanceStart(80); err != nil || l.StartOffset() != 80 || l.EpochEnd(1).LeaderEpoch != wire.NoEpoch {
		t.Errorf("advance to the end: start %d, epochs %v, %v", l.StartOffset(), l.Epochs(), err)
	}
}

func TestRetentionDoesNotBelieveATimeIndexThatTheBatchesContradict(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	cfg := testLogConfig()
	cfg.RetentionAge = time.Minute
	l := openLog(t, d, cfg)
	fill(t, l, 60, 1)
	name := l.file(0, timesSuffix)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	// In order, and as old as can be: a page of the file that never reached the disk.
	if err := os.WriteFile(name, make([]byte, timeEntryBytes), 0o644); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, openDir(t, path), cfg)
	if l.RetentionDue(testNow.Add(time.Second), 120) {
		t.Fatal("a segment of records that are a second old is due")
	}
}
