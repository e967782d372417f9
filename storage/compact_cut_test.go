package storage_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/storage/faultfs"
	"github.com/troupe-mq/troupe/wire"
)

// cleanAndCut compacts a log of 80 records, and cuts it when the cleaner looks for the n-th time whether it may
// go on. It is false when the cleaner looked less often.
func cleanAndCut(t *testing.T, n int, to wire.Offset) (happened bool) {
	k := &keyed{}
	fsys := crashfs.New()
	s := openEighty(t, fsys, k)
	s.dir.CleanWith(1<<20, func() bool {
		if n--; n == 0 {
			s.log.RequestCut(to, false)
			if c := <-s.cuts; c.Err != nil || c.End > to {
				t.Errorf("cut to %d: %+v", to, c)
			}
			happened = true
		}
		return true
	})
	if !happened {
		return false
	}
	end := s.log.EndOffset()
	if err := s.put(10, 2); err != nil {
		t.Fatal(err)
	}
	_, records := s.read(t)
	for i, r := range records {
		if i > 0 && r.offset <= records[i-1].offset {
			t.Errorf("offset %d comes after %d", r.offset, records[i-1].offset)
		}
		if want := fmt.Sprintf("%d of 2", r.offset); r.offset >= end && r.value != want && r.value != "" {
			t.Errorf("offset %d is %q, which was cut off", r.offset, r.value)
		}
	}
	if s.dir.Err() != nil || s.log.CleanedOffset() > end {
		t.Errorf("cleaned to %d of %d: %v", s.log.CleanedOffset(), end, s.dir.Err())
	}
	s.dir.Tick()
	if damage, err := storage.Verify(fsys, "data"); err != nil || len(damage) > 0 {
		t.Errorf("%v, %v", damage, err)
	}
	return true
}

func TestWhatIsCutOffDuringACompactionDoesNotComeBack(t *testing.T) {
	for to := wire.Offset(55); to < 80; to += 3 {
		for n := 1; ; n++ {
			happened := true
			t.Run(fmt.Sprintf("to=%d/look=%d", to, n), func(t *testing.T) { happened = cleanAndCut(t, n, to) })
			if !happened {
				break
			}
		}
	}
}

// halfDone returns the files of a compaction that is neither completed nor called off.
func halfDone(t *testing.T, fsys storage.FS) (names []string) {
	t.Helper()
	entries, err := fsys.ReadDir("data/orders-0")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ".swap") || strings.HasSuffix(entry.Name(), ".cleaned") {
			names = append(names, entry.Name())
		}
	}
	return names
}

// What is left of a swap that could not be made durable would be completed by the next recovery, in whatever the
// log has become by then.
func TestASwapThatIsCalledOffLeavesNothingBehind(t *testing.T) {
	for _, remove := range []error{nil, syscall.EIO} {
		disk, k := crashfs.New(), &keyed{}
		fsys := faultfs.New(disk)
		s := openEighty(t, fsys, k)
		isSwap := func(name string) bool { return strings.HasSuffix(name, ".swap") }
		fsys.Fail(faultfs.Rule{Kind: faultfs.SyncDir, Match: faultfs.Under("data/orders-0"), Err: syscall.EMFILE})
		if remove != nil {
			fsys.Fail(faultfs.Rule{Kind: faultfs.Remove, Match: isSwap, Err: remove})
			fsys.Fail(faultfs.Rule{Kind: faultfs.Rename, Match: isSwap, Err: remove})
		}
		s.dir.Clean()
		if left := halfDone(t, fsys); s.dir.Err() == nil && len(left) > 0 {
			t.Errorf("%v are left, and the directory in use", left)
		}
		if (s.dir.Err() != nil) != (remove != nil) {
			t.Errorf("removal fails with %v: the directory with %v", remove, s.dir.Err())
		}
		_ = s.dir.Close()
		k.check(t, disk.Crash(rand.New(rand.NewPCG(1, 1))), "boot-2")
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
	s := openEighty(t, fsys, k)
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
	if left := halfDone(t, fsys); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
	if err := steps(func() error { return s.put(20, 2) }, s.commit, s.clean); err != nil {
		t.Fatal(err)
	}
	_, records := s.read(t)
	k.compare(t, s.log, records)
}

func TestACutWaitsForASwapAndTakesAwayWhatItMade(t *testing.T) {
	fsys, k := faultfs.New(crashfs.New()), &keyed{}
	s := openEighty(t, fsys, k)
	gate, cleaned := s.cleanUpToASwap(fsys)
	s.log.RequestCut(21, false)
	gate.Release()
	c := <-s.cuts
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
