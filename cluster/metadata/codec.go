package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// The msgpack form of records and snapshots, appended to and cut from a byte slice directly: an
// entry may hold thousands of partitions and is decoded on every broker. A struct is an array of
// its fields. Fields are only ever appended: an older reader skips what it does not know, a newer
// one takes zero for what is missing. So both directions of an upgrade read each other's log.

// ErrMalformed is wrapped by every error about bytes that are no records or no snapshot.
var ErrMalformed = errors.New("malformed metadata")

// ErrTooNew is wrapped by the error about a record or snapshot that only a newer version
// understands. A broker that meets one stops rather than hold another image than its peers.
var ErrTooNew = errors.New("metadata of a newer version")

type writer struct{ b []byte }

// array begins an array of n values.
func (w *writer) array(n int) {
	switch {
	case n < 16:
		w.b = append(w.b, msgpcode.FixedArrayLow|byte(n))
	case n <= math.MaxUint16:
		w.b = binary.BigEndian.AppendUint16(append(w.b, msgpcode.Array16), uint16(n))
	default:
		w.b = binary.BigEndian.AppendUint32(append(w.b, msgpcode.Array32), uint32(n))
	}
}

func (w *writer) uint(n uint64) {
	switch {
	case n <= 0x7f:
		w.b = append(w.b, byte(n))
	case n <= math.MaxUint8:
		w.b = append(w.b, msgpcode.Uint8, byte(n))
	case n <= math.MaxUint16:
		w.b = binary.BigEndian.AppendUint16(append(w.b, msgpcode.Uint16), uint16(n))
	case n <= math.MaxUint32:
		w.b = binary.BigEndian.AppendUint32(append(w.b, msgpcode.Uint32), uint32(n))
	default:
		w.b = binary.BigEndian.AppendUint64(append(w.b, msgpcode.Uint64), n)
	}
}

func (w *writer) int(n int64) {
	switch {
	case n >= 0:
		w.uint(uint64(n))
	case n >= -32:
		w.b = append(w.b, byte(n))
	default:
		w.b = binary.BigEndian.AppendUint64(append(w.b, msgpcode.Int64), uint64(n))
	}
}

func (w *writer) bool(v bool) {
	if v {
		w.b = append(w.b, msgpcode.True)
	} else {
		w.b = append(w.b, msgpcode.False)
	}
}

func (w *writer) string(s string) {
	switch n := len(s); {
	case n < 32:
		w.b = append(w.b, msgpcode.FixedStrLow|byte(n))
	case n <= math.MaxUint8:
		w.b = append(w.b, msgpcode.Str8, byte(n))
	case n <= math.MaxUint16:
		w.b = binary.BigEndian.AppendUint16(append(w.b, msgpcode.Str16), uint16(n))
	default:
		w.b = binary.BigEndian.AppendUint32(append(w.b, msgpcode.Str32), uint32(n))
	}
	w.b = append(w.b, s...)
}

func (w *writer) bytes(p []byte) {
	if n := len(p); n <= math.MaxUint8 {
		w.b = append(w.b, msgpcode.Bin8, byte(n))
	} else {
		w.b = binary.BigEndian.AppendUint32(append(w.b, msgpcode.Bin32), uint32(n))
	}
	w.b = append(w.b, p...)
}

// reader cuts values from b. After the first error every read gives zero.
type reader struct {
	b    []byte
	left int // values left in the array that is being read
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
	}
}

