package storage

import "cmp"

// SalvageWAL reads what is left in the directory of a WAL that OpenWAL refuses because of damage: the newest
// snapshot that can be read, with the entries that follow it up to the damage. What lies behind the
// damage counts only from the next snapshot on: what is missing in between may have taken entries back.
// It changes nothing. Of a WAL that is whole it reads all.
func SalvageWAL(fsys FS, dir string) (WALState, error) {
	w := &WAL{fsys: fsys, dir: dir}
	sequences, _, err := w.list()
	if err != nil {
		return WALState{}, err
	}
	var best WALState
	found := false
	for i := range sequences {
		// A segment begins with all that is needed without those before it.
		state, ok := w.salvageFrom(sequences[i:])
		if ok && (!found || compareWALEnds(&state, &best) > 0) {
			best, found = state, true
		}
	}
	if !found {
		return WALState{}, &WALDamage{File: dir, Reason: "no snapshot can be read"}
	}
	return best, nil
}

func (w *WAL) salvageFrom(sequences []uint64) (state WALState, ok bool) {
	var r walReplay
	for i, sequence := range sequences {
		content, err := readWALFile(w.fsys, w.segmentFile(sequence), maxWALSegmentBytes)
		if err != nil || i > 0 && sequence != sequences[i-1]+1 {
			break
		}
		if end, err := w.replay(&r, content, sequence, true); err != nil || end < int64(len(content)) {
			break // r has the frames before the damage
		}
	}
	for i := len(r.marks) - 1; i >= 0 && !ok; i-- {
		s, err := w.readSnapshot(r.marks[i])
		if ok = err == nil; ok {
			state.Snapshot = s
		}
	}
	if !ok {
		return WALState{}, false
	}
	state.HardState = r.hardState
	state.Entries, _ = r.after(state.Snapshot.Index) // without those that do not follow it
	return state, true
}

// compareWALEnds tells which of two logs is further: by the term of its last entry, then by its index.
func compareWALEnds(a, b *WALState) int {
	end := func(s *WALState) (term, index uint64) {
		if n := len(s.Entries); n > 0 {
			return s.Entries[n-1].Term, s.Entries[n-1].Index
		}
		return s.Snapshot.Term, s.Snapshot.Index
	}
	termA, indexA := end(a)
	termB, indexB := end(b)
	return cmp.Or(cmp.Compare(termA, termB), cmp.Compare(indexA, indexB))
}
