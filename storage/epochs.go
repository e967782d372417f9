package storage

import (
	"path/filepath"
	"slices"
	"sort"

	"github.com/troupe-mq/troupe/wire"
)

// LastEpoch returns the leader epoch of the last batch, or wire.NoEpoch.
func (l *Log) LastEpoch() wire.LeaderEpoch {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.lastEpoch()
}

// Epochs returns where each leader epoch begins in the log, in order.
func (l *Log) Epochs() []EpochStart {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Clone(l.epochs)
}

// EpochEnd returns the largest epoch of the log that is not above the one asked for, and where it
// ends: at the start of the next one, or at the end of the log. wire.NoEpoch and wire.NoOffset
// when there is none.
func (l *Log) EpochEnd(epoch wire.LeaderEpoch) wire.EpochEnd {
	l.mu.RLock()
	defer l.mu.RUnlock()
	i := sort.Search(len(l.epochs), func(i int) bool { return l.epochs[i].LeaderEpoch > epoch })
	switch {
	case i == 0:
		return wire.EpochEnd{LeaderEpoch: wire.NoEpoch, EndOffset: wire.NoOffset}
	case i == len(l.epochs):
		return wire.EpochEnd{LeaderEpoch: l.epochs[i-1].LeaderEpoch, EndOffset: l.EndOffset()}
	}
	return wire.EpochEnd{LeaderEpoch: l.epochs[i-1].LeaderEpoch, EndOffset: l.epochs[i].StartOffset}
}

// trimEpochs drops the epochs that ended at or below the log start; the one that holds it
// begins there from now on. The caller holds the mutex.
func (l *Log) trimEpochs(start wire.Offset) {
	i := sort.Search(len(l.epochs), func(i int) bool { return l.epochs[i].StartOffset > start })
	if i == 0 {
		return
	}
	kept := slices.Clone(l.epochs[i-1:])
	if i > 1 || kept[0].StartOffset < start {
		kept[0].StartOffset = max(kept[0].StartOffset, start)
		l.epochs, l.epochsDirty = kept, true
	}
}

// saveEpochs writes the epochs to their file, durably, if they changed.
func (l *Log) saveEpochs() error {
	l.mu.Lock()
	dirty, content := l.epochsDirty, []byte(nil)
	if dirty {
		content = encodeEpochs(l.epochs)
	}
	l.epochsDirty = false
	l.mu.Unlock()
	if !dirty {
		return nil
	}
	err := writeFileAtomically(l.dir.fsys, filepath.Join(l.path, epochFile), content, durably)
	if err != nil {
		l.mu.Lock()
		l.epochsDirty = true
		l.mu.Unlock()
	}
	return err
}
