package storage

import (
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/troupe-mq/troupe/wire"
)

// The files of a segment are named after its base offset, in twenty digits.
const (
	logSuffix      = ".log"
	indexSuffix    = ".index"
	timesSuffix    = ".timeindex"
	snapshotSuffix = ".snapshot"
	deletedSuffix  = ".deleted"
	appendedSuffix = ".appended"
	cleanedSuffix  = ".cleaned" // of compaction, half done
	swapSuffix     = ".swap"    // of compaction, nearly done
)

func offsetFile(offset wire.Offset, suffix string) string {
	return fmt.Sprintf("%020d%s", offset, suffix)
}

// parseOffsetFile undoes offsetFile.
func parseOffsetFile(name, suffix string) (wire.Offset, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 || digits[0] < '0' || digits[0] > '9' {
		return 0, false
	}
	offset, err := strconv.ParseInt(digits, 10, 64)
	return wire.Offset(offset), err == nil && offset >= 0
}

// segment is a stretch of a log: one .log file and its two indexes. Only the last one of a log
// grows. The log's mutex guards what changes, except the slots.
type segment struct {
	base    wire.Offset
	size    int64 // of the batches in it; the file may hold garbage behind
	created bool  // the file exists; a log that was never written to has none
	indexes indexes
	// verified are the parts whose checksums this process has seen to be right, or wrote itself.
	verified rangeSet
	// dirty says that there are writes which no sync has covered, and unsynced is the file that they
	// went through, held open until then. It is nil when too many are held already: then the next
	// round syncs the whole volume, which tells of errors wherever they came from.
	dirty    bool
	unsynced *openFile
	// firstTimestamp is the largest of the first batch: age by which the segment is full.
	firstTimestamp int64
	hasFirst       bool
	// modified is when the file was last written, for retention of records without timestamps.
	modified int64
	// cutAt is where a cut took the rest of the segment away, math.MaxInt64 in most. What a reader
	// who came before the cut finds wrong behind it is no damage.
	cutAt atomic.Int64

	// swap is the name of the .log file as long as compaction has not given it its own. It is guarded
	// by the log's naming.
	swap string
	// stamps are the times in the .appended file; it belongs to the appender, but for its count.
	stamps stamps

	log, index, times fileSlot
}

func newSegment(base wire.Offset) *segment {
	s := &segment{base: base, indexes: newIndexes()}
	s.cutAt.Store(math.MaxInt64)
	return s
}

// relative returns an offset as the indexes keep it; one outside the segment becomes the nearest
// that they can.
func (s *segment) relative(offset wire.Offset) uint32 {
	return uint32(min(max(offset-s.base, 0), math.MaxUint32))
}

// openSegment returns the segment's .log file, held for the caller.
func (l *Log) openSegment(s *segment) (*openFile, error) { return l.open(s, &s.log, logSuffix) }

func (l *Log) openIndex(s *segment) (*openFile, error) { return l.open(s, &s.index, indexSuffix) }

func (l *Log) openTimes(s *segment) (*openFile, error) { return l.open(s, &s.times, timesSuffix) }

func (l *Log) open(s *segment, slot *fileSlot, suffix string) (*openFile, error) {
	if f := slot.acquire(); f != nil {
		return f, nil
	}
	l.naming.RLock()
	name := l.file(s.base, suffix)
	if suffix == logSuffix && s.swap != "" {
		name = s.swap
	}
	f, err := l.dir.files.open(slot, name)
	l.naming.RUnlock()
	if s.cutAt.Load() == 0 {
		// The file is gone, or it is the one of a newer segment that has its name.
		f.Release()
		l.dir.files.forget(slot)
		return nil, l.errCut()
	}
	return f, err
}

func (l *Log) file(offset wire.Offset, suffix string) string {
	return filepath.Join(l.path, offsetFile(offset, suffix))
}

// forgetFiles closes what the cache has open of a segment that is going away.
func (l *Log) forgetFiles(s *segment) {
	l.dir.files.forget(&s.log)
	l.dir.files.forget(&s.index)
	l.dir.files.forget(&s.times)
	l.dir.files.forget(&s.stamps.file)
}

// soil takes note that the segment was written to through f, which the caller holds, and says
// whether the segment took over that hold. The caller has the mutex.
func (l *Log) soil(s *segment, f *openFile) (taken bool) {
	if s.dirty {
		return false
	}
	s.dirty = true
	if l.dir.syncer.volume != nil && l.dir.files.crowded() {
		return false
	}
	s.unsynced = f
	return true
}

// clean undoes soil, and returns what the caller is to release.
func (s *segment) clean() *openFile {
	f := s.unsynced
	s.dirty, s.unsynced = false, nil
	return f
}

// rangeSet is a set of byte ranges, few and merged.
type rangeSet struct{ ranges []byteRange }

type byteRange struct{ from, to int64 }

// maxRanges bounds the memory of readers that jump about; what is dropped is verified again.
const maxRanges = 64

func (r *rangeSet) covers(from, to int64) bool {
	for _, have := range r.ranges {
		if have.from <= from && to <= have.to {
			return true
		}
	}
	return from >= to
}

func (r *rangeSet) add(from, to int64) {
	if n := len(r.ranges); n > 0 && r.ranges[n-1].to == from {
		r.ranges[n-1].to = to // the append of a batch
		return
	}
	kept := make([]byteRange, 0, len(r.ranges)+1)
	for _, have := range r.ranges {
		if have.to < from || have.from > to {
			kept = append(kept, have)
			continue
		}
		from, to = min(from, have.from), max(to, have.to)
	}
	// The newest is last, where the appender's fast path looks for it.
	kept = append(kept, byteRange{from, to})
	if len(kept) > maxRanges {
		kept = kept[1:]
	}
	r.ranges = kept
}
