package storage

import (
	"errors"
	"io"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// scrubber reads every sealed segment again and again, slowly, so that a bit that flipped on the
// disk is found while other copies are still whole, and not when the last one is read.
type scrubber struct {
	dir  *Dir
	stop chan struct{}
	done chan struct{}
}

const (
	// scrubPause lies before each pass over the directory.
	scrubPause = time.Hour
	// scrubStep is how much is read between two looks at the clock.
	scrubStep = 1 << 20
)

func newScrubber(d *Dir) *scrubber {
	return &scrubber{dir: d, stop: make(chan struct{}), done: make(chan struct{})}
}

func (s *scrubber) run() {
	defer close(s.done)
	if s.dir.cfg.ScrubBytesPerSecond == 0 {
		return
	}
	timer := time.NewTimer(scrubPause)
	defer timer.Stop()
	wait := func(d time.Duration) bool {
		timer.Reset(d)
		select {
		case <-s.stop:
			return false
		case <-timer.C:
			return true
		}
	}
	for wait(scrubPause) {
		s.pass(func(read int64) bool {
			return wait(time.Duration(float64(read) / float64(s.dir.cfg.ScrubBytesPerSecond) * float64(time.Second)))
		})
	}
}

// pass verifies all sealed segments of the logs that are open. It asks after each step whether to go
// on.
func (s *scrubber) pass(goOn func(read int64) bool) {
	d := s.dir
	for _, l := range d.openLogs() {
		for i := 0; ; i++ {
			seg, size, next, ok := l.segmentAt(i)
			if !ok || next == l.EndOffset() || l.closed.Load() || d.Err() != nil {
				break
			}
			if !l.scrub(seg, size, next, goOn) {
				return
			}
		}
	}
}

// scrub verifies one segment, behind which the next one begins at next. It says false when the pass
// is to end.
func (l *Log) scrub(s *segment, size int64, next wire.Offset, goOn func(read int64) bool) bool {
	f, err := l.openSegment(s)
	if err != nil {
		return true // retention was faster; or a read will tell
	}
	defer f.Release()
	w := newWalker(f, s.base, 0, size, scanWindow)
	defer w.close()
	for from := int64(0); ; {
		h, err := w.header()
		if err == nil {
			err = w.verify(&h)
		}
		if err == nil {
			w.pass(&h)
		}
		if read := w.pos - from; read >= scrubStep || err != nil {
			l.dir.metrics.scrubbed(read)
			from = w.pos
			if !goOn(read) {
				return false
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) && w.next < next {
				err = errEnds
			}
			if !errors.Is(err, io.EOF) && !isReadError(err) {
				_ = l.corruption(s, w.pos, w.next, err) // it is logged and counted
			}
			return true
		}
	}
}

// openLogs returns the open logs, in order of their names.
func (d *Dir) openLogs() []*Log {
	d.mu.Lock()
	defer d.mu.Unlock()
	var logs []*Log
	for _, p := range d.points {
		if p.log != nil {
			logs = append(logs, p.log)
		}
	}
	slices.SortFunc(logs, func(a, b *Log) int { return comparePlaces(a.ref.place(), b.ref.place()) })
	return logs
}
