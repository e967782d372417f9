package storage

import (
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// keeper does, on one goroutine for each directory, what no appender and no sync may wait for:
// it syncs logs that nobody asked to sync, writes index files, epochs, producer snapshots and
// checkpoints, removes files, and looks how full the volume is.
type keeper struct {
	dir  *Dir
	wake chan struct{}
	stop chan struct{}
	done chan struct{}

	mu        sync.Mutex
	tracked   []*Log // written to since their recovery point was last at their end
	snapshots []snapshotJob
	reindexed []indexJob
	removals  []removal

	ticking sync.Mutex // one tick at a time; Close makes the last one
}

type snapshotJob struct {
	log       *Log
	offset    wire.Offset
	producers []wire.ProducerBatch
}

// removal is a file or directory to be removed. Once its log is closed the name may be another
// log's; what is then left below the log start is found when that log is opened again.
type removal struct {
	log  *Log // nil: no log has it
	name string
}

type indexJob struct {
	log *Log
	s   *segment
}

// indexFlushBytes is how much of an active segment may be missing from its index files, and is
// walked again at the next start.
const indexFlushBytes = 32 << 20

func newKeeper(d *Dir) *keeper {
	return &keeper{dir: d, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
}

func (k *keeper) run() {
	defer close(k.done)
	ticker := time.NewTicker(k.dir.cfg.CheckpointInterval)
	defer ticker.Stop()
	for {
		select {
		case <-k.stop:
			return
		case <-k.wake:
			k.dir.checkSpace()
		case <-ticker.C:
			k.tick()
		}
	}
}

// snapshot writes what is known of a log's producers at offset.
func (k *keeper) snapshot(l *Log, offset wire.Offset, producers []wire.ProducerBatch) {
	k.mu.Lock()
	k.snapshots = append(k.snapshots, snapshotJob{l, offset, producers})
	k.mu.Unlock()
}

// reindex has the index files of a segment written again.
func (k *keeper) reindex(l *Log, s *segment) {
	k.mu.Lock()
	k.reindexed = append(k.reindexed, indexJob{l, s})
	k.mu.Unlock()
}

// remove deletes files of a log, or others, once the log starts have been checkpointed.
func (k *keeper) remove(l *Log, names ...string) {
	k.mu.Lock()
	for _, name := range names {
		k.removals = append(k.removals, removal{l, name})
	}
	k.mu.Unlock()
}

// forget drops what is still to be done for files of a log that a cut takes away, and then perhaps
// makes anew: those whose offset and suffix gone tells. The caller holds ticking.
func (k *keeper) forget(l *Log, gone func(wire.Offset, string) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.snapshots = slices.DeleteFunc(k.snapshots, func(j snapshotJob) bool { return j.log == l && gone(j.offset, snapshotSuffix) })
	k.reindexed = slices.DeleteFunc(k.reindexed, func(j indexJob) bool { return j.log == l && gone(j.s.base, indexSuffix) })
	k.removals = slices.DeleteFunc(k.removals, func(r removal) bool {
		suffix := filepath.Ext(r.name)
		offset, ok := parseOffsetFile(filepath.Base(r.name), suffix)
		return r.log == l && ok && gone(offset, suffix)
	})
}

// settled returns when no tick is under way that began before the call: whoever opens a log waits
// for what is still being done for one of the same name that was closed.
func (k *keeper) settled() {
	k.ticking.Lock()
	defer k.ticking.Unlock()
}

// tick does all that is due.
func (k *keeper) tick() {
	k.ticking.Lock()
	defer k.ticking.Unlock()
	d := k.dir
	d.checkSpace()
	if d.Err() != nil {
		return
	}
	k.mu.Lock()
	tracked, snapshots, reindexed, removals := k.tracked, k.snapshots, k.reindexed, k.removals
	k.tracked, k.snapshots, k.reindexed, k.removals = nil, nil, nil, nil
	k.mu.Unlock()

	for _, job := range snapshots {
		if !job.log.closed.Load() {
			d.chore("write a producer snapshot of", job.log, job.log.writeSnapshot(job.offset, job.producers))
		}
	}
	for _, job := range reindexed {
		if !job.log.closed.Load() {
			d.chore("write the index of", job.log, job.log.writeIndexes(job.s))
		}
	}
	for _, l := range tracked {
		l.tracked.Store(false) // before the end is read: later appends track it again
		if !k.settle(l) {
			d.track(l)
		}
	}
	if err := d.writeCheckpoints(); err != nil {
		d.chore("write the checkpoints of", nil, err)
	}
	d.syncBefore(removals)
	for _, r := range removals {
		if r.log != nil && r.log.closed.Load() {
			continue
		}
		if err := d.fsys.RemoveAll(r.name); err != nil {
			d.log.Warn("file cannot be removed", "file", r.name, "err", err)
		}
	}
}

// syncBefore makes the directories durable that files are about to be removed from: a segment that
// took the place of the removed ones must be there before they go, in whatever order the file
// system keeps its promises.
func (d *Dir) syncBefore(removals []removal) {
	synced := make(map[string]bool)
	for _, r := range removals {
		parent := filepath.Dir(r.name)
		if parent == d.path || synced[parent] {
			continue
		}
		synced[parent] = true
		if err := d.fsys.SyncDir(parent); err != nil && !isMissing(err) {
			d.chore("sync", nil, err)
		}
	}
}

// settle brings the recovery point of a log up to its flushed offset. It says true when nothing is
// left to do.
func (k *keeper) settle(l *Log) bool {
	if l.closed.Load() {
		return true
	}
	flushed := l.FlushedOffset()
	if flushed < l.EndOffset() {
		k.dir.syncer.request(l)
	}
	if err := l.saveForRecovery(); err != nil {
		k.dir.chore("checkpoint", l, err)
		return false
	}
	k.dir.setRecoveryPoint(l, flushed)
	return flushed == l.EndOffset()
}

// saveForRecovery makes durable what recovery will not find out from batches below the present
// flushed offset: the indexes of sealed segments and the leader epochs.
func (l *Log) saveForRecovery() error {
	l.mu.RLock()
	sealed := slices.Clone(l.unindexed)
	active := l.active()
	behind := active.indexes.loaded && active.size-active.indexes.indexedTo >= indexFlushBytes
	l.mu.RUnlock()
	for _, s := range sealed {
		if err := l.writeIndexes(s); err != nil {
			return err
		}
	}
	if len(sealed) > 0 {
		l.mu.Lock()
		// Retention may have taken some of them away.
		l.unindexed = slices.DeleteFunc(l.unindexed, func(s *segment) bool { return slices.Contains(sealed, s) })
		l.mu.Unlock()
	}
	if behind {
		if err := l.writeIndexes(active); err != nil {
			return err
		}
	}
	return l.saveEpochs()
}

// writeSnapshot writes a producer snapshot. Its checksum tells a torn one, so it is not synced.
func (l *Log) writeSnapshot(offset wire.Offset, producers []wire.ProducerBatch) error {
	if err := writeFileAtomically(l.dir.fsys, l.file(offset, snapshotSuffix), encodeProducers(producers), notDurably); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i, found := slices.BinarySearch(l.snapshots, offset); !found {
		l.snapshots = slices.Insert(l.snapshots, i, offset)
	}
	// One for each segment is kept, and the newest one.
	l.snapshots = slices.DeleteFunc(l.snapshots, func(old wire.Offset) bool {
		if old == l.snapshots[len(l.snapshots)-1] || slices.ContainsFunc(l.segments, func(s *segment) bool { return s.base == old }) {
			return false
		}
		l.dir.keeper.remove(l, l.file(old, snapshotSuffix))
		return true
	})
	return nil
}

// chore handles the failure of something that may be done again later if the disk was merely full.
func (d *Dir) chore(what string, l *Log, err error) {
	switch {
	case err == nil || l != nil && l.closed.Load():
	case IsFull(err):
		d.becomeFull()
	case isCrowded(err):
		d.log.Warn("too many open files", "dir", d.path, "err", err)
	case l != nil:
		d.fail(l.wrap(what, l.EndOffset(), err))
	default:
		d.fail(err)
	}
}

// resumeBytes must be free before appends go on after the disk was full, if no reserve is kept:
// otherwise they would begin again with every page that somebody frees.
const resumeBytes = 1 << 20

// checkSpace compares the free space with the reserve, and opens or closes the directory for
// appends. Some more than the reserve must be free before they go on, or it would flutter.
func (d *Dir) checkSpace() {
	if d.cfg.ReserveBytes == 0 && d.Writable() {
		return
	}
	_, free, err := d.fsys.Space(d.path)
	if err != nil {
		d.log.Warn("free space is unknown", "dir", d.path, "err", err)
		return
	}
	d.unchecked.Store(0)
	resume := d.cfg.ReserveBytes + d.cfg.ReserveBytes/8
	if d.cfg.ReserveBytes == 0 {
		resume = resumeBytes
	}
	switch {
	case free < max(d.cfg.ReserveBytes, 1):
		d.becomeFull()
	case free >= resume && d.full.Swap(false):
		d.log.Info("disk has space again; appends go on", "dir", d.path, "free", free)
	}
}

func (d *Dir) becomeFull() {
	if !d.full.Swap(true) {
		d.log.Warn("disk is full up to its reserve; appends are refused", "dir", d.path, "reserve", d.cfg.ReserveBytes)
	}
}

// errDiskFull is retriable: clients try again until their delivery timeout.
var errDiskFull = wire.Errorf(wire.KafkaStorageError, "disk full: the log directory is at its reserve of free space")
