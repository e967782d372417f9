package storage

import (
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// AdvanceStart moves the log start up, as delete-records asks, and drops the segments that lie
// wholly below it. The new start is checkpointed before their files go.
func (l *Log) AdvanceStart(to wire.Offset) error {
	if l.closed.Load() {
		return l.errClosed()
	}
	if l.cutting.Load() {
		return l.errCut()
	}
	if to > l.EndOffset() || to < 0 {
		return wire.Errorf(wire.OffsetOutOfRange, "the log of %s cannot start at %d: it ends at %d", l.ref, to, l.EndOffset())
	}
	if to <= l.StartOffset() {
		return nil
	}
	l.start.Store(int64(to))
	l.dir.due.Or(dueStarts)
	l.mu.Lock()
	l.trimEpochs(to)
	l.mu.Unlock()
	l.dir.track(l)
	return l.dropBelowStart()
}

// dropBelowStart removes the segments whose records all lie below the log start.
func (l *Log) dropBelowStart() error {
	l.reshaping.Lock()
	defer l.reshaping.Unlock()
	start := l.StartOffset()
	l.mu.RLock()
	n := 0
	for n+1 < len(l.segments) && l.segments[n+1].base <= start {
		n++
	}
	l.mu.RUnlock()
	if err := l.leaveFirst(n); err != nil {
		if passes(err) {
			return nil // they go another time
		}
		return l.failed("begin a segment of", start, err)
	}
	l.mu.Lock()
	dropped := l.takeOldest(n)
	l.mu.Unlock()
	l.discard(dropped)
	return nil
}

// leaveFirst sees to it that the segment in place n has a file, before those in front of it go: the
// one that follows a cut has none until it is written to.
func (l *Log) leaveFirst(n int) error {
	l.mu.RLock()
	s := l.segments[n]
	l.mu.RUnlock()
	if n == 0 || s.created {
		return nil
	}
	return l.create(s)
}

// takeOldest takes n segments off the list. The caller holds the mutex and discards them.
func (l *Log) takeOldest(n int) []*segment {
	if n == 0 {
		return nil
	}
	dropped := l.segments[:n:n]
	l.segments = append([]*segment(nil), l.segments[n:]...)
	first := l.segments[0].base
	for len(l.unindexed) > 0 && l.unindexed[0].base < first {
		l.unindexed = l.unindexed[1:]
	}
	for len(l.snapshots) > 1 && l.snapshots[0] < first {
		l.dir.keeper.remove(l, l.file(l.snapshots[0], snapshotSuffix))
		l.snapshots = l.snapshots[1:]
	}
	for _, s := range dropped {
		l.size.Add(-s.size)
	}
	return dropped
}

// discard removes the files of segments that are no longer on the list. Who reads one keeps it.
func (l *Log) discard(segments []*segment) {
	for _, s := range segments {
		l.mu.Lock()
		unsynced := s.clean()
		l.mu.Unlock()
		unsynced.Release()
		l.forgetFiles(s)
		l.dir.keeper.remove(l, l.file(s.base, logSuffix), l.file(s.base, indexSuffix), l.file(s.base, timesSuffix), l.file(s.base, appendedSuffix))
	}
}

// RetentionDue says whether ApplyRetention would remove something. It may be called by any goroutine.
func (l *Log) RetentionDue(now time.Time, highWatermark wire.Offset) bool {
	if l.closed.Load() || l.cutting.Load() {
		return false
	}
	s, size, next, ok := l.segmentAt(0)
	if !ok || size == 0 || next > highWatermark {
		return false
	}
	cfg := l.config.Load()
	if !cfg.Delete {
		return false
	}
	if cfg.RetentionBytes >= 0 && l.Size()-size >= cfg.RetentionBytes {
		return true
	}
	expired, err := l.expired(s, cfg, now)
	return err == nil && expired
}

// expired says that all records of a segment are older than the topic keeps them.
func (l *Log) expired(s *segment, cfg *LogConfig, now time.Time) (bool, error) {
	if cfg.RetentionAge < 0 {
		return false, nil
	}
	largest, err := l.largestTimestamp(s)
	if err != nil {
		return false, err
	}
	newest := largest.timestamp
	if newest < 0 {
		l.mu.RLock()
		newest = s.modified
		l.mu.RUnlock()
	}
	return now.UnixMilli()-newest > cfg.RetentionAge.Milliseconds(), nil
}

// ApplyRetention removes the oldest segments that the topic's retention no longer covers, never one
// with records at or above the high watermark. When even the active segment has had its time it
// is rolled first. It returns the log start and how many segments went.
func (l *Log) ApplyRetention(now time.Time, highWatermark wire.Offset) (start wire.Offset, removed int, err error) {
	if l.closed.Load() {
		return 0, 0, l.errClosed()
	}
	if l.cutting.Load() {
		return l.StartOffset(), 0, nil
	}
	cfg := l.config.Load()
	if !cfg.Delete {
		return l.StartOffset(), 0, nil
	}
	l.reshaping.Lock()
	defer l.reshaping.Unlock()
	size, n := l.Size(), 0
	for ; ; n++ {
		s, segmentSize, next, ok := l.segmentAt(n)
		if !ok || segmentSize == 0 || next > highWatermark {
			break
		}
		due := cfg.RetentionBytes >= 0 && size-segmentSize >= cfg.RetentionBytes
		if !due {
			if due, err = l.expired(s, cfg, now); err != nil {
				return l.StartOffset(), 0, l.readFailed(s.base, err)
			}
		}
		if !due {
			break
		}
		size -= segmentSize
	}
	if n == 0 {
		return l.StartOffset(), 0, nil
	}
	if l.dir.Err() != nil {
		return l.StartOffset(), 0, l.dir.offline()
	}
	l.mu.RLock()
	all := n == len(l.segments)
	l.mu.RUnlock()
	if all {
		err = l.roll(l.EndOffset())
	} else {
		err = l.leaveFirst(n)
	}
	if err != nil {
		return l.StartOffset(), 0, l.failed("roll", l.EndOffset(), err)
	}
	l.mu.Lock()
	dropped := l.takeOldest(n)
	first := l.segments[0].base
	l.start.Store(max(l.start.Load(), int64(first)))
	l.trimEpochs(l.StartOffset())
	l.mu.Unlock()
	l.dir.due.Or(dueStarts)
	l.discard(dropped)
	l.dir.track(l)
	l.dir.log.Info("segments removed by retention", "topic", l.ref.Topic, "partition", l.ref.Partition, "segments", n, "offset", l.StartOffset())
	return l.StartOffset(), n, nil
}
