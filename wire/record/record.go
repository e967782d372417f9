package record

import (
	"github.com/troupe-mq/troupe/wire"
)

// ErrRecord is said of a batch whose records are not what its header promises.
var ErrRecord = wire.Errorf(wire.InvalidRecord, "a record in the batch is malformed")

// minRecordBytes is the size of the shortest record: six numbers of one byte and the attributes.
const minRecordBytes = 7

// Record is one record of a batch. Key and Value are nil when they are null. They lie in the
// batch, or in the Reader's memory when the batch was compressed.
type Record struct {
	Offset     wire.Offset
	Timestamp  int64 // milliseconds since 1970, or NoTimestamp
	Key        []byte
	Value      []byte
	Headers    []RecordHeader
	Attributes int8 // unused in format 2
}

// RecordHeader is a name and a value that travel with a record. Names may repeat.
type RecordHeader struct { //nolint:revive // a Header is the batch's
	Key   string
	Value []byte // nil when it is null
}

// Reader reads the records of one batch after the other:
//
//	var reader record.Reader
//	defer reader.Close()
//	if err := reader.Reset(batch, maxDecompressed); err != nil { ... }
//	for reader.Next(&rec) { ... }
//	return reader.Err()
//
// Records of a compressed batch are valid until the next Reset or Close. Who wants to keep them
// longer drops the Reader without closing it: its memory then goes the way of all garbage.
type Reader struct {
	header  Header
	records []byte // uncompressed
	at      int    // of the next record
	read    int32  // records so far
	last    int64  // offset delta of the record before; -1 at first
	memory  *wire.Buffer
	err     error
}

// Reset begins a whole batch. Its checksum is not verified. The records may be maxDecompressed
// bytes at most when they are compressed; ErrDecompressed otherwise.
func (r *Reader) Reset(batch []byte, maxDecompressed int) error {
	r.Close()
	h, batch, _, err := Next(batch)
	if err != nil {
		r.err = err
		return err
	}
	r.header, r.records, r.last = h, batch[HeaderBytes:], -1
	if codec := h.Codec(); codec != None {
		if r.memory, err = decompress(codec, r.records, maxDecompressed); err != nil {
			r.err = err
			return err
		}
		r.records = r.memory.Bytes
	}
	return nil
}

// Close gives the Reader's memory back. A Reader may be used again after it.
func (r *Reader) Close() {
	r.memory.Release()
	*r = Reader{}
}

// Rewind begins with the first record again, unless there was an error. The batch is not
// decompressed a second time.
func (r *Reader) Rewind() {
	if r.err == nil {
		r.at, r.read, r.last = 0, 0, -1
	}
}

// Header returns the header of the batch.
func (r *Reader) Header() Header { return r.header }

// Err returns why Next returned false: nil at the proper end of the batch.
func (r *Reader) Err() error { return r.err }

// Next reads the next record into rec, whose Headers it uses again: a caller who keeps them sets
// rec.Headers to nil before the next call. It does not allocate, except for headers that differ from
// those which rec had before.
func (r *Reader) Next(rec *Record) bool {
	if r.err != nil {
		return false
	}
	if r.read >= r.header.Count {
		if r.at != len(r.records) || r.header.Count < 0 {
			r.err = ErrRecord
		}
		return false
	}
	size, at := varint32(r.records, r.at)
	if at < 0 || size < 0 || int(size) > len(r.records)-at {
		r.err = ErrRecord
		return false
	}
	end := at + int(size)
	timestampDelta, offsetDelta, ok := rec.parse(r.records[at:end:end])
	// Compaction leaves gaps between the offsets, but never turns them around.
	if !ok || int64(offsetDelta) <= r.last || offsetDelta > r.header.LastOffsetDelta {
		r.err = ErrRecord
		return false
	}
	rec.Offset = r.header.BaseOffset + wire.Offset(offsetDelta)
	if r.header.LogAppendTime() {
		rec.Timestamp = r.header.MaxTimestamp
	} else {
		rec.Timestamp = r.header.BaseTimestamp + timestampDelta
	}
	r.at, r.last = end, int64(offsetDelta)
	r.read++
	return true
}

// parse reads what follows a record's length. All of b belongs to the record.
func (rec *Record) parse(b []byte) (timestampDelta int64, offsetDelta int32, ok bool) {
	if len(b) == 0 {
		return 0, 0, false
	}
	rec.Attributes = int8(b[0])
	timestampDelta, at := varint64(b, 1)
	if at < 0 {
		return 0, 0, false
	}
	if offsetDelta, at = varint32(b, at); at < 0 {
		return 0, 0, false
	}
	if rec.Key, at = nullable(b, at); at < 0 {
		return 0, 0, false
	}
	if rec.Value, at = nullable(b, at); at < 0 {
		return 0, 0, false
	}
	count, at := varint32(b, at)
	// A header is at least two bytes long.
	if at < 0 || count < 0 || int(count) > (len(b)-at)/2 {
		return 0, 0, false
	}
	if at = rec.parseHeaders(b, at, int(count)); at != len(b) {
		return 0, 0, false
	}
	return timestampDelta, offsetDelta, true
}

func (rec *Record) parseHeaders(b []byte, at, count int) int {
	headers := rec.Headers[:0]
	for range count {
		var key, value []byte
		if key, at = nullable(b, at); at < 0 || key == nil {
			return -1
		}
		if value, at = nullable(b, at); at < 0 {
			return -1
		}
		if len(headers) < cap(headers) {
			headers = headers[:len(headers)+1]
		} else {
			headers = append(headers, RecordHeader{})
		}
		h := &headers[len(headers)-1]
		// Most records of a batch have the same headers: keep the string that is there.
		if h.Key != string(key) {
			h.Key = string(key)
		}
		h.Value = value
	}
	rec.Headers = headers
	return at
}

// nullable reads a length and that many bytes; a length of -1 is null.
//
// Kafka: takes every negative length for null. No client writes one below -1.
func nullable(b []byte, at int) ([]byte, int) {
	size, at := varint32(b, at)
	switch {
	case at < 0 || size < -1 || int(size) > len(b)-at:
		return nil, -1
	case size == -1:
		return nil, at
	}
	end := at + int(size)
	return b[at:end:end], end
}

// Iterate calls fn for every record of a whole batch until it returns an error, and returns that.
// The record is valid only during the call. The checksum is not verified.
func Iterate(batch []byte, maxDecompressed int, fn func(Record) error) error {
	var r Reader
	defer r.Close()
	if err := r.Reset(batch, maxDecompressed); err != nil {
		return err
	}
	var rec Record
	for r.Next(&rec) {
		if err := fn(rec); err != nil {
			return err
		}
	}
	return r.Err()
}
