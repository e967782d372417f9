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

// replicate appends what a leader would send: some batches, of two epochs perhaps, behind a gap
// perhaps.
func (s *session) replicate(batches int, gap wire.Offset, epochs ...wire.LeaderEpoch) error {
	end := s.log.EndOffset()
	s.h.batches = slices.DeleteFunc(s.h.batches, func(e entry) bool { return e.next > end })
	var all []byte
	base := end + gap
	for i := range batches {
		epoch := epochs[i*len(epochs)/batches]
		var b record.Builder
		b.Reset(record.None, 0, false)
		records := 1 + int(base)%3
		for r := range records {
			value := bytes.Repeat(fmt.Appendf(nil, "%d.%d,", epoch, int(base)+r), 1+int(base)%40)
			b.Append(noon.UnixMilli()+int64(base), nil, value, nil)
		}
		batch := bytes.Clone(b.Finish(producer, 0, wire.Sequence(base)))
		record.SetBaseOffset(batch, base)
		record.SetLeaderEpoch(batch, epoch)
		next := base + wire.Offset(records)
		s.h.batches = append(s.h.batches, entry{base, next, epoch, batch})
		all = append(all, batch...)
		base = next
	}
	next, err := s.log.AppendReplicated(all)
	if err != nil {
		return err
	}
	if next != base {
		return fmt.Errorf("replicated up to %d, want %d", next, base)
	}
	s.h.confirmed = next
	return nil
}

// cut cuts the log. While that goes on, the log may be found as it was, up to any offset from
// where it is cut.
func (s *session) cut(to wire.Offset, reset bool) error {
	kept := slices.Clone(s.h.batches)
	if reset {
		kept = nil
	}
	kept = slices.DeleteFunc(kept, func(e entry) bool { return e.next > to })
	end, start := wire.Offset(0), s.log.StartOffset()
	s.h.least = 0
	s.log.RequestCut(to, reset)
	if n := len(kept); n > 0 {
		end = kept[n-1].next
	}
	s.h.flushed, s.h.confirmed = min(s.h.flushed, end), min(s.h.confirmed, end)
	if reset || end == 0 {
		if !reset {
			to = min(to, start)
		}
		s.h.emptying, s.h.emptied, s.h.flushed, s.h.confirmed = true, to, 0, 0
	}
	c := <-s.cuts
	if c.Err != nil {
		return c.Err
	}
	if s.h.emptying {
		end, start = to, to
		s.h.start, s.h.least, s.h.flushed, s.h.confirmed, s.h.emptying = to, to, to, to, false
	}
	s.h.batches = kept
	if c.End != end || c.Start != min(start, end) || c.Flushed > end || c.Generation != s.log.Generation() {
		return fmt.Errorf("cut to %d (reset %t): %+v, want %d to %d", to, reset, c, start, end)
	}
	return nil
}

// replicating is replicate, so many times, as a step of a script; cutting is cut.
func (s *session) replicating(times, batches int, gap wire.Offset, epochs ...wire.LeaderEpoch) func() error {
	return func() error {
		for range times {
			if err := s.replicate(batches, gap, epochs...); err != nil {
				return err
			}
		}
		return nil
	}
}

func (s *session) cutting(to wire.Offset, reset bool) func() error {
	return func() error { return s.cut(to, reset) }
}

// followerScript is the life of a follower whose leaders change and disagree.
func followerScript(fsys storage.FS, h *history) error {
	err := live(fsys, h, func(s *session) error {
		watermark := func(hw wire.Offset) func() error {
			return func() error { s.log.SetHighWatermark(hw); return s.tick() }
		}
		return steps(
			s.replicating(3, 2, 0, 1), s.sync, s.tick,
			s.replicating(1, 8, 0, 1, 2), // not synced
			s.cutting(17, false), s.replicating(2, 1, 0, 3), s.sync, s.tick,
			s.replicating(1, 7, 2, 3, 4), s.sync, s.tick, s.tick,
			s.cutting(24, false), // of what is durable, several segments
			s.replicating(2, 2, 0, 5), s.sync, watermark(30),
			s.cutting(22, false), // below the high watermark
			s.tick, s.replicating(2, 3, 1, 6),
			func() error { return s.advance(14) },
			s.sync, s.tick, s.tick,

			s.cutting(300, true), s.tick, s.replicating(4, 2, 0, 7), s.sync, s.tick, watermark(310),
			s.cutting(0, false), s.replicating(3, 2, 0, 8), s.sync, s.tick,
			s.cutting(5, false), s.replicating(3, 1, 0, 9), s.sync,
		)
	})
	if err == nil {
		err = live(fsys, h, func(s *session) error {
			return steps(
				s.cutting(7, false), s.replicating(2, 2, 0, 10), s.sync, s.tick,
				s.cutting(5, true), s.replicating(1, 4, 0, 10, 11),
			)
		})
	}
	return err
}

func TestAFollowersLifeOnAWholeDisk(t *testing.T) {
	fsys, h := crashfs.New(), &history{}
	if err := followerScript(fsys, h); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d steps", fsys.Steps())
	h.check(t, fsys.Kill(), "boot-1")
}

