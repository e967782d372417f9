package storage

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/troupe-mq/troupe/wire"
)

// A swap puts the segment that compaction has made in the place of those that it was made from. What
// it is about to do lies in a name, so that recovery can finish it:
//
//	00000000000000000900.log.cleaned                      complete and synced, but not in force
//	00000000000000000900.log.00000000000000002500.swap    in force: it has all from 900 up to 2500
//	00000000000000000900.log                              the only one that has
//
//  1. rename .cleaned to .swap, sync the directory
//  2. show readers the new segment
//  3. remove the old segments and their indexes, but for the first one's .log; sync the directory
//  4. rename .swap to .log, over the first one; sync the directory
//
// Before 1 is durable recovery removes what was made; from then on it does 3 and 4, as often as it takes.
// So it finds the log as it was before, or as it is after. While the swap goes on nobody else removes
// files or moves checkpoints: the keeper's and the cuts' turn comes after it.

// swapName is the name of a segment's file while it is being swapped.
func (l *Log) swapName(base, next wire.Offset) string {
	return fmt.Sprintf("%s.%020d%s", l.file(base, logSuffix), next, swapSuffix)
}

// parseSwap undoes swapName, but for the directory.
func parseSwap(name string) (base, next wire.Offset, ok bool) {
	rest, ok := strings.CutSuffix(name, swapSuffix)
	if !ok || len(rest) < 21 {
		return 0, 0, false
	}
	at := len(rest) - 21
	base, ok = parseOffsetFile(rest[:at], logSuffix)
	if !ok || rest[at] != '.' {
		return 0, 0, false
	}
	next, ok = parseOffsetFile(rest[at+1:], "")
	return base, next, ok && base < next
}

// swap makes the log consist of the new segment where it consisted of the group.
func (c *compaction) swap(group []source, m *made) error {
	l := c.log
	l.dir.keeper.ticking.Lock()
	defer l.dir.keeper.ticking.Unlock()
	if l.closed.Load() || l.wasCut(c.generation) || !l.holds(group) {
		return errChanged
	}
	if err := m.file.Close(); err != nil {
		return c.fatal(err)
	}
	m.file = nil
	swap := l.swapName(m.segment.base, m.next)
	if err := l.dir.fsys.Rename(m.name, swap); err != nil {
		return c.fatal(err)
	}
	if err := l.dir.fsys.SyncDir(l.path); err != nil {
		if !passes(err) {
			return c.fatal(err)
		}
		// Nothing has been touched yet. But what is in force and left behind would take the place of
		// what these segments become by the next recovery.
		return errors.Join(err, c.offline(l.dir.fsys.Remove(swap)))
	}
	m.segment.swap = swap
	l.mergeStamps(m.segment, group)

	l.reshaping.Lock()
	l.indexing.Lock()
	published := l.publish(group, m.segment)
	l.reshaping.Unlock()
	if !published {
		l.indexing.Unlock()
		if err := l.removeFiles([]string{filepath.Base(swap)}); err != nil {
			return c.offline(err)
		}
		return errChanged // retention was faster
	}
	err := l.finishSwap(group, m, swap)
	l.indexing.Unlock()
	if err != nil {
		return c.offline(err)
	}
	if err := l.writeIndexes(m.segment); err != nil {
		l.dir.keeper.reindex(l, m.segment) // it will say what is wrong
	}
	l.saveStamps(m.segment)
	l.dir.track(l)
	return nil
}

// holds says that the log still has all segments of a group.
func (l *Log) holds(group []source) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.placeOf(group) >= 0
}

// placeOf returns where the group begins in the list of segments, or -1. The caller holds the mutex.
func (l *Log) placeOf(group []source) int {
	at := slices.Index(l.segments, group[0].segment)
	if at < 0 || at+len(group) >= len(l.segments) {
		return -1
	}
	for i, s := range group {
		if l.segments[at+i] != s.segment {
			return -1
		}
	}
	return at
}

// publish shows readers the new segment, unless one of the old ones has gone. The caller holds reshaping
// and indexing, so that nobody works on the old ones' indexes.
func (l *Log) publish(group []source, made *segment) bool {
	var files []*openFile
	l.mu.Lock()
	at := l.placeOf(group)
	if at >= 0 {
		made.created = true
		made.verified.add(0, made.size)
		l.size.Add(made.size)
		for _, s := range group {
			l.size.Add(-s.size)
			s.cutAt.Store(0)
			files = append(files, s.clean())
		}
		l.unindexed = slices.DeleteFunc(l.unindexed, func(s *segment) bool { return s.cutAt.Load() == 0 })
		l.segments = slices.Replace(slices.Clone(l.segments), at, at+len(group), made)
		l.swaps.Add(1)
	}
	l.mu.Unlock()
	for _, f := range files {
		f.Release()
	}
	return at >= 0
}

// finishSwap makes the files what readers have been shown. It cannot be called off: an error takes the
// directory offline.
func (l *Log) finishSwap(group []source, m *made, swap string) error {
	for _, s := range group {
		l.forgetFiles(s.segment)
	}
	var names []string
	for i, s := range group {
		if i > 0 {
			names = append(names, offsetFile(s.base, logSuffix))
		}
		for _, suffix := range []string{indexSuffix, timesSuffix, appendedSuffix} {
			names = append(names, offsetFile(s.base, suffix))
		}
	}
	if err := l.removeFiles(names); err != nil {
		return err
	}
	l.naming.Lock()
	err := l.dir.fsys.Rename(swap, l.file(m.segment.base, logSuffix))
	if err == nil {
		m.segment.swap = ""
	}
	l.naming.Unlock()
	if err != nil {
		return err
	}
	return l.dir.fsys.SyncDir(l.path)
}

// removeSwapped is for recovery, which does not know the segments: it removes the files of those from base
// up to next, durably, all but the .log file of the first one.
func (l *Log) removeSwapped(base, next wire.Offset) error {
	entries, err := l.dir.fsys.ReadDir(l.path)
	if err != nil {
		return err
	}
	var names []string
	for _, entry := range entries {
		suffix := filepath.Ext(entry.Name())
		offset, ok := parseOffsetFile(entry.Name(), suffix)
		if !ok || offset < base || offset >= next {
			continue
		}
		switch suffix {
		case logSuffix:
			if offset > base {
				names = append(names, entry.Name())
			}
		case indexSuffix, timesSuffix, appendedSuffix:
			names = append(names, entry.Name())
		}
	}
	return l.removeFiles(names)
}

// completeSwaps does what is left to do of swaps that a crash came in the way of.
func (l *Log) completeSwaps() error {
	entries, err := l.dir.fsys.ReadDir(l.path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		base, next, ok := parseSwap(entry.Name())
		if !ok {
			continue
		}
		l.dir.log.Info("compaction of a segment is completed", "topic", l.ref.Topic, "partition", l.ref.Partition, "offset", base)
		if err := l.removeSwapped(base, next); err != nil {
			return err
		}
		if err := l.dir.fsys.Rename(filepath.Join(l.path, entry.Name()), l.file(base, logSuffix)); err != nil {
			return err
		}
		if err := l.dir.fsys.SyncDir(l.path); err != nil {
			return err
		}
	}
	return nil
}
