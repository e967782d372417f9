package group

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/troupe-mq/troupe/wire"
)

// ErrMalformed is wrapped by every error about bytes that are no record of the offsets topic, or none of the consumer
// protocol.
var ErrMalformed = errors.New("malformed group record")

// reader cuts values off bytes that may be anything. The first failure stays: what is read after it is zero. Slices alias
// the bytes. flexible tells Kafka's two encodings apart: from some version of each message on lengths are varints and
// structs end with tagged fields.
type reader struct {
	b        []byte
	flexible bool
	err      error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
		r.b = nil
	}
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail("%d bytes wanted, %d left", n, len(r.b))
		return nil
	}
	cut := r.b[:n:n]
	r.b = r.b[n:]
	return cut
}

func (r *reader) int8() int8 {
	if b := r.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (r *reader) int16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *reader) int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *reader) topicID() (id wire.TopicID) {
	copy(id[:], r.take(len(id)))
	return id
}

func (r *reader) uvarint() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > math.MaxInt32 {
		r.fail("bad varint")
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

// length reads the length of a string (short) or of bytes or an array; -1 stands for null.
func (r *reader) length(short bool) (n int) {
	switch {
	case r.flexible:
		n = r.uvarint() - 1
	case short:
		n = int(r.int16())
	default:
		n = int(r.int32())
	}
	if n < -1 {
		r.fail("length %d", n)
	}
	return n
}

// string reads a string; null is the same as an empty one.
func (r *reader) string() []byte {
	n := r.length(true)
	if n < 0 || r.err != nil {
		return nil
	}
	return r.take(n)
}

// name reads a string that cannot be null.
func (r *reader) name() []byte {
	n := r.length(true)
	if n < 0 {
		r.fail("null where a name is needed")
		return nil
	}
	return r.take(n)
}

// bytes reads bytes; null is the same as none.
func (r *reader) bytes() []byte {
	n := r.length(false)
	if n < 0 || r.err != nil {
		return nil
	}
	return r.take(n)
}

// array reads the length of an array whose elements take at least so many bytes each: so nobody allocates for more
// elements than there can be.
func (r *reader) array(elementBytes int) int {
	n := r.length(false)
	if n < 0 || r.err != nil {
		return 0
	}
	if n > len(r.b)/elementBytes {
		r.fail("array of %d elements in %d bytes", n, len(r.b))
		return 0
	}
	return n
}

// tagged reads the tagged fields that end a struct, and gives those that are there to each.
func (r *reader) tagged(each func(tag int, value []byte)) {
	if !r.flexible || r.err != nil {
		return
	}
	for range r.uvarint() {
		tag, size := r.uvarint(), r.uvarint()
		value := r.take(size)
		if r.err != nil {
			return
		}
		if each != nil {
			each(tag, value)
		}
	}
}

// version reads the version that a value begins with.
func (r *reader) version(highest int16) int16 {
	v := r.int16()
	if r.err == nil && (v < 0 || v > highest) {
		r.fail("version %d", v)
	}
	return v
}

// strings of Kafka's older encoding have a length of 16 bits; whoever asks with longer ones is refused.
const maxStringBytes = math.MaxInt16

// writer appends values in either of the encodings.
type writer struct {
	b        []byte
	flexible bool
}

func (w *writer) int8(v int8)            { w.b = append(w.b, byte(v)) }
func (w *writer) int16(v int16)          { w.b = binary.BigEndian.AppendUint16(w.b, uint16(v)) }
func (w *writer) int32(v int32)          { w.b = binary.BigEndian.AppendUint32(w.b, uint32(v)) }
func (w *writer) int64(v int64)          { w.b = binary.BigEndian.AppendUint64(w.b, uint64(v)) }
func (w *writer) uvarint(v int)          { w.b = binary.AppendUvarint(w.b, uint64(v)) }
func (w *writer) topicID(v wire.TopicID) { w.b = append(w.b, v[:]...) }

// noTags ends a struct.
func (w *writer) noTags() {
	if w.flexible {
		w.uvarint(0)
	}
}

// oneTag ends a struct of the newer encoding with a tagged field, of the number 0: none that is written has others.
func (w *writer) oneTag(value []byte) {
	w.uvarint(1)
	w.uvarint(0)
	w.uvarint(len(value))
	w.b = append(w.b, value...)
}

func (w *writer) length(n int, short bool) {
	switch {
	case w.flexible:
		w.uvarint(n + 1)
	case short:
		w.int16(int16(n))
	default:
		w.int32(int32(n))
	}
}

func (w *writer) string(s string) {
	w.length(len(s), true)
	w.b = append(w.b, s...)
}

// nullable writes an empty string as null.
func (w *writer) nullable(s string) {
	if s == "" {
		w.length(-1, true)
		return
	}
	w.string(s)
}

func (w *writer) bytes(b []byte) {
	w.length(len(b), false)
	w.b = append(w.b, b...)
}

func (w *writer) array(n int) { w.length(n, false) }
