package storage_test

import (
	"errors"
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
	err := live(fsys, h, func(s *session) error {
		return steps(
			s.replicating(1, 6, 0, 1, 2), s.sync, s.tick,
			s.cutting(300, true), s.tick, s.replicating(1, 5, -1, 3, 4), s.sync, s.tick,
			s.replicating(1, 4, 1, 4, 5), func() error { return s.advance(308) }, s.sync, s.tick, s.tick,
			s.cutting(400, true), s.replicating(1, 1, -2, 6), s.sync, s.replicating(1, 3, 0, 6, 7),
		)
	})
	if err == nil {
		err = live(fsys, h, func(s *session) error { return s.cut(501, true) })
	}
	if err == nil {
		err = live(fsys, h, func(s *session) error {
			return steps(s.replicating(1, 2, -1, 8), s.replicating(1, 7, 0, 9), s.sync, s.tick)
		})
	}
	return err
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
	for left := range stoppedAtEach(t, beginnerScript, 1) {
		for seed := range uint64(4) {
			left.powerCut(t, seed)
		}
		left.known.flushed = left.known.confirmed // the page cache kept all of it
		left.kill(t)
	}
}

func TestWhicheverCallOfABeginInsideABatchFailsAnEmptyLogOrTheBatchIsLeft(t *testing.T) {
	t.Parallel()
	for left := range failedAtEach(t, beginnerScript,
		faultfs.Rule{Kind: faultfs.Open, Err: syscall.EMFILE},
		faultfs.Rule{Kind: faultfs.Rename, Err: syscall.ENOSPC},
	) {
		left.powerCut(t, 1)
		left.kill(t)
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
			if err := steps(s.replicating(1, 2, -1, 2), s.sync); err != nil {
				t.Fatal(err)
			}
			if s.log.StartOffset() != 300 || s.log.EndOffset() <= 300 {
				t.Fatalf("the log is %d to %d", s.log.StartOffset(), s.log.EndOffset())
			}
		})
	}
}
