package storage

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// A cut takes the end of a log away, because its leader has another one there:
//
//	appender   RequestCut .... appends are refused ................... Cut -> appends go on
//	syncer          '-> plan: the last batch that stays
//	                    lower: durable point, start and high watermark, in the checkpoints, synced
//	                    publish: readers see the new end
//	                    remove the later segments, newest first; cut the last one that stays; sync
//
// Behind each step a crash finds a log that recovery opens, and that holds what was there up to
// some offset not below the new end. What was flushed before the cut is never reported to be so after
// it, but up to the new end.
//
// No byte is ever written where another one was: the segment that was cut is sealed, and the next
// append begins a new one. So whoever still reads there finds the old bytes or the end of the file,
// and a file that is gone is read to the end by those who hold it.

// cutRequest is what RequestCut was asked for.
type cutRequest struct {
	to    wire.Offset
	reset bool
}

// RequestCut has the syncer take away everything from offset to on; a batch that holds it goes whole.
// With reset all of the log goes, and it is empty and starts at to. The outcome comes through
// LogConfig.Cut; until then appends and moves of the start are refused, and RequestSync does nothing.
// The producers' snapshots of what was cut off go too, so that RecoverProducers may be called again.
func (l *Log) RequestCut(to wire.Offset, reset bool) {
	l.requested = -1
	l.cutting.Store(true)
	l.mu.Lock()
	l.cutRequest = &cutRequest{max(to, 0), reset}
	l.mu.Unlock()
	l.dir.syncer.request(l)
}

// wasCut says that the log is being cut, or was since it had the generation given.
func (l *Log) wasCut(generation uint64) bool {
	return l.cutting.Load() || l.Generation() != generation
}

// cut is a cut while it is made, on the syncer's goroutine.
type cut struct {
	cutRequest
	log *Log
	err error

	segments []*segment // as they were
	start    wire.Offset
	keep     int   // how many of them stay
	position int64 // where the last one that stays ends
	end      wire.Offset
	epoch    wire.LeaderEpoch // of the last batch that stays

	// Of the last one that stays, if it gets shorter.
	file    *openFile
	indexes indexes
	entry   indexEntry // the last one in there
}

// cutLogs makes all cuts that this round's logs asked for. The checkpoints are lowered once for all.
func (s *syncer) cutLogs() {
	var cuts []*cut
	for _, l := range s.logs {
		l.queued.Store(false) // before anything is looked at: what is asked for later asks again
		l.mu.Lock()
		if l.cutRequest != nil && !l.closed.Load() {
			cuts = append(cuts, &cut{log: l, cutRequest: *l.cutRequest})
		}
		l.cutRequest = nil
		l.mu.Unlock()
	}
	if len(cuts) == 0 {
		return
	}
	s.dir.cut(cuts)
	for _, c := range cuts {
		c.tell()
	}
}

// cut makes cuts. Meanwhile the keeper does nothing: it would raise durable points, and write files
// that are about to go.
func (d *Dir) cut(cuts []*cut) {
	d.keeper.ticking.Lock()
	defer d.keeper.ticking.Unlock()
	for _, c := range cuts {
		c.start = c.log.StartOffset()
		if c.err = c.plan(); d.Err() != nil {
			c.err = d.offline()
		}
	}
	err := d.lower(cuts)
	for _, c := range cuts {
		switch {
		case c.err != nil:
			c.err = c.log.failed("cut", c.to, c.err)
		case err != nil:
			c.log.start.Store(int64(c.start))
			c.err = c.log.failed("cut", c.to, err)
		default:
			c.err = c.make()
		}
	}
}

// plan finds out what stays. A file that the log will need is made while it can still be called off.
func (c *cut) plan() error {
	l := c.log
	l.mu.RLock()
	c.segments = l.segments
	l.mu.RUnlock()
	if !c.reset && c.to >= l.EndOffset() {
		c.keep, c.position, c.end = len(c.segments), l.active().size, l.EndOffset()
		return nil
	}
	c.end = c.to
	if !c.reset {
		if err := c.planLast(); err != nil {
			return err
		}
	}
	if c.keep > 0 {
		return nil
	}
	f, err := l.dir.fsys.OpenFile(c.first()+tmpSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, filePerm)
	if err != nil {
		return err
	}
	return f.Close()
}

