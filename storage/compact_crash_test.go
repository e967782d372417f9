package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/storage/faultfs"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// keyed is what a test knows of a compacted log.
type keyed struct {
	records []keyedRecord // all that it tried to append
	flushed wire.Offset   // promised to be durable
	start   wire.Offset   // the highest that was asked for
}

type keyedRecord struct {
	offset wire.Offset
	key    string
	value  string // "": a tombstone
}

// keyedSession is one opening of such a log.
type keyedSession struct {
	k      *keyed
	dir    *storage.Dir
	log    *storage.Log
	synced chan storage.Synced
	cuts   chan storage.Cut
}

func openKeyed(fsys storage.FS, boot string, k *keyed) (*keyedSession, error) {
	s := &keyedSession{k: k, synced: make(chan storage.Synced, 1000), cuts: make(chan storage.Cut, 1)}
	cfg := dirConfig(boot)
	cfg.CleanInterval = 0 // the tests call the cleaner themselves
	var err error
	if s.dir, err = storage.OpenDir(fsys, "data", cfg, nopLogger()); err != nil {
		return nil, err
	}
	logCfg := storage.DefaultLogConfig()
	logCfg.SegmentBytes, logCfg.IndexIntervalBytes, logCfg.Fsync = 700, 150, false
	logCfg.Compact, logCfg.Delete, logCfg.MinDirtyRatio = true, false, 0.1
	logCfg.Synced = func(synced storage.Synced) { s.synced <- synced }
	logCfg.Cut = func(c storage.Cut) { s.cuts <- c }
	if s.log, err = s.dir.OpenLog(crashRef, logCfg); err != nil {
		_ = s.dir.Close()
		return nil, err
	}
	return s, nil
}

