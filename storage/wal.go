package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
)

// WAL keeps the metadata log: the entries of a consensus log, its hard state (term, vote, commit)
// and snapshots, all as bytes that it does not look into.
//
//	DIR/__cluster_metadata/
//	  00000000000000000007.wal           segments, numbered without gaps; the last is written to
//	  00000000000000000008.wal
//	  00000000000000004711-0000000000000003.snapshot       by index and term; two are kept
//
// Each Append is one frame under one checksum, and is synced before the next frame is written.
// That is what recovery rests on: a frame that does not check, at the very end and with none
// that checks behind it, is an Append that was never answered, and is cut off. Anything else that
// does not check is damage to what was promised: OpenWAL refuses, and changes nothing.
//
// A segment begins with all that is needed without the segments before it: the hard state and
// which snapshots count. So a snapshot begins a new segment, and older ones go once the older
// of the two snapshots covers them. If the newest snapshot turns out unreadable, the one before it and
// the entries since say the same.
//
// After any error of the disk the WAL is broken and each call returns that error: whether a failed sync
// wrote anything cannot be known, and asking again gets a lie. One goroutine uses it at a time.
type WAL struct {
	fsys FS
	dir  string
	cfg  WALConfig

	segments  []walSegment // oldest first, never empty; file is the last one
	file      File
	size      int64
	hardState []byte
	marks     []walMark // the snapshots that count, oldest first
	lastIndex uint64
	buffer    []byte // reused
	err       error
}

// WALConfig sets the sizes of a WAL.
type WALConfig struct {
	SegmentBytes int64 // a segment that has reached it is followed by a new one
}

// DefaultWALConfig returns segments of 64 MiB.
func DefaultWALConfig() WALConfig { return WALConfig{SegmentBytes: 64 << 20} }

// WALEntry is one entry of the log.
type WALEntry struct {
	Index, Term uint64
	Data        []byte
}

// WALSnapshot stands for all entries up to Index, which had Term. The zero value is none.
type WALSnapshot struct {
	Index, Term uint64
	Data        []byte
}

// WALState is what OpenWAL found.
type WALState struct {
	HardState []byte
	Snapshot  WALSnapshot
	Entries   []WALEntry // from Snapshot.Index+1 on, without gaps

	TornBytes int64 // of an unfinished Append, now cut off
	PassedBy  error // why the newest snapshot was unreadable and the one before it was taken
}

// IsBlank says that nothing was ever written.
func (s *WALState) IsBlank() bool {
	return s.HardState == nil && s.Snapshot.Index == 0 && len(s.Entries) == 0
}

// WALDamage is the error of a WAL whose files do not hold what was written to them.
type WALDamage struct {
	File     string
	Position int64
	Reason   string
}

func (d *WALDamage) Error() string {
	return fmt.Sprintf("metadata log: %s is damaged at byte %d: %s; nothing was changed: "+
		"keep the directory, and start from a copy or from the other brokers; if there are none, see 'troupe cluster recover'", d.File, d.Position, d.Reason)
}

type walSegment struct {
	sequence uint64
	maxIndex uint64 // of the entries in it
}

// OpenWAL opens the WAL in a directory, which it makes if there is none.
func OpenWAL(fsys FS, dir string, cfg WALConfig) (*WAL, WALState, error) {
	w := &WAL{fsys: fsys, dir: dir, cfg: cfg}
	if err := w.makeDir(); err != nil {
		return nil, WALState{}, fmt.Errorf("open metadata log: %w", err)
	}
	state, err := w.recover()
	if err != nil {
		if w.file != nil {
			err = errors.Join(err, w.file.Close())
		}
		return nil, WALState{}, fmt.Errorf("open metadata log: %w", err)
	}
	return w, state, nil
}

// makeDir makes the directory and its name durable.
func (w *WAL) makeDir() error {
	if err := w.fsys.MkdirAll(w.dir, dirPerm); err != nil {
		return err
	}
	return w.fsys.SyncDir(filepath.Dir(w.dir)) // also if it was there: the run that made it may have died
}

