package storage

import (
	"math"
	"os"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// Append writes whole record batches at the end of the log, with one pwrite. Each batch gets its
// base offset and the leader epoch, patched in place, before it is written. It returns the first
// offset appended and the log's new end. Nothing is durable yet: see RequestSync.
//
// When it returns an error nothing was appended. A KafkaStorageError passes when the disk was
// full, and stays when the directory went offline.
func (l *Log) Append(batches []byte, epoch wire.LeaderEpoch) (base, next wire.Offset, err error) {
	if err := l.admit(len(batches)); err != nil {
		return 0, 0, err
	}
	if last := l.lastEpoch(); epoch < last {
		return 0, 0, wire.Errorf(wire.FencedLeaderEpoch, "append to %s in epoch %d, the log has epoch %d", l.ref, epoch, last)
	}
	base = l.EndOffset()
	next, largest, err := patch(batches, base, epoch)
	if err != nil {
		return 0, 0, err
	}
	cfg := l.config.Load()
	if int64(len(batches)) > cfg.SegmentBytes && !cfg.LargeBatches {
		return 0, 0, wire.Errorf(wire.RecordListTooLarge, "%d bytes do not fit into a segment of %d", len(batches), cfg.SegmentBytes)
	}
	room, err := l.room()
	if err == nil {
		err = l.prepare(!room.takes(cfg, int64(len(batches)), next, l.ageFrom(largest)))
	}
	if err == nil {
		err = l.write(cfg, batches, next)
	}
	if err != nil {
		return 0, 0, l.failed("append", base, err)
	}
	if cfg.Fsync {
		l.RequestSync()
	}
	return base, next, nil
}

// admit says whether the log takes appends at this moment.
func (l *Log) admit(n int) error {
	if l.closed.Load() {
		return l.errClosed()
	}
	if l.cutting.Load() {
		return l.errCut()
	}
	if l.garbage.Load() {
		l.dir.metrics.refused()
		return errDiskFull
	}
	return l.dir.admit(n)
}

// patch gives the batches their offsets from base on and their leader epoch. It returns the offset
// after the last one and the largest timestamp.
func patch(batches []byte, base wire.Offset, epoch wire.LeaderEpoch) (next wire.Offset, largest int64, err error) {
	next, largest = base, record.NoTimestamp
	for rest := batches; ; {
		var h record.Header
		var batch []byte
		if h, batch, rest, err = record.Next(rest); err != nil {
			return 0, 0, err
		}
		if h.LastOffsetDelta < 0 || int64(h.LastOffsetDelta) > math.MaxInt64-1-int64(next) {
			return 0, 0, record.ErrHeader
		}
		record.SetBaseOffset(batch, next)
		record.SetLeaderEpoch(batch, epoch)
		next += wire.Offset(h.LastOffsetDelta) + 1
		largest = max(largest, h.MaxTimestamp)
		if len(rest) == 0 {
			return next, largest, nil
		}
	}
}

// room is the active segment as far as it matters for whether more goes into it.
type room struct {
	base           wire.Offset
	size           int64
	firstTimestamp int64 // of the first batch, when there is one
}

// room returns what is in the active segment.
func (l *Log) room() (room, error) {
	s := l.growing()
	if s.size > 0 && !s.hasFirst {
		if err := l.loadFirstTimestamp(s); err != nil {
			return room{}, err
		}
	}
	return room{s.base, s.size, s.firstTimestamp}, nil
}

// takes says whether n bytes up to offset next still go into the segment, or into another one. The
// age of a segment is told by the timestamps in it, so that a log that is replicated or restored
// rolls where the original did; only without timestamps by the clock.
func (r *room) takes(cfg *LogConfig, n int64, next wire.Offset, timestamp int64) bool {
	switch {
	case next-1-r.base > math.MaxInt32:
		return false
	case r.size == 0:
		return true
	case r.size+n > cfg.SegmentBytes:
		return false
	}
	return time.Duration(timestamp-r.firstTimestamp) <= cfg.SegmentAge/time.Millisecond
}

// prepare does what comes before a write at the log's end: it begins another segment, or has the
// producers remembered.
func (l *Log) prepare(roll bool) error {
	if roll {
		return l.roll(l.EndOffset())
	}
	if l.sinceSnapshot >= snapshotBytes {
		l.snapshotProducers(l.EndOffset())
	}
	return nil
}

// loadFirstTimestamp reads the first batch's header of a segment that was there at opening.
func (l *Log) loadFirstTimestamp(s *segment) error {
	f, err := l.openSegment(s)
	if err != nil {
		return err
	}
	defer f.Release()
	w := newWalker(f, s.base, 0, s.size, lookupWindow)
	defer w.close()
	h, err := w.header()
	if err != nil {
		return err
	}
	s.firstTimestamp, s.hasFirst = l.ageFrom(h.MaxTimestamp), true
	return nil
}

// ageFrom returns the time from which a segment's age counts.
func (l *Log) ageFrom(timestamp int64) int64 {
	if timestamp < 0 {
		return l.dir.cfg.Now().UnixMilli()
	}
	return timestamp
}

// write puts batches that were checked into the active segment and publishes them to readers.
func (l *Log) write(cfg *LogConfig, batches []byte, next wire.Offset) error {
	s := l.growing()
	if !s.created {
		if err := l.create(s); err != nil {
			return err
		}
	}
	f, err := l.openSegment(s)
	if err != nil {
		return err
	}
	if n, err := f.WriteAt(batches, s.size); err != nil || n < len(batches) {
		l.garbage.Store(true) // at least its first bytes may be there
		f.Release()
		if IsFull(err) {
			l.dir.syncer.request(l)
		}
		return err
	}

	l.mu.Lock()
	l.enter(cfg, s, batches, next)
	taken := l.soil(s, f)
	l.mu.Unlock()

	if !taken {
		f.Release()
	}
	l.stamp(s, batches)
	l.entered(len(batches))
	return nil
}

// enter shows readers batches that were written behind those in segment s. The caller has the mutex.
func (l *Log) enter(cfg *LogConfig, s *segment, batches []byte, next wire.Offset) {
	for rest, position := batches, s.size; len(rest) > 0; {
		h, batch, after, _ := record.Next(rest) // the caller has been through it
		if !s.hasFirst {
			s.firstTimestamp, s.hasFirst = l.ageFrom(h.MaxTimestamp), true
		}
		s.indexes.add(&h, s.base, position, cfg.IndexIntervalBytes)
		l.noteEpoch(&h)
		position += int64(len(batch))
		rest = after
	}
	s.verified.add(s.size, s.size+int64(len(batches)))
	s.size += int64(len(batches))
	l.end.Store(int64(next))
	l.size.Add(int64(len(batches)))
}

// entered does what is due after n bytes were appended.
func (l *Log) entered(n int) {
	l.sinceSnapshot += int64(n)
	l.dir.track(l)
	l.dir.metrics.appended(n)
}

// create makes the segment's file. It is durable once the syncer has synced the directory.
func (l *Log) create(s *segment) error {
	name := l.file(s.base, logSuffix)
	f, err := l.dir.fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, filePerm)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	l.mu.Lock()
	s.created = true
	s.modified = l.dir.cfg.Now().UnixMilli()
	l.dirDirty = true
	l.mu.Unlock()
	return nil
}

