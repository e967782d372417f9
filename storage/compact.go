package storage

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// A compaction leaves of a log the last record of each key. Offsets stay what they are: batches get
// shorter, or go, and what a consumer asks for in a gap is answered with the batch after it.
//
//	          clean: one record of each key      dirty                     not to be compacted yet
//	segments  [ 0 .. 900 | 900 .. 2100 ] [ 2100 .. 2500 | 2500 .. 2900 ] [ 2900 .. | 3300 .. 3333 active ]
//	          start                      cleaned                         limit            high watermark
//
// It takes groups of segments, the newest first, that together are about as large as a segment may be:
//
//	mark    the dirty records, newest first: which are the first ones met of their keys?   (compact_marks.go)
//	copy    what stays into one new file: of the dirty records the marked ones, of the
//	        clean ones those whose keys are not in the set                                 (compact_copy.go)
//	swap    the new segment takes the place of the old ones, durably                       (compact_swap.go)
//
// The set of keys (compact_keys.go) is bounded. When it is full, what is below is compared with it
// and otherwise left as it is; then the next round begins there, with an empty set.
//
// What holds at any moment, in whatever order groups are swapped and wherever it is broken off:
//   - A record goes only if a later one of its key stays, or if it is a tombstone below the cleaned
//     offset whose time is over: of its key nothing is left below.
//   - The cleaned offset moves up only when all of the log below has been swapped.
//   - A segment still begins where the one before it ends: the last batch of a group stays, if need be
//     without records. So do the first one of each leader epoch, from which epochs can be told
//     again, and those by which producers are known.
//   - What is not durable, not below the high watermark, or in the active segment is not touched.
//   - The high watermark, the durable point and the log's start and end do not move.
//
// It runs on the cleaner's goroutine. Readers of a segment that is swapped keep its file; those who
// come later find the new one (Log.swaps).
type compaction struct {
	log   *Log
	cfg   LogConfig
	now   time.Time
	spend func(bytes int64) bool // see Log.compact

	cleaned wire.Offset // below, each key has one record
	limit   wire.Offset // where the range ends that is compacted
	keys    *keySet
	// generation of the log: after a cut a segment may be the same, but shorter than it was.
	generation uint64
	epochs     map[wire.Offset]bool // where leader epochs begin
	last       map[wire.Offset]bool // last offsets of the batches by which producers are known; nil: not known
	horizon    int64                // the latest of a tombstone that is left

	// Used again and again.
	reader   record.Reader
	record   record.Record
	rewriter record.Rewriter
	window   []windowed
	buffer   []byte // of the file that is being written

	read, written int64
}

// What ends a compaction that is to be taken up again another time.
var (
	errStopped = errors.New("the cleaner is to stop")
	errChanged = errors.New("the log was changed while it was compacted")
	errNoRoom  = errors.New("there is no room for a compacted segment")
)

// source is a segment that is being compacted.
type source struct {
	*segment
	size int64
	next wire.Offset // where it ends
}

// compactable returns the segments that may be compacted, which are those from the first one on, and
// where they end.
func (l *Log) compactable(now time.Time) (sources []source, limit wire.Offset, err error) {
	cfg := l.config.Load()
	if l.closed.Load() || l.cutting.Load() || !cfg.Compact {
		return nil, 0, nil
	}
	limit = min(l.CheckpointedHighWatermark(), wire.Offset(l.stable.Load()), l.dir.recoveryPoint(l))
	l.mu.RLock()
	for i, s := range l.segments[:len(l.segments)-1] {
		next := l.segments[i+1].base
		if next > limit || s.size == 0 {
			break
		}
		sources = append(sources, source{s, s.size, next})
	}
	l.mu.RUnlock()
	if cfg.MinCompactionLag > 0 {
		if sources, err = l.settled(sources, now.Add(-cfg.MinCompactionLag).UnixMilli()); err != nil {
			return nil, 0, err
		}
	}
	if len(sources) == 0 {
		return nil, 0, nil
	}
	return sources, sources[len(sources)-1].next, nil
}

// settled returns the segments before the first dirty one with a record that is newer than before.
func (l *Log) settled(sources []source, before int64) ([]source, error) {
	for i, s := range sources {
		if s.next <= l.CleanedOffset() {
			continue
		}
		largest, err := l.largestTimestamp(s.segment)
		if err != nil {
			return nil, err
		}
		if largest.timestamp > before {
			return sources[:i], nil
		}
	}
	return sources, nil
}

// SetStableOffset says from where on the log is not to be compacted, besides what lies above the high
// watermark: the first offset of a transaction that is open. math.MaxInt64, as it is at first,
// when there is none.
func (l *Log) SetStableOffset(offset wire.Offset) { l.stable.Store(int64(offset)) }

// CleanedOffset returns the offset below which each key has one record.
func (l *Log) CleanedOffset() wire.Offset { return wire.Offset(l.cleaned.Load()) }

// compact compacts all of the log that may be. maxBytes bounds the memory for keys. It calls spend with the
// bytes that it has read or is about to write, which waits as long as they are too many, and says
// false when the compaction is to end.
func (l *Log) compact(now time.Time, maxBytes int64, spend func(int64) bool) error {
	start, generation := l.StartOffset(), l.Generation() // as they were before it looked at anything
	sources, limit, err := l.compactable(now)
	if err != nil || len(sources) == 0 || limit <= l.CleanedOffset() && !l.tombstonesDue(now) {
		return err
	}
	c := &compaction{
		log: l, cfg: *l.config.Load(), now: now, spend: spend, cleaned: l.CleanedOffset(), limit: limit, generation: generation,
		last: l.knownProducers(limit), epochs: map[wire.Offset]bool{}, horizon: record.NoTimestamp,
	}
	for _, e := range l.Epochs() {
		c.epochs[e.StartOffset] = true
	}
	err = c.rounds(sources, maxBytes)
	switch {
	case err == nil:
	case errors.Is(err, errStopped):
		return err
	case l.wasCut(generation) || l.StartOffset() != start:
		return errChanged // what it looked at went away
	default:
		return err
	}
	l.noteCleaned(limit, generation)
	l.horizon.Store(c.horizon)
	l.dir.log.Debug("log compacted", "topic", l.ref.Topic, "partition", l.ref.Partition, "offset", limit,
		"from", c.read, "to", c.written, "took", l.dir.cfg.Now().Sub(now))
	return nil
}

