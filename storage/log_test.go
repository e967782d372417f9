package storage

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// The helpers of this package's tests: a directory on a real disk, logs in it, batches for them.

var testTopic = wire.TopicID{1, 2, 3}

const testBoot = "boot-1"

// testNow is where the tests' clock stands.
var testNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func testDirConfig() DirConfig {
	cfg := DefaultDirConfig()
	cfg.ReserveBytes = 0
	cfg.CheckpointInterval = time.Hour // the tests call the keeper themselves
	cfg.ScrubBytesPerSecond = 0
	cfg.BootID = testBoot
	cfg.Now = func() time.Time { return testNow }
	return cfg
}

func testLogConfig() LogConfig {
	cfg := DefaultLogConfig()
	cfg.SegmentBytes = 1000
	cfg.IndexIntervalBytes = 100
	cfg.Fsync = false
	return cfg
}

func openDir(t testing.TB, path string) *Dir {
	t.Helper()
	d, err := OpenDir(OSFS{}, path, testDirConfig(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func testRef() LogRef { return LogRef{Topic: "orders", Partition: 3, ID: testTopic} }

func openLog(t testing.TB, d *Dir, cfg LogConfig) *Log {
	t.Helper()
	l, err := d.OpenLog(testRef(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// batch returns a batch of n records whose values say which they are.
func batch(n int, firstTimestamp int64, tag string) []byte {
	var b record.Builder
	b.Reset(record.None, 0, false)
	for i := range n {
		b.Append(firstTimestamp+int64(i), nil, fmt.Appendf(nil, "%s-%d", tag, i), nil)
	}
	return bytes.Clone(b.Finish(wire.NoProducer, -1, -1))
}

func appendBatch(t testing.TB, l *Log, b []byte, epoch wire.LeaderEpoch) wire.Offset {
	t.Helper()
	base, _, err := l.Append(b, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return base
}

// fill appends count batches of two records each, a second apart, and returns them as written.
func fill(t testing.TB, l *Log, count int, epoch wire.LeaderEpoch) [][]byte {
	t.Helper()
	var all [][]byte
	for i := range count {
		b := batch(2, testNow.UnixMilli()+int64(1000*(int(l.EndOffset())/2)), fmt.Sprintf("e%d-%d", epoch, i))
		appendBatch(t, l, b, epoch)
		all = append(all, b)
	}
	return all
}

// syncLog waits for the group commit of all that the log holds.
func syncLog(t testing.TB, l *Log) {
	t.Helper()
	done := make(chan Synced, 100)
	cfg := l.Config()
	before := cfg
	cfg.Synced = func(s Synced) { done <- s }
	l.SetConfig(cfg)
	l.requested = -1
	l.RequestSync()
	for s := range done {
		if s.Err != nil {
			t.Fatal(s.Err)
		}
		if s.UpTo == l.EndOffset() {
			break
		}
	}
	l.SetConfig(before)
}

// readAll reads the log as a consumer does, maxBytes at a time, and returns its bytes.
func readAll(t testing.TB, l *Log, maxBytes int) []byte {
	t.Helper()
	var all []byte
	for from := l.StartOffset(); from < l.EndOffset(); {
		got := readFrom(t, l, from, l.EndOffset(), maxBytes)
		if len(got) == 0 {
			t.Fatalf("nothing at %d, the log ends at %d", from, l.EndOffset())
		}
		for rest := got; len(rest) > 0; {
			h, b, after, err := record.Next(rest)
			if errors.Is(err, record.ErrTruncated) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b...)
			from, rest = h.NextOffset(), after
		}
	}
	return all
}

func readFrom(t testing.TB, l *Log, from, upTo wire.Offset, maxBytes int) []byte {
	t.Helper()
	r, err := l.Read(from, upTo, maxBytes, true)
	if err != nil {
		t.Fatalf("read at %d: %v", from, err)
	}
	defer r.Release()
	got := make([]byte, r.Length)
	if r.Length > 0 {
		if err := r.ReadInto(got); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

func expectLog(t testing.TB, l *Log, want [][]byte) {
	t.Helper()
	for _, maxBytes := range []int{1, 150, 1 << 20} {
		if got := readAll(t, l, maxBytes); !bytes.Equal(got, bytes.Join(want, nil)) {
			t.Fatalf("reading %d bytes at a time returns other bytes than were appended", maxBytes)
		}
	}
}

func TestWhatIsAppendedIsRead(t *testing.T) {
	l := openLog(t, openDir(t, t.TempDir()), testLogConfig())
	want := fill(t, l, 50, 7)
	if l.EndOffset() != 100 || len(l.segments) < 3 {
		t.Fatalf("end %d in %d segments", l.EndOffset(), len(l.segments))
	}
	expectLog(t, l, want)
}

func TestALogIsTheSameAfterACleanClose(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	want := fill(t, openLog(t, d, testLogConfig()), 50, 7)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = openDir(t, path)
	l := openLog(t, d, testLogConfig())
	if l.EndOffset() != 100 || l.FlushedOffset() != 100 || l.LastEpoch() != 7 {
		t.Fatalf("end %d, flushed %d, epoch %d", l.EndOffset(), l.FlushedOffset(), l.LastEpoch())
	}
	expectLog(t, l, want)
	want = append(want, fill(t, l, 20, 8)...)
	expectLog(t, l, want)
}

// crashed copies a directory as a process that was killed leaves it.
func crashed(t testing.TB, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "killed")
	if err := os.CopyFS(to, os.DirFS(path)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestALogIsTheSameAfterAKill(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	l := openLog(t, d, testLogConfig())
	want := fill(t, l, 30, 7)
	syncLog(t, l)
	d.keeper.tick()
	want = append(want, fill(t, l, 30, 9)...)

	l = openLog(t, openDir(t, crashed(t, path)), testLogConfig())
	if l.EndOffset() != 120 || l.LastEpoch() != 9 || l.EpochEnd(7).EndOffset != 60 {
		t.Fatalf("end %d, epochs %v", l.EndOffset(), l.Epochs())
	}
	expectLog(t, l, want)
}
