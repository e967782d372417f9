package storage_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/troupe-mq/troupe/storage/faultfs"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
)

// cleanAndCut compacts a log of 80 records, and cuts it when the cleaner looks for the n-th time whether it may
// go on. It is false when the cleaner looked less often.
func cleanAndCut(t *testing.T, n int, to wire.Offset) (happened bool) {
	k := &keyed{}
	fsys := crashfs.New()
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
	s.dir.CleanWith(1<<20, func() bool {
		if n--; n == 0 {
			s.log.RequestCut(to, false)
			if c := <-cuts; c.Err != nil || c.End > to {
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

// What is left of a swap that could not be made durable would be completed by the next recovery, in whatever the
// log has become by then.
func TestASwapThatIsCalledOffLeavesNothingBehind(t *testing.T) {
	for _, remove := range []error{nil, syscall.EIO} {
		disk, k := crashfs.New(), &keyed{}
		fsys := faultfs.New(disk)
		s, err := openKeyed(fsys, "boot-1", k)
		if err == nil {
			err = steps(func() error { return s.put(40, 1) }, s.commit)
		}
		if err != nil {
			t.Fatal(err)
		}
		isSwap := func(name string) bool { return strings.HasSuffix(name, ".swap") }
		fsys.Fail(faultfs.Rule{Kind: faultfs.SyncDir, Match: faultfs.Under("data/orders-0"), Err: syscall.EMFILE})
		if remove != nil {
			fsys.Fail(faultfs.Rule{Kind: faultfs.Remove, Match: isSwap, Err: remove})
			fsys.Fail(faultfs.Rule{Kind: faultfs.Rename, Match: isSwap, Err: remove})
		}
		s.dir.Clean()
		entries, err := fsys.ReadDir("data/orders-0")
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if name := entry.Name(); s.dir.Err() == nil && (isSwap(name) || strings.HasSuffix(name, ".cleaned")) {
				t.Errorf("%s is left, and the directory in use", name)
			}
		}
		if (s.dir.Err() != nil) != (remove != nil) {
			t.Errorf("removal fails with %v: the directory with %v", remove, s.dir.Err())
		}
		_ = s.dir.Close()
		k.check(t, disk.Crash(rand.New(rand.NewPCG(1, 1))), "boot-2")
	}
}
