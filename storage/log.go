package storage

import (
	"fmt"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/troupe-mq/troupe/wire"
)

// LogRef names one partition's log in a directory.
type LogRef struct {
	Topic     string
	Partition int32
	ID        wire.TopicID
}

func (r LogRef) String() string { return r.place().String() }

func (r LogRef) place() place { return place{r.Topic, r.Partition} }

// Log is one partition's log: record batches in segments.
//
//	StartOffset ......... FlushedOffset ........ EndOffset
//	first one kept        all below is durable   what the next record gets
//
// Append, AppendReplicated, AdvanceStart, ApplyRetention, RequestSync, RequestCut and Close are the
// appender's: one goroutine at a time. Everything else may be called from any goroutine. An idle log holds no file open and has
// no goroutine and no timer.
type Log struct {
	dir        *Dir
	ref        LogRef
	path       string
	generation atomic.Uint64
	config     atomic.Pointer[LogConfig]

	start   atomic.Int64
	end     atomic.Int64
	flushed atomic.Int64
	hw      atomic.Int64
	stable  atomic.Int64 // see SetStableOffset
	cleaned atomic.Int64 // each key has one record below
	horizon atomic.Int64 // when the last tombstone may go that is below; record.NoTimestamp: there is none
	size    atomic.Int64
	queued  atomic.Bool // waits for the syncer
	garbage atomic.Bool // bytes of a failed write lie behind the end; the syncer cuts them off
	closed  atomic.Bool
	cutting atomic.Bool   // a cut was requested and has not ended
	swaps   atomic.Uint64 // how often compaction has put segments in the place of others
	lost    atomic.Bool   // recovery found it to end below its durable point
	tracked atomic.Bool   // is in the directory's set of logs to checkpoint

	lastSync chan error // told when a round begun after closing has ended

	// The appender's own.
	requested     wire.Offset // the end at the last request for a sync
	sinceSnapshot int64       // bytes appended since the last snapshot of the producers
	stamped       int64       // when the time of an append was last written down, in stampedIn
	stampedIn     *segment

	mu          sync.RWMutex
	segments    []*segment // at least one; only the last one grows
	epochs      []EpochStart
	epochsDirty bool       // since they were last written to their file
	dirDirty    bool       // a segment file was created since the directory was last synced
	unindexed   []*segment // sealed, and their index files not written yet
	flushedSize int64      // of the last segment, where flushed lies; -1 when it lies elsewhere
	damage      damageLog
	snapshots   []wire.Offset // of producers, ascending
	cutRequest  *cutRequest   // that the syncer has not begun with

	// reshaping is held by whoever takes away or swaps sealed segments, from looking at the list on.
	reshaping sync.Mutex
	// indexing serialises the loading and repairing of index files.
	indexing sync.Mutex
	// naming is held, for reading, while a file of a segment is opened by its name, and while a
	// segment gets another one.
	naming sync.RWMutex

	resting atomic.Int64 // compaction is not tried again before that time; see cleaner.go
}

var generations atomic.Uint64

// Ref returns which partition's log it is.
func (l *Log) Ref() LogRef { return l.ref }

// Dir returns the directory that the log is in.
func (l *Log) Dir() *Dir { return l.dir }

// Generation tells this opening of the log from all others in the process, and the log before a cut
// from the one after it.
func (l *Log) Generation() uint64 { return l.generation.Load() }

// SetConfig changes the configuration from the next operation on.
func (l *Log) SetConfig(cfg LogConfig) { l.config.Store(&cfg) }

// Config returns the configuration in force.
func (l *Log) Config() LogConfig { return *l.config.Load() }

// StartOffset returns the first offset kept.
func (l *Log) StartOffset() wire.Offset { return wire.Offset(l.start.Load()) }

// EndOffset returns the offset that the next record gets.
func (l *Log) EndOffset() wire.Offset { return wire.Offset(l.end.Load()) }

