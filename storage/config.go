package storage

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// LogConfig is the part of a topic's configuration that its logs obey.
type LogConfig struct {
	SegmentBytes       int64         // segment.bytes
	LargeBatches       bool          // batches larger than that are taken: each gets a segment of its own
	SegmentAge         time.Duration // segment.ms
	IndexIntervalBytes int           // index.interval.bytes
	RetentionBytes     int64         // retention.bytes; <0: no limit
	RetentionAge       time.Duration // retention.ms; <0: no limit

	Delete           bool          // cleanup.policy has delete: retention removes segments
	Compact          bool          // cleanup.policy has compact: the last record of each key is kept
	MinCompactionLag time.Duration // min.compaction.lag.ms
	MaxCompactionLag time.Duration // max.compaction.lag.ms
	DeleteRetention  time.Duration // delete.retention.ms
	MinDirtyRatio    float64       // min.cleanable.dirty.ratio

	// Fsync makes each Append ask the directory's syncer for a group commit (durability=fsync).
	// Without it a log is synced every CheckpointInterval of its directory, and by RequestSync.
	Fsync bool
	// Salvage has a log opened that is damaged below its durable point, up to the damage, since there
	// are copies that it can be filled from again. LostDurable tells.
	Salvage bool
	// Synced is told the outcome of group commits, on the syncer's goroutine. It must not block.
	Synced func(Synced)
	// Cut is told the outcome of RequestCut, on the syncer's goroutine. It must not block.
	Cut func(Cut)
	// Producers returns what to put into a snapshot of the producers at the log's end, or nil when
	// it cannot tell: then there is no snapshot, and recovery reads the batches. It is called
	// on the appender's goroutine at each roll, and at Close.
	Producers func() []wire.ProducerBatch
}

// Synced says that the log is durable below UpTo, or that it cannot be made so. It is about one
// generation of the log: whoever has another one by now ignores it.
type Synced struct {
	Generation uint64
	UpTo       wire.Offset
	Err        error
}

// Cut says what a log is after RequestCut, or that it could not be cut. Appends are taken again.
type Cut struct {
	Generation          uint64 // the log's from now on; what is told of an older one is void
	Start, End, Flushed wire.Offset
	LastEpoch           wire.LeaderEpoch
	Err                 error
}

// DefaultLogConfig returns Kafka's defaults, with Fsync.
func DefaultLogConfig() LogConfig {
	return LogConfig{
		SegmentBytes:       1 << 30,
		SegmentAge:         7 * 24 * time.Hour,
		IndexIntervalBytes: 4096,
		RetentionBytes:     -1,
		RetentionAge:       7 * 24 * time.Hour,
		Delete:             true,
		MaxCompactionLag:   math.MaxInt64,
		DeleteRetention:    24 * time.Hour,
		MinDirtyRatio:      0.5,
		Fsync:              true,
	}
}

// Validate refuses what no log can do.
func (c LogConfig) Validate() error {
	switch {
	case c.SegmentBytes < 1 || c.SegmentBytes > math.MaxInt32:
		return fmt.Errorf("segment.bytes is %d: want 1 to %d", c.SegmentBytes, math.MaxInt32)
	case c.SegmentAge <= 0:
		return fmt.Errorf("segment.ms is %s: want more than 0", c.SegmentAge)
	case c.IndexIntervalBytes < 0:
		return fmt.Errorf("index.interval.bytes is %d: want 0 or more", c.IndexIntervalBytes)
	case c.MinCompactionLag < 0:
		return fmt.Errorf("min.compaction.lag.ms is %s: want 0 or more", c.MinCompactionLag)
	case c.MaxCompactionLag < 0:
		return fmt.Errorf("max.compaction.lag.ms is %s: want 0 or more", c.MaxCompactionLag)
	case c.DeleteRetention < 0:
		return fmt.Errorf("delete.retention.ms is %s: want 0 or more", c.DeleteRetention)
	case !(c.MinDirtyRatio >= 0 && c.MinDirtyRatio <= 1):
		return fmt.Errorf("min.cleanable.dirty.ratio is %v: want 0 to 1", c.MinDirtyRatio)
	}
	return nil
}

// DirConfig configures a log directory.
type DirConfig struct {
	ReserveBytes        int64            // free space below which appends are refused; 0: none
	CheckpointInterval  time.Duration    // between the durable points that recovery starts from
	MaxOpenFiles        int              // of segments and indexes, beyond those being written
	OpenConcurrency     int              // logs opened at once
	ScrubBytesPerSecond int64            // read by the background verifier; 0: it does not run
	CleanInterval       time.Duration    // between two looks for logs to compact; 0: none is compacted
	CleanBytesPerSecond int64            // read and written by compaction; 0: as fast as it goes
	CleanMemory         int64            // bytes for the keys of a log that is compacted
	BootID              string           // of this run of the machine; "": every start counts as one
	Now                 func() time.Time // required
	Metrics             *Metrics         // nil: not counted
}

// DefaultDirConfig returns the defaults of everything but the clock.
func DefaultDirConfig() DirConfig {
	return DirConfig{
		ReserveBytes:        256 << 20,
		CheckpointInterval:  time.Second,
		MaxOpenFiles:        max(64, maxOpenFiles()/4),
		OpenConcurrency:     4,
		ScrubBytesPerSecond: 20 << 20,
		CleanInterval:       15 * time.Second,
		CleanBytesPerSecond: 64 << 20,
		CleanMemory:         128 << 20,
		BootID:              BootID(),
	}
}

// Validate refuses what cannot work.
func (c DirConfig) Validate() error {
	switch {
	case c.Now == nil:
		return errors.New("a log directory needs a clock")
	case c.ReserveBytes < 0:
		return fmt.Errorf("the disk reserve is %d bytes: want 0 or more", c.ReserveBytes)
	case c.CheckpointInterval <= 0:
		return fmt.Errorf("the checkpoint interval is %s: want more than 0", c.CheckpointInterval)
	case c.MaxOpenFiles < 1:
		return fmt.Errorf("the limit of open files is %d: want 1 or more", c.MaxOpenFiles)
	case c.OpenConcurrency < 1:
		return fmt.Errorf("%d logs opened at once: want 1 or more", c.OpenConcurrency)
	case c.ScrubBytesPerSecond < 0:
		return fmt.Errorf("scrubbing %d bytes per second: want 0 or more", c.ScrubBytesPerSecond)
	case c.CleanInterval < 0:
		return fmt.Errorf("the interval of compaction is %s: want 0 or more", c.CleanInterval)
	case c.CleanBytesPerSecond < 0:
		return fmt.Errorf("compacting %d bytes per second: want 0 or more", c.CleanBytesPerSecond)
	case c.CleanMemory < 0:
		return fmt.Errorf("%d bytes for the keys of compaction: want 0 or more", c.CleanMemory)
	}
	return nil
}