// first is the name of the only segment's file of a log that was emptied. It holds the log's start.
func (c *cut) first() string { return c.log.file(c.end, logSuffix) }

// planLast finds the last batch below to. Behind compaction it may end far below, in any earlier
// segment; and where it ends is where recovery would find the log's end.
func (c *cut) planLast() error {
	for i := len(c.segments) - 1; i >= 0; i-- {
		s := c.segments[i]
		if s.base >= c.to || s.size == 0 && i > 0 {
			continue
		}
		position, end, epoch, err := c.log.endBelow(s, c.to)
		if err != nil {
			return err
		}
		if position > 0 {
			c.keep, c.position, c.end, c.epoch = i+1, position, end, epoch
			return nil
		}
		c.end = s.base
	}
	return nil
}

// endBelow returns where the last batch of a segment ends that lies wholly below offset to: in the
// file, where 0 means that there is none, and in the log; and its leader epoch.
func (l *Log) endBelow(s *segment, to wire.Offset) (int64, wire.Offset, wire.LeaderEpoch, error) {
	f, err := l.openSegment(s)
	if err != nil {
		return 0, 0, 0, err
	}
	defer f.Release()
	entry, err := l.indexBelow(s, to-1)
	if err != nil {
		return 0, 0, 0, err
	}
	for {
		w := newWalker(f, s.base, int64(entry.position), s.size, lookupWindow)
		h, err := w.header()
		for err == nil && h.LastOffset() < to {
			w.pass(&h)
			h, err = w.header()
		}
		position, end, epoch := w.pos, w.next, w.epoch
		w.close()
		switch {
		case isReadError(err):
			return 0, 0, 0, err
		case (err == nil || errors.Is(err, io.EOF)) && (entry.position == 0 || position > int64(entry.position)):
			return position, end, epoch, nil
		case entry.position == 0:
			return 0, 0, 0, l.corruption(s, position, end, err)
		}
		entry = indexEntry{} // the index leads astray
	}
}

// lower makes sure, durably, that no checkpoint says more of the logs than will be left of them.
func (d *Dir) lower(cuts []*cut) error {
	due := uint32(0)
	for _, c := range cuts {
		if c.err == nil {
			due |= d.lowerPoints(c)
		}
	}
	if due == 0 {
		return nil
	}
	d.due.Or(due)
	return d.writeCheckpoints()
}

func (d *Dir) lowerPoints(c *cut) (due uint32) {
	l, recovery := c.log, c.end
	if c.keep == 0 {
		recovery = 0 // there will be a moment without any segment
	}
	d.mu.Lock()
	if p := d.points[l.ref.place()]; p != nil && p.log == l && p.recovery > recovery {
		p.recovery = recovery
		due |= duePoints
	}
	d.mu.Unlock()
	if l.hw.Load() > int64(c.end) {
		l.hw.Store(int64(c.end))
		due |= dueWatermarks
	}
	if l.start.Load() > int64(c.end) {
		l.start.Store(int64(c.end))
		due |= dueStarts
	}
	return due
}

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
	if c.file = s.unsynced; c.file != nil {
		c.file.retain()
	} else if c.file, err = c.log.openSegment(s); err != nil {
		return err
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
		case suffix == indexSuffix || suffix == timesSuffix || suffix == snapshotSuffix:
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

// tell says how it went. The appender may go on before it hears of it.
func (c *cut) tell() {
	l := c.log
	l.mu.Lock()
	if l.cutRequest == nil {
		l.cutting.Store(false)
	}
	outcome := Cut{
		Generation: l.Generation(), Start: l.StartOffset(), End: l.EndOffset(), Flushed: l.FlushedOffset(),
		LastEpoch: l.lastEpoch(), Err: c.err,
	}
	l.mu.Unlock()
	if cfg := l.config.Load(); cfg.Cut != nil && !l.closed.Load() {
		cfg.Cut(outcome)
	}
}
