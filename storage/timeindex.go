package storage

import (
	"encoding/binary"
	"io"
	"sort"
)

// timeEntry says that no record up to offset (relative to the segment's base) has a timestamp above
// timestamp, and that the batch ending there has it. In the .timeindex file: a big-endian int64
// and an int32.
type timeEntry struct {
	timestamp int64
	offset    uint32
}

const timeEntryBytes = 12

func parseTimeEntry(b []byte) timeEntry {
	return timeEntry{int64(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint32(b[8:])}
}

func encodeTimes(entries []timeEntry) []byte {
	b := make([]byte, 0, len(entries)*timeEntryBytes)
	for _, e := range entries {
		b = binary.BigEndian.AppendUint64(b, uint64(e.timestamp))
		b = binary.BigEndian.AppendUint32(b, e.offset)
	}
	return b
}

// tailTime returns the last entry in memory whose timestamp is below the one given: every record
// up to its offset is older.
func tailTime(tail []timeEntry, timestamp int64) (timeEntry, bool) {
	i := sort.Search(len(tail), func(i int) bool { return tail[i].timestamp >= timestamp })
	if i == 0 {
		return timeEntry{}, false
	}
	return tail[i-1], true
}

// checkTimes reads a whole .timeindex file, as checkIndex does.
func checkTimes(r io.ReaderAt, fileSize int64) (n int, last timeEntry, ok bool, err error) {
	if fileSize%timeEntryBytes != 0 {
		return 0, last, false, nil
	}
	ok = true
	err = eachEntry(r, fileSize, timeEntryBytes, func(b []byte) bool {
		e := parseTimeEntry(b)
		ok = e.timestamp >= 0 && (n == 0 || e.timestamp > last.timestamp && e.offset > last.offset)
		last = e
		n++
		return ok
	})
	return n, last, ok, err
}