func TestAPowerCutAtAnyStepOfACutLeavesAPrefixOfTheLog(t *testing.T) {
	t.Parallel()
	for left := range stoppedAtEach(t, followerScript, 1) {
		for seed := range uint64(2) {
			left.powerCut(t, seed)
		}
	}
}

func TestAKillAtAnyStepOfACutLeavesAPrefixOfTheLog(t *testing.T) {
	t.Parallel()
	for left := range stoppedAtEach(t, followerScript, 1) {
		left.known.flushed = left.known.confirmed // the page cache kept all of it
		left.kill(t)
	}
}

func TestAFollowerIsCutAgainAfterACrash(t *testing.T) {
	t.Parallel()
	for left := range stoppedAtEach(t, followerScript, 4) {
		for seed := range uint64(3) {
			left.powerCutTwice(t, seed, 40, func(fsys storage.FS, h *history) {
				if s, err := openSession(fsys, "boot-2", h); err == nil {
					h.adopt(s.log)
					_ = steps(
						s.replicating(1, 2, 0, 20),
						func() error { return s.cut(s.log.EndOffset()*2/3, false) },
						s.replicating(1, 3, 0, 21), s.sync, s.tick,
					)
					_ = s.dir.Close()
				}
			})
		}
	}
}

func TestWhicheverCallOfACutFailsAPrefixOfTheLogIsLeft(t *testing.T) {
	t.Parallel()
	for left := range failedAtEach(t, followerScript,
		faultfs.Rule{Kind: faultfs.Open, Err: syscall.EMFILE},
		faultfs.Rule{Kind: faultfs.Truncate, Err: syscall.ENOSPC},
	) {
		left.powerCut(t, 1)
		left.kill(t)
	}
}

func TestACutThatTheDiskHasNoRoomForLeavesTheLogAsItWas(t *testing.T) {
	disk, h := crashfs.New(), &history{}
	fsys := faultfs.New(disk)
	s, err := openSession(fsys, "boot-1", h)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.dir.Close() }()
	if err := steps(s.replicating(1, 9, 0, 1), s.sync, s.tick); err != nil {
		t.Fatal(err)
	}
	before := readBack(t, s.log)
	generation := s.log.Generation()
	for _, cut := range []func() error{s.cutting(4, false), s.cutting(700, true)} {
		fsys.Fail(faultfs.Rule{Kind: faultfs.Open, Match: faultfs.Base("*.tmp"), Err: syscall.ENOSPC})
		if err := cut(); !errors.Is(err, wire.KafkaStorageError) || s.dir.Err() != nil {
			t.Fatalf("cut on a full disk: %v; directory %v", err, s.dir.Err())
		}
		h.emptying = false
		if s.log.Generation() != generation || !bytes.Equal(readBack(t, s.log), before) {
			t.Fatal("the log has changed")
		}
		s.dir.Tick() // space is free again
	}
	if err := steps(s.cutting(4, false), s.replicating(1, 3, 0, 2), s.sync); err != nil {
		t.Fatal(err)
	}
}

func TestUntilACutHasEndedTheLogIsNotWrittenTo(t *testing.T) {
	fsys, h := faultfs.New(crashfs.New()), &history{}
	s, err := openSession(fsys, "boot-1", h)
	if err == nil {
		err = steps(s.appending(20, 1), s.sync, s.tick)
	}
	if err != nil {
		t.Fatal(err)
	}
	gate := fsys.Hold("data")
	s.log.RequestCut(10, false)
	<-gate.Arrived()
	_, _, appended := s.log.Append(bytes.Clone(h.batches[0].bytes), 2)
	_, replicated := s.log.AppendReplicated(h.batches[0].bytes)
	for name, err := range map[string]error{"append": appended, "replicate": replicated, "advance": s.log.AdvanceStart(2)} {
		if !errors.Is(err, wire.KafkaStorageError) || !wire.Code(err).Retriable() {
			t.Errorf("%s while the log is cut: %v", name, err)
		}
	}
	s.log.RequestSync() // is not remembered
	s.log.RequestCut(h.batches[1].next, false)
	gate.Release()
	for _, end := range []wire.Offset{10, h.batches[1].next} {
		if c := <-s.cuts; c.Err != nil || c.End != end {
			t.Fatalf("%+v, want the end %d", c, end)
		}
	}
	h.batches, h.flushed, h.confirmed = h.batches[:2], s.log.FlushedOffset(), s.log.EndOffset()
	if err := steps(s.appending(18, 2), s.sync); err != nil { // as long as it was
		t.Fatal(err)
	}
	var want []byte
	for _, e := range h.batches {
		want = append(want, e.bytes...)
	}
	if !bytes.Equal(readBack(t, s.log), want) {
		t.Fatal("the log holds other bytes than were appended")
	}
	s.log.RequestCut(0, false)
	if err := s.dir.Close(); err != nil {
		t.Fatalf("close in the middle of a cut: %v", err)
	}
}
