package storage

import (
	"errors"
	"math"
	"path/filepath"
	"sync"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// OpenLog opens a partition's log: it makes one if there is none, and recovers what is there. A
// log of that name with another topic id is an error that wraps wire.InconsistentTopicID; one that
// is damaged below its durable point is a *CorruptionError. If the log is open already, its
// appender is taken for dead: the log is closed and opened anew, with a new generation.
func (d *Dir) OpenLog(ref LogRef, cfg LogConfig) (*Log, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if d.Err() != nil {
		return nil, d.offline()
	}
	at := ref.place()
	if _, err := parsePlace(at.String()); err != nil || ref.ID.IsZero() {
		return nil, wire.Errorf(wire.InvalidTopic, "%q cannot be the name of a log with topic id %s", at, ref.ID)
	}
	if err := d.closeBefore(at); err != nil {
		return nil, err
	}
	l := &Log{dir: d, ref: ref, path: filepath.Join(d.path, at.String()), requested: -1, lastSync: make(chan error, 1)}
	l.generation.Store(generations.Add(1))
	l.stable.Store(math.MaxInt64)
	l.horizon.Store(record.NoTimestamp)
	l.config.Store(&cfg)
	if err := d.openFiles(l); err != nil {
		l.abandon()
		var corrupt *CorruptionError
		if !errors.As(err, &corrupt) && wire.Code(err) == wire.UnknownServerError {
			err = l.wrap("open", 0, err)
			d.log.Error("log cannot be opened", "topic", ref.Topic, "partition", ref.Partition, "err", err)
		}
		return nil, err
	}
	if l.FlushedOffset() < l.EndOffset() {
		d.track(l)
		d.syncer.request(l)
	}
	return l, nil
}

// closeBefore closes a log that is open in the same place, and waits until nobody works on one there.
func (d *Dir) closeBefore(at place) error {
	d.mu.Lock()
	var before *Log
	if p := d.points[at]; p != nil {
		before = p.log
	}
	d.mu.Unlock()
	if before != nil {
		if err := before.closeWith(nil); err != nil {
			return err
		}
	}
	d.mu.Lock()
	wait := d.closedPlaces[at]
	delete(d.closedPlaces, at)
	d.mu.Unlock()
	if wait {
		d.keeper.settled()
	}
	return nil
}

func (d *Dir) openFiles(l *Log) error {
	id, err := loadTopicID(d.fsys, l.path)
	if err != nil {
		entries, listErr := d.fsys.ReadDir(l.path)
		if listErr != nil && !isMissing(listErr) {
			return listErr
		}
		if !isUnfinished(entries) {
			return err
		}
		err := d.forgetPoints()
		if err == nil {
			err = d.makeFiles(l.ref, l.path)
		}
		if err != nil {
			if !passes(err) {
				d.fail(l.wrap("make the log of", 0, err))
			}
			return err
		}
		id = l.ref.ID
	}
	if id != l.ref.ID {
		return wire.Errorf(wire.InconsistentTopicID, "the log of %s belongs to topic id %s, not %s", l.ref, id, l.ref.ID)
	}
	at := l.ref.place()
	d.mu.Lock()
	p := d.points[at]
	if p == nil {
		p = &points{recovered: true} // there is nothing that a power cut could have torn
		d.points[at] = p
		d.due.Or(dueBoots)
	}
	known := *p
	d.mu.Unlock()
	sameBoot := known.recovered && d.cfg.BootID != ""
	if err := l.recover(known.recovery, known.start, sameBoot); err != nil {
		return err
	}
	end := l.EndOffset()
	l.hw.Store(int64(min(known.hw, end)))
	if known.hw > end {
		d.due.Or(dueWatermarks)
	}
	l.cleaned.Store(int64(min(known.cleaned, end)))
	if known.cleaned > end {
		d.due.Or(dueCleaned)
	}
	d.mu.Lock()
	p.log = l
	p.recovery = min(p.recovery, end)
	if !p.recovered {
		p.recovered = true
		d.due.Or(dueBoots)
	}
	d.mu.Unlock()
	if known.start <= end && known.recovery <= end && known.cleaned <= end {
		return nil
	}
	// The checkpoints speak of offsets that the log has lost, and will have again.
	return d.correctPoints()
}

// OpenLogAsync is OpenLog on one of the directory's few opening goroutines, where done is called.
func (d *Dir) OpenLogAsync(ref LogRef, cfg LogConfig, done func(*Log, error)) {
	queued := d.opener.do(func() { done(d.OpenLog(ref, cfg)) })
	if !queued {
		done(nil, wire.Errorf(wire.KafkaStorageError, "log directory %s is closing", d.path))
	}
}

// opener runs functions on a bounded number of goroutines, which end when there is nothing to do.
type opener struct {
	limit int

	mu      sync.Mutex
	queue   []func()
	running int
	stopped bool
	group   sync.WaitGroup
}

func (o *opener) do(fn func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stopped {
		return false
	}
	o.queue = append(o.queue, fn)
	if o.running < o.limit {
		o.running++
		o.group.Go(o.work)
	}
	return true
}

func (o *opener) work() {
	for {
		o.mu.Lock()
		if len(o.queue) == 0 {
			o.running--
			o.mu.Unlock()
			return
		}
		fn := o.queue[0]
		o.queue[0] = nil
		o.queue = o.queue[1:]
		o.mu.Unlock()
		fn()
	}
}

// stop waits for what is queued.
func (o *opener) stop() {
	o.mu.Lock()
	o.stopped = true
	o.mu.Unlock()
	o.group.Wait()
}

// Close makes the log durable, writes what the next opening wants to find, and closes it. It is the
// last call of the appender.
func (l *Log) Close() error {
	var producers []wire.ProducerBatch
	if cfg := l.config.Load(); cfg.Producers != nil && !l.closed.Load() {
		producers = cfg.Producers()
	}
	return l.closeWith(producers)
}

// closeWith closes the log with a snapshot of its producers, or with none when producers is nil.
func (l *Log) closeWith(producers []wire.ProducerBatch) error {
	if l.closed.Swap(true) {
		return nil
	}
	var err error
	if l.dir.Err() == nil {
		err = l.leave(producers)
		if err != nil && !passes(err) && l.dir.Err() == nil {
			err = l.wrap("close", l.EndOffset(), err)
			l.dir.fail(err)
		}
	}
	if err == nil {
		l.dir.setRecoveryPoint(l, l.FlushedOffset())
	}
	l.detach()
	return err
}

// leave does at once what the syncer and the keeper would do by and by.
func (l *Log) leave(producers []wire.ProducerBatch) error {
	// By the syncer, for it may be in the middle of a round with this log.
	l.dir.syncer.request(l)
	if err := <-l.lastSync; err != nil {
		return err
	}
	end := l.EndOffset()
	l.mu.RLock()
	n := len(l.snapshots)
	snapped := n > 0 && l.snapshots[n-1] == end
	l.mu.RUnlock()
	if producers != nil && end > 0 && !snapped {
		if err := l.writeSnapshot(end, producers); err != nil {
			return err
		}
	}
	l.mu.RLock()
	s := l.active()
	behind := len(s.indexes.tail) > s.indexes.onDisk
	l.mu.RUnlock()
	if behind {
		if err := l.writeIndexes(s); err != nil {
			return err
		}
	}
	return l.saveForRecovery()
}

// abandon closes the log without leaving anything behind that was not there before.
func (l *Log) abandon() {
	l.closed.Store(true)
	l.detach()
}

// detach takes the log out of the directory and lets go of its files.
func (l *Log) detach() {
	d := l.dir
	d.mu.Lock()
	d.closedPlaces[l.ref.place()] = true
	if p := d.points[l.ref.place()]; p != nil && p.log == l {
		p.start, p.hw, p.cleaned = l.StartOffset(), l.watermark(), l.CleanedOffset()
		p.log = nil
		d.due.Or(dueStarts | dueWatermarks)
	}
	d.mu.Unlock()
	l.mu.Lock()
	var files []*openFile
	for _, s := range l.segments {
		files = append(files, s.clean())
	}
	segments := l.segments
	l.mu.Unlock()
	for _, f := range files {
		f.Release()
	}
	for _, s := range segments {
		l.forgetFiles(s)
	}
}
