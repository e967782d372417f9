package storage

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// begin creates a segment that needs none before it, and makes it durable.
func (w *WAL) begin(sequence uint64, replaces bool) error {
	f, err := w.fsys.OpenFile(w.segmentFile(sequence), os.O_RDWR|os.O_CREATE|os.O_TRUNC, filePerm)
	if err != nil {
		return err
	}
	if replaces {
		voidWALSegments(w.segments)
	}
	w.file, w.size = f, 0
	w.segments = append(w.segments, walSegment{sequence: sequence})
	header := appendWALHeader(nil, sequence)
	if err := w.write(w.encode(header, &walFrame{hardState: w.hardState, marks: w.marks, replaces: replaces})); err != nil {
		return err
	}
	return w.fsys.SyncDir(w.dir)
}

// encode returns prefix and a frame behind it, as they belong at the end of the current segment.
// The result is valid until the next call.
func (w *WAL) encode(prefix []byte, f *walFrame) []byte {
	const keptBytes = 1 << 20
	if cap(w.buffer) > keptBytes {
		w.buffer = nil
	}
	position := w.size + int64(len(prefix))
	w.buffer = appendWALFrame(append(w.buffer[:0], prefix...), w.segments[len(w.segments)-1].sequence, position, f)
	return w.buffer
}

// write makes bytes durable at the end of the current segment.
func (w *WAL) write(b []byte) error {
	if _, err := w.file.WriteAt(b, w.size); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	w.size += int64(len(b))
	return nil
}

func (w *WAL) writeSnapshot(s WALSnapshot) error {
	name := filepath.Join(w.dir, walMark{index: s.Index, term: s.Term}.file())
	return writeFileAtomically(w.fsys, name, append(encodeWALSnapshotHeader(s), s.Data...), durably)
}

func (w *WAL) readSnapshot(m walMark) (WALSnapshot, error) {
	name := filepath.Join(w.dir, m.file())
	content, err := readWALFile(w.fsys, name, maxWALSnapshotBytes)
	if isMissing(err) {
		return WALSnapshot{}, &WALDamage{File: name, Reason: "it is missing"}
	}
	if err != nil {
		return WALSnapshot{}, err
	}
	s, err := decodeWALSnapshot(content, m)
	if err != nil {
		return WALSnapshot{}, &WALDamage{File: name, Reason: err.Error()}
	}
	return s, nil
}

// prune removes what the older of the snapshots that count has made superfluous. A segment is gone
// durably before the next one goes: a hole between segments would look like damage.
func (w *WAL) prune() error {
	for len(w.segments) > 1 && w.segments[0].maxIndex <= w.marks[0].index {
		if err := w.fsys.Remove(w.segmentFile(w.segments[0].sequence)); err != nil {
			return err
		}
		if err := w.fsys.SyncDir(w.dir); err != nil {
			return err
		}
		w.segments = w.segments[1:]
	}
	entries, err := w.fsys.ReadDir(w.dir)
	if err != nil {
		return err
	}
	counts := map[string]bool{}
	for _, m := range w.marks {
		counts[m.file()] = true
	}
	for _, e := range entries {
		name := e.Name()
		stale := strings.HasSuffix(name, walSnapshotSuffix) || strings.HasSuffix(name, walSnapshotSuffix+tmpSuffix)
		if stale && !counts[name] {
			err = errors.Join(err, w.fsys.Remove(filepath.Join(w.dir, name)))
		}
	}
	return err
}
