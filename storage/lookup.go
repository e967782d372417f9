package storage

import (
	"errors"
	"io"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// maxDecompressed bounds what one batch may become when a lookup must open it.
const maxDecompressed = 256 << 20

// OffsetForTimestamp returns the first record below upTo whose timestamp is timestamp or later, with
// its own timestamp and leader epoch. When there is none, the offset is wire.NoOffset.
func (l *Log) OffsetForTimestamp(timestamp int64, upTo wire.Offset) (wire.Offset, int64, wire.LeaderEpoch, error) {
	for {
		swaps := l.swaps.Load()
		offset, at, epoch, err := l.offsetForTimestamp(timestamp, upTo)
		if l.swaps.Load() == swaps {
			return offset, at, epoch, err
		}
	}
}

func (l *Log) offsetForTimestamp(timestamp int64, upTo wire.Offset) (wire.Offset, int64, wire.LeaderEpoch, error) {
	for i := 0; ; i++ {
		s, size, _, ok := l.segmentAt(i)
		if !ok {
			return wire.NoOffset, record.NoTimestamp, wire.NoEpoch, nil
		}
		largest, err := l.largestTimestamp(s)
		if err != nil {
			return wire.NoOffset, record.NoTimestamp, wire.NoEpoch, l.readFailed(s.base, err)
		}
		if largest.timestamp < timestamp || size == 0 {
			continue
		}
		found, h, err := l.timestampInSegment(s, size, timestamp)
		switch {
		case err != nil:
			return wire.NoOffset, record.NoTimestamp, wire.NoEpoch, l.readFailed(s.base, err)
		case found.Offset == wire.NoOffset:
			continue // every record that new lies below the log start
		case found.Offset >= upTo:
			return wire.NoOffset, record.NoTimestamp, wire.NoEpoch, nil
		}
		return found.Offset, found.Timestamp, h.LeaderEpoch, nil
	}
}

// MaxTimestampOffset returns the record below upTo with the largest timestamp (KIP-734), the first
// of several. In a log without such a record the offset is wire.NoOffset.
func (l *Log) MaxTimestampOffset(upTo wire.Offset) (wire.Offset, int64, wire.LeaderEpoch, error) {
	for {
		swaps := l.swaps.Load()
		offset, at, epoch, err := l.maxTimestampOffset(upTo)
		if l.swaps.Load() == swaps {
			return offset, at, epoch, err
		}
	}
}

func (l *Log) maxTimestampOffset(upTo wire.Offset) (wire.Offset, int64, wire.LeaderEpoch, error) {
	best, epoch := record.TimestampOffset{Timestamp: record.NoTimestamp, Offset: wire.NoOffset}, wire.NoEpoch
	for i := 0; ; i++ {
		s, size, next, ok := l.segmentAt(i)
		if !ok || s.base >= upTo {
			return best.Offset, best.Timestamp, epoch, nil
		}
		found, h, err := l.largestInSegment(s, size, next, upTo, best.Timestamp)
		if err != nil {
			return wire.NoOffset, record.NoTimestamp, wire.NoEpoch, l.readFailed(s.base, err)
		}
		if found.Timestamp > best.Timestamp {
			best, epoch = found, h.LeaderEpoch
		}
	}
}

// segmentAt returns the i-th segment, its size, and the base offset of the next one or the end.
func (l *Log) segmentAt(i int) (s *segment, size int64, next wire.Offset, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if i >= len(l.segments) {
		return nil, 0, 0, false
	}
	next = l.EndOffset()
	if i+1 < len(l.segments) {
		next = l.segments[i+1].base
	}
	return l.segments[i], l.segments[i].size, next, true
}

// timestampInSegment finds the first record at or above the log start that is not older than
// timestamp.
func (l *Log) timestampInSegment(s *segment, size int64, timestamp int64) (record.TimestampOffset, record.Header, error) {
	none := record.TimestampOffset{Timestamp: record.NoTimestamp, Offset: wire.NoOffset}
	older, err := l.timeBelow(s, timestamp)
	if err != nil {
		return none, record.Header{}, err
	}
	f, err := l.openSegment(s)
	if err != nil {
		return none, record.Header{}, err
	}
	defer f.Release()
	start := l.StartOffset()
	position, h, err := l.locate(f, s, max(start, s.base+wire.Offset(older.offset)), size)
	if err != nil {
		return none, h, ignoreEOF(err)
	}
	w := newWalker(f, s.base, position, size, lookupWindow)
	defer w.close()
	for {
		h, err := w.header()
		if err != nil {
			return none, h, l.walkFailed(s, w, err)
		}
		if h.MaxTimestamp >= timestamp {
			found, ok, err := l.firstInBatch(f, s, w.pos, &h, start, timestamp)
			if err != nil || ok {
				return found, h, err
			}
		}
		w.pass(&h)
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// walkFailed tells the end of a segment (nil), damage, and a failure of the disk apart.
func (l *Log) walkFailed(s *segment, w *walker, err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	if isReadError(err) {
		return err
	}
	return l.corruption(s, w.pos, w.next, err)
}

// firstInBatch opens a batch to find its first record at or above the log start that is not older than
// timestamp.
func (l *Log) firstInBatch(
	f *openFile, s *segment, position int64, h *record.Header, start wire.Offset, timestamp int64,
) (record.TimestampOffset, bool, error) {
	batch, err := l.readBatch(f, s, position, h)
	if err != nil {
		return record.TimestampOffset{}, false, err
	}
	defer batch.Release()
	found, ok, err := record.FirstAtOrAfter(batch.Bytes, start, timestamp, maxDecompressed)
	if err != nil {
		return found, false, l.corruption(s, position, h.BaseOffset, err)
	}
	return found, ok, nil
}

// readBatch reads one whole batch and checks it.
func (l *Log) readBatch(f *openFile, s *segment, position int64, h *record.Header) (*wire.Buffer, error) {
	batch := wire.NewBuffer(h.Size())
	err := readFull(f, batch.Bytes, position)
	if err != nil {
		err = &readError{err}
	} else if !record.VerifyCRC(batch.Bytes) {
		err = l.corruption(s, position, h.BaseOffset, errChecksum)
	}
	if err != nil {
		batch.Release()
		return nil, err
	}
	return batch, nil
}

// largestInSegment finds the record with the largest timestamp in a segment, if it is above least.
func (l *Log) largestInSegment(s *segment, size int64, next, upTo wire.Offset, least int64) (record.TimestampOffset, record.Header, error) {
	none := record.TimestampOffset{Timestamp: record.NoTimestamp, Offset: wire.NoOffset}
	largest, err := l.largestTimestamp(s)
	if err != nil || size == 0 || largest.timestamp <= least {
		return none, record.Header{}, err
	}
	f, err := l.openSegment(s)
	if err != nil {
		return none, record.Header{}, err
	}
	defer f.Release()
	start := l.StartOffset()
	if from := s.base + wire.Offset(largest.offset); next <= upTo && from >= start {
		found, h, ok, err := l.largestInBatch(f, s, size, from, start)
		if err != nil || ok && h.BaseOffset >= start {
			return found, h, err
		}
	}
	// The index speaks of records that must not count, or that compaction has taken out of their batch. Of the
	// batch that the log start lies in, the header does so too.
	best, head := none, record.Header{}
	if s.base < start {
		found, h, ok, err := l.largestInBatch(f, s, size, start, start)
		if err != nil {
			return none, h, err
		}
		if ok && h.BaseOffset < start && h.LastOffset() < upTo && found.Timestamp > least {
			best, head, least = found, h, found.Timestamp
		}
	}
	from, err := l.largestBatch(f, s, size, start, upTo, least)
	if err != nil || from == wire.NoOffset {
		return best, head, err
	}
	found, h, ok, err := l.largestInBatch(f, s, size, from, start)
	if err != nil || !ok {
		return best, head, err
	}
	return found, h, nil
}

// largestInBatch finds the record with the largest timestamp, at or above the log start, in the batch that
// holds an offset.
func (l *Log) largestInBatch(f *openFile, s *segment, size int64, from, start wire.Offset) (record.TimestampOffset, record.Header, bool, error) {
	position, h, err := l.locate(f, s, from, size)
	if err != nil {
		return record.TimestampOffset{}, h, false, ignoreEOF(err)
	}
	batch, err := l.readBatch(f, s, position, &h)
	if err != nil {
		return record.TimestampOffset{}, h, false, err
	}
	defer batch.Release()
	found, ok, err := record.MaxTimestampRecord(batch.Bytes, start, maxDecompressed)
	if err != nil {
		return found, h, false, l.corruption(s, position, h.BaseOffset, err)
	}
	return found, h, ok, nil
}

// largestBatch walks a segment for the batch wholly between start and upTo with the largest timestamp
// above least, and returns its last offset.
func (l *Log) largestBatch(f *openFile, s *segment, size int64, start, upTo wire.Offset, least int64) (wire.Offset, error) {
	w := newWalker(f, s.base, 0, size, lookupWindow)
	defer w.close()
	best := wire.NoOffset
	for {
		h, err := w.header()
		if err != nil {
			return best, l.walkFailed(s, w, err)
		}
		if h.LastOffset() >= upTo {
			return best, nil
		}
		if h.Count > 0 && h.MaxTimestamp > least && h.BaseOffset >= start {
			best, least = h.LastOffset(), h.MaxTimestamp
		}
		w.pass(&h)
	}
}
