package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	walSegmentSuffix  = ".wal"
	walSnapshotSuffix = ".snapshot"
)

func (w *WAL) segmentFile(sequence uint64) string {
	return filepath.Join(w.dir, fmt.Sprintf("%020d%s", sequence, walSegmentSuffix))
}

// recover reads what is there, decides what it means, and only then changes anything: cuts the
// torn tail or drops the torn last segment, and makes durable what it took for durable.
func (w *WAL) recover() (WALState, error) {
	found, err := w.read()
	if err != nil {
		return WALState{}, err
	}
	r, state := &found.replay, found.state
	w.segments, w.hardState, w.lastIndex, w.size = r.segments, state.HardState, state.Snapshot.Index, found.size
	if n := len(state.Entries); n > 0 {
		w.lastIndex = state.Entries[n-1].Index
	}
	if n := len(found.sequences); n > len(r.segments) { // the last one was never finished
		if err := w.fsys.Remove(w.segmentFile(found.sequences[n-1])); err != nil {
			return WALState{}, err
		}
	}
	return state, w.continueLast(state.TornBytes > 0, r.tailAt, r.tail)
}

// walFound is what was read.
type walFound struct {
	sequences []uint64 // of the segments, as they are named
	replay    walReplay
	state     WALState
	size      int64 // of the last segment's frames
}

// read reads all that is there, and changes nothing.
func (w *WAL) read() (found walFound, err error) {
	var snapshots bool
	if found.sequences, snapshots, err = w.list(); err != nil {
		return found, err
	}
	r, torn := &found.replay, int64(0)
	for i, sequence := range found.sequences {
		if i > 0 && sequence != found.sequences[i-1]+1 {
			return found, &WALDamage{File: w.segmentFile(sequence - 1), Reason: "the segment is missing"}
		}
		content, err := readWALFile(w.fsys, w.segmentFile(sequence), maxWALSegmentBytes)
		if err != nil {
			return found, err
		}
		end, err := w.replay(r, content, sequence, i == len(found.sequences)-1)
		if err != nil {
			return found, err
		}
		if len(r.segments) == i+1 {
			found.size, torn = end, int64(len(content))-end
		}
	}
	if len(r.segments) == 0 && (snapshots || len(found.sequences) > 0 && found.sequences[0] > 1) {
		return found, &WALDamage{File: w.segmentFile(1), Reason: "the segments are missing"}
	}
	found.state, err = w.judge(r)
	found.state.TornBytes = torn
	return found, err
}

// list returns the segments, and whether there is any snapshot.
func (w *WAL) list() (sequences []uint64, snapshots bool, err error) {
	entries, err := w.fsys.ReadDir(w.dir)
	if err != nil {
		return nil, false, err
	}
	for _, e := range entries {
		if stem, ok := strings.CutSuffix(e.Name(), walSegmentSuffix); ok {
			sequence, err := strconv.ParseUint(stem, 10, 64)
			if err != nil || sequence == 0 || filepath.Base(w.segmentFile(sequence)) != e.Name() {
				return nil, false, &WALDamage{File: filepath.Join(w.dir, e.Name()), Reason: "no segment is named so"}
			}
			sequences = append(sequences, sequence)
		}
		snapshots = snapshots || strings.HasSuffix(e.Name(), walSnapshotSuffix)
	}
	return sequences, snapshots, nil
}

// replay adds a segment to r and returns where its frames end. A last segment whose first frame is torn
// was never begun, and is not added.
func (w *WAL) replay(r *walReplay, content []byte, sequence uint64, last bool) (int64, error) {
	damage := func(position int64, reason string) error {
		return &WALDamage{File: w.segmentFile(sequence), Position: position, Reason: reason}
	}
	tornAt := func(position int64) (int64, error) {
		if !last {
			return 0, damage(position, "a frame does not check, and later segments follow")
		}
		if next, found := nextWALFrame(content, sequence, position); found {
			return 0, damage(position, fmt.Sprintf("a frame does not check, and one that does follows at %d", next))
		}
		return position, nil
	}
	if last && !walHeaderChecks(content) {
		return tornAt(0)
	}
	if err := checkWALHeader(content, sequence); err != nil {
		return 0, damage(0, err.Error())
	}
	for position := int64(walHeaderBytes); ; {
		payload, ok := walFrameAt(content, sequence, position)
		if !ok {
			if position == int64(len(content)) && position > walHeaderBytes {
				return position, nil
			}
			return tornAt(position)
		}
		f, err := parseWALFrame(payload)
		if err == nil {
			err = r.add(&f, sequence, position == walHeaderBytes)
		}
		if err != nil {
			return 0, damage(position, err.Error())
		}
		r.tailAt = position
		if position == walHeaderBytes {
			r.tailAt = 0
		}
		position += walFrameHeaderBytes + int64(len(payload))
		r.tail = content[r.tailAt:position]
	}
}

