package storage_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/storage/faultfs"
	"github.com/troupe-mq/troupe/wire"
)

// beginnerScript is the life of a follower that begins anew inside a batch of its leader, twice: with the
// empty log checkpointed, and not.
func beginnerScript(fsys storage.FS, h *history) error {
	s, err := openSession(fsys, "boot-1", h)
	if err != nil {
		return err
	}
	replicate := func(batches int, gap wire.Offset, epochs ...wire.LeaderEpoch) func() error {
		return func() error { return s.replicate(batches, gap, epochs...) }
	}
	begin := func(at wire.Offset) func() error {
		return func() error { return s.cut(at, true) }
	}
	err = steps(
		replicate(6, 0, 1, 2), s.sync, s.tick,
		begin(300), s.tick, replicate(5, -1, 3, 4), s.sync, s.tick,
		replicate(4, 1, 4, 5), func() error { return s.advance(308) }, s.sync, s.tick, s.tick,
		begin(400), replicate(1, -2, 6), s.sync, replicate(3, 0, 6, 7),
	)
	if err != nil {
		_ = s.dir.Close()
		return err
	}
	if err := s.close(); err != nil {
		return err
	}
	if s, err = openSession(fsys, "boot-1", h); err != nil {
		return err
	}
	if err = begin(501)(); err != nil {
		_ = s.dir.Close()
		return err
	}
	if err := s.close(); err != nil {
		return err
	}
	if s, err = openSession(fsys, "boot-1", h); err != nil {
		return err
	}
	err = steps(replicate(2, -1, 8), replicate(7, 0, 9), s.sync, s.tick)
	if err != nil {
		_ = s.dir.Close()
		return err
	}
	return s.close()
}

func TestABeginInsideABatchOnAWholeDisk(t *testing.T) {
	fsys, h := crashfs.New(), &history{}
	if err := beginnerScript(fsys, h); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d steps", fsys.Steps())
	if damage, err := storage.Verify(fsys, "data"); err != nil || len(damage) > 0 {
		t.Fatalf("%v, %v", damage, err)
	}
	h.check(t, fsys.Kill(), "boot-1")
}

func TestAPowerCutAtAnyStepOfABeginInsideABatchLeavesAnEmptyLogOrTheBatch(t *testing.T) {
	t.Parallel()
	whole := crashfs.New()
	if err := beginnerScript(whole, &history{}); err != nil {
		t.Fatal(err)
	}
	for n := int64(1); n <= whole.Steps(); n++ {
		fsys, h := crashfs.New(), &history{}
		fsys.AfterStep(n, nil)
		_ = beginnerScript(fsys, h)
		for seed := range uint64(4) {
			found := fsys.Crash(rand.New(rand.NewPCG(uint64(n), seed)))
			t.Run(fmt.Sprintf("step=%d/seed=%d/power", n, seed), func(t *testing.T) {
				h.clone().check(t, found, "boot-2")
			})
		}
		t.Run(fmt.Sprintf("step=%d/kill", n), func(t *testing.T) {
			h := h.clone()
			h.flushed = h.confirmed // the page cache kept all of it
			h.check(t, fsys.Kill(), "boot-1")
		})
	}
}

func TestWhicheverCallOfABeginInsideABatchFailsAnEmptyLogOrTheBatchIsLeft(t *testing.T) {
	t.Parallel()
	whole := faultfs.New(crashfs.New())
	if err := beginnerScript(whole, &history{}); err != nil {
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
		{Kind: faultfs.Rename, Err: syscall.ENOSPC},
		{Kind: faultfs.Remove},
		{Kind: faultfs.Read},
		{Kind: faultfs.ReadDir},
		{Kind: faultfs.Size},
	} {
		for n := 1; n <= whole.Calls(fault.Kind); n++ {
			disk, h := crashfs.New(), &history{}
			fsys := faultfs.New(disk)
			fault.Nth = n
			fsys.Fail(fault)
			err := beginnerScript(fsys, h)
			found := disk.Crash(rand.New(rand.NewPCG(uint64(n), 1)))
			t.Run(fmt.Sprintf("%s=%d/err=%v/power", fault.Kind, n, fault.Err), func(t *testing.T) {
				t.Logf("the script ended with %v", err)
				h.clone().check(t, found, "boot-2")
			})
			t.Run(fmt.Sprintf("%s=%d/err=%v/kill", fault.Kind, n, fault.Err), func(t *testing.T) {
				t.Logf("the script ended with %v", err)
				h.check(t, disk.Kill(), "boot-1")
			})
		}
	}
}

func TestABatchThatTheDiskHasNoRoomForLeavesTheLogEmpty(t *testing.T) {
	for name, fault := range map[string]faultfs.Rule{
		"batch":      {Kind: faultfs.Write, Match: faultfs.Base("*.log"), Err: syscall.ENOSPC, Short: 70},
		"name":       {Kind: faultfs.Rename, Match: faultfs.Base("*.log"), Err: syscall.ENOSPC},
		"checkpoint": {Kind: faultfs.Open, Match: faultfs.Base("log-start*"), Err: syscall.ENOSPC},
	} {
		t.Run(name, func(t *testing.T) {
			fsys, h := faultfs.New(crashfs.New()), &history{}
			s, err := openSession(fsys, "boot-1", h)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.dir.Close() }()
			if err := s.cut(300, true); err != nil {
				t.Fatal(err)
			}
			<-s.synced // of the round that made the cut
			fsys.Fail(fault)
			if err := s.replicate(2, -1, 1); !errors.Is(err, wire.KafkaStorageError) || s.dir.Err() != nil {
				t.Fatalf("appended on a full disk: %v; directory %v", err, s.dir.Err())
			}
			if s.log.StartOffset() != 300 || s.log.EndOffset() != 300 {
				t.Fatalf("the log is %d to %d", s.log.StartOffset(), s.log.EndOffset())
			}
			s.log.RequestSync()
			if synced := <-s.synced; synced.Err != nil { // what the write left is gone
				t.Fatal(synced.Err)
			}
			if info, err := fsys.Stat("data/orders-0/00000000000000000300.log"); err != nil || info.Size() != 0 {
				t.Fatalf("the empty segment's file: %v, %v", info, err)
			}
			s.dir.Tick() // space is free again
			if err := steps(func() error { return s.replicate(2, -1, 2) }, s.sync); err != nil {
				t.Fatal(err)
			}
			if s.log.StartOffset() != 300 || s.log.EndOffset() <= 300 {
				t.Fatalf("the log is %d to %d", s.log.StartOffset(), s.log.EndOffset())
			}
		})
	}
}