// Append makes a hard state (nil: as before) and entries durable, as a whole or not at all. The
// entries follow each other; the first one takes the place of what the log has from its index on.
func (w *WAL) Append(hardState []byte, entries []WALEntry) error {
	if w.err != nil {
		return w.err
	}
	if hardState == nil && len(entries) == 0 {
		return nil
	}
	last, bytes := w.lastIndex, 0
	for i, e := range entries {
		if i == 0 && e.Index > last+1 || i > 0 && e.Index != last+1 || e.Index == 0 {
			return fmt.Errorf("append to metadata log: entry %d does not follow %d", e.Index, last)
		}
		last, bytes = e.Index, bytes+len(e.Data)
	}
	if bytes > maxWALAppendBytes {
		return fmt.Errorf("append to metadata log: %d bytes at once are more than %d", bytes, maxWALAppendBytes)
	}
	if w.size >= w.cfg.SegmentBytes {
		if err := w.roll(false); err != nil {
			return err
		}
	}
	if err := w.write(w.encode(nil, &walFrame{hardState: hardState, entries: entries})); err != nil {
		return w.broken("append", err)
	}
	if hardState != nil {
		w.hardState = slices.Clone(hardState)
	}
	if len(entries) > 0 {
		current := &w.segments[len(w.segments)-1]
		current.maxIndex = max(current.maxIndex, last)
		w.lastIndex = last
	}
	return nil
}

// SaveSnapshot keeps a snapshot of what the log itself led to, and drops what it makes superfluous.
func (w *WAL) SaveSnapshot(s WALSnapshot) error {
	if w.err == nil && (s.Index > w.lastIndex || len(w.marks) > 0 && s.Index <= w.marks[len(w.marks)-1].index) {
		return fmt.Errorf("snapshot of metadata log: index %d is not within the log, which ends with %d", s.Index, w.lastIndex)
	}
	return w.snapshot(s, nil, false)
}

// InstallSnapshot puts a snapshot in the place of the whole log, together with a hard state.
func (w *WAL) InstallSnapshot(hardState []byte, s WALSnapshot) error {
	if w.err == nil && (s.Index == 0 || len(w.marks) > 0 && s.Index <= w.marks[len(w.marks)-1].index) {
		return fmt.Errorf("install snapshot in metadata log: index %d is not ahead of the one there", s.Index)
	}
	return w.snapshot(s, hardState, true)
}

func (w *WAL) snapshot(s WALSnapshot, hardState []byte, replaces bool) error {
	if w.err != nil {
		return w.err
	}
	if err := w.writeSnapshot(s); err != nil {
		return w.broken("snapshot", err)
	}
	mark := walMark{index: s.Index, term: s.Term}
	if replaces {
		w.marks, w.lastIndex = []walMark{mark}, s.Index
	} else {
		w.marks = append(slices.Clone(w.marks[max(0, len(w.marks)-1):]), mark)
	}
	if hardState != nil {
		w.hardState = slices.Clone(hardState)
	}
	if err := w.roll(replaces); err != nil {
		return err
	}
	if err := w.prune(); err != nil {
		return w.broken("prune", err)
	}
	return nil
}

// roll begins a new segment. With replaces, the segments before it are void.
func (w *WAL) roll(replaces bool) error {
	sequence := w.segments[len(w.segments)-1].sequence + 1
	if err := w.file.Close(); err != nil {
		return w.broken("close segment", err)
	}
	if err := w.begin(sequence, replaces); err != nil {
		return w.broken("begin segment", err)
	}
	return nil
}

// Close closes the files. All that was appended is durable already.
func (w *WAL) Close() error {
	err := w.file.Close()
	if w.err == nil {
		w.err = fs.ErrClosed
	}
	return err
}

// broken ends the use of the WAL.
func (w *WAL) broken(what string, err error) error {
	w.err = fmt.Errorf("metadata log: %s in %s: %w", what, w.dir, err)
	return w.err
}
