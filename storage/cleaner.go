package storage

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// cleaner compacts the logs of a directory whose topics say so, the dirtiest one first, one at a time and
// no faster than it may: it has all the time there is, and producers have none.
type cleaner struct {
	dir  *Dir
	stop chan struct{}
	done chan struct{}
}

const (
	// cleanAgainAfter is how long a log rests that could not be compacted for want of room.
	cleanAgainAfter = 5 * time.Minute
	// maxPause bounds how long the cleaner sleeps at once for the sake of its rate.
	maxPause = 10 * time.Second
)

func newCleaner(d *Dir) *cleaner {
	return &cleaner{dir: d, stop: make(chan struct{}), done: make(chan struct{})}
}

func (c *cleaner) run() {
	defer close(c.done)
	if c.dir.cfg.CleanInterval == 0 {
		return
	}
	ticker := time.NewTicker(c.dir.cfg.CleanInterval)
	defer ticker.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-ticker.C:
			c.pass(c.paced())
		}
	}
}

// paced returns a function that takes note of bytes read or written, and waits when they were too many
// for the time that has passed. It says false when the cleaner is to stop.
func (c *cleaner) paced() func(bytes int64) bool {
	rate := c.dir.cfg.CleanBytesPerSecond
	began, spent := c.dir.cfg.Now(), int64(0)
	return func(bytes int64) bool {
		pause := time.Duration(0)
		if spent += bytes; rate > 0 {
			due := time.Duration(float64(spent) / float64(rate) * float64(time.Second))
			pause = min(due-c.dir.cfg.Now().Sub(began), maxPause)
		}
		if pause < time.Millisecond {
			select {
			case <-c.stop:
				return false
			default:
				return true
			}
		}
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-c.stop:
			return false
		case <-timer.C:
			return true
		}
	}
}

// pass compacts all logs for which it is time. Each has its turn before any has another one, however fast
// it gets dirty, and all are looked at only once for that.
func (c *cleaner) pass(spend func(int64) bool) {
	d := c.dir
	for d.Err() == nil {
		due := c.due(d.cfg.Now())
		if len(due) == 0 {
			return
		}
		for _, l := range due {
			now := d.cfg.Now()
			err := l.compact(now, d.cfg.CleanMemory, spend)
			if errors.Is(err, errStopped) || d.Err() != nil {
				return // the next pass finds the log as it is then
			}
			if err != nil {
				l.rest(now, err)
			}
		}
	}
}

// rest has the cleaner leave a log alone that it could not compact: until the next pass, for some time, or
// when that would not change anything until it is opened again.
func (l *Log) rest(now time.Time, err error) {
	if l.closed.Load() {
		l.resting.Store(math.MaxInt64)
		return
	}
	switch {
	case errors.Is(err, errChanged):
		l.resting.Store(now.Add(max(l.dir.cfg.CleanInterval, time.Millisecond)).UnixMilli())
		return
	case passes(err) || errors.Is(err, errNoRoom):
		l.resting.Store(now.Add(cleanAgainAfter).UnixMilli())
	default:
		l.resting.Store(math.MaxInt64)
	}
	l.dir.log.Warn("log cannot be compacted", "topic", l.ref.Topic, "partition", l.ref.Partition, "err", err)
}

// rests says that it is too soon to try again. A clock that goes back does not make that any later.
func (l *Log) rests(now time.Time) bool {
	until := l.resting.Load()
	longest := max(cleanAgainAfter, l.dir.cfg.CleanInterval).Milliseconds()
	return until == math.MaxInt64 || until > now.UnixMilli() && until-now.UnixMilli() <= longest
}

// due returns the logs that are to be compacted now, the one first of which the largest share is dirty.
func (c *cleaner) due(now time.Time) []*Log {
	type dirtyLog struct {
		*Log
		share float64
	}
	var dirty []dirtyLog
	for _, l := range c.dir.compactedLogs() {
		share, due, err := l.dirty(now)
		if err != nil {
			l.rest(now, err)
			continue
		}
		if due {
			dirty = append(dirty, dirtyLog{l, share})
		}
	}
	slices.SortFunc(dirty, func(a, b dirtyLog) int { return cmp.Compare(b.share, a.share) })
	logs := make([]*Log, len(dirty))
	for i := range dirty {
		logs[i] = dirty[i].Log
	}
	return logs
}

// compactedLogs returns the open logs whose topics are compacted.
func (d *Dir) compactedLogs() (logs []*Log) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.points {
		if p.log != nil && p.log.config.Load().Compact {
			logs = append(logs, p.log)
		}
	}
	return logs
}

// dirty says which share of what may be compacted of a log is dirty, and whether it is to be compacted.
//
// Kafka: a tombstone whose time is over goes when the log is compacted for another reason, which may
// be never. Here it is a reason, once for all that have come together.
func (l *Log) dirty(now time.Time) (share float64, due bool, err error) {
	if l.rests(now) {
		return 0, false, nil
	}
	sources, _, err := l.compactable(now)
	if err != nil || len(sources) == 0 {
		return 0, false, err
	}
	cfg, cleaned := l.config.Load(), l.CleanedOffset()
	var clean, dirty int64
	oldest := -1
	for i, s := range sources {
		if s.next <= cleaned {
			clean += s.size
			continue
		}
		if dirty += s.size; oldest < 0 {
			oldest = i
		}
	}
	if dirty == 0 {
		return 0, l.tombstonesDue(now), nil
	}
	share = float64(dirty) / float64(clean+dirty)
	if share > cfg.MinDirtyRatio || l.tombstonesDue(now) {
		return share, true, nil
	}
	due, err = l.overdue(sources[oldest], cfg, now)
	return share, due, err
}

// overdue says that the first batch of a segment has waited for longer than max.compaction.lag.ms.
func (l *Log) overdue(s source, cfg *LogConfig, now time.Time) (bool, error) {
	if cfg.MaxCompactionLag >= math.MaxInt64/2 {
		return false, nil
	}
	f, err := l.openSegment(s.segment)
	if err != nil {
		return false, err
	}
	defer f.Release()
	w := newWalker(f, s.base, 0, s.size, lookupWindow)
	defer w.close()
	h, err := w.header()
	if err != nil {
		return false, l.walkFailed(s.segment, w, err)
	}
	since := h.MaxTimestamp
	if since < 0 {
		l.mu.RLock()
		since = s.modified
		l.mu.RUnlock()
	}
	return now.UnixMilli()-since > cfg.MaxCompactionLag.Milliseconds(), nil
}

// tombstonesDue says that the time of all tombstones is over that the last compaction left.
func (l *Log) tombstonesDue(now time.Time) bool {
	horizon := l.horizon.Load()
	return horizon != record.NoTimestamp && now.UnixMilli() >= horizon && l.CleanedOffset() > wire.Offset(0)
}