// roll seals the active segment and begins a new one at base. Nothing is synced here: the
// syncer syncs the old file and the directory before the flushed offset enters the new one.
func (l *Log) roll(base wire.Offset) error {
	next := newSegment(base)
	if err := l.create(next); err != nil {
		return err
	}
	l.snapshotProducers(base)
	l.mu.Lock()
	old := l.active()
	old.indexes.addTime()
	old.modified = next.modified
	l.segments = append(l.segments, next)
	l.unindexed = append(l.unindexed, old)
	l.flushedSize = -1
	l.mu.Unlock()
	l.dir.track(l)
	return nil
}

// snapshotBytes is how much of a segment a start after a kill reads to know the producers.
const snapshotBytes = 64 << 20

// snapshotProducers has the keeper write what is known of the producers at base, the log's end.
func (l *Log) snapshotProducers(base wire.Offset) {
	l.sinceSnapshot = 0
	if cfg := l.config.Load(); cfg.Producers != nil {
		l.dir.keeper.snapshot(l, base, cfg.Producers())
	}
}

// failed turns the failure of a write into what the caller is told. A full disk passes, as does a
// want of file descriptors; anything else takes the directory offline.
func (l *Log) failed(operation string, at wire.Offset, err error) error {
	switch {
	case IsFull(err):
		l.dir.becomeFull()
		l.dir.metrics.refused()
		return errDiskFull
	case isCrowded(err):
		return wire.Errorf(wire.KafkaStorageError, "%s %s at %d: %v", operation, l.ref, at, err)
	}
	if wire.Code(err) != wire.UnknownServerError {
		return err
	}
	err = l.wrap(operation, at, err)
	l.dir.fail(err)
	return l.dir.offline()
}

func (l *Log) lastEpoch() wire.LeaderEpoch {
	if n := len(l.epochs); n > 0 {
		return l.epochs[n-1].LeaderEpoch
	}
	return wire.NoEpoch
}
