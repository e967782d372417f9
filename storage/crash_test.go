package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

var (
	noon     = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	crashRef = storage.LogRef{Topic: "orders", Partition: 0, ID: wire.TopicID{7}}
)

const producer wire.ProducerID = 42

func dirConfig(boot string) storage.DirConfig {
	cfg := storage.DefaultDirConfig()
	cfg.ReserveBytes = 0
	cfg.CheckpointInterval = time.Hour // the tests tick themselves
	cfg.ScrubBytesPerSecond = 0
	cfg.BootID = boot
	cfg.Now = func() time.Time { return noon }
	return cfg
}

func nopLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }

// history is what a test knows of a log: what it tried to append, and what it was promised.
type history struct {
	batches   []entry
	flushed   wire.Offset // by a Synced without error
	confirmed wire.Offset // by an Append without error
	start     wire.Offset // the highest that AdvanceStart was asked for
	least     wire.Offset // where a cut has made the log begin anew
	emptying  bool        // a cut is under way that leaves an empty log
	emptied   wire.Offset // where that one starts
	salvage   bool        // the log is opened in spite of losses
}

// digest tells the content of the log below an offset.
func (h *history) digest(end wire.Offset) int64 {
	sum := crc32.NewIEEE()
	for _, e := range h.batches {
		if e.next <= end {
			_, _ = sum.Write(e.bytes)
		}
	}
	return int64(sum.Sum32())
}

// adopt makes what a crash left the history's truth, so that the log can live on.
func (h *history) adopt(l *storage.Log) {
	end := l.EndOffset()
	h.batches = slices.DeleteFunc(h.batches, func(e entry) bool { return e.base >= end || l.StartOffset() == end })
	h.flushed, h.confirmed, h.start, h.emptying = l.FlushedOffset(), end, max(h.start, l.StartOffset()), false
}

type entry struct {
	base, next wire.Offset
	epoch      wire.LeaderEpoch
	bytes      []byte
}

// session is one opening of the log.
type session struct {
	h      *history
	dir    *storage.Dir
	log    *storage.Log
	synced chan storage.Synced
	cuts   chan storage.Cut
}

func openSession(fsys storage.FS, boot string, h *history) (*session, error) {
	s := &session{h: h, synced: make(chan storage.Synced, 1000), cuts: make(chan storage.Cut, 2)}
	var err error
	if s.dir, err = storage.OpenDir(fsys, "data", dirConfig(boot), nopLogger()); err != nil {
		return nil, err
	}
	cfg := storage.DefaultLogConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes, cfg.Fsync = 1200, 150, false
	cfg.Salvage = h.salvage
	cfg.Synced = func(synced storage.Synced) { s.synced <- synced }
	cfg.Cut = func(c storage.Cut) { s.cuts <- c }
	cfg.Producers = func() []wire.ProducerBatch {
		end := s.log.EndOffset()
		return []wire.ProducerBatch{{Producer: producer, LastOffset: end - 1, Timestamp: h.digest(end), CurrentTxnStart: -1}}
	}
	if s.log, err = s.dir.OpenLog(crashRef, cfg); err != nil {
		_ = s.dir.Close()
		return nil, err
	}
	h.flushed = max(h.flushed, s.log.FlushedOffset())
	return s, nil
}

// append tries to append a batch whose size and content depend on where it goes.
func (s *session) append(epoch wire.LeaderEpoch) error {
	base := s.log.EndOffset()
	var b record.Builder
	b.Reset(record.None, 0, false)
	records := 1 + int(base)%3
	for i := range records {
		value := bytes.Repeat(fmt.Appendf(nil, "%d.%d,", epoch, int(base)+i), 1+int(base)%40)
		b.Append(noon.UnixMilli()+int64(base), nil, value, nil)
	}
	batch := b.Finish(producer, 0, wire.Sequence(base))
	record.SetBaseOffset(batch, base)
	record.SetLeaderEpoch(batch, epoch)
	next := base + wire.Offset(records)
	s.h.batches = slices.DeleteFunc(s.h.batches, func(e entry) bool { return e.base >= base }) // never confirmed, and gone
	s.h.batches = append(s.h.batches, entry{base, next, epoch, bytes.Clone(batch)})
	gotBase, gotNext, err := s.log.Append(batch, epoch)
	if err != nil {
		return err
	}
	if gotBase != base || gotNext != next {
		return fmt.Errorf("appended at %d to %d, want %d to %d", gotBase, gotNext, base, next)
	}
	s.h.confirmed = next
	return nil
}

