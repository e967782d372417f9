package storage

import (
	"errors"
	"io"
	"os"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// indexBelow returns the last index entry that is not above offset; the zero entry stands for the
// beginning of the segment.
func (l *Log) indexBelow(s *segment, offset wire.Offset) (indexEntry, error) {
	if err := l.loadIndexes(s); err != nil {
		return indexEntry{}, err
	}
	target := s.relative(offset)
	l.mu.RLock()
	n := s.indexes.diskIndex
	entry, ok := tailEntry(s.indexes.tail, target)
	l.mu.RUnlock()
	if ok || n == 0 {
		return entry, nil
	}
	f, err := l.openIndex(s)
	if err == nil {
		var b [timeEntryBytes]byte
		b, ok, err = searchEntries(f, n, indexEntryBytes, int64(target), indexKey)
		f.Release()
		if err == nil {
			if ok {
				entry = parseIndexEntry(b[:])
			}
			return entry, nil
		}
	}
	// The file is gone or shorter than it was.
	if err := l.repairIndexes(s); err != nil {
		return indexEntry{}, err
	}
	return l.indexBelow(s, offset)
}

// timeBelow returns the last time entry below timestamp; the zero entry when there is none.
func (l *Log) timeBelow(s *segment, timestamp int64) (timeEntry, error) {
	if timestamp <= 0 {
		return timeEntry{}, nil
	}
	if err := l.loadIndexes(s); err != nil {
		return timeEntry{}, err
	}
	l.mu.RLock()
	n := s.indexes.diskTimes
	entry, ok := tailTime(s.indexes.timesTail, timestamp)
	l.mu.RUnlock()
	if ok || n == 0 {
		return entry, nil
	}
	f, err := l.openTimes(s)
	if err == nil {
		var b [timeEntryBytes]byte
		b, ok, err = searchEntries(f, n, timeEntryBytes, timestamp-1, timeKey)
		f.Release()
		if err == nil {
			if ok {
				entry = parseTimeEntry(b[:])
			}
			return entry, nil
		}
	}
	if err := l.repairIndexes(s); err != nil {
		return timeEntry{}, err
	}
	return l.timeBelow(s, timestamp)
}

// largestTimestamp returns the largest timestamp of a segment.
func (l *Log) largestTimestamp(s *segment) (timeEntry, error) {
	if err := l.loadIndexes(s); err != nil {
		return timeEntry{}, err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return s.indexes.largest, nil
}

// loadIndexes looks at the index files of a segment that was sealed before this process began,
// once. Files that are missing or wrong are rebuilt.
func (l *Log) loadIndexes(s *segment) error {
	l.mu.RLock()
	loaded := s.indexes.loaded
	l.mu.RUnlock()
	if loaded {
		return nil
	}
	l.indexing.Lock()
	defer l.indexing.Unlock()
	l.mu.RLock()
	loaded = s.indexes.loaded
	l.mu.RUnlock()
	if loaded {
		return nil
	}
	x, err := l.checkIndexFiles(s)
	if err != nil {
		return l.rebuild(s)
	}
	l.mu.Lock()
	s.indexes = x
	l.mu.Unlock()
	return nil
}

// checkIndexFiles reads both index files of a sealed segment and compares the last time entry with
// the batch it speaks of: retention believes it.
func (l *Log) checkIndexFiles(s *segment) (indexes, error) {
	x := newIndexes()
	err := l.checkFile(l.file(s.base, indexSuffix), func(f File, size int64) (bool, error) {
		n, ok, err := checkIndex(f, size, s.size)
		x.diskIndex = n
		return ok, err
	})
	if err != nil {
		return x, err
	}
	var newest timeEntry
	if err := l.checkFile(l.file(s.base, timesSuffix), func(f File, size int64) (bool, error) {
		n, e, ok, err := checkTimes(f, size)
		x.diskTimes, newest = n, e
		return ok, err
	}); err != nil {
		return x, err
	}
	x.indexedTo = s.size
	if x.diskTimes == 0 {
		if s.size > 0 {
			return x, errIndex // no timestamps at all are rare enough to be looked for again
		}
		return x, nil
	}
	x.largest, x.lastTime = newest, newest.timestamp
	return x, l.checkTimeEntry(s, newest, x.diskIndex)
}

func (l *Log) checkFile(name string, check func(File, int64) (bool, error)) error {
	f, err := l.dir.fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Size()
	if err != nil {
		return err
	}
	ok, err := check(f, size)
	if err == nil && !ok {
		err = errIndex
	}
	return err
}

// checkTimeEntry compares a time entry with the batch that ends at its offset. n is how many entries
// of the .index file may be used to find it.
func (l *Log) checkTimeEntry(s *segment, e timeEntry, n int) error {
	from := int64(0)
	if n > 0 {
		index, err := l.openIndex(s)
		if err != nil {
			return err
		}
		b, ok, err := searchEntries(index, n, indexEntryBytes, int64(e.offset), indexKey)
		index.Release()
		if err != nil {
			return err
		}
		if ok {
			from = int64(parseIndexEntry(b[:]).position)
		}
	}
	f, err := l.openSegment(s)
	if err != nil {
		return err
	}
	defer f.Release()
	w := newWalker(f, s.base, from, s.size, lookupWindow)
	defer w.close()
	h, err := w.seek(s.base + wire.Offset(e.offset))
	if err != nil {
		return err
	}
	if s.relative(h.LastOffset()) != e.offset || h.MaxTimestamp != e.timestamp {
		return errIndex
	}
	return nil
}

// repairIndexes makes the indexes of a segment anew from its batches.
func (l *Log) repairIndexes(s *segment) error {
	l.indexing.Lock()
	defer l.indexing.Unlock()
	return l.rebuild(s)
}

// rebuild walks a segment and keeps what it learns in memory until the keeper has written it to the
// index files. Batches behind damage have no entries. The caller holds l.indexing.
func (l *Log) rebuild(s *segment) error {
	l.mu.RLock()
	size, sealed := s.size, s != l.active()
	l.mu.RUnlock()
	x := newIndexes()
	if size > 0 {
		f, err := l.openSegment(s)
		if err != nil {
			return err
		}
		err = indexWalk(&x, f, s.base, size, l.config.Load().IndexIntervalBytes)
		f.Release()
		if isReadError(err) {
			return err
		}
	}
	if sealed {
		x.addTime()
	}
	l.dir.log.Info("index rebuilt", "topic", l.ref.Topic, "partition", l.ref.Partition, "offset", s.base)
	l.dir.files.forget(&s.index)
	l.dir.files.forget(&s.times)
	l.mu.Lock()
	x.follow(&s.indexes, size)
	s.indexes = x
	l.mu.Unlock()
	l.dir.keeper.reindex(l, s)
	return nil
}

// follow takes over what was appended to the segment, from position size on, while it was walked.
func (x *indexes) follow(old *indexes, size int64) {
	if !old.loaded {
		return
	}
	for _, e := range old.tail {
		if int64(e.position) >= size {
			x.tail = append(x.tail, e)
		}
	}
	for _, e := range old.timesTail {
		if e.timestamp > x.lastTime {
			x.timesTail = append(x.timesTail, e)
			x.lastTime = e.timestamp
		}
	}
	if old.largest.timestamp > x.largest.timestamp {
		x.largest = old.largest
	}
	x.sinceEntry = max(x.sinceEntry, old.sinceEntry)
}

func indexWalk(x *indexes, f io.ReaderAt, base wire.Offset, size int64, interval int) error {
	w := newWalker(f, base, 0, size, lookupWindow)
	defer w.close()
	for {
		h, err := w.header()
		if err != nil {
			return err
		}
		x.add(&h, base, w.pos, interval)
		w.pass(&h)
	}
}

// writeIndexes moves the tails of a segment's indexes into its files, durably: the time index
// first, so that whoever finds an entry in .index finds the timestamps up to there as well.
func (l *Log) writeIndexes(s *segment) error {
	l.indexing.Lock()
	defer l.indexing.Unlock()
	if s.cutAt.Load() == 0 {
		return nil // it is gone, and its name another one's
	}
	l.mu.RLock()
	x := s.indexes
	tail, times := slices.Clone(x.tail[x.onDisk:]), slices.Clone(x.timesTail)
	size, sealed := s.size, s != l.active()
	l.mu.RUnlock()
	err := l.writeEntries(l.file(s.base, timesSuffix), int64(x.diskTimes)*timeEntryBytes, encodeTimes(times))
	if err == nil {
		err = l.writeEntries(l.file(s.base, indexSuffix), int64(x.diskIndex)*indexEntryBytes, encodeIndex(tail))
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.indexes.written(len(tail), len(times), sealed)
	s.indexes.indexedTo = size
	return nil
}

func (l *Log) writeEntries(name string, at int64, entries []byte) error {
	f, err := l.dir.fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		_, err = f.WriteAt(entries, at)
	}
	if err == nil {
		err = f.Truncate(at + int64(len(entries)))
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
