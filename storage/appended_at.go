package storage

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
	"os"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// When records were appended is written down in a file beside each segment, now and then: an entry
// when the last one is older than stampInterval, with the offset of the batch that is being
// appended. So every batch was appended within that time after the last entry that is not above it.
//
//	.appended   | offset - base: 4 | ms since 1970: 6 | check: 2 |   12 bytes an entry, big-endian
//
// The file is written behind the batches, never synced and never waited for: an entry that a crash
// tore, or whose batch is gone, is found out by its check or its offset. What is missing makes the
// answer less exact, or "not known". Entries ascend in their offsets; the clock may go back.

const (
	stampBytes = 12
	// stampInterval is how far an answer may be from the truth.
	stampInterval  = 400 * time.Millisecond
	maxStampsBytes = 1 << 30
)

// stamp is one entry.
type stamp struct {
	offset wire.Offset
	millis int64
}

// stamps is what is known of a segment's file.
type stamps struct {
	mu     sync.Mutex
	loaded bool
	count  int64       // of entries that are right
	last   wire.Offset // of the last of them
	// unsaved are the entries of a segment that compaction made, until they are in a file.
	unsaved []byte
	file    fileSlot
}

func appendStamp(b []byte, base wire.Offset, e stamp) []byte {
	at := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(e.offset-base))
	b = binary.BigEndian.AppendUint16(b, uint16(e.millis>>32))
	b = binary.BigEndian.AppendUint32(b, uint32(e.millis))
	return binary.BigEndian.AppendUint16(b, stampCheck(b[at:], base))
}

func parseStamp(b []byte, base wire.Offset) (e stamp, ok bool) {
	e = stamp{
		offset: base + wire.Offset(binary.BigEndian.Uint32(b)),
		millis: int64(binary.BigEndian.Uint16(b[4:]))<<32 | int64(binary.BigEndian.Uint32(b[6:])),
	}
	return e, binary.BigEndian.Uint16(b[10:]) == stampCheck(b[:10], base) && e.offset >= base
}

// stampCheck tells an entry of this segment from anything else.
func stampCheck(b []byte, base wire.Offset) uint16 {
	var seed [8]byte
	binary.BigEndian.PutUint64(seed[:], uint64(base))
	return uint16(crc32.Update(crc32.Checksum(seed[:], castagnoli), castagnoli, b))
}

// AppendedAt returns when the batch that holds offset was appended to this copy of the log, to
// within half a second. It does not know of records from before such times were kept.
func (l *Log) AppendedAt(offset wire.Offset) (time.Time, bool) {
	if l.closed.Load() || offset < l.StartOffset() || offset >= l.EndOffset() {
		return time.Time{}, false
	}
	for {
		swaps := l.swaps.Load()
		l.mu.RLock()
		s := l.segments[l.find(offset)]
		l.mu.RUnlock()
		if e, ok := l.stampBelow(s, offset); ok || l.swaps.Load() == swaps {
			return time.UnixMilli(e.millis), ok
		}
	}
}

// stampBelow returns the last entry that is not above offset.
func (l *Log) stampBelow(s *segment, offset wire.Offset) (stamp, bool) {
	s.stamps.mu.Lock()
	l.loadStamps(s, math.MaxInt64)
	n, unsaved := s.stamps.count, s.stamps.unsaved
	s.stamps.mu.Unlock()
	if n == 0 {
		return stamp{}, false
	}
	r := io.ReaderAt(bytes.NewReader(unsaved))
	if unsaved == nil {
		f, err := l.open(s, &s.stamps.file, appendedSuffix)
		if err != nil {
			return stamp{}, false
		}
		defer f.Release()
		r = f
	}
	key := func(b []byte) int64 { return int64(binary.BigEndian.Uint32(b)) }
	b, found, err := searchEntries(r, int(n), stampBytes, int64(s.relative(offset)), key)
	if err != nil || !found {
		return stamp{}, false
	}
	return parseStamp(b[:], s.base)
}

// loadStamps counts the entries of a segment from an earlier run that are right and below an offset. The
// caller holds their mutex.
func (l *Log) loadStamps(s *segment, below wire.Offset) {
	if s.stamps.loaded {
		return
	}
	s.stamps.loaded = true
	list := l.readStamps(s.base, below)
	if s.stamps.count = int64(len(list)); len(list) > 0 {
		s.stamps.last = list[len(list)-1].offset
	}
}