// cut takes n bytes off.
func (r *reader) cut(n int) []byte {
	if r.err == nil && n > len(r.b) {
		r.fail("%d bytes where %d are needed", len(r.b), n)
	}
	if r.err != nil {
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

// number cuts a big-endian number of n bytes.
func (r *reader) number(n int) uint64 {
	var v uint64
	for _, c := range r.cut(n) {
		v = v<<8 | uint64(c)
	}
	return v
}

// next takes the first byte of the next value of the current array. There is none when an older
// version wrote the array: then the value is zero.
func (r *reader) next() (code byte, ok bool) {
	if r.err != nil || r.left == 0 {
		return 0, false
	}
	r.left--
	p := r.cut(1)
	if p == nil {
		return 0, false
	}
	return p[0], true
}

// open enters an array of n values and returns what close needs.
func (r *reader) open() (n, outer int) {
	code, ok := r.next()
	if !ok {
		outer, r.left = r.left, 0
		return 0, outer
	}
	outer = r.left
	switch {
	case msgpcode.IsFixedArray(code):
		n = int(code & msgpcode.FixedArrayMask)
	case code == msgpcode.Array16:
		n = int(r.number(2))
	case code == msgpcode.Array32:
		n = int(r.number(4))
	default:
		r.fail("0x%02x where an array begins", code)
	}
	if n > len(r.b) { // a value takes at least a byte: so nothing is allocated for a lie
		r.fail("%d values in %d bytes", n, len(r.b))
	}
	if r.err != nil {
		n = 0
	}
	r.left = n
	return n, outer
}

// close leaves an array. What a newer version appended to it is skipped.
func (r *reader) close(outer int) {
	for pending := r.left; pending > 0 && r.err == nil; pending-- {
		pending += r.skip()
	}
	r.left = outer
}

// skip passes over the head of one value, with its bytes, and returns how many values it holds.
func (r *reader) skip() (inside int) {
	p := r.cut(1)
	if p == nil {
		return 0
	}
	switch code := p[0]; {
	case msgpcode.IsFixedNum(code), code == msgpcode.Nil, code == msgpcode.True, code == msgpcode.False:
	case msgpcode.IsFixedArray(code):
		inside = int(code & msgpcode.FixedArrayMask)
	case msgpcode.IsFixedString(code):
		r.cut(int(code & msgpcode.FixedStrMask))
	case code == msgpcode.Array16:
		inside = int(r.number(2))
	case code == msgpcode.Array32:
		inside = int(r.number(4))
	case code == msgpcode.Uint8, code == msgpcode.Int8:
		r.cut(1)
	case code == msgpcode.Uint16, code == msgpcode.Int16:
		r.cut(2)
	case code == msgpcode.Uint32, code == msgpcode.Int32, code == msgpcode.Float:
		r.cut(4)
	case code == msgpcode.Uint64, code == msgpcode.Int64, code == msgpcode.Double:
		r.cut(8)
	case code == msgpcode.Str8, code == msgpcode.Bin8:
		r.cut(int(r.number(1)))
	case code == msgpcode.Str16, code == msgpcode.Bin16:
		r.cut(int(r.number(2)))
	case code == msgpcode.Str32, code == msgpcode.Bin32:
		r.cut(int(r.number(4)))
	default:
		r.fail("0x%02x begins no value in use here", code)
	}
	if inside > len(r.b) {
		r.fail("%d values in %d bytes", inside, len(r.b))
	}
	return inside
}

func (r *reader) uint() uint64 {
	code, ok := r.next()
	switch {
	case !ok:
		return 0
	case code <= msgpcode.PosFixedNumHigh:
		return uint64(code)
	case code >= msgpcode.Uint8 && code <= msgpcode.Uint64:
		return r.number(1 << (code - msgpcode.Uint8))
	}
	r.fail("0x%02x where a number not below zero begins", code)
	return 0
}

func (r *reader) int() int64 {
	if len(r.b) > 0 && r.left > 0 && r.err == nil {
		switch code := r.b[0]; {
		case code >= msgpcode.NegFixedNumLow:
			r.next()
			return int64(int8(code))
		case code == msgpcode.Int64:
			r.next()
			return int64(r.number(8))
		}
	}
	n := r.uint()
	if n > math.MaxInt64 {
		r.fail("%d is too large", n)
		return 0
	}
	return int64(n)
}

func (r *reader) bool() bool {
	code, ok := r.next()
	if ok && code != msgpcode.True && code != msgpcode.False {
		r.fail("0x%02x where true or false belongs", code)
	}
	return ok && code == msgpcode.True
}

func (r *reader) string() string {
	code, ok := r.next()
	switch {
	case !ok:
		return ""
	case msgpcode.IsFixedString(code):
		return string(r.cut(int(code & msgpcode.FixedStrMask)))
	case code == msgpcode.Str8:
		return string(r.cut(int(r.number(1))))
	case code == msgpcode.Str16:
		return string(r.cut(int(r.number(2))))
	case code == msgpcode.Str32:
		return string(r.cut(int(r.number(4))))
	}
	r.fail("0x%02x where a string begins", code)
	return ""
}

// bytes returns a part of b, not a copy.
func (r *reader) bytes() []byte {
	code, ok := r.next()
	switch {
	case !ok:
		return nil
	case code == msgpcode.Bin8:
		return r.cut(int(r.number(1)))
	case code == msgpcode.Bin32:
		return r.cut(int(r.number(4)))
	}
	r.fail("0x%02x where bytes begin", code)
	return nil
}

// unsigned reads a number that must fit T.
func unsigned[T ~uint8 | ~uint16 | ~uint32 | ~uint64](r *reader) T {
	n := r.uint()
	if uint64(T(n)) != n {
		r.fail("%d does not fit its field", n)
		return 0
	}
	return T(n)
}

// signed reads a number that must fit T.
func signed[T ~int8 | ~int16 | ~int32 | ~int64](r *reader) T {
	n := r.int()
	if int64(T(n)) != n {
		r.fail("%d does not fit its field", n)
		return 0
	}
	return T(n)
}

// listOf reads an array with one element each; none gives nil.
func listOf[T any](r *reader, element func(*reader) T) []T {
	n, outer := r.open()
	var list []T
	if n > 0 {
		list = make([]T, 0, min(n, 1024)) // grows with what is really there
	}
	for range n {
		v := element(r)
		if r.err != nil {
			return nil
		}
		list = append(list, v)
	}
	r.close(outer)
	return list
}
