package storage

import (
	"errors"
	"io"
	"slices"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// recovery finds where a log ends that may have been written to when the process or the machine
// died. Below the durable point, the last one that was checkpointed, everything was synced: it is
// not read, and must be there. Above it every batch is checked, and the first bad one ends the log
// if it is a torn tail; cluster/decisions/0002-torn-tail-or-corruption.md tells when it is. All
// steps may be repeated: a crash in the middle of them is a crash like any other.
type recovery struct {
	l        *Log
	durable  wire.Offset
	sameBoot bool // the machine has run since the log was last recovered: no page was lost
	whole    bool // walk through all batches: the leader epochs must be found again
	cut      bool // something was cut off
}

// recover reads the log's directory. Nobody else knows the log yet.
func (l *Log) recover(durable, start wire.Offset, sameBoot bool) error {
	if err := l.list(); err != nil {
		return err
	}
	if err := l.loadLoss(); err != nil {
		return err
	}
	if len(l.segments) == 0 {
		if durable > 0 {
			if err := l.lose(newSegment(0), 0, 0, errors.New("all segments are missing")); err != nil {
				return err
			}
		}
		l.segments = []*segment{newSegment(0)}
		return l.dropSnapshots(0)
	}
	r := recovery{l: l, durable: max(durable, l.segments[0].base), sameBoot: sameBoot}
	// The segment that the durable point closes is walked as well: it may have been sealed after
	// the checkpoint, and its index files not written.
	first := l.find(max(r.durable-1, l.segments[0].base))
	if err := l.loadEpochs(r.durable); err != nil {
		// They are in the batches as well: walk through all of them.
		if !isMissing(err) || r.durable > l.segments[0].base {
			l.dir.log.Warn("leader epochs are unreadable and will be rebuilt", "topic", l.ref.Topic, "partition", l.ref.Partition, "err", err)
		}
		first, r.whole = 0, true
	} else if len(l.epochs) > 0 {
		start = max(start, l.epochs[0].StartOffset) // they were trimmed to a start not checkpointed yet
	}
	end, err := r.scan(first)
	if err != nil {
		return err
	}
	if end < r.durable {
		if !r.cut { // or it was reported
			if err := l.lose(l.active(), l.active().size, end, errors.New("the log ends below its durable point")); err != nil {
				return err
			}
		}
		r.durable = end
		l.epochs = slices.DeleteFunc(l.epochs, func(e EpochStart) bool { return e.StartOffset >= end })
		l.epochsDirty = true
	}
	start = max(start, l.segments[0].base)
	l.start.Store(int64(min(start, end)))
	l.end.Store(int64(end))
	l.flushed.Store(int64(r.durable))
	l.flushedSize = -1
	if end == r.durable {
		l.flushedSize = l.active().size
	}
	if err := l.dropSnapshots(end); err != nil {
		return err
	}
	l.mu.Lock()
	l.trimEpochs(l.StartOffset())
	l.mu.Unlock()
	return l.dropBelowStart()
}

// scan goes through the segments from the first one on, and returns where the log ends.
func (r *recovery) scan(first int) (end wire.Offset, err error) {
	l := r.l
	for i := first; i < len(l.segments); i++ {
		s := l.segments[i]
		if i > first && s.base != end {
			// A segment is named by the end of the log, so it begins where the one before ended.
			if s.base > end && s.base > r.durable && !r.sameBoot {
				return end, r.drop(i, end)
			}
			err := l.lose(s, 0, end, errors.New("the segment does not begin where the one before it ends"))
			if err == nil {
				err = r.setAside(i, end)
			}
			return end, err
		}
		if end, err = r.scanSegment(i); err != nil {
			return 0, err
		}
		if r.cut {
			return end, nil
		}
		if i < len(l.segments)-1 {
			s.indexes.addTime()
			l.unindexed = append(l.unindexed, s)
		}
	}
	return end, nil
}

// scanSegment walks a segment from the last index entry below the durable point on.
func (r *recovery) scanSegment(i int) (end wire.Offset, err error) {
	l, s := r.l, r.l.segments[i]
	f, err := l.openSegment(s)
	if err != nil {
		return 0, err
	}
	defer f.Release()
	s.indexes = newIndexes()
	var entry indexEntry
	if !r.whole {
		s.indexes, entry = l.adoptIndexes(s, r.durable)
	}
	w := newWalker(f, s.base, int64(entry.position), s.size, scanWindow)
	defer w.close()
	if entry.position > 0 {
		h, err := w.header()
		if isReadError(err) {
			return 0, err
		}
		if err != nil || s.relative(h.LastOffset()) != entry.offset {
			s.indexes = newIndexes() // it leads astray
			w.pos = 0
			l.dir.keeper.reindex(l, s)
		} else {
			s.indexes.sinceEntry = int64(h.Size())
			l.noteEpoch(&h)
			w.pass(&h)
		}
	}
	checkedFrom := int64(-1)
	for {
		h, err := w.header()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && h.LastOffset() >= r.durable {
			if err = w.verify(&h); err == nil && checkedFrom < 0 {
				checkedFrom = w.pos
			}
		}
		if err != nil {
			if isReadError(err) {
				return 0, err
			}
			if err := r.bad(i, f, w, &h, err); err != nil {
				return 0, err
			}
			break
		}
		s.indexes.add(&h, s.base, w.pos, l.config.Load().IndexIntervalBytes)
		l.noteEpoch(&h)
		w.pass(&h)
	}
	if checkedFrom >= 0 {
		s.verified.add(checkedFrom, s.size)
		if err := rewrite(f, checkedFrom, s.size); err != nil && !passes(err) {
			return 0, err
		}
	}
	if w.next > r.durable {
		if l.soil(s, f) {
			f.retain()
		}
		l.dirDirty = true
	}
	return w.next, nil
}

// rewrite writes a part of a file over itself. It may have been read from the page cache alone,
// where a sync that failed leaves pages that no later sync writes, unless they are written again.
func rewrite(f *openFile, from, to int64) error {
	window := windows.Get().(*[scanWindow]byte)
	defer windows.Put(window)
	for at := from; at < to; at += scanWindow {
		chunk := window[:min(scanWindow, to-at)]
		if err := readFull(f, chunk, at); err != nil {
			return err
		}
		if _, err := f.WriteAt(chunk, at); err != nil {
			return err
		}
	}
	return nil
}

// noteEpoch takes note of a batch that comes after all others. The first epoch begins where the log does,
// whatever compaction has left of it.
func (l *Log) noteEpoch(h *record.Header) {
	if h.LeaderEpoch <= l.lastEpoch() {
		return
	}
	start := h.BaseOffset
	if len(l.epochs) == 0 {
		start = min(start, l.StartOffset())
	}
	l.epochs = append(l.epochs, EpochStart{h.LeaderEpoch, start})
	l.epochsDirty = true
}

// bad decides about a batch that is none. It returns nil when it was a torn tail, which is then gone.
func (r *recovery) bad(i int, f *openFile, w *walker, h *record.Header, reason error) error {
	l, s := r.l, r.l.segments[i]
	damaged := w.next < r.durable
	if !damaged && r.sameBoot {
		followed, err := r.followed(i, f, w, h, reason)
		if err != nil {
			return err
		}
		damaged = followed
	}
	if damaged {
		err := l.lose(s, w.pos, w.next, reason)
		if err == nil {
			err = r.setAside(i+1, w.next)
		}
		if err == nil {
			err = l.keepTail(s, f, w.pos)
		}
		if err != nil {
			return err
		}
	}
	if err := r.drop(i+1, w.next); err != nil {
		return err
	}
	if !damaged {
		l.dir.log.Info("torn tail cut off", "topic", l.ref.Topic, "partition", l.ref.Partition,
			"file", l.file(s.base, logSuffix), "offset", w.next, "from", w.pos, "to", s.size, "err", reason)
	}
	// Synced at once, or new batches might be followed by old ones after the next power cut.
	err := f.Truncate(w.pos)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		l.dir.fail(l.wrap("cut a torn tail off", w.next, err))
		return err
	}
	l.size.Add(w.pos - s.size)
	s.size = w.pos
	r.cut = true
	return nil
}