// walReplay is what the frames so far amount to.
type walReplay struct {
	segments  []walSegment
	hardState []byte
	marks     []walMark
	entries   []WALEntry

	tail   []byte // the last frame, with the header if it is the first of its segment
	tailAt int64
}

// add takes one more frame; first says that it begins a segment.
func (r *walReplay) add(f *walFrame, sequence uint64, first bool) error {
	if f.hardState != nil {
		r.hardState = f.hardState
	}
	if first {
		if f.replaces {
			r.entries = nil
			voidWALSegments(r.segments)
		}
		r.marks = f.marks
		r.segments = append(r.segments, walSegment{sequence: sequence})
	} else if f.replaces || len(f.marks) > 0 {
		return errWALItem
	}
	current := &r.segments[len(r.segments)-1]
	for _, e := range f.entries {
		if n := uint64(len(r.entries)); n > 0 {
			start := r.entries[0].Index
			if e.Index > start+n {
				return fmt.Errorf("entry %d does not follow entry %d", e.Index, start+n-1)
			}
			// It may lie before them all: what it replaces can be in a segment that is gone.
			r.entries = r.entries[:max(e.Index, start)-start]
		}
		r.entries = append(r.entries, e)
		current.maxIndex = max(current.maxIndex, e.Index)
	}
	return nil
}

// voidWALSegments says that nothing in them is needed any more.
func voidWALSegments(segments []walSegment) {
	for i := range segments {
		segments[i].maxIndex = 0
	}
}

// after returns the entries that follow an index, and false if some of them are missing.
func (r *walReplay) after(index uint64) ([]WALEntry, bool) {
	if len(r.entries) == 0 {
		return nil, true
	}
	start := r.entries[0].Index
	if start > index+1 {
		return nil, false
	}
	return r.entries[min(index+1-start, uint64(len(r.entries))):], true
}

// judge chooses the snapshot to begin from: the newest, or if that is unreadable the one before it, as long as
// the entries reach from there past the newest.
func (w *WAL) judge(r *walReplay) (WALState, error) {
	state := WALState{HardState: slices.Clone(r.hardState)}
	w.marks = r.marks
	for i := len(r.marks) - 1; i >= 0; i-- {
		s, err := w.readSnapshot(r.marks[i])
		if err != nil {
			var damage *WALDamage
			if !errors.As(err, &damage) {
				return WALState{}, err
			}
			if state.PassedBy == nil {
				state.PassedBy = err
			}
			w.marks = slices.Clone(r.marks[:i]) // it does not count any more
			continue
		}
		state.Snapshot = s
		break
	}
	if state.PassedBy != nil && state.Snapshot.Index == 0 {
		return WALState{}, state.PassedBy
	}
	entries, whole := r.after(state.Snapshot.Index)
	if !whole {
		return WALState{}, errors.Join(state.PassedBy, &WALDamage{
			File:   w.segmentFile(r.segments[0].sequence),
			Reason: fmt.Sprintf("it begins with entry %d, and those from %d on are missing", r.entries[0].Index, state.Snapshot.Index+1),
		})
	}
	state.Entries = entries
	reached := state.Snapshot.Index + uint64(len(entries))
	if state.PassedBy != nil && reached < r.marks[len(r.marks)-1].index {
		return WALState{}, state.PassedBy // the log went on from the unreadable snapshot
	}
	return state, nil
}

// continueLast opens the last segment for writing, or begins the first.
func (w *WAL) continueLast(cut bool, tailAt int64, tail []byte) error {
	if len(w.segments) == 0 {
		return w.begin(1, false)
	}
	var err error
	if w.file, err = w.fsys.OpenFile(w.segmentFile(w.segments[len(w.segments)-1].sequence), os.O_RDWR, filePerm); err != nil {
		return err
	}
	if cut {
		if err := w.file.Truncate(w.size); err != nil {
			return err
		}
	}
	// What was read may be in the page cache only: the process before this one was killed, or its
	// last sync failed, after which the kernel takes those pages for written. Only the last frame can
	// be such, and writing it again makes a sync mean it.
	if _, err := w.file.WriteAt(tail, tailAt); err != nil {
		return err
	}
	return errors.Join(w.file.Sync(), w.fsys.SyncDir(w.dir))
}

func readWALFile(fsys FS, name string, most int64) (content []byte, err error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > most {
		return nil, &WALDamage{File: name, Position: most, Reason: "it is larger than any that is written"}
	}
	content = make([]byte, size)
	return content, readFull(f, content, 0)
}
