package storage

import (
	"path/filepath"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// Records are deleted up to any offset, so that a leader's log may start inside a batch. A follower
// that begins anew there has an empty log, and the first batch that it gets begins below its end:
//
//	start = end = 102                    00000000000000000102.log    no bytes
//	start = 102, end = 104  [100 .. 103] 00000000000000000100.log    the batch
//
// as if the log had been there before, and its start had moved. No batch lies below the offset that
// its segment is named by, so the file gets another name:
//
//	checkpoint the start, durably     or the log would be found to start at 100
//	write the batch, sync the file    what a crash leaves is no batch that may stand there: a torn tail
//	rename it, sync the directory     now it may
//
// So recovery finds the empty log, or the whole batch; both start where the log was emptied.

// straddles says that the log is empty, and that its end lies in the batch whose header is h, but
// not at the beginning.
func (l *Log) straddles(h *record.Header) bool {
	end := l.EndOffset()
	l.mu.RLock()
	empty := len(l.segments) == 1 && l.active().size == 0
	l.mu.RUnlock()
	return empty && l.StartOffset() == end &&
		0 <= h.BaseOffset && h.BaseOffset < end && end <= h.LastOffset()
}

// beginInside makes a batch that straddles the log's end the first one in it. When it returns an error the
// log is as it was, or its directory offline.
func (l *Log) beginInside(cfg *LogConfig, h *record.Header, batch []byte) error {
	d, empty, s := l.dir, l.growing(), newSegment(h.BaseOffset)
	d.keeper.ticking.Lock()
	defer d.keeper.ticking.Unlock()
	if err := l.alone(empty); err != nil {
		return err
	}
	d.due.Or(dueStarts)
	if err := d.writeCheckpoints(); err != nil {
		return err
	}
	if err := l.writeFirst(empty, s, batch); err != nil {
		return err
	}
	s.created, s.modified = true, d.cfg.Now().UnixMilli()
	empty.cutAt.Store(0)
	l.mu.Lock()
	l.segments = []*segment{s}
	l.flushedSize = -1
	l.enter(cfg, s, batch, h.NextOffset())
	l.trimEpochs(l.StartOffset())
	l.mu.Unlock()
	l.forgetFiles(empty)
	l.stamp(s, batch)
	l.entered(len(batch))
	return nil
}

// alone returns an error as long as the directory holds files of other segments than s, which the
// keeper is going to remove: one may have the name that is wanted.
func (l *Log) alone(s *segment) error {
	entries, err := l.dir.fsys.ReadDir(l.path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		suffix := filepath.Ext(entry.Name())
		base, ok := parseOffsetFile(entry.Name(), suffix)
		if ok && base != s.base && suffix != snapshotSuffix {
			return wire.Errorf(wire.KafkaStorageError, "%s is not removed yet", filepath.Join(l.path, entry.Name()))
		}
	}
	return nil
}

// writeFirst writes a batch into the file of an empty segment, and makes it that of s, durably.
func (l *Log) writeFirst(empty, s *segment, batch []byte) error {
	if !empty.created {
		if err := l.create(empty); err != nil {
			return err
		}
	}
	f, err := l.openSegment(empty)
	if err != nil {
		return err
	}
	defer f.Release()
	if _, err = f.WriteAt(batch, 0); err == nil {
		if err = f.Sync(); err != nil {
			l.dir.fail(l.wrap("sync the first batch of", l.EndOffset(), err))
			return l.dir.offline()
		}
		err = l.dir.fsys.Rename(l.file(empty.base, logSuffix), l.file(s.base, logSuffix))
	}
	if err != nil {
		l.garbage.Store(true)
		l.dir.syncer.request(l)
		return err
	}
	if err := l.dir.fsys.SyncDir(l.path); err != nil {
		l.dir.fail(l.wrap("sync the directory of", l.EndOffset(), err))
		return l.dir.offline()
	}
	return nil
}