// readStamps returns the entries of a segment's file up to the first that is wrong, or not below an
// offset.
func (l *Log) readStamps(base, below wire.Offset) (list []stamp) {
	content, err := readFile(l.dir.fsys, l.file(base, appendedSuffix), maxStampsBytes)
	if err != nil {
		return nil
	}
	return parseStamps(content, base, below)
}

func parseStamps(content []byte, base, below wire.Offset) (list []stamp) {
	for ; len(content) >= stampBytes; content = content[stampBytes:] {
		e, ok := parseStamp(content, base)
		if n := len(list); !ok || e.offset >= below || n > 0 && e.offset <= list[n-1].offset {
			break
		}
		list = append(list, e)
	}
	return list
}

// stamp takes note of when batches were appended to a segment, if it is time for that. It is called on
// the appender's goroutine.
func (l *Log) stamp(s *segment, batches []byte) {
	now := l.dir.cfg.Now().UnixMilli()
	if since := now - l.stamped; s == l.stampedIn && since >= 0 && since < stampInterval.Milliseconds() {
		return
	}
	l.stamped, l.stampedIn = now, s
	e := stamp{wire.Offset(binary.BigEndian.Uint64(batches)), now}
	if now < 0 || now >= 1<<48 {
		return
	}
	s.stamps.mu.Lock()
	defer s.stamps.mu.Unlock()
	err := l.writeStamp(s, e)
	if err != nil && !passes(err) && !l.closed.Load() {
		l.dir.log.Warn("time of an append is not kept", "topic", l.ref.Topic, "partition", l.ref.Partition, "offset", e.offset, "err", err)
	}
}

// writeStamp adds an entry. The first time it clears away those from an earlier run that speak of
// batches which are gone.
func (l *Log) writeStamp(s *segment, e stamp) error {
	if s.stamps.count > 0 && s.stamps.last >= e.offset {
		s.stamps.loaded = false // a reader came first, and has counted those as well
	}
	first := !s.stamps.loaded
	l.loadStamps(s, e.offset)
	f, err := l.open(s, &s.stamps.file, appendedSuffix)
	if isMissing(err) {
		var made File
		if made, err = l.dir.fsys.OpenFile(l.file(s.base, appendedSuffix), os.O_RDWR|os.O_CREATE, filePerm); err == nil {
			err = made.Close()
		}
		if err == nil {
			f, err = l.open(s, &s.stamps.file, appendedSuffix)
		}
	}
	if err != nil {
		return err
	}
	defer f.Release()
	if size, sizeErr := f.Size(); first && sizeErr == nil && size > s.stamps.count*stampBytes {
		if err := f.Truncate(s.stamps.count * stampBytes); err != nil {
			return err
		}
	}
	var entry [stampBytes]byte
	if _, err = f.WriteAt(appendStamp(entry[:0], s.base, e), s.stamps.count*stampBytes); err == nil {
		s.stamps.count++
		s.stamps.last = e.offset
	}
	return err
}

// mergeStamps gives a segment that nobody else knows yet what is known of those that it was made from.
func (l *Log) mergeStamps(made *segment, group []source) {
	var b []byte
	for _, s := range group {
		s.stamps.mu.Lock()
		unsaved := s.stamps.unsaved
		s.stamps.mu.Unlock()
		list := parseStamps(unsaved, s.base, s.next)
		if unsaved == nil {
			list = l.readStamps(s.base, s.next)
		}
		for _, e := range list {
			b = appendStamp(b, made.base, e)
		}
	}
	made.stamps.loaded, made.stamps.count, made.stamps.unsaved = true, int64(len(b)/stampBytes), b
}

// saveStamps writes the file of a segment that was made by compaction.
func (l *Log) saveStamps(s *segment) {
	s.stamps.mu.Lock()
	defer s.stamps.mu.Unlock()
	if len(s.stamps.unsaved) == 0 {
		return
	}
	if writeFileAtomically(l.dir.fsys, l.file(s.base, appendedSuffix), s.stamps.unsaved, notDurably) == nil {
		s.stamps.unsaved = nil
	}
}
