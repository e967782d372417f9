package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
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
}

func openKeyed(fsys storage.FS, boot string, k *keyed) (*keyedSession, error) {
	s := &keyedSession{k: k, synced: make(chan storage.Synced, 1000)}
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
	if s.log, err = s.dir.OpenLog(crashRef, logCfg); err != nil {
		_ = s.dir.Close()
		return nil, err
	}
	return s, nil
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
	s.log.RequestSync()
	for s.k.flushed < s.log.EndOffset() {
		got := <-s.synced
		if got.Err != nil {
			return got.Err
		}
		s.k.flushed = max(s.k.flushed, got.UpTo)
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
	for from := s.log.StartOffset(); from < s.log.EndOffset(); {
		r, err := s.log.Read(from, s.log.EndOffset(), 400, true)
		if err != nil || r.Length == 0 {
			t.Fatalf("read at %d of %d: %d bytes, %v", from, s.log.EndOffset(), r.Length, err)
		}
		got := make([]byte, r.Length)
		if err := r.ReadInto(got); err != nil {
			t.Fatal(err)
		}
		r.Release()
		for {
			h, b, rest, err := record.Next(got)
			if err != nil {
				break
			}
			list = append(list, foundBatch{h.BaseOffset, string(b)})
			err = record.Iterate(b, 1<<20, func(r record.Record) error {
				records = append(records, keyedRecord{r.Offset, string(r.Key), string(r.Value)})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			got, from = rest, h.NextOffset()
		}
	}
	return list, records
}

// check opens what a crash left, and expects of every key the last record that the log has room for.
func (k *keyed) check(t *testing.T, fsys storage.FS, boot string) []foundBatch {
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
	whole := crashfs.New()
	if err := compactionScript(whole, &keyed{}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d steps", whole.Steps())
	var states [][]foundBatch // as a kill after each step leaves them
	for n := int64(1); n <= whole.Steps(); n++ {
		fsys, k := crashfs.New(), &keyed{}
		fsys.AfterStep(n, nil)
		_ = compactionScript(fsys, k)
		for seed := range uint64(4) {
			found := fsys.Crash(rand.New(rand.NewPCG(uint64(n), seed)))
			t.Run(fmt.Sprintf("power=%d/seed=%d", n, seed), func(t *testing.T) {
				got := below(k.clone().check(t, found, "boot-2"), k.flushed)
				for _, state := range slices.Backward(states) {
					if below(state, k.flushed) == got {
						return
					}
				}
				if len(states) > 0 && got != "" && !slices.ContainsFunc(states, func(s []foundBatch) bool { return below(s, k.flushed) == got }) {
					killed, k := killedAt(t, n), k.clone()
					if below(k.check(t, killed, "boot-1"), k.flushed) != got {
						t.Error("the log is neither as it was before the step nor as it is after it")
					}
				}
			})
		}
		t.Run(fmt.Sprintf("kill=%d", n), func(t *testing.T) {
			states = append(states, k.clone().check(t, killedAt(t, n), "boot-1"))
		})
	}
}

// killedAt returns the disk after that many steps of the script.
func killedAt(t *testing.T, n int64) *crashfs.FS {
	t.Helper()
	fsys := crashfs.New()
	fsys.AfterStep(n, nil)
	_ = compactionScript(fsys, &keyed{})
	return fsys.Kill()
}

func TestACrashWhileASwapIsCompletedIsRecoveredFrom(t *testing.T) {
	t.Parallel()
	whole := crashfs.New()
	if err := compactionScript(whole, &keyed{}); err != nil {
		t.Fatal(err)
	}
	for n := int64(1); n <= whole.Steps(); n += 2 {
		fsys, k := crashfs.New(), &keyed{}
		fsys.AfterStep(n, nil)
		_ = compactionScript(fsys, k)
		for seed := range uint64(3) {
			rng := rand.New(rand.NewPCG(uint64(n), seed))
			found := fsys.Crash(rng)
			found.AfterStep(1+rng.Int64N(12), nil)
			k := k.clone()
			if s, err := openKeyed(found, "boot-2", k); err == nil {
				_ = steps(func() error { return s.put(3, 8) }, s.commit, s.clean)
				_ = s.dir.Close()
			}
			found = found.Crash(rng)
			t.Run(fmt.Sprintf("step=%d/seed=%d", n, seed), func(t *testing.T) { k.check(t, found, "boot-3") })
		}
	}
}

func TestWhicheverCallOfACompactionFailsNoKeyIsLost(t *testing.T) {
	t.Parallel()
	whole := faultfs.New(crashfs.New())
	if err := compactionScript(whole, &keyed{}); err != nil {
		t.Fatal(err)
	}
	for _, fault := range []faultfs.Rule{
		{Kind: faultfs.Write, Err: syscall.EIO, Short: 40},
		{Kind: faultfs.Write, Err: syscall.ENOSPC, Short: 100},
		{Kind: faultfs.Sync},
		{Kind: faultfs.SyncDir},
		{Kind: faultfs.Truncate},
		{Kind: faultfs.Open},
		{Kind: faultfs.Open, Err: syscall.ENOSPC},
		{Kind: faultfs.Open, Err: syscall.EMFILE},
		{Kind: faultfs.Rename},
		{Kind: faultfs.Remove},
		{Kind: faultfs.Read},
		{Kind: faultfs.ReadDir},
		{Kind: faultfs.Size},
		{Kind: faultfs.Close},
	} {
		for n := 1; n <= whole.Calls(fault.Kind); n++ {
			disk, k := crashfs.New(), &keyed{}
			fsys := faultfs.New(disk)
			fault.Nth = n
			fsys.Fail(fault)
			err := compactionScript(fsys, k)
			found := disk.Crash(rand.New(rand.NewPCG(uint64(n), 1)))
			t.Run(fmt.Sprintf("%s=%d/err=%v/power", fault.Kind, n, fault.Err), func(t *testing.T) {
				t.Logf("the script ended with %v", err)
				k.clone().check(t, found, "boot-2")
			})
			t.Run(fmt.Sprintf("%s=%d/err=%v/kill", fault.Kind, n, fault.Err), func(t *testing.T) {
				t.Logf("the script ended with %v", err)
				k.check(t, disk.Kill(), "boot-1")
			})
		}
	}
}

// cleanUpToASwap has the log compacted on another goroutine, up to where the first new segment has its second
// name, and nobody has seen it yet. There it waits at the gate.
func (s *keyedSession) cleanUpToASwap(fsys *faultfs.FS) (gate *faultfs.Gate, cleaned chan struct{}) {
	written := fsys.Hold("data/orders-0")
	cleaned = make(chan struct{})
	go func() { s.dir.Clean(); close(cleaned) }()
	<-written.Arrived() // its file is being synced
	gate = fsys.Hold("data/orders-0")
	written.Release()
	<-gate.Arrived() // now the directory is
	return gate, cleaned
}

func TestRetentionThatIsFasterThanASwapWins(t *testing.T) {
	fsys, k := faultfs.New(crashfs.New()), &keyed{}
	s, err := openKeyed(fsys, "boot-1", k)
	if err == nil {
		err = steps(func() error { return s.put(40, 1) }, s.commit)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.dir.Close() }()
	segments := s.log.Segments()
	gate, cleaned := s.cleanUpToASwap(fsys)
	end := s.log.EndOffset()
	if err := s.log.AdvanceStart(end); err != nil {
		t.Fatal(err)
	}
	k.start = end
	gate.Release()
	<-cleaned
	if s.dir.Err() != nil || s.log.StartOffset() != end || s.log.Segments() >= segments {
		t.Fatalf("the log starts at %d, with %d segments; %v", s.log.StartOffset(), s.log.Segments(), s.dir.Err())
	}
	s.dir.Tick()
	entries, err := fsys.ReadDir("data/orders-0")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if bytes.HasSuffix([]byte(entry.Name()), []byte(".swap")) || bytes.HasSuffix([]byte(entry.Name()), []byte(".cleaned")) {
			t.Errorf("%s is left", entry.Name())
		}
	}
	if err := steps(func() error { return s.put(20, 2) }, s.commit, s.clean); err != nil {
		t.Fatal(err)
	}
	_, records := s.read(t)
	k.compare(t, s.log, records)
}

func TestACutWaitsForASwapAndTakesAwayWhatItMade(t *testing.T) {
	fsys, k := faultfs.New(crashfs.New()), &keyed{}
	s, err := openKeyed(fsys, "boot-1", k)
	if err == nil {
		err = steps(func() error { return s.put(40, 1) }, s.commit)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.dir.Close() }()
	cuts := make(chan storage.Cut, 1)
	cfg := s.log.Config()
	cfg.Cut = func(c storage.Cut) { cuts <- c }
	s.log.SetConfig(cfg)
	gate, cleaned := s.cleanUpToASwap(fsys)
	s.log.RequestCut(21, false)
	gate.Release()
	c := <-cuts
	<-cleaned
	if c.Err != nil || c.End > 21 || s.log.CleanedOffset() > c.End || s.dir.Err() != nil {
		t.Fatalf("%+v, cleaned to %d, %v", c, s.log.CleanedOffset(), s.dir.Err())
	}
	k.records = slices.DeleteFunc(k.records, func(r keyedRecord) bool { return r.offset >= c.End })
	k.flushed = 0
	if err := steps(func() error { return s.put(30, 2) }, s.commit, s.clean, s.clean); err != nil {
		t.Fatal(err)
	}
	// What was compacted away below the cut may have had its successor above it.
	_, records := s.read(t)
	seen := map[wire.Offset]bool{}
	for _, r := range records {
		if seen[r.offset] = true; !slices.Contains(k.records, r) {
			t.Errorf("%+v was never appended", r)
		}
	}
	last := map[string]keyedRecord{}
	for _, r := range k.records {
		if r.offset >= c.End {
			last[r.key] = r
		}
	}
	for _, r := range last {
		if !seen[r.offset] {
			t.Errorf("%+v is gone", r)
		}
	}
}
