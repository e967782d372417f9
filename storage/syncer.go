package storage

import (
	"errors"
	"sync"

	"github.com/troupe-mq/troupe/wire"
)

// syncer makes appends durable, many with one fsync: group commit. There is one for each
// directory, with one goroutine. An idle syncer begins at once; what is asked for while it syncs
// shares the next round.
//
//	appender   write, request(log) .... write, request(log) ... request(other log)
//	syncer     | round 1: capture end, fsync        | round 2: both logs, fsync  | ...
//	                                                 '-> Synced{round 1}          '-> Synced{round 2}
//
// A round captures the end of each log that asked, syncs all files that were written since their
// last sync, oldest segment first in the log but in any order on the disk, and the directories in
// which files were created; only then do the flushed offsets move to the captured ends. So a
// flushed offset never enters a segment whose predecessor, or whose directory entry, may be lost.
//
// After an error nothing is known of what is on the disk, and a second fsync may well succeed
// without having written anything: the directory goes offline, and all who wait are told.
type syncer struct {
	dir    *Dir
	volume Volume // nil where volumes cannot be synced as a whole

	mu      sync.Mutex
	queue   []*Log
	stopped bool
	wake    chan struct{}
	done    chan struct{}

	// Used by the syncer's goroutine alone, kept from round to round.
	logs  []*Log
	jobs  []syncJob
	files []syncFile
	dirs  []*Log
	whole bool // a file is closed already: the volume must be synced
}

// syncJob is what a round does for one log.
type syncJob struct {
	log   *Log
	end   wire.Offset
	files []syncFile // part of syncer.files
	last  bool       // the log is closed: nothing comes after this
}

type syncFile struct {
	log  *Log
	s    *segment
	file *openFile // nil: closed
	size int64
}

const (
	// syncFilesMax is how many dirty files are synced one by one; a round with more syncs the volume.
	syncFilesMax = 8
	// syncConcurrency is how many files are synced at once: their journal commits are shared.
	syncConcurrency = 4
)

func newSyncer(d *Dir) *syncer {
	s := &syncer{dir: d, wake: make(chan struct{}, 1), done: make(chan struct{})}
	if v, ok := d.fsys.(volumeFS); ok {
		volume, err := v.OpenVolume(d.path)
		if err == nil {
			s.volume = volume
		} else if !errors.Is(err, errors.ErrUnsupported) {
			d.log.Warn("volume cannot be synced as a whole", "dir", d.path, "err", err)
		}
	}
	return s
}

// request puts a log into the next round.
func (s *syncer) request(l *Log) {
	if l.queued.Swap(true) {
		return
	}
	s.mu.Lock()
	s.queue = append(s.queue, l)
	s.mu.Unlock()
	s.signal()
}

func (s *syncer) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run is the syncer's goroutine. Requests made before stop are still served.
func (s *syncer) run() {
	defer close(s.done)
	for {
		<-s.wake
		for s.round() {
		}
		s.mu.Lock()
		stopped := s.stopped
		s.mu.Unlock()
		if stopped {
			return
		}
	}
}

func (s *syncer) stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.signal()
	<-s.done
	if s.volume != nil {
		_ = s.volume.Close()
	}
}

// round serves all present requests, and says false when there were none.
func (s *syncer) round() bool {
	s.mu.Lock()
	s.logs, s.queue = s.queue, s.logs[:0]
	s.mu.Unlock()
	if len(s.logs) == 0 {
		return false
	}
	s.cutLogs()
	s.capture()
	began := s.dir.cfg.Now()
	err := s.dir.Err()
	if err == nil {
		if err = s.syncAll(); err != nil {
			s.dir.fail(err)
		}
		s.dir.metrics.synced(s.dir.cfg.Now().Sub(began), err)
	}
	if err != nil {
		err = s.dir.offline()
	}
	for i := range s.jobs {
		s.jobs[i].log.synced(&s.jobs[i], err)
		s.jobs[i] = syncJob{}
	}
	for _, f := range s.files {
		f.file.Release()
	}
	clear(s.logs)
	clear(s.files)
	clear(s.dirs)
	return true
}

