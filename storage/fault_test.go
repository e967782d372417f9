package storage_test

import (
	"bytes"
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

func TestWhicheverCallFailsNothingReportedDurableIsLost(t *testing.T) {
	t.Parallel()
	for left := range failedAtEach(t, script,
		faultfs.Rule{Kind: faultfs.Write, Err: syscall.EIO},
		faultfs.Rule{Kind: faultfs.Write, Err: syscall.ENOSPC},
		faultfs.Rule{Kind: faultfs.Mkdir},
		faultfs.Rule{Kind: faultfs.Close},
		faultfs.Rule{Kind: faultfs.Space},
	) {
		for seed := range uint64(3) {
			left.powerCut(t, seed)
		}
	}
}

func TestAFailedSyncTakesTheDirectoryOfflineForGood(t *testing.T) {
	fsys := faultfs.New(crashfs.New())
	s, err := openSession(fsys, "boot-1", &history{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.dir.Close() }()
	if err := s.append(1); err != nil {
		t.Fatal(err)
	}
	fsys.Fail(faultfs.Rule{Kind: faultfs.Sync, Match: faultfs.Base("*.log")})
	s.log.RequestSync()
	if got := <-s.synced; !errors.Is(got.Err, wire.KafkaStorageError) {
		t.Fatalf("synced: %+v", got)
	}
	<-s.dir.Failed()
	fsys.Heal()
	if err := s.append(1); !errors.Is(err, wire.KafkaStorageError) || !wire.Code(err).Retriable() {
		t.Fatalf("append to a failed directory: %v", err)
	}
	syncs := fsys.Calls(faultfs.Sync)
	s.log.RequestSync()
	s.dir.Tick()
	if s.dir.Err() == nil || s.log.FlushedOffset() != 0 || fsys.Calls(faultfs.Sync) != syncs {
		t.Fatalf("err %v, flushed %d, %d more syncs", s.dir.Err(), s.log.FlushedOffset(), fsys.Calls(faultfs.Sync)-syncs)
	}
	if _, err := s.dir.OpenLog(storage.LogRef{Topic: "other", ID: wire.TopicID{1}}, storage.DefaultLogConfig()); !errors.Is(err, wire.KafkaStorageError) {
		t.Fatalf("open in a failed directory: %v", err)
	}
}

func TestAFullDiskRefusesAppendsUntilThereIsSpace(t *testing.T) {
	for _, short := range []int{0, 30, 130} {
		t.Run(fmt.Sprintf("short=%d", short), func(t *testing.T) {
			disk := crashfs.New()
			fsys, h := faultfs.New(disk), &history{}
			s, err := openSession(fsys, "boot-1", h)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.dir.Close() }()
			if err := errors.Join(s.appendMany(4, 1), s.sync()); err != nil {
				t.Fatal(err)
			}
			before := readBack(t, s.log)
			fsys.Fail(faultfs.Rule{Kind: faultfs.Write, Match: faultfs.Base("*.log"), Err: syscall.ENOSPC, Short: short})
			end := s.log.EndOffset()
			if err := s.append(1); !errors.Is(err, wire.KafkaStorageError) || !wire.Code(err).Retriable() || s.dir.Writable() {
				t.Fatalf("append to a full disk: %v, writable %t", err, s.dir.Writable())
			}
			if s.log.EndOffset() != end || s.dir.Err() != nil || !bytes.Equal(readBack(t, s.log), before) {
				t.Fatalf("end %d, want %d; directory %v", s.log.EndOffset(), end, s.dir.Err())
			}
			if got := <-s.synced; got.Err != nil { // the round that cuts off what was half written
				t.Fatal(got.Err)
			}
			s.dir.Tick() // space is free again
			if err := errors.Join(s.append(1), s.sync()); err != nil || !s.dir.Writable() {
				t.Fatalf("append afterwards: %v", err)
			}
			h.check(t, disk.Crash(rand.New(rand.NewPCG(1, uint64(short)))), "boot-2")
		})
	}
}

func TestAHeldSyncDelaysNoReadAndNoOtherDirectory(t *testing.T) {
	fsys := faultfs.New(crashfs.New())
	s, err := openSession(fsys, "boot-1", &history{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.dir.Close() }()
	other, err := storage.OpenDir(fsys, "other", dirConfig("boot-1"), nopLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	synced := make(chan storage.Synced, 1)
	cfg := storage.DefaultLogConfig()
	cfg.Synced = func(s storage.Synced) { synced <- s }
	otherLog, err := other.OpenLog(crashRef, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.append(1); err != nil {
		t.Fatal(err)
	}
	gate := fsys.Hold("data")
	s.log.RequestSync()
	<-gate.Arrived()
	if err := s.append(1); err != nil || len(readBack(t, s.log)) == 0 {
		t.Fatalf("append during a held sync: %v", err)
	}
	if _, _, err := otherLog.Append(bytes.Clone(s.h.batches[0].bytes), 1); err != nil {
		t.Fatal(err)
	}
	if got := <-synced; got.Err != nil || got.UpTo != otherLog.EndOffset() {
		t.Fatalf("the other directory: %+v", got)
	}
	if s.log.FlushedOffset() != 0 {
		t.Fatalf("flushed %d during the held sync", s.log.FlushedOffset())
	}
	gate.Release()
	if err := s.sync(); err != nil {
		t.Fatal(err)
	}
}