// openEighty opens a log with eighty records, committed and not compacted yet.
func openEighty(t *testing.T, fsys storage.FS, k *keyed) *keyedSession {
	t.Helper()
	s, err := openKeyed(fsys, "boot-1", k)
	if err == nil {
		t.Cleanup(func() { _ = s.dir.Close() })
		err = steps(func() error { return s.put(40, 1) }, s.commit)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// put appends n batches of two records with few keys, and values that tell their offsets.
func (s *keyedSession) put(n int, epoch wire.LeaderEpoch) error {
	for range n {
		base := s.log.EndOffset()
		s.k.records = slices.DeleteFunc(s.k.records, func(r keyedRecord) bool { return r.offset >= base })
		var b record.Builder
		b.Reset(record.None, 0, false)
		for offset := base; offset < base+2; offset++ {
			r := keyedRecord{offset, fmt.Sprintf("key-%d", offset*offset%7), fmt.Sprintf("%d of %d", offset, epoch)}
			value := []byte(r.value)
			if offset%11 == 0 {
				r.value, value = "", nil
			}
			b.Append(noon.UnixMilli()+int64(offset), []byte(r.key), value, nil)
			s.k.records = append(s.k.records, r)
		}
		if _, _, err := s.log.Append(bytes.Clone(b.Finish(wire.NoProducer, -1, -1)), epoch); err != nil {
			return err
		}
	}
	return nil
}

// commit makes everything durable and committed, and checkpoints that.
func (s *keyedSession) commit() error {
	if err := awaitSync(s.log, s.synced, &s.k.flushed); err != nil {
		return err
	}
	s.log.SetHighWatermark(s.log.FlushedOffset())
	s.dir.Tick()
	return s.dir.Err()
}

func (s *keyedSession) clean() error {
	s.dir.Clean()
	return s.dir.Err()
}

func compactionScript(fsys storage.FS, k *keyed) error {
	s, err := openKeyed(fsys, "boot-1", k)
	if err != nil {
		return err
	}
	put := func(n int, epoch wire.LeaderEpoch) func() error { return func() error { return s.put(n, epoch) } }
	fewKeys := func() error { s.dir.CleanWith(12*4, func() bool { return true }); return s.dir.Err() }
	tick := func() error { s.dir.Tick(); return s.dir.Err() }
	err = steps(
		put(14, 1), s.commit, s.clean, put(9, 2), s.commit, s.clean, tick,
		put(8, 2), func() error { k.start = 9; return s.log.AdvanceStart(9) }, s.clean, s.commit, fewKeys, put(3, 3),
	)
	if err = errors.Join(err, s.dir.Close()); err != nil {
		return err
	}
	k.flushed = s.log.EndOffset()
	if s, err = openKeyed(fsys, "boot-1", k); err != nil {
		return err
	}
	err = steps(put(12, 3), s.commit, s.clean, put(2, 4), s.commit)
	return errors.Join(err, s.dir.Close())
}

// found is what is read of a log: batches with their offsets.
type foundBatch struct {
	base  wire.Offset
	bytes string
}

func (s *keyedSession) read(t *testing.T) (list []foundBatch, records []keyedRecord) {
	t.Helper()
	eachBatch(t, s.log, func(h record.Header, b []byte) {
		list = append(list, foundBatch{h.BaseOffset, string(b)})
		err := record.Iterate(b, 1<<20, func(r record.Record) error {
			records = append(records, keyedRecord{r.Offset, string(r.Key), string(r.Value)})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	return list, records
}

func (k *keyed) check(t *testing.T, fsys storage.FS, boot string) {
	t.Helper()
	k.find(t, fsys, boot)
}

// find opens what a crash left, and expects of every key the last record that the log has room for.
func (k *keyed) find(t *testing.T, fsys storage.FS, boot string) []foundBatch {
	t.Helper()
	if damage, err := storage.Verify(fsys, "data"); err == nil {
		for _, d := range damage {
			if !d.Tail && bytes.HasSuffix([]byte(d.File), []byte(".log")) && d.Offset < k.flushed && boot == "boot-1" {
				t.Errorf("%v", d)
			}
		}
	}
	s, err := openKeyed(fsys, boot, k)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	list, records := s.read(t)
	k.compare(t, s.log, records)
	// It lives on.
	end := s.log.EndOffset()
	if err := steps(func() error { return s.put(6, 9) }, s.commit, s.clean); err != nil {
		t.Fatalf("after recovery: %v", err)
	}
	_, records = s.read(t)
	k.compare(t, s.log, records)
	if at, ok := s.log.AppendedAt(end); !ok || !at.Equal(noon) {
		t.Errorf("%d was appended at %v (%t)", end, at, ok)
	}
	if err := s.dir.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if damage, err := storage.Verify(fsys, "data"); err != nil || len(damage) > 0 {
		t.Fatalf("%v, %v", damage, err)
	}
	return list
}

func (k *keyed) compare(t *testing.T, l *storage.Log, records []keyedRecord) {
	t.Helper()
	start, end := l.StartOffset(), l.EndOffset()
	if end < k.flushed || start > k.start {
		t.Fatalf("the log is %d to %d; flushed was %d, the start %d", start, end, k.flushed, k.start)
	}
	at, last := map[wire.Offset]keyedRecord{}, map[string]keyedRecord{}
	for i, r := range records {
		if i > 0 && r.offset <= records[i-1].offset {
			t.Fatalf("offset %d comes after %d", r.offset, records[i-1].offset)
		}
		at[r.offset] = r
	}
	for _, want := range k.records {
		if have, there := at[want.offset]; there && have != want {
			t.Fatalf("%+v was appended, %+v is there", want, have)
		}
		if want.offset < end {
			last[want.key] = want
		}
	}
	for key, want := range last {
		if _, there := at[want.offset]; !there && want.offset >= start {
			t.Fatalf("the last record of %s, %+v, is gone from %d to %d", key, want, start, end)
		}
	}
	at1, _, _, err := l.OffsetForTimestamp(0, end)
	if err != nil || len(records) > 0 && at1 < start {
		t.Fatalf("the first record is at %d: %v", at1, err)
	}
}

func (k *keyed) clone() *keyed {
	c := *k
	c.records = slices.Clone(k.records)
	return &c
}

// below returns the batches below an offset.
func below(list []foundBatch, offset wire.Offset) string {
	var b bytes.Buffer
	for _, f := range list {
		if f.base < offset {
			fmt.Fprintf(&b, "%d:%x ", f.base, f.bytes)
		}
	}
	return b.String()
}

func TestACrashAtAnyStepOfACompactionLeavesTheLogAsItWasOrAsItIs(t *testing.T) {
	t.Parallel()
	var states [][]foundBatch // as a kill after each step leaves them
	for left := range stoppedAtEach(t, compactionScript, 1) {
		var found [4]*crashfs.FS // before the kill, after which there is no disk to lose anything
		for seed := range found {
			found[seed] = left.disk.Crash(left.chances(uint64(seed)))
		}
		t.Run(left.name+"/kill", func(t *testing.T) {
			states = append(states, left.known.clone().find(t, left.disk.Kill(), "boot-1"))
		})
		for seed, disk := range found {
			t.Run(fmt.Sprintf("%s/power=%d", left.name, seed), func(t *testing.T) {
				flushed := left.known.flushed
				got := below(left.known.clone().find(t, disk, "boot-2"), flushed)
				for _, state := range slices.Backward(states) {
					if below(state, flushed) == got {
						return
					}
				}
				if got != "" {
					t.Error("the log is neither as it was before the step nor as it is after it")
				}
			})
		}
	}
}

func TestACrashWhileASwapIsCompletedIsRecoveredFrom(t *testing.T) {
	t.Parallel()
	for left := range stoppedAtEach(t, compactionScript, 2) {
		for seed := range uint64(3) {
			left.powerCutTwice(t, seed, 12, func(fsys storage.FS, k *keyed) {
				if s, err := openKeyed(fsys, "boot-2", k); err == nil {
					_ = steps(func() error { return s.put(3, 8) }, s.commit, s.clean)
					_ = s.dir.Close()
				}
			})
		}
	}
}

func TestWhicheverCallOfACompactionFailsNoKeyIsLost(t *testing.T) {
	t.Parallel()
	for left := range failedAtEach(t, compactionScript,
		faultfs.Rule{Kind: faultfs.Open, Err: syscall.EMFILE},
		faultfs.Rule{Kind: faultfs.Close},
	) {
		left.powerCut(t, 1)
		left.kill(t)
	}
}
