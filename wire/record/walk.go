package record

import (
	"fmt"
	"math"
)

// walk goes over the uncompressed records of a produced batch without decoding them. It is the only
// thing a broker does per record, so it takes the usual numbers, one byte or two, in line, and
// leaves all others to varint.go.
type walk struct {
	count         int32
	baseTimestamp int64
	oldest        int64 // timestamps outside oldest..newest are faults, NoTimestamp excepted
	newest        int64
	keyed         bool // a record without a key is a fault

	maxTimestamp int64
	faults       []RecordError // the first maxFaults
	untimely     bool          // a timestamp is among the faults
}

// maxFaults is how many records are named to the producer.
//
// Kafka: names all, which makes the answer larger than the request.
const maxFaults = 100

func newWalk(h *Header) walk {
	return walk{
		count: h.Count, baseTimestamp: h.BaseTimestamp, maxTimestamp: NoTimestamp,
		oldest: math.MinInt64, newest: math.MaxInt64,
	}
}

// records walks b, in which exactly count records must lie, their offsets one after the other.
func (w *walk) records(b []byte) error {
	at := 0
	for n := int32(0); n < w.count; n++ {
		// The record's length.
		var size int32
		if at+1 < len(b) && b[at+1] < 0x80 && b[at] >= 0x80 {
			u := int32(b[at]&0x7f) | int32(b[at+1])<<7
			size = u>>1 ^ -(u & 1)
			at += 2
		} else if size, at = varint32(b, at); at < 0 {
			return malformed(n)
		}
		if size < minRecordBytes-1 || int(size) > len(b)-at {
			return malformed(n)
		}
		if !w.record(b[at:at+int(size)], n) {
			return malformed(n)
		}
		at += int(size)
	}
	if at != len(b) {
		return fmt.Errorf("%d bytes after the last record: %w", len(b)-at, ErrRecord)
	}
	return nil
}

func malformed(n int32) error { return fmt.Errorf("record %d: %w", n, ErrRecord) }

// record walks record n; all of b belongs to it, and it is no shorter than a record can be.
func (w *walk) record(b []byte, n int32) bool {
	at := 1 // behind the attributes, which mean nothing in this format
	delta := int64(0)
	switch {
	case b[at] < 0x80:
		delta = int64(b[at]>>1) ^ -int64(b[at]&1)
		at++
	case b[at+1] < 0x80:
		u := int64(b[at]&0x7f) | int64(b[at+1])<<7
		delta = u>>1 ^ -(u & 1)
		at += 2
	default:
		if delta, at = varint64(b, at); at < 0 {
			return false
		}
	}
	if at = w.offset(b, at, n); at < 0 {
		return false
	}
	timestamp := w.baseTimestamp + delta
	if timestamp < w.oldest || timestamp > w.newest {
		w.early(n, timestamp)
	}
	w.maxTimestamp = max(w.maxTimestamp, timestamp)

	keyless := false
	if at, keyless = skip(b, at); at < 0 {
		return false
	}
	if keyless && w.keyed {
		w.fault(n, "a compacted topic takes no record without a key")
	}
	if at, _ = skip(b, at); at < 0 {
		return false
	}
	if at == len(b)-1 && b[at] == 0 {
		return true // no headers, and nothing after them
	}
	return skipHeaders(b, at)
}

// offset checks that the number at b[at:] is n, and returns where the next thing begins.
func (w *walk) offset(b []byte, at int, n int32) int {
	u := uint32(n) << 1
	switch {
	case u < 1<<7:
		if at < len(b) && b[at] == byte(u) {
			return at + 1
		}
	case u < 1<<14:
		if at+1 < len(b) && b[at] == byte(u)|0x80 && b[at+1] == byte(u>>7) {
			return at + 2
		}
	}
	delta, at := varint32(b, at)
	if delta != n {
		return -1
	}
	return at
}

// skip passes over a length and that many bytes.
func skip(b []byte, at int) (next int, null bool) {
	var size int32
	if at+1 < len(b) && b[at+1] < 0x80 && b[at] >= 0x80 {
		u := int32(b[at]&0x7f) | int32(b[at+1])<<7
		size = u>>1 ^ -(u & 1)
		at += 2
	} else if size, at = varint32(b, at); at < 0 {
		return -1, false
	}
	if size < 0 {
		if size < -1 {
			return -1, false
		}
		return at, true
	}
	if int(size) > len(b)-at {
		return -1, false
	}
	return at + int(size), false
}

func skipHeaders(b []byte, at int) bool {
	count, at := varint32(b, at)
	if at < 0 || count < 0 || int(count) > (len(b)-at)/2 {
		return false
	}
	for range count {
		null := false
		if at, null = skip(b, at); at < 0 || null {
			return false
		}
		if at, _ = skip(b, at); at < 0 {
			return false
		}
	}
	return at == len(b)
}

func (w *walk) early(n int32, timestamp int64) {
	if timestamp == NoTimestamp {
		return
	}
	w.untimely = true
	w.fault(n, "the timestamp is outside the range that the topic takes")
}

func (w *walk) fault(n int32, message string) {
	if len(w.faults) < maxFaults {
		w.faults = append(w.faults, RecordError{Index: n, Message: message})
	}
}