// capture notes what each log has written and not synced.
func (s *syncer) capture() {
	s.jobs, s.files, s.dirs, s.whole = s.jobs[:0], s.files[:0], s.dirs[:0], false
	for _, l := range s.logs {
		if l.garbage.Load() {
			l.cutGarbage()
		}
		first := len(s.files)
		l.mu.Lock()
		job := syncJob{log: l, end: l.EndOffset(), last: l.closed.Load()}
		for i := len(l.segments) - 1; i >= 0; i-- {
			seg := l.segments[i]
			if seg.dirty {
				if seg.unsynced != nil {
					seg.unsynced.retain() // the log may be closed in the middle of the round
				} else {
					s.whole = true
				}
				s.files = append(s.files, syncFile{l, seg, seg.unsynced, seg.size})
			} else if seg.size > 0 {
				break // what lies before was synced with it
			}
		}
		if l.dirDirty {
			l.dirDirty = false
			s.dirs = append(s.dirs, l)
		}
		l.mu.Unlock()
		job.files = s.files[first:len(s.files):len(s.files)]
		s.jobs = append(s.jobs, job)
	}
}

func (s *syncer) syncAll() error {
	if s.whole || len(s.files)+len(s.dirs) > syncFilesMax && s.volume != nil {
		return s.volume.Sync()
	}
	if err := syncFiles(s.files); err != nil {
		return err
	}
	for _, l := range s.dirs {
		// A log that was deleted meanwhile has no directory any more.
		if err := s.dir.fsys.SyncDir(l.path); err != nil && (!l.closed.Load() || !isMissing(err)) {
			return l.wrap("sync the directory of", l.EndOffset(), err)
		}
	}
	return nil
}

// syncFiles syncs a few files at a time.
func syncFiles(files []syncFile) error {
	if len(files) == 1 {
		return files[0].sync()
	}
	var group sync.WaitGroup
	errs := make([]error, len(files))
	for worker := range min(syncConcurrency, len(files)) {
		group.Go(func() {
			for i := worker; i < len(files); i += syncConcurrency {
				errs[i] = files[i].sync()
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func (f *syncFile) sync() error {
	if err := f.file.Sync(); err != nil {
		return f.log.wrap("sync", f.log.EndOffset(), err)
	}
	return nil
}

// synced ends a round for one log.
func (l *Log) synced(job *syncJob, err error) {
	l.mu.Lock()
	var release []*openFile
	if err == nil {
		for _, f := range job.files {
			if f.s.dirty && f.s.unsynced == f.file && f.s.size == f.size {
				release = append(release, f.s.clean())
			}
		}
		if int64(job.end) > l.flushed.Load() {
			l.flushed.Store(int64(job.end))
		}
		l.flushedSize = -1
		if n := len(job.files); n > 0 && job.files[0].s == l.active() {
			l.flushedSize = job.files[0].size
		} else if l.FlushedOffset() == l.EndOffset() {
			l.flushedSize = l.active().size
		}
	}
	l.mu.Unlock()
	for _, f := range release {
		f.Release()
	}
	if job.last {
		select {
		case l.lastSync <- err:
		default: // the log was abandoned: nobody waits
		}
	} else if cfg := l.config.Load(); cfg.Synced != nil && !l.closed.Load() {
		cfg.Synced(Synced{Generation: l.Generation(), UpTo: job.end, Err: err})
	}
}

// cutGarbage removes what a failed write left behind the end of the log, durably, before appends
// go on: a shorter batch written over it would have old bytes behind it.
func (l *Log) cutGarbage() {
	l.mu.RLock()
	s := l.active()
	size := s.size
	l.mu.RUnlock()
	f, err := l.openSegment(s)
	if err == nil {
		if err = f.Truncate(size); err == nil {
			err = f.Sync()
		}
		f.Release()
	}
	if err != nil {
		if !l.closed.Load() {
			l.dir.fail(l.wrap("cut a failed write off", l.EndOffset(), err))
		}
		return
	}
	l.garbage.Store(false)
}
