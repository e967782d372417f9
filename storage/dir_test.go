package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

func TestADirectoryKeepsItsIdentity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "data")
	d := openDir(t, path)
	id := d.Identity()
	if !id.Blank() || len(id.DirectoryID) != 22 || id.BrokerID != wire.NoBroker || id.Version != 1 {
		t.Fatalf("a new directory is %+v", id)
	}
	id.ClusterID, id.BrokerID, id.RaftID, id.RecoveryEpoch = "MkU3OEVBNTcwNTJENDM2Qk", 4, 77, 2
	if err := d.SaveIdentity(id); err != nil {
		t.Fatal(err)
	}
	other := id
	other.DirectoryID = "another"
	if err := d.SaveIdentity(other); err == nil {
		t.Error("the directory took another id")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if got := openDir(t, path).Identity(); got != id {
		t.Fatalf("reopened as %+v, want %+v", got, id)
	}
}

func TestADirectoryIsOpenedOnce(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	if _, err := OpenDir(OSFS{}, path, testDirConfig(), slog.New(slog.DiscardHandler)); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Fatalf("opened twice: %v", err)
	}
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	openDir(t, path)
}

func TestADirectoryThatIsNotOursIsRefused(t *testing.T) {
	for name, prepare := range map[string]func(dir string) error{
		"partitions without meta.json": func(dir string) error { return os.Mkdir(filepath.Join(dir, "orders-0"), 0o755) },
		"a future version": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, metaFile), []byte(`{"version": 2, "directory_id": "x"}`), 0o644)
		},
		"no version": func(dir string) error { return os.WriteFile(filepath.Join(dir, metaFile), []byte(`{}`), 0o644) },
		"no JSON":    func(dir string) error { return os.WriteFile(filepath.Join(dir, metaFile), []byte(`x`), 0o644) },
	} {
		path := t.TempDir()
		if err := prepare(path); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenDir(OSFS{}, path, testDirConfig(), slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: opened", name)
		}
		if f, err := (OSFS{}).Lock(filepath.Join(path, lockFileName)); err != nil {
			t.Errorf("%s: the lock is still held", name)
		} else {
			_ = f.Close()
		}
	}
}

