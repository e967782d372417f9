package storage

import (
	"slices"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// RecoverProducers hands the newest valid snapshot at or below the log's end to load, and then the
// header of every later batch that has a producer to replay, in order. Without a snapshot load
// is not called and all batches are replayed. It may be called again, on any goroutine, after a
// cut, while nothing is appended.
func (l *Log) RecoverProducers(load func([]wire.ProducerBatch), replay func(record.Header)) error {
	from := l.StartOffset()
	for {
		offset, ok := l.newestSnapshot()
		if !ok {
			break
		}
		name := l.file(offset, snapshotSuffix)
		content, err := readFile(l.dir.fsys, name, maxSnapshotBytes)
		if err == nil {
			var batches []wire.ProducerBatch
			if batches, err = parseProducers(content); err == nil {
				load(batches)
				from = offset
				break
			}
		}
		l.dir.log.Warn("producer snapshot passed by", "topic", l.ref.Topic, "partition", l.ref.Partition, "offset", offset, "err", err)
		l.mu.Lock()
		l.snapshots = slices.DeleteFunc(l.snapshots, func(o wire.Offset) bool { return o == offset })
		l.mu.Unlock()
		if err := l.dir.fsys.Remove(name); err != nil && !isMissing(err) {
			return err
		}
	}
	return l.replay(from, replay)
}

func (l *Log) newestSnapshot() (wire.Offset, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.snapshots) == 0 {
		return 0, false
	}
	return l.snapshots[len(l.snapshots)-1], true
}

// replay goes through the batches from an offset on. Compaction may swap segments meanwhile: what it has
// not come to yet is then read from the new ones.
func (l *Log) replay(from wire.Offset, fn func(record.Header)) error {
	for from < l.EndOffset() {
		swaps := l.swaps.Load()
		l.mu.RLock()
		i := l.find(from)
		s, size, last, next := l.segments[i], l.segments[i].size, i == len(l.segments)-1, l.EndOffset()
		if !last {
			next = l.segments[i+1].base
		}
		l.mu.RUnlock()
		if size > 0 {
			reached, err := l.replaySegment(s, size, from, fn)
			from = max(from, reached)
			if err != nil && l.swaps.Load() != swaps && !l.closed.Load() {
				continue
			}
			if err != nil {
				return err
			}
		}
		if last {
			return nil
		}
		from = max(from, next)
	}
	return nil
}

// replaySegment also returns the offset behind the last batch that it came to.
func (l *Log) replaySegment(s *segment, size int64, from wire.Offset, fn func(record.Header)) (reached wire.Offset, err error) {
	f, err := l.openSegment(s)
	if err != nil {
		return from, err
	}
	defer f.Release()
	position, _, err := l.locate(f, s, from, size)
	if err != nil {
		return from, ignoreEOF(err)
	}
	w := newWalker(f, s.base, position, size, scanWindow)
	defer w.close()
	for {
		h, err := w.header()
		if err != nil {
			return max(from, w.next), l.walkFailed(s, w, err)
		}
		if h.HasProducer() && h.LastOffset() >= from {
			fn(h)
		}
		w.pass(&h)
	}
}
