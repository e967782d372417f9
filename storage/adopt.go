package storage

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/troupe-mq/troupe/wire"
)

// What recovery takes over from the files beside the batches, as far as it can be believed.

// list finds the segments and snapshots in the directory and removes what a crash left behind.
func (l *Log) list() error {
	if err := l.completeSwaps(); err != nil {
		return err
	}
	entries, err := l.dir.fsys.ReadDir(l.path)
	if err != nil {
		return err
	}
	orphans := map[wire.Offset][]string{}
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case hasAnySuffix(name, tmpSuffix, deletedSuffix, cleanedSuffix):
			if err := l.dir.fsys.Remove(filepath.Join(l.path, name)); err != nil {
				return err
			}
		case strings.HasSuffix(name, logSuffix):
			base, ok := parseOffsetFile(name, logSuffix)
			if !ok {
				continue
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			s := newSegment(base)
			s.size, s.created, s.modified = info.Size(), true, info.ModTime().UnixMilli()
			s.indexes = indexes{}
			l.segments = append(l.segments, s)
			l.size.Add(s.size)
		case strings.HasSuffix(name, snapshotSuffix):
			if offset, ok := parseOffsetFile(name, snapshotSuffix); ok {
				l.snapshots = append(l.snapshots, offset)
			}
		case hasAnySuffix(name, indexSuffix, timesSuffix, appendedSuffix):
			if base, ok := parseOffsetFile(name, filepath.Ext(name)); ok {
				orphans[base] = append(orphans[base], name)
			}
		}
	}
	// Indexes without a segment are what a cut left that was not finished: a later segment may get
	// that name.
	for _, s := range l.segments {
		delete(orphans, s.base)
	}
	for _, names := range orphans {
		for _, name := range names {
			if err := l.dir.fsys.Remove(filepath.Join(l.path, name)); err != nil && !isMissing(err) {
				return err
			}
		}
	}
	return nil
}

// dropSnapshots removes those of batches that the log has not got any more, durably: it may grow
// over their offsets with others.
func (l *Log) dropSnapshots(end wire.Offset) error {
	i, _ := slices.BinarySearch(l.snapshots, end+1)
	var names []string
	for _, offset := range l.snapshots[i:] {
		names = append(names, offsetFile(offset, snapshotSuffix))
	}
	l.snapshots = l.snapshots[:i]
	return l.removeFiles(names)
}

func hasAnySuffix(name string, suffixes ...string) bool {
	return slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) })
}

// loadEpochs reads the epoch file. What it says from the durable point on is told better by the
// batches, which may have been cut.
func (l *Log) loadEpochs(durable wire.Offset) error {
	content, err := readFile(l.dir.fsys, filepath.Join(l.path, epochFile), maxCheckpointBytes)
	if err != nil {
		return err
	}
	epochs, err := parseEpochs(content)
	if err != nil {
		return err
	}
	l.epochs = slices.DeleteFunc(epochs, func(e EpochStart) bool { return e.StartOffset >= durable })
	l.epochsDirty = len(l.epochs) < len(epochs)
	if len(l.epochs) == 0 && durable > l.segments[0].base {
		return errCheckpoint // the batches below the durable point have some epoch
	}
	return nil
}

// adoptIndexes returns the entries of a segment's index files that speak of batches below the
// durable point, and the last one of them. What the files say beyond is told better by a scan,
// which makes the entries anew.
func (l *Log) adoptIndexes(s *segment, durable wire.Offset) (x indexes, last indexEntry) {
	x = newIndexes()
	limit := s.relative(durable)
	if durable <= s.base {
		return x, indexEntry{}
	}
	err := l.checkFile(l.file(s.base, indexSuffix), func(f File, size int64) (bool, error) {
		_, ok, err := checkIndex(f, size, s.size)
		if err != nil || !ok {
			return ok, err
		}
		return true, eachEntry(f, size, indexEntryBytes, func(b []byte) bool {
			e := parseIndexEntry(b)
			if e.offset >= limit {
				return false
			}
			last = e
			x.diskIndex++
			return true
		})
	})
	if err == nil && x.diskIndex > 0 {
		err = l.adoptTimes(s, &x, last.offset)
	}
	if err != nil || x.diskIndex == 0 {
		if err != nil && !isMissing(err) {
			l.dir.keeper.reindex(l, s)
		}
		return newIndexes(), indexEntry{}
	}
	x.indexedTo = int64(last.position)
	return x, last
}

func (l *Log) adoptTimes(s *segment, x *indexes, limit uint32) error {
	var newest timeEntry
	err := l.checkFile(l.file(s.base, timesSuffix), func(f File, size int64) (bool, error) {
		_, _, ok, err := checkTimes(f, size)
		if err != nil || !ok {
			return ok, err
		}
		return true, eachEntry(f, size, timeEntryBytes, func(b []byte) bool {
			e := parseTimeEntry(b)
			if e.offset > limit {
				return false
			}
			newest = e
			x.diskTimes++
			return true
		})
	})
	if err != nil || x.diskTimes == 0 {
		return err
	}
	x.largest, x.lastTime = newest, newest.timestamp
	return l.checkTimeEntry(s, newest, x.diskIndex)
}