func TestLogsListsPartitionsAndNothingElse(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	for _, ref := range []LogRef{{"orders", 0, testTopic}, {"orders", 12, testTopic}, {"a-b.c_d-3", 1, wire.TopicID{9}}} {
		if _, err := d.OpenLog(ref, testLogConfig()); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"__cluster_metadata", "orders", "orders-", "-1", "orders-01", "orders-x", "orders-99999999999", "orders-2.0123-stray", "unfinished-0"} {
		if err := os.Mkdir(filepath.Join(path, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(path, "unreadable-0"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "unreadable-0", topicFile), []byte("version: 0\ntopic_id: ?"), 0o644); err != nil {
		t.Fatal(err)
	}
	refs, err := d.Logs()
	want := []LogRef{{"a-b.c_d-3", 1, wire.TopicID{9}}, {"orders", 0, testTopic}, {"orders", 12, testTopic}, {"unreadable", 0, wire.TopicID{}}}
	if err != nil || fmt.Sprint(refs) != fmt.Sprint(want) {
		t.Fatalf("logs %v, %v; want %v", refs, err, want)
	}
	for i := range refs {
		if refs[i] != want[i] {
			t.Errorf("log %+v, want %+v", refs[i], want[i])
		}
	}
	if _, err := d.OpenLog(LogRef{"unreadable", 0, testTopic}, testLogConfig()); err == nil {
		t.Error("a partition of an unknown topic was opened")
	}
}

func TestALogOfAnotherTopicIDIsNotOpened(t *testing.T) {
	d := openDir(t, t.TempDir())
	fill(t, openLog(t, d, testLogConfig()), 3, 1)
	other := testRef()
	other.ID = wire.TopicID{8}
	if _, err := d.OpenLog(other, testLogConfig()); !errors.Is(err, wire.InconsistentTopicID) {
		t.Fatalf("opened with another id: %v", err)
	}
	for _, topic := range []string{"", "../x", "a/b", "a b"} {
		if _, err := d.OpenLog(LogRef{topic, 0, testTopic}, testLogConfig()); !errors.Is(err, wire.InvalidTopic) {
			t.Errorf("topic %q: %v", topic, err)
		}
	}
}

func TestADeletedLogIsGoneAtOnceAndItsNameIsFree(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	l := openLog(t, d, testLogConfig())
	fill(t, l, 20, 1)
	if err := d.DeleteLog(l); err != nil {
		t.Fatal(err)
	}
	if refs, err := d.Logs(); err != nil || len(refs) > 0 {
		t.Fatalf("logs after the deletion: %v, %v", refs, err)
	}
	if _, _, err := l.Append(batch(1, 1, "x"), 1); !errors.Is(err, wire.KafkaStorageError) {
		t.Errorf("append to a deleted log: %v", err)
	}
	again := testRef()
	again.ID = wire.TopicID{8}
	l, err := d.OpenLog(again, testLogConfig())
	if err != nil || l.EndOffset() != 0 {
		t.Fatalf("made again: %v, %v", l, err)
	}
	fill(t, l, 20, 1)
	d.keeper.tick()
	if left, err := filepath.Glob(filepath.Join(path, "*"+deletedDirMark)); err != nil || len(left) > 0 {
		t.Errorf("left of the deletion: %v, %v", left, err)
	}
	if found, err := Verify(OSFS{}, path); err != nil || len(found) > 0 {
		t.Errorf("the log of the same name is damaged: %v, %v", found, err)
	}
}

// What is still to be done for a deleted log, and what the checkpoints say of it, must not meet a log
// of the same name that was made meanwhile.
func TestALogIsNotTakenForADeletedOneOfItsName(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		path := t.TempDir()
		d := openDir(t, path)
		l := openLog(t, d, testLogConfig())
		fill(t, l, 40, 1)
		syncLog(t, l)
		l.SetHighWatermark(80)
		if err := l.AdvanceStart(5); err != nil {
			t.Fatal(err)
		}
		d.keeper.tick() // the checkpoints know of it
		if err := errors.Join(l.AdvanceStart(80), d.DeleteLog(l)); err != nil {
			t.Fatal(err)
		}
		if restarted {
			path = crashed(t, path)
			d = openDir(t, path)
		}
		ref := testRef()
		ref.ID = wire.TopicID{8}
		l, err := d.OpenLog(ref, testLogConfig())
		if err != nil {
			t.Fatal(err)
		}
		want := fill(t, l, 3, 1)
		killed := crashed(t, path) // before the next tick
		d.keeper.tick()
		for _, path := range []string{killed, crashed(t, path)} {
			l, err := openDir(t, path).OpenLog(ref, testLogConfig())
			if err != nil || l.StartOffset() != 0 || l.EndOffset() != 6 || l.CheckpointedHighWatermark() != 0 {
				t.Fatalf("restarted %t: the log is %v: %v", restarted, l, err)
			}
			expectLog(t, l, want)
		}
	}
}

func TestWhatADeletionLeftIsRemovedAtTheNextStart(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	if err := d.DeleteLog(openLog(t, d, testLogConfig())); err != nil {
		t.Fatal(err)
	}
	long := LogRef{strings.Repeat("x", 249), 0, testTopic}
	l, err := d.OpenLog(long, testLogConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.DeleteLog(l); err != nil {
		t.Fatal(err)
	}
	path = crashed(t, path)
	if left, err := filepath.Glob(filepath.Join(path, "*"+deletedDirMark)); err != nil || len(left) != 2 {
		t.Fatalf("left of the deletions: %v, %v", left, err)
	}
	d = openDir(t, path)
	d.keeper.tick()
	if left, err := filepath.Glob(filepath.Join(path, "*"+deletedDirMark)); err != nil || len(left) > 0 {
		t.Fatalf("left of the deletions: %v, %v", left, err)
	}
}

func TestAStrayLogIsNeitherAdoptedNorDeleted(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	l := openLog(t, d, testLogConfig())
	fill(t, l, 5, 1)
	if err := d.MarkStray(testRef()); err == nil {
		t.Fatal("an open log was marked")
	}
	if err := errors.Join(l.Close(), d.MarkStray(testRef()), d.Close()); err != nil {
		t.Fatal(err)
	}
	d = openDir(t, path)
	d.keeper.tick()
	if refs, err := d.Logs(); err != nil || len(refs) > 0 {
		t.Fatalf("logs %v, %v", refs, err)
	}
	stray, err := filepath.Glob(filepath.Join(path, "orders-3.*"+strayDirMark, "*"+logSuffix))
	if err != nil || len(stray) == 0 {
		t.Fatalf("stray segments %v, %v", stray, err)
	}
	if l := openLog(t, d, testLogConfig()); l.EndOffset() != 0 {
		t.Fatalf("the log ends at %d", l.EndOffset())
	}
}

func TestCheckpointsCarryStartAndHighWatermarkOverAKill(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	l := openLog(t, d, testLogConfig())
	fill(t, l, 30, 1)
	syncLog(t, l)
	l.SetHighWatermark(44)
	if err := l.AdvanceStart(21); err != nil {
		t.Fatal(err)
	}
	d.keeper.tick()
	killed := openDir(t, crashed(t, path))
	l = openLog(t, killed, testLogConfig())
	if l.StartOffset() != 21 || l.CheckpointedHighWatermark() != 44 || l.FlushedOffset() != 60 {
		t.Fatalf("start %d, high watermark %d, flushed %d", l.StartOffset(), l.CheckpointedHighWatermark(), l.FlushedOffset())
	}
	if l.segments[1].base <= 21 {
		t.Error("a segment below the start is kept")
	}
	// A log that is not opened in one run keeps its place in the checkpoints.
	if err := killed.Close(); err != nil {
		t.Fatal(err)
	}
	d = openDir(t, killed.Path())
	if _, err := d.OpenLog(LogRef{"other", 0, testTopic}, testLogConfig()); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, openDir(t, killed.Path()), testLogConfig())
	if l.StartOffset() != 21 || l.CheckpointedHighWatermark() != 44 {
		t.Fatalf("start %d, high watermark %d", l.StartOffset(), l.CheckpointedHighWatermark())
	}
}

func TestTheReserveClosesAndReopensTheDirectory(t *testing.T) {
	disk := &smallDisk{}
	disk.free.Store(1000)
	cfg := testDirConfig()
	cfg.ReserveBytes = 800
	d, err := OpenDir(disk, t.TempDir(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	l := openLog(t, d, testLogConfig())
	fill(t, l, 20, 1)
	for _, step := range []struct {
		free     int64
		writable bool
	}{{799, false}, {810, false}, {900, true}, {810, true}, {700, false}} {
		disk.free.Store(step.free)
		d.keeper.tick()
		_, _, err := l.Append(batch(1, 1, "x"), 1)
		if d.Writable() != step.writable || (err == nil) != step.writable {
			t.Fatalf("%d bytes free: writable %t, append %v", step.free, d.Writable(), err)
		}
		if err != nil && (wire.Code(err) != wire.KafkaStorageError || !strings.Contains(wire.Sentence(err), "disk full")) {
			t.Errorf("append says %v", err)
		}
	}
	if len(readFrom(t, l, 0, 40, 1000)) == 0 {
		t.Error("nothing can be read")
	}
	cfg2 := testLogConfig()
	cfg2.RetentionAge = time.Millisecond
	l.SetConfig(cfg2)
	if _, removed, err := l.ApplyRetention(testNow.Add(time.Hour), l.EndOffset()); err != nil || removed == 0 {
		t.Errorf("retention removed %d segments, %v", removed, err)
	}
	if err := d.DeleteLog(l); err != nil {
		t.Error(err)
	}
}

// smallDisk says how much is free on it.
type smallDisk struct {
	OSFS
	free atomic.Int64
}

func (d *smallDisk) Space(string) (int64, int64, error) { return 1 << 20, d.free.Load(), nil }

func TestIdleLogsCostLittle(t *testing.T) {
	const n = 2000
	path := t.TempDir()
	cfg := testDirConfig()
	cfg.MaxOpenFiles = 100
	open := func() (*Dir, []*Log) {
		d, err := OpenDir(quickFS{}, path, cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		logs := make([]*Log, n)
		done := make(chan error, n)
		for i := range logs {
			d.OpenLogAsync(LogRef{"idle", int32(i), testTopic}, DefaultLogConfig(), func(l *Log, err error) {
				logs[i] = l
				done <- err
			})
		}
		for range logs {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		return d, logs
	}
	d, logs := open()
	for i, l := range logs {
		if i%10 == 0 {
			appendBatch(t, l, batch(1, 1, "x"), 1)
		}
	}
	if len(d.files.ring) > cfg.MaxOpenFiles+n/10 {
		t.Errorf("%d files are open", len(d.files.ring))
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	before := heap()
	goroutines := runtime.NumGoroutine()
	d, logs = open()
	if each := (heap() - before) / n; each > 4<<10 {
		t.Errorf("a log takes %d bytes", each)
	}
	if more := runtime.NumGoroutine() - goroutines; more > 10 {
		t.Errorf("%d more goroutines", more)
	}
	if len(d.files.ring) > cfg.MaxOpenFiles {
		t.Errorf("%d files are open", len(d.files.ring))
	}
	if logs[10].EndOffset() != 1 {
		t.Errorf("log 10 ends at %d", logs[10].EndOffset())
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// quickFS does not wait for the disk where a test is about something else.
type quickFS struct{ OSFS }

func (quickFS) SyncDir(string) error { return nil }

func (q quickFS) OpenFile(name string, flag int, perm os.FileMode) (File, error) {
	f, err := q.OSFS.OpenFile(name, flag, perm)
	return unsyncedFile{f}, err
}

type unsyncedFile struct{ File }

func (unsyncedFile) Sync() error { return nil }

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestADirectoryThatVanishedIsNotMadeAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	d := openDir(t, path)
	if err := os.Rename(path, path+"-elsewhere"); err != nil {
		t.Fatal(err)
	}
	ref := LogRef{Topic: "events", Partition: 0, ID: wire.TopicID{1}}
	if _, err := d.OpenLog(ref, DefaultLogConfig()); wire.Code(err) != wire.KafkaStorageError {
		t.Fatalf("a log was made in a directory that is gone: %v", err)
	}
	if d.Err() == nil {
		t.Fatal("the directory is not offline")
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("it was made again: %v", err)
	}
}