// FlushedOffset returns the offset below which everything is durable.
func (l *Log) FlushedOffset() wire.Offset { return wire.Offset(l.flushed.Load()) }

// Size returns the bytes of all segments.
func (l *Log) Size() int64 { return l.size.Load() }

// SetHighWatermark remembers the high watermark for the directory's checkpoint.
func (l *Log) SetHighWatermark(hw wire.Offset) {
	if l.hw.Swap(int64(hw)) != int64(hw) {
		if l.dir.due.Load()&dueWatermarks == 0 {
			l.dir.due.Or(dueWatermarks)
		}
	}
}

// watermark returns the high watermark for the checkpoint.
func (l *Log) watermark() wire.Offset { return wire.Offset(min(l.hw.Load(), l.end.Load())) }

// CheckpointedHighWatermark returns the high watermark that was last set, also in an earlier run,
// but never one beyond the log.
func (l *Log) CheckpointedHighWatermark() wire.Offset {
	return wire.Offset(min(max(l.hw.Load(), l.start.Load()), l.end.Load()))
}

// growing returns the segment that grows, for the appender.
func (l *Log) growing() *segment {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.active()
}

// active returns the segment that grows. The caller holds the mutex, or nobody else knows the log.
func (l *Log) active() *segment { return l.segments[len(l.segments)-1] }

// find returns the place of the segment whose range holds offset. The caller holds the mutex.
func (l *Log) find(offset wire.Offset) int {
	return max(0, sort.Search(len(l.segments), func(i int) bool { return l.segments[i].base > offset })-1)
}

// RequestSync asks the directory's syncer to make everything up to the present end durable, and
// to say so through LogConfig.Synced. Requests that arrive during an fsync share the next one. It
// does nothing when an earlier request already covers the end, or while the log is being cut.
func (l *Log) RequestSync() {
	end := l.EndOffset()
	if l.requested == end || l.cutting.Load() {
		return
	}
	l.requested = end
	l.dir.syncer.request(l)
}

// corruption makes damage into an error, counts it, and logs it once for each place.
func (l *Log) corruption(s *segment, position int64, offset wire.Offset, reason error) error {
	if position >= s.cutAt.Load() {
		return l.errCut()
	}
	err := &CorruptionError{Path: l.file(s.base, logSuffix), Position: position, Offset: offset, Reason: reason.Error()}
	l.mu.Lock()
	first := l.damage.add(s.base, position)
	l.mu.Unlock()
	if first {
		l.dir.metrics.corrupt()
		l.dir.log.Error("log is corrupt; its bytes are kept", "topic", l.ref.Topic, "partition", l.ref.Partition,
			"file", err.Path, "position", position, "offset", offset, "err", reason)
	}
	return err
}

// damageLog remembers where damage was reported, so that a reader who comes again and again does
// not fill the log. Beyond its bound nothing more is reported.
type damageLog map[damagePlace]struct{}

type damagePlace struct {
	base     wire.Offset
	position int64
}

const maxDamagePlaces = 100

func (d *damageLog) add(base wire.Offset, position int64) bool {
	p := damagePlace{base, position}
	if _, known := (*d)[p]; known || len(*d) >= maxDamagePlaces {
		return false
	}
	if *d == nil {
		*d = damageLog{}
	}
	(*d)[p] = struct{}{}
	return true
}

// errClosed is what a closed log answers.
func (l *Log) errClosed() error {
	return wire.Errorf(wire.KafkaStorageError, "the log of %s is closed", l.ref)
}

// errCut is what a reader is told whose bytes were cut off meanwhile, and an appender until a cut
// has ended. It is retriable.
func (l *Log) errCut() error {
	return wire.Errorf(wire.KafkaStorageError, "the log of %s is being cut", l.ref)
}

// wrap adds which log it was to an error of the disk.
func (l *Log) wrap(operation string, at wire.Offset, err error) error {
	return fmt.Errorf("%s %s at %d: %w", operation, l.ref, at, err)
}
