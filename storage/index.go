package storage

import (
	"encoding/binary"
	"io"
	"slices"
	"sort"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// indexEntry says where the batch lies whose last offset it names. Offsets are relative to the
// segment's base. In the .index file: two big-endian int32.
type indexEntry struct {
	offset   uint32
	position uint32
}

const indexEntryBytes = 8

func parseIndexEntry(b []byte) indexEntry {
	return indexEntry{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

func encodeIndex(entries []indexEntry) []byte {
	b := make([]byte, 0, len(entries)*indexEntryBytes)
	for _, e := range entries {
		b = binary.BigEndian.AppendUint32(b, e.offset)
		b = binary.BigEndian.AppendUint32(b, e.position)
	}
	return b
}

// indexes are the sparse offset and time index of one segment: a part in the files, which never
// changes once it is written, and behind it a tail in memory. They are Kafka's, entry for entry.
//
//	.index      |e|e|e|e|e|e|          tail |e|e|      one entry per index.interval.bytes of log
//	.timeindex  |t|  |t|t|             tail |t|        where the largest timestamp so far had grown
//
// The log's mutex guards all fields.
type indexes struct {
	loaded    bool // the files were looked at; false: nothing here is known yet
	diskIndex int  // entries in the .index file
	diskTimes int  // entries in the .timeindex file
	tail      []indexEntry
	timesTail []timeEntry

	indexedTo  int64     // log position up to which the files are complete: what a scan may skip
	sinceEntry int64     // bytes appended after the batch of the last entry
	largest    timeEntry // the largest timestamp of the segment and its batch's last offset
	lastTime   int64     // timestamp of the last time entry
}

func newIndexes() indexes {
	return indexes{loaded: true, largest: timeEntry{timestamp: record.NoTimestamp}, lastTime: record.NoTimestamp}
}

// add takes in a batch that lies at position, and makes entries when it is time for them.
func (x *indexes) add(h *record.Header, base wire.Offset, position int64, interval int) {
	last := uint32(h.LastOffset() - base)
	if h.MaxTimestamp > x.largest.timestamp {
		x.largest = timeEntry{h.MaxTimestamp, last}
	}
	if x.sinceEntry > int64(interval) {
		x.tail = append(x.tail, indexEntry{last, uint32(position)})
		x.addTime()
		x.sinceEntry = 0
	}
	x.sinceEntry += int64(h.Size())
}

// addTime makes a time entry if the largest timestamp has grown since the last one.
func (x *indexes) addTime() {
	if x.largest.timestamp > x.lastTime {
		x.timesTail = append(x.timesTail, x.largest)
		x.lastTime = x.largest.timestamp
	}
}

// tailEntry returns the last entry in memory that is not above offset.
func tailEntry(tail []indexEntry, offset uint32) (indexEntry, bool) {
	i := sort.Search(len(tail), func(i int) bool { return tail[i].offset > offset })
	if i == 0 {
		return indexEntry{}, false
	}
	return tail[i-1], true
}

// searchEntries finds the last of n entries of a file for which atOrBelow holds, and copies it into
// entry. It reads a dozen small pieces of a large file rather than the whole.
func searchEntries(r io.ReaderAt, n, entryBytes int, entry []byte, atOrBelow func([]byte) bool) (found bool, err error) {
	low, high := 0, n // the answer is below high; low is known to be at or below, once it has moved
	var probe [timeEntryBytes]byte
	for high-low > lookupWindow/entryBytes {
		middle := (low + high) / 2
		if err := readFull(r, probe[:entryBytes], int64(middle)*int64(entryBytes)); err != nil {
			return false, err
		}
		if atOrBelow(probe[:entryBytes]) {
			low = middle
		} else {
			high = middle
		}
	}
	if high == low {
		return false, nil
	}
	window := windows.Get().(*[scanWindow]byte)
	defer windows.Put(window)
	block := window[:(high-low)*entryBytes]
	if err := readFull(r, block, int64(low)*int64(entryBytes)); err != nil {
		return false, err
	}
	i := sort.Search(high-low, func(i int) bool { return !atOrBelow(block[i*entryBytes:][:entryBytes]) })
	if i == 0 {
		return false, nil
	}
	copy(entry, block[(i-1)*entryBytes:][:entryBytes])
	return true, nil
}

// checkIndex reads a whole .index file and returns how many entries it has. What is out of order, or
// outside a log of size bytes, makes it worthless: ok is false. A segment's first batch has no entry.
func checkIndex(r io.ReaderAt, fileSize, size int64) (n int, ok bool, err error) {
	if fileSize%indexEntryBytes != 0 {
		return 0, false, nil
	}
	ok = true
	var last indexEntry
	err = eachEntry(r, fileSize, indexEntryBytes, func(b []byte) bool {
		e := parseIndexEntry(b)
		ok = e.position > 0 && int64(e.position) < size && (n == 0 || e.offset > last.offset && e.position > last.position)
		last = e
		n++
		return ok
	})
	return n, ok, err
}

// eachEntry reads a file of fixed-size entries piece by piece until visit returns false.
func eachEntry(r io.ReaderAt, fileSize int64, entryBytes int, visit func([]byte) bool) error {
	window := windows.Get().(*[scanWindow]byte)
	defer windows.Put(window)
	step := int64(scanWindow / entryBytes * entryBytes)
	for at := int64(0); at < fileSize; at += step {
		block := window[:min(step, fileSize-at)]
		if err := readFull(r, block, at); err != nil {
			return err
		}
		for entry := range slices.Chunk(block, entryBytes) {
			if len(entry) == entryBytes && !visit(entry) {
				return nil
			}
		}
	}
	return nil
}