// sync waits until all of the log is reported durable.
func (s *session) sync() error {
	return awaitSync(s.log, s.synced, &s.h.flushed)
}

func awaitSync(l *storage.Log, synced <-chan storage.Synced, flushed *wire.Offset) error {
	l.RequestSync()
	for *flushed < l.EndOffset() {
		got := <-synced
		if got.Err != nil {
			return got.Err
		}
		if got.Generation == l.Generation() {
			*flushed = max(*flushed, got.UpTo)
		}
	}
	return nil
}

func (s *session) appendMany(n int, epoch wire.LeaderEpoch) error {
	for range n {
		if err := s.append(epoch); err != nil {
			return err
		}
	}
	return nil
}

// appending is appendMany as a step of a script.
func (s *session) appending(n int, epoch wire.LeaderEpoch) func() error {
	return func() error { return s.appendMany(n, epoch) }
}

func (s *session) tick() error {
	s.dir.Tick()
	return s.dir.Err()
}

func (s *session) close() error {
	if err := s.dir.Close(); err != nil {
		return err
	}
	s.h.flushed = s.h.confirmed
	return nil
}

func (s *session) advance(to wire.Offset) error {
	s.h.start = max(s.h.start, to)
	return s.log.AdvanceStart(to)
}

// live opens the log, lets something happen to it, and closes it.
func live(fsys storage.FS, h *history, happens func(*session) error) error {
	s, err := openSession(fsys, "boot-1", h)
	if err != nil {
		return err
	}
	if err := happens(s); err != nil {
		_ = s.dir.Close()
		return err
	}
	return s.close()
}

