package metadata

import "fmt"

// Entry is one committed entry of the metadata log on its way to a broker that is no voter.
type Entry struct {
	Index   uint64
	Records []byte // as EncodeRecords wrote them; empty for an entry that only raft cares about
}

// EncodeEntries returns entries of the log, in their order, in bytes.
func EncodeEntries(entries []Entry) []byte {
	size := 8
	for _, e := range entries {
		size += len(e.Records) + 16
	}
	w := writer{b: make([]byte, 0, size)}
	encodeList(&w, entries, func(w *writer, e Entry) {
		w.array(2)
		w.uint(e.Index)
		w.bytes(e.Records)
	})
	return w.b
}

// DecodeEntries reads what EncodeEntries wrote. The records are parts of b, not copies.
func DecodeEntries(b []byte) ([]Entry, error) {
	r := &reader{b: b, left: 1}
	last := uint64(0)
	entries := boundedList(r, func(r *reader) Entry {
		e := Entry{Index: r.uint(), Records: r.bytes()}
		if e.Index <= last {
			r.fail("entry %d after entry %d", e.Index, last)
		}
		last = e.Index
		return e
	})
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes after the last entry", len(r.b))
	}
	if r.err != nil {
		return nil, fmt.Errorf("entries of the metadata log: %w", r.err)
	}
	return entries, nil
}
