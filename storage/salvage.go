package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/troupe-mq/troupe/wire"
)

// A log that is damaged below its durable point has lost what was promised to be there. It is not
// opened, unless LogConfig.Salvage says that other copies can fill it again: then it is opened up
// to the damage. What comes behind is set aside in files that end in .damaged, never deleted, and
// a file tells of the loss until somebody says that it is made good: this copy must not be
// counted for what it has not got, also if the broker is restarted before it could tell.

const (
	damagedSuffix = ".damaged"
	lossFile      = "lost-durable"
)

// lose reports damage below the durable point. It returns nil when the log may be opened
// nevertheless, and the loss is written down.
func (l *Log) lose(s *segment, position int64, end wire.Offset, reason error) error {
	err := l.corruption(s, position, end, reason)
	if !l.config.Load().Salvage {
		return err
	}
	l.lost.Store(true)
	content := fmt.Sprintf("version: 0\nend: %d\n", end)
	return writeFileAtomically(l.dir.fsys, filepath.Join(l.path, lossFile), []byte(content), durably)
}

// loadLoss looks whether an earlier opening lost something.
func (l *Log) loadLoss() error {
	_, err := l.dir.fsys.Stat(filepath.Join(l.path, lossFile))
	if isMissing(err) {
		return nil
	}
	l.lost.Store(err == nil)
	return err
}

// LostDurable says that recovery, at this opening or at an earlier one, found the log to end below
// its durable point, and nobody has called LossRepaired since.
func (l *Log) LostDurable() bool { return l.lost.Load() }

// LossRepaired forgets that the log had lost something: it has all of it again, from another copy,
// and durably.
func (l *Log) LossRepaired() error {
	if !l.lost.Load() {
		return nil
	}
	if err := l.removeFiles([]string{lossFile}); err != nil {
		return l.wrap("forget the loss of", l.EndOffset(), err)
	}
	l.lost.Store(false)
	return nil
}

// setAside renames the segments from place i on, newest first.
func (r *recovery) setAside(i int, end wire.Offset) error {
	l := r.l
	r.cut = true
	if len(l.segments) == i {
		return nil
	}
	for ; len(l.segments) > i; l.segments = l.segments[:len(l.segments)-1] {
		s := l.active()
		l.dir.log.Warn("segment behind damage set aside", "topic", l.ref.Topic, "partition", l.ref.Partition,
			"file", l.file(s.base, logSuffix), "offset", end, "bytes", s.size)
		l.forgetFiles(s)
		l.size.Add(-s.size)
		if err := l.dir.fsys.Rename(l.file(s.base, logSuffix), l.damagedFile(s, 0)); err != nil {
			return err
		}
		for _, suffix := range []string{indexSuffix, timesSuffix, appendedSuffix} {
			if err := l.dir.fsys.Remove(l.file(s.base, suffix)); err != nil && !isMissing(err) {
				return err
			}
		}
	}
	return l.dir.fsys.SyncDir(l.path)
}

// damagedFile names what is set aside of a segment.
func (l *Log) damagedFile(s *segment, position int64) string {
	return l.file(s.base, logSuffix) + "." + strconv.FormatInt(position, 10) + damagedSuffix
}

// keepTail copies what comes from position on in a segment, before it is cut off.
func (l *Log) keepTail(s *segment, f *openFile, position int64) error {
	name := l.damagedFile(s, position)
	l.dir.log.Warn("bytes behind damage set aside", "topic", l.ref.Topic, "partition", l.ref.Partition,
		"file", name, "from", position, "to", s.size)
	to, err := l.dir.fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, filePerm)
	if err != nil {
		return err
	}
	window := windows.Get().(*[scanWindow]byte)
	defer windows.Put(window)
	for at := position; at < s.size && err == nil; at += scanWindow {
		chunk := window[:min(scanWindow, s.size-at)]
		if err = readFull(f, chunk, at); err == nil {
			_, err = to.WriteAt(chunk, at-position)
		}
	}
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return err
	}
	return l.dir.fsys.SyncDir(l.path)
}
