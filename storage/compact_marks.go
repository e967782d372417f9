package storage

import (
	"errors"
	"io"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// marks say which records of a segment are the last ones of their keys: a bit for each record, in
// the order of the segment.
type marks struct {
	bits []uint64
}

func (m *marks) set(i int64) {
	for int64(len(m.bits)) <= i/64 {
		m.bits = append(m.bits, 0)
	}
	m.bits[i/64] |= 1 << (i % 64)
}

func (m *marks) has(i int64) bool {
	return i/64 < int64(len(m.bits)) && m.bits[i/64]&(1<<(i%64)) != 0
}

const (
	// maxMarks bounds the bits of a segment to 64 MiB of memory. It takes a producer who means it to
	// get more records into one.
	maxMarks = 512 << 20
	// markStretch is how much of a segment is gone through at a time, from the end on.
	markStretch = 1 << 20
	// markWindow is how many fingerprints of a batch are held at once.
	markWindow = 32 << 10
)

var errTooMany = errors.New("the segment has too many records to be compacted")

// placed is a batch, where it lies, and how many records lie before it.
type placed struct {
	record.Header
	position int64
	first    int64
}

// mark goes through the records of a segment from offset top down to floor, newest first: what is
// not in the set of keys yet is marked and goes in. When the set is full it ends, and returns
// the offset down to which it came; else floor. At or below that offset, nothing is marked.
func (c *compaction) mark(s *segment, size int64, top, floor wire.Offset) (m marks, down wire.Offset, err error) {
	f, err := c.log.openSegment(s)
	if err != nil {
		return m, floor, err
	}
	defer f.Release()
	stretches, err := c.stretches(f, s, size, floor)
	if err != nil {
		return m, floor, err
	}
	var batches []placed
	for i := len(stretches) - 1; i >= 0; i-- {
		if batches, err = c.batches(f, s, size, stretches[i], batches[:0]); err != nil {
			return m, floor, err
		}
		for j := len(batches) - 1; j >= 0; j-- {
			b := &batches[j]
			if b.BaseOffset >= top || b.LastOffset() < floor || !replaces(&b.Header) {
				continue
			}
			if down, err = c.markBatch(f, s, b, &m, top, floor); err != nil || down > floor {
				return m, down, err
			}
		}
	}
	return m, floor, nil
}

// replaces says whether the records of a batch take the place of earlier ones with their keys. Those
// of a transaction may have been aborted: they stay, and so does what was before.
func replaces(h *record.Header) bool { return h.Count > 0 && !h.Control() && !h.Transactional() }

// markStart is where a stretch of a segment begins.
type markStart struct {
	position, first int64
	offset          wire.Offset // no batch before has it or a later one
}

// stretches walks a segment for the places from which mark reads on, as it goes backwards.
func (c *compaction) stretches(f *openFile, s *segment, size int64, floor wire.Offset) ([]markStart, error) {
	w := newWalker(f, s.base, 0, size, scanWindow)
	defer w.close()
	var starts []markStart
	records := int64(0)
	for {
		h, err := w.header()
		switch {
		case errors.Is(err, io.EOF):
			return starts, nil
		case err != nil:
			return nil, c.damaged(s, w, err)
		}
		if n := len(starts); h.LastOffset() >= floor && (n == 0 || w.pos-starts[n-1].position >= markStretch) {
			starts = append(starts, markStart{w.pos, records, w.next})
		}
		if records += int64(h.Count); records > maxMarks {
			return nil, errTooMany
		}
		w.pass(&h)
	}
}

// batches lists those of one stretch.
func (c *compaction) batches(f *openFile, s *segment, size int64, start markStart, list []placed) ([]placed, error) {
	w := newWalker(f, s.base, start.position, size, scanWindow)
	defer w.close()
	w.next = start.offset
	for first := start.first; len(list) == 0 || w.pos-start.position < markStretch; {
		h, err := w.header()
		switch {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, c.damaged(s, w, err)
		}
		list = append(list, placed{h, w.pos, first})
		first += int64(h.Count)
		w.pass(&h)
	}
	return list, nil
}

// markBatch marks the records of one batch, from the last on, and returns floor; or the offset down
// to which it came when the set of keys was full.
func (c *compaction) markBatch(f *openFile, s *segment, b *placed, m *marks, top, floor wire.Offset) (wire.Offset, error) {
	batch, err := c.log.readBatch(f, s, b.position, &b.Header)
	if err != nil {
		return floor, err
	}
	defer batch.Release()
	if err := c.reader.Reset(batch.Bytes, maxDecompressed); err != nil {
		return floor, c.log.corruption(s, b.position, b.BaseOffset, err)
	}
	defer c.reader.Close()
	if err := c.pace(int64(b.Size())); err != nil {
		return floor, err
	}
	// The records of a batch can only be read forwards, so a large one is gone through again and
	// again, a window less each time, rather than remembered whole.
	for high := int64(b.Count); high > 0; high -= markWindow {
		low := max(0, high-markWindow)
		if err := c.fingerprints(low, high, top, floor); err != nil {
			return floor, c.log.corruption(s, b.position, b.BaseOffset, err)
		}
		for i := len(c.window) - 1; i >= 0; i-- {
			switch r := &c.window[i]; {
			case c.keys.full():
				return r.offset + 1, nil
			case c.keys.add(r.fingerprint):
				m.set(b.first + r.place)
			}
		}
	}
	return floor, nil
}

// windowed is a record of a batch that is being marked.
type windowed struct {
	fingerprint
	offset wire.Offset
	place  int64
}

// fingerprints fills the window with the keyed records of the open batch from place low up to high
// whose offsets are neither below floor nor at or above top.
func (c *compaction) fingerprints(low, high int64, top, floor wire.Offset) error {
	c.window = c.window[:0]
	c.reader.Rewind()
	for i := int64(0); i < high && c.reader.Next(&c.record); i++ {
		if offset := c.record.Offset; i >= low && c.record.Key != nil && offset >= floor && offset < top {
			c.window = append(c.window, windowed{c.keys.of(c.record.Key), offset, i})
		}
	}
	return c.reader.Err()
}