// rounds goes through the segments until all keys of the dirty ones have been in the set.
func (c *compaction) rounds(sources []source, maxBytes int64) error {
	for top := c.limit; ; {
		down, err := c.round(sources, top, maxBytes)
		if err != nil || down <= c.cleaned {
			return err
		}
		top = down
		if sources, _, err = c.log.compactable(c.now); err != nil {
			return err
		}
		sources = slices.DeleteFunc(sources, func(s source) bool { return s.next > c.limit })
		if n := len(sources); n == 0 || sources[n-1].next < c.limit {
			return errChanged
		}
	}
}

// pace is to be called again and again, with the bytes read or about to be written since.
func (c *compaction) pace(bytes int64) error {
	if c.log.closed.Load() || c.log.wasCut(c.generation) {
		return errChanged
	}
	if !c.spend(bytes) {
		return errStopped
	}
	return nil
}

// noteCleaned moves the cleaned offset up, unless the log was cut meanwhile: what is below it may then
// have been appended since.
func (l *Log) noteCleaned(limit wire.Offset, generation uint64) {
	l.dir.keeper.ticking.Lock() // no cut begins
	defer l.dir.keeper.ticking.Unlock()
	if l.Generation() == generation && limit > l.CleanedOffset() {
		l.cleaned.Store(int64(limit))
		l.dir.due.Or(dueCleaned)
	}
}

// round goes through all segments once, with a set that is empty at first. It returns the offset down
// to which all keys have come into it.
func (c *compaction) round(sources []source, top wire.Offset, maxBytes int64) (down wire.Offset, err error) {
	keys, err := c.count(sources, top)
	if err != nil {
		return 0, err
	}
	c.keys = newKeySet(keys, maxBytes)
	c.horizon = record.NoTimestamp
	down = c.cleaned
	for _, group := range slices.Backward(groups(sources, c.cfg.SegmentBytes)) {
		if down, err = c.compactGroup(group, top, down); err != nil {
			return 0, err
		}
	}
	return down, nil
}

// count returns how many records there are from the cleaned offset up to top: at least as many as
// keys.
func (c *compaction) count(sources []source, top wire.Offset) (records int64, err error) {
	for _, s := range sources {
		if s.next <= c.cleaned || s.base >= top {
			continue
		}
		if err := c.pace(0); err != nil {
			return 0, err
		}
		n, err := c.countSegment(s)
		if err != nil {
			return 0, err
		}
		records += n
	}
	return records, nil
}

func (c *compaction) countSegment(s source) (records int64, err error) {
	f, err := c.log.openSegment(s.segment)
	if err != nil {
		return 0, err
	}
	defer f.Release()
	w := newWalker(f, s.base, 0, s.size, lookupWindow)
	defer w.close()
	for w.pos < s.size {
		h, err := w.header()
		if err != nil {
			return 0, c.damaged(s.segment, w, err)
		}
		records += int64(h.Count)
		w.pass(&h)
	}
	return records, nil
}

// groups divides the segments into those that are merged into one.
func groups(sources []source, segmentBytes int64) (all [][]source) {
	begin, size := 0, int64(0)
	for i, s := range sources {
		if i > begin && (size+s.size > segmentBytes || s.next-1-sources[begin].base > math.MaxInt32) {
			all = append(all, sources[begin:i])
			begin, size = i, 0
		}
		size += s.size
	}
	return append(all, sources[begin:])
}

// compactGroup marks, copies and swaps one group. Below offset down no record is in the set of keys,
// because it is full; it returns that offset, or a new one.
func (c *compaction) compactGroup(group []source, top, down wire.Offset) (wire.Offset, error) {
	marked := make([]marks, len(group))
	for i, s := range slices.Backward(group) {
		if s.next <= down || s.base >= top {
			continue
		}
		var err error
		if marked[i], down, err = c.mark(s.segment, s.size, top, down); err != nil {
			return down, err
		}
	}
	made, changed, err := c.copy(group, marked, top, down)
	if err == nil && changed {
		err = c.swap(group, made)
	}
	if made != nil {
		made.abandon() // what the swap has not taken
	}
	return down, err
}

// damaged tells damage in a segment and a failure of the disk apart.
func (c *compaction) damaged(s *segment, w *walker, err error) error {
	if isReadError(err) {
		return err
	}
	return c.log.corruption(s, w.pos, w.next, err)
}

// knownProducers returns the last offsets of the batches by which the log's producers are known, as the
// newest snapshot has them; nil when it cannot tell of all below limit.
func (l *Log) knownProducers(limit wire.Offset) map[wire.Offset]bool {
	offset, ok := l.newestSnapshot()
	if !ok || offset < limit {
		return nil
	}
	content, err := readFile(l.dir.fsys, l.file(offset, snapshotSuffix), maxSnapshotBytes)
	if err != nil {
		return nil
	}
	batches, err := parseProducers(content)
	if err != nil {
		return nil
	}
	known := make(map[wire.Offset]bool)
	for i := range batches {
		if batches[i].LastOffset < limit {
			known[batches[i].LastOffset] = true
		}
	}
	return known
}
