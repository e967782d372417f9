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

func (l *Log) replay(from wire.Offset, fn func(record.Header)) error {
	type extent struct {
		s    *segment
		size int64
	}
	var extents []extent
	l.mu.RLock()
	for _, s := range l.segments[l.find(from):] {
		extents = append(extents, extent{s, s.size})
	}
	l.mu.RUnlock()
	for _, e := range extents {
		if e.size == 0 || from >= l.EndOffset() {
			continue
		}
		f, err := l.openSegment(e.s)
		if err != nil {
			return err
		}
		err = l.replaySegment(f, e.s, e.size, from, fn)
		f.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) replaySegment(f *openFile, s *segment, size int64, from wire.Offset, fn func(record.Header)) error {
	position, _, err := l.locate(f, s, from, size)
	if err != nil {
		return ignoreEOF(err)
	}
	w := newWalker(f, s.base, position, size, scanWindow)
	defer w.close()
	for {
		h, err := w.header()
		if err != nil {
			return l.walkFailed(s, w, err)
		}
		if h.HasProducer() && h.LastOffset() >= from {
			fn(h)
		}
		w.pass(&h)
	}
}