// steps does one thing after the other, up to the first that fails.
func steps(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// script is the life of a log: rolls, epochs, checkpoints, a new start, a clean close, and again.
func script(fsys storage.FS, h *history) error {
	err := live(fsys, h, func(s *session) error {
		return steps(
			s.appending(3, 1), s.sync, s.appending(5, 1), s.tick, s.appending(6, 2), s.sync, s.tick,
			s.appending(2, 3), func() error { return s.advance(11) }, s.sync,
			func() error { s.log.SetHighWatermark(s.log.FlushedOffset()); return s.tick() },
			s.appending(8, 3),
		)
	})
	if err == nil {
		err = live(fsys, h, func(s *session) error { return steps(s.appending(4, 5), s.sync, s.appending(5, 6)) })
	}
	return err
}

// check opens what a crash left and compares it with the history. What is found becomes the
// history's truth, so that the log can live on.
func (h *history) check(t *testing.T, fsys storage.FS, boot string) {
	t.Helper()
	flushed := h.flushed
	s, err := openSession(fsys, boot, h)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	l := s.log
	start, end := l.StartOffset(), l.EndOffset()
	if h.emptying && start == h.emptied && end == start {
		h.batches, h.start, flushed = nil, start, start // the cut was made
	}
	if end < flushed || start > h.start || start < h.least {
		t.Fatalf("the log is %d to %d; flushed was %d, the start %d to %d", start, end, flushed, h.least, h.start)
	}
	var want []byte
	var epochs []storage.EpochStart
	for _, e := range h.batches {
		if e.next > end {
			break
		}
		if n := len(epochs); n == 0 || epochs[n-1].LeaderEpoch != e.epoch {
			epochs = append(epochs, storage.EpochStart{LeaderEpoch: e.epoch, StartOffset: e.base})
		}
		if e.next > start {
			want = append(want, e.bytes...)
		}
	}
	if got := readBack(t, l); !bytes.Equal(got, want) {
		t.Fatalf("the log from %d to %d holds other bytes than were appended", start, end)
	}
	for len(epochs) > 1 && epochs[1].StartOffset <= start {
		epochs = epochs[1:]
	}
	if len(epochs) > 0 {
		epochs[0].StartOffset = max(epochs[0].StartOffset, start)
	}
	if got := l.Epochs(); !slices.Equal(got, epochs) {
		t.Fatalf("epochs are %v, want %v; the log is %d to %d", got, epochs, start, end)
	}
	if hw := l.CheckpointedHighWatermark(); hw > end {
		t.Fatalf("high watermark %d, end %d", hw, end)
	}
	h.checkProducers(t, l)
	if err := errors.Join(s.append(99), s.sync()); err != nil {
		t.Fatalf("append after recovery: %v", err)
	}
	if err := s.dir.Close(); err != nil {
		t.Fatalf("close after recovery: %v", err)
	}
}

// checkProducers expects that snapshot and replay together tell of every batch in the log.
func (h *history) checkProducers(t *testing.T, l *storage.Log) {
	t.Helper()
	next := l.StartOffset()
	load := func(batches []wire.ProducerBatch) {
		next = batches[0].LastOffset + 1
		if batches[0].Timestamp != h.digest(next) {
			t.Errorf("the snapshot at %d tells of another log", next)
		}
	}
	replay := func(header record.Header) {
		if slices.ContainsFunc(h.batches, func(e entry) bool { return next <= e.base && e.base < header.BaseOffset }) {
			t.Errorf("replay leaves out %d to %d", next, header.BaseOffset)
		}
		next = header.NextOffset()
	}
	if err := l.RecoverProducers(load, replay); err != nil || next != l.EndOffset() {
		t.Fatalf("producers are known up to %d, the log ends at %d: %v", next, l.EndOffset(), err)
	}
}

func readBack(t *testing.T, l *storage.Log) (all []byte) {
	t.Helper()
	eachBatch(t, l, func(_ record.Header, b []byte) { all = append(all, b...) })
	return all
}

// eachBatch reads a log from its start to its end, some batches at a time.
func eachBatch(t *testing.T, l *storage.Log, do func(h record.Header, batch []byte)) {
	t.Helper()
	for from := l.StartOffset(); from < l.EndOffset(); {
		r, err := l.Read(from, l.EndOffset(), 500, true)
		if err != nil || r.Length == 0 {
			t.Fatalf("read at %d: %d bytes, %v", from, r.Length, err)
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
			do(h, b)
			got, from = rest, h.NextOffset()
		}
	}
}

func (h *history) clone() *history {
	c := *h
	c.batches = slices.Clone(h.batches)
	return &c
}

func TestAPowerCutAtAnyStepLosesNothingThatWasReportedDurable(t *testing.T) {
	t.Parallel()
	for left := range stoppedAtEach(t, script, 1) {
		for seed := range uint64(6) {
			left.powerCut(t, seed)
		}
	}
}

func TestAPowerCutDuringRecoveryOrSoonAfterItIsRecoveredFrom(t *testing.T) {
	t.Parallel()
	for left := range stoppedAtEach(t, script, 3) {
		for seed := range uint64(5) {
			left.powerCutTwice(t, seed, 20, func(fsys storage.FS, h *history) {
				if s, err := openSession(fsys, "boot-2", h); err == nil {
					// What it appends now lies where the torn tail was.
					_ = errors.Join(s.appendMany(3, 8), s.sync(), s.appendMany(3, 8))
					_ = s.dir.Close()
				}
			})
		}
	}
}

func TestAKillAtAnyStepLosesNothingThatWasAppended(t *testing.T) {
	t.Parallel()
	for left := range stoppedAtEach(t, script, 1) {
		left.known.flushed = left.known.confirmed // the page cache kept all of it
		left.kill(t)
	}
}
