package storage

import (
	"slices"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// RecoverProducers hands the newest valid snapshot at or below the log's end to load, and then the
// header of every later batch that has a producer to replay, in order. Without a snapshot load
// is not called and all batches are replayed.
func (l *Log) RecoverProducers(load func([]wire.ProducerBatch), replay func(record.Header)) error {
	from := l.StartOffset()
	for i := len(l.snapshots) - 1; i >= 0; i-- {
		offset := l.snapshots[i]
		name := l.file(offset, snapshotSuffix)
		batches, err := []wire.ProducerBatch(nil), errSnapshot
		if offset <= l.EndOffset() {
			var content []byte
			if content, err = readFile(l.dir.fsys, name, maxSnapshotBytes); err == nil {
				batches, err = parseProducers(content)
			}
		}
		if err == nil {
			load(batches)
			from = offset
			break
		}
		l.dir.log.Warn("producer snapshot passed by", "topic", l.ref.Topic, "partition", l.ref.Partition, "offset", offset, "err", err)
		l.snapshots = slices.Delete(l.snapshots, i, i+1)
		if err := l.dir.fsys.Remove(name); err != nil && !isMissing(err) {
			return err
		}
	}
	return l.replay(from, replay)
}

func (l *Log) replay(from wire.Offset, fn func(record.Header)) error {
	l.mu.RLock()
	i, segments := l.find(from), slices.Clone(l.segments)
	l.mu.RUnlock()
	for _, s := range segments[i:] {
		if s.size == 0 || from >= l.EndOffset() {
			continue
		}
		f, err := l.openSegment(s)
		if err != nil {
			return err
		}
		err = l.replaySegment(f, s, from, fn)
		f.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) replaySegment(f *openFile, s *segment, from wire.Offset, fn func(record.Header)) error {
	position, _, err := l.locate(f, s, from, s.size)
	if err != nil {
		return ignoreEOF(err)
	}
	w := newWalker(f, s.base, position, s.size, scanWindow)
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
