package storage

import (
	"errors"
	"io"
	"math"
	"os"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// made is the segment that a group of others becomes: a file under another name, until it is swapped.
type made struct {
	log     *Log
	name    string
	file    File
	segment *segment
	next    wire.Offset // where it ends
}

// writeBytes is how much of a new segment is written at once.
const writeBytes = 1 << 20

// copy writes what stays of a group into a new file, and makes it durable. It says whether that is
// less than there was, or otherwise worth a swap.
func (c *compaction) copy(group []source, marked []marks, top, down wire.Offset) (m *made, changed bool, err error) {
	first, last := group[0], group[len(group)-1]
	if err := c.log.dir.roomFor(group); err != nil {
		return nil, false, err
	}
	m = &made{log: c.log, name: c.log.file(first.base, logSuffix) + cleanedSuffix, segment: newSegment(first.base), next: last.next}
	if m.file, err = c.log.dir.fsys.OpenFile(m.name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, filePerm); err != nil {
		return nil, false, err
	}
	changed, c.buffer = len(group) > 1, c.buffer[:0]
	for i, s := range group {
		m.segment.modified = max(m.segment.modified, c.modified(s))
		thinned, err := c.copySegment(m, s, &marked[i], top, down, i == len(group)-1)
		if err != nil {
			return m, false, err
		}
		changed = changed || thinned
	}
	var before int64
	for _, s := range group {
		before += s.size
	}
	c.log.dir.metrics.compacted(before, m.segment.size)
	if !changed {
		return m, false, nil
	}
	if err = c.flush(m); err == nil {
		m.segment.indexes.addTime()
		err = c.fatal(m.file.Sync())
	}
	return m, true, err
}

// roomFor says whether the volume has room for what a group may become. A directory that takes appends must
// go on doing so; one that does not may have some of its reserve for what will make room.
func (d *Dir) roomFor(group []source) error {
	if d.cfg.ReserveBytes == 0 {
		return nil
	}
	_, free, err := d.fsys.Space(d.path) // when it is not known, there is, as for appends
	for _, s := range group {
		free -= s.size
	}
	least := d.cfg.ReserveBytes / 4
	if d.Writable() {
		least = d.cfg.ReserveBytes
	}
	if err == nil && free < least {
		return errNoRoom
	}
	return nil
}

func (c *compaction) modified(s source) int64 {
	c.log.mu.RLock()
	defer c.log.mu.RUnlock()
	return s.modified
}

// copySegment copies what stays of one segment. It says whether anything goes or is made anew.
func (c *compaction) copySegment(m *made, s source, marked *marks, top, down wire.Offset, lastOne bool) (changed bool, err error) {
	f, err := c.log.openSegment(s.segment)
	if err != nil {
		return false, err
	}
	defer f.Release()
	w := newWalker(f, s.base, 0, s.size, scanWindow)
	defer w.close()
	for first := int64(0); ; {
		h, err := w.header()
		if errors.Is(err, io.EOF) {
			if w.next != s.next {
				return false, c.log.corruption(s.segment, w.pos, w.next, errEnds)
			}
			return changed, nil
		}
		if err != nil {
			return false, c.damaged(s.segment, w, err)
		}
		must := lastOne && w.pos+int64(h.Size()) == s.size
		thinned, err := c.copyBatch(m, f, s.segment, &placed{h, w.pos, first}, &verdict{marked, top, down, must})
		if err != nil {
			return false, err
		}
		changed = changed || thinned
		first += int64(h.Count)
		w.pass(&h)
	}
}

// verdict is by what it is decided which records of a batch stay.
type verdict struct {
	marked    *marks
	top, down wire.Offset
	must      bool // the batch stays, if need be without records
}

// copyBatch writes a batch as it is, or what stays of it.
func (c *compaction) copyBatch(m *made, f *openFile, s *segment, b *placed, v *verdict) (changed bool, err error) {
	batch, err := c.log.readBatch(f, s, b.position, &b.Header)
	if err != nil {
		return false, err
	}
	defer batch.Release()
	c.read += int64(b.Size())
	if err := c.pace(int64(b.Size())); err != nil {
		return false, err
	}
	if b.Count > 0 && !replaces(&b.Header) {
		return false, c.put(m, &b.Header, batch.Bytes)
	}
	if err := c.reader.Reset(batch.Bytes, maxDecompressed); err != nil {
		return false, c.log.corruption(s, b.position, b.BaseOffset, err)
	}
	defer c.reader.Close()
	kept, tombstones := c.survivors(b, v)
	if err := c.reader.Err(); err != nil {
		return false, c.log.corruption(s, b.position, b.BaseOffset, err)
	}
	if kept == 0 && !v.must && !c.needed(&b.Header) {
		return true, nil
	}
	horizon := record.NoTimestamp
	switch {
	case tombstones && !b.HasDeleteHorizon():
		horizon = c.deleteHorizon()
		c.horizon = max(c.horizon, horizon)
	case tombstones:
		c.horizon = max(c.horizon, b.BaseTimestamp)
	}
	if kept == b.Count && horizon == record.NoTimestamp {
		return false, c.put(m, &b.Header, batch.Bytes)
	}
	c.rewrite(b, v, horizon)
	out := c.rewriter.Finish()
	h, err := record.ParseHeader(out)
	if err == nil {
		err = c.put(m, &h, out)
	}
	return true, err
}

// deleteHorizon is the time until which a tombstone stays that is met for the first time.
func (c *compaction) deleteHorizon() int64 {
	now, retention := c.now.UnixMilli(), c.cfg.DeleteRetention.Milliseconds()
	if now > math.MaxInt64-retention {
		return math.MaxInt64
	}
	return now + retention
}

// survivors counts the records of the open batch that stay, and says whether there are tombstones
// among them.
func (c *compaction) survivors(b *placed, v *verdict) (kept int32, tombstones bool) {
	for place := b.first; c.reader.Next(&c.record); place++ {
		if c.stays(b, v, place) {
			kept++
			tombstones = tombstones || c.record.Value == nil
		}
	}
	return kept, tombstones
}

// stays decides about the present record, whose place among those of its segment is given.
func (c *compaction) stays(b *placed, v *verdict, place int64) bool {
	switch offset := c.record.Offset; {
	case offset >= v.top:
		return true // decided in an earlier round
	case c.record.Key == nil:
		// Kafka: neither keeps records without a key, which a topic has from before it was compacted.
		return false
	case c.record.Value == nil && b.HasDeleteHorizon() && offset < c.cleaned && c.now.UnixMilli() >= b.BaseTimestamp:
		return false
	case offset >= v.down && offset >= c.cleaned:
		return v.marked.has(place)
	}
	return !c.keys.has(c.keys.of(c.record.Key))
}

// rewrite makes the open batch anew with the records that stay.
func (c *compaction) rewrite(b *placed, v *verdict, horizon int64) {
	c.rewriter.Reset(b.Header, horizon)
	c.reader.Rewind()
	for place := b.first; c.reader.Next(&c.record); place++ {
		if c.stays(b, v, place) {
			c.rewriter.Keep(&c.record)
		}
	}
}

// needed says that a batch without records stays for what its header says.
func (c *compaction) needed(h *record.Header) bool {
	return c.epochs[h.BaseOffset] || h.HasProducer() && (c.last == nil || c.last[h.LastOffset()])
}

// put adds a batch to the new segment.
func (c *compaction) put(m *made, h *record.Header, batch []byte) error {
	s := m.segment
	if s.size+int64(len(batch)) > math.MaxInt32 {
		return errTooMany
	}
	s.indexes.add(h, s.base, s.size, c.cfg.IndexIntervalBytes)
	s.size += int64(len(batch))
	c.buffer = append(c.buffer, batch...)
	if len(c.buffer) < writeBytes {
		return nil
	}
	return c.flush(m)
}

// flush writes what is in the buffer.
func (c *compaction) flush(m *made) error {
	n := int64(len(c.buffer))
	if n == 0 {
		return nil
	}
	if err := c.pace(n); err != nil {
		return err
	}
	_, err := m.file.WriteAt(c.buffer, m.segment.size-n)
	c.buffer = c.buffer[:0]
	c.written += n
	return c.fatal(err)
}

// fatal takes the directory offline when a write or a sync failed otherwise than for want of room.
func (c *compaction) fatal(err error) error {
	if err == nil || passes(err) || c.log.closed.Load() {
		return err
	}
	return c.offline(err)
}

// offline takes the directory offline, unless the log was deleted under us.
func (c *compaction) offline(err error) error {
	if err == nil || c.log.closed.Load() {
		return err
	}
	err = c.log.wrap("compact", c.log.StartOffset(), err)
	c.log.dir.fail(err)
	return err
}

// abandon removes the file of a segment that was not swapped.
func (m *made) abandon() {
	if m.file == nil {
		return
	}
	_ = m.file.Close()
	if err := m.log.dir.fsys.Remove(m.name); err != nil && !isMissing(err) && m.log.dir.Err() == nil {
		m.log.dir.log.Warn("file cannot be removed", "file", m.name, "err", err)
	}
}