// followed says that valid batches come after the bad one. A process that dies while it writes
// leaves a batch that is longer than the file, with nothing behind.
func (r *recovery) followed(i int, f *openFile, w *walker, h *record.Header, reason error) (bool, error) {
	s := r.l.segments[i]
	for _, later := range r.l.segments[i+1:] {
		if later.size > 0 {
			return true, nil
		}
	}
	if errors.Is(reason, errOverlap) && w.pos == 0 && int64(h.Size()) >= s.size {
		return false, nil // the file was going to get another name: see straddle.go
	}
	if errors.Is(reason, record.ErrTruncated) || errors.Is(reason, errBeyond) && h.BaseOffset == w.next {
		return false, nil
	}
	_, _, found, err := record.Find(f, w.pos+1, s.size, func(h record.Header) bool {
		return h.BaseOffset >= w.next && h.LastOffset()-s.base <= 1<<31-1 && h.LeaderEpoch >= w.epoch
	})
	return found, err
}

// drop removes the segments from place i on: they were begun, but never acknowledged.
func (r *recovery) drop(i int, end wire.Offset) error {
	l := r.l
	r.cut = true
	if i >= len(l.segments) {
		return nil
	}
	for _, s := range l.segments[i:] {
		l.dir.log.Info("torn segment removed", "topic", l.ref.Topic, "partition", l.ref.Partition,
			"file", l.file(s.base, logSuffix), "offset", end, "bytes", s.size)
		l.forgetFiles(s)
		l.size.Add(-s.size)
		for _, suffix := range []string{logSuffix, indexSuffix, timesSuffix, appendedSuffix, snapshotSuffix} {
			if err := l.dir.fsys.Remove(l.file(s.base, suffix)); err != nil && !isMissing(err) {
				return err
			}
		}
	}
	l.segments = l.segments[:i]
	return l.dir.fsys.SyncDir(l.path)
}
