package storage

import (
	"errors"
	"io"
	"os"

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
	if l.cleaned.Load() > int64(c.end) {
		l.cleaned.Store(int64(c.end))
		due |= dueCleaned
	}
	return due
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
