package storage

import (
	"path/filepath"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// make carries the cut out. Nothing in it may be called off: an error takes the directory offline.
func (c *cut) make() error {
	l := c.log
	if c.keep == len(c.segments) && !c.shortens() {
		l.mu.Lock()
		l.generation.Store(generations.Add(1))
		l.mu.Unlock()
		return nil
	}
	l.indexing.Lock() // nobody makes indexes of what is about to go
	defer l.indexing.Unlock()
	err := c.hold()
	if err == nil {
		c.publish()
		err = c.remove()
	}
	if err == nil {
		err = c.shorten()
	}
	c.file.Release()
	switch {
	case err == nil:
		l.dir.track(l)
		return nil
	case l.closed.Load():
		return l.errClosed() // it was deleted under us
	}
	l.dir.fail(l.wrap("cut", c.end, err))
	return l.dir.offline()
}

// last returns the last segment that stays.
func (c *cut) last() *segment { return c.segments[c.keep-1] }

// shortens says that bytes of the last segment that stays are cut off.
func (c *cut) shortens() bool { return c.keep > 0 && c.position < c.last().size }

// hold keeps the file open that is going to be cut: the one that saw its writes, if they are not
// synced, since an fsync tells of their errors nowhere else. It also reads what stays of its indexes.
func (c *cut) hold() (err error) {
	if !c.shortens() {
		return nil
	}
	s := c.last()
	c.log.mu.Lock()
	if c.file = s.unsynced; c.file != nil {
		c.file.retain()
	}
	c.log.mu.Unlock()
	if c.file == nil {
		if c.file, err = c.log.openSegment(s); err != nil {
			return err
		}
	}
	c.indexes, c.entry = c.log.adoptIndexes(s, c.end)
	return nil
}

// publish shows readers the log as it is going to be.
func (c *cut) publish() {
	l := c.log
	var files []*openFile
	l.mu.Lock()
	for _, s := range c.segments[c.keep:] {
		s.cutAt.Store(0)
		files = append(files, s.clean())
		l.size.Add(-s.size)
	}
	if c.file != nil {
		s := c.last()
		s.cutAt.Store(c.position)
		l.size.Add(c.position - s.size)
		s.size = c.position
	}
	l.segments = append(slices.Clone(c.segments[:c.keep]), newSegment(c.end))
	l.unindexed = slices.DeleteFunc(l.unindexed, func(s *segment) bool { return s.base >= c.end || c.keep == 0 })
	l.snapshots = slices.DeleteFunc(l.snapshots, func(offset wire.Offset) bool { return c.takes(offset, snapshotSuffix) })
	l.epochs = slices.DeleteFunc(slices.Clone(l.epochs), func(e EpochStart) bool { return e.StartOffset >= c.end || c.keep == 0 })
	if len(l.epochs) == 0 && c.keep > 0 { // all that is left lies below the log start
		l.epochs = []EpochStart{{c.epoch, c.end}}
	}
	l.epochsDirty = true
	l.damage = nil
	if c.reset {
		l.start.Store(int64(c.end))
	}
	l.flushed.Store(min(l.flushed.Load(), int64(c.end)))
	l.end.Store(int64(c.end))
	l.flushedSize = -1
	if l.FlushedOffset() == c.end {
		l.flushedSize = 0
	}
	l.generation.Store(generations.Add(1))
	l.mu.Unlock()
	for _, f := range files {
		f.Release()
	}
	for _, s := range c.segments[c.keep:] {
		l.forgetFiles(s)
	}
	l.garbage.Store(false) // it lies behind the end of a file that is cut or removed
	l.dir.keeper.forget(l, c.takes)
	l.dir.due.Or(dueStarts | dueWatermarks)
}

// takes says whether a file of that name goes. Those of segments that retention took are
// still there, until the keeper comes.
func (c *cut) takes(offset wire.Offset, suffix string) bool {
	if suffix == snapshotSuffix {
		return offset > c.end || c.reset
	}
	return offset >= c.end || c.keep == 0
}

// remove removes the files of what was cut off: first those that are told anew from batches, then
// the batches, newest first, so that a process that is killed leaves no hole.
func (c *cut) remove() error {
	l := c.log
	entries, err := l.dir.fsys.ReadDir(l.path)
	if err != nil {
		return err
	}
	var caches, logs []string
	for _, entry := range slices.Backward(entries) {
		suffix := filepath.Ext(entry.Name())
		offset, ok := parseOffsetFile(entry.Name(), suffix)
		switch {
		case !ok || !c.takes(offset, suffix):
		case suffix == logSuffix:
			logs = append(logs, entry.Name())
		case suffix == indexSuffix || suffix == timesSuffix || suffix == appendedSuffix || suffix == snapshotSuffix:
			caches = append(caches, entry.Name())
		}
	}
	if c.keep > 0 {
		return l.removeFiles(append(caches, logs...))
	}
	// As long as any segment is there after a power cut, the first one is: a log may lose its end,
	// not its beginning.
	if n := len(logs); n > 0 {
		err = l.removeFiles(append(caches, logs[:n-1]...))
		logs = logs[n-1:]
	}
	if err == nil {
		err = l.removeFiles(logs)
	}
	if err == nil {
		err = l.saveEpochs() // those before are none of the new log's, and it has no batches that tell
	}
	if err == nil {
		err = l.dir.fsys.Rename(c.first()+tmpSuffix, c.first())
	}
	if err == nil {
		err = l.dir.fsys.SyncDir(l.path)
	}
	if err == nil {
		l.mu.Lock()
		l.segments[0].created = true
		l.mu.Unlock()
	}
	return err
}

// removeFiles removes files in the log's directory, durably.
func (l *Log) removeFiles(names []string) error {
	for _, name := range names {
		if err := l.dir.fsys.Remove(filepath.Join(l.path, name)); err != nil && !isMissing(err) {
			return err
		}
	}
	if len(names) == 0 {
		return nil
	}
	return l.dir.fsys.SyncDir(l.path)
}

// shorten cuts the last segment that stays, durably, and completes its indexes.
func (c *cut) shorten() error {
	if c.file == nil {
		return nil
	}
	if err := c.file.Truncate(c.position); err != nil {
		return err
	}
	if err := c.file.Sync(); err != nil {
		return err
	}
	l, s := c.log, c.last()
	if err := c.reindex(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.indexes = c.indexes
	if !slices.Contains(l.unindexed, s) {
		l.unindexed = append(l.unindexed, s)
	}
	return nil
}

// reindex adds to the indexes what comes behind the last entry that was in the files.
func (c *cut) reindex() error {
	l, s := c.log, c.last()
	w := newWalker(c.file, s.base, int64(c.entry.position), c.position, lookupWindow)
	defer w.close()
	h, err := w.header()
	switch {
	case c.entry.position == 0:
	case err == nil && s.relative(h.LastOffset()) == c.entry.offset:
		c.indexes.sinceEntry = int64(h.Size())
		w.pass(&h)
		h, err = w.header()
	case !isReadError(err): // it leads astray
		c.indexes, w.pos = newIndexes(), 0
		h, err = w.header()
	}
	for ; err == nil; h, err = w.header() {
		c.indexes.add(&h, s.base, w.pos, l.config.Load().IndexIntervalBytes)
		w.pass(&h)
	}
	if isReadError(err) {
		return err
	}
	c.indexes.addTime() // damage, if it was that, is for readers to find
	return nil
}
