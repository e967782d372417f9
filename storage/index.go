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
//	.index      |e|e|e|e|e|e|       tail |e|e|e|e|     one entry per index.interval.bytes of log
//	.timeindex  |t|  |t|t|             tail |t|        where the largest timestamp so far had grown
//
// The log's mutex guards all fields.
type indexes struct {
	loaded    bool // the files were looked at; false: nothing here is known yet
	diskIndex int  // entries in the .index file
	diskTimes int  // entries in the .timeindex file
	tail      []indexEntry
	onDisk    int // of the tail: entries kept in memory for those who read what was just written
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

// written takes note that tail entries and time entries are in the files now. Of an active segment
// it keeps some in memory.
func (x *indexes) written(entries, times int, sealed bool) {
	x.diskIndex += entries
	x.diskTimes += times
	x.timesTail = slices.Clone(x.timesTail[times:])
	x.onDisk += entries
	keep := keepEntries
	if sealed {
		keep = 0
	}
	if drop := x.onDisk - keep; drop > 0 {
		x.tail = slices.Clone(x.tail[drop:])
		x.onDisk = keep
	}
}

// keepEntries is how many entries on disk an active segment keeps in memory.
const keepEntries = 256

// tailEntry returns the last entry in memory that is not above offset.
func tailEntry(tail []indexEntry, offset uint32) (indexEntry, bool) {
	i := sort.Search(len(tail), func(i int) bool { return tail[i].offset > offset })
	if i == 0 {
		return indexEntry{}, false
	}
	return tail[i-1], true
}

func indexKey(b []byte) int64 { return int64(parseIndexEntry(b).offset) }
func timeKey(b []byte) int64  { return parseTimeEntry(b).timestamp }

// searchEntries finds the last of n entries of an index file whose key is not above limit. It reads a dozen small pieces of a large file rather
// than the whole.
func searchEntries(r io.ReaderAt, n, entryBytes int, limit int64, key func([]byte) int64) (entry [timeEntryBytes]byte, found bool, err error) {
	window := windows.Get().(*[scanWindow]byte)
	defer windows.Put(window)
	low, high := 0, n // the answer lies below high; low is at or below limit, once it has moved
	for high-low > lookupWindow/entryBytes {
		middle := (low + high) / 2
		probe := window[:entryBytes]
		if err := readFull(r, probe, int64(middle)*int64(entryBytes)); err != nil {
			return entry, false, err
		}
		if key(probe) <= limit {
			low = middle
		} else {
			high = middle
		}
	}
	block := window[:(high-low)*entryBytes]
	if err := readFull(r, block, int64(low)*int64(entryBytes)); err != nil {
		return entry, false, err
	}
	i := sort.Search(high-low, func(i int) bool { return key(block[i*entryBytes:]) > limit })
	if i == 0 {
		return entry, false, nil
	}
	copy(entry[:], block[(i-1)*entryBytes:][:entryBytes])
	return entry, true, nil
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
