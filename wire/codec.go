package wire

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// The msgpack form of messages, written by hand. Reflection would cost ten times as much on the
// produce path, and the layout would depend on the spelling of Go structs.
//
// A struct is an array of its fields in a fixed order. A newer peer may append fields, which an
// older one skips; what a newer version appended, a reader asks for with Decoder.more and gives a
// default when it is missing. Fields are never taken out and never change their meaning.

// Message is something that travels in the body of a frame.
type Message interface {
	encode(e *Encoder)
	decode(d *Decoder)
}

// AppendMessage appends the msgpack form of m to b.
func AppendMessage(b []byte, m Message) []byte {
	e := newEncoder(b)
	m.encode(e)
	return e.finish()
}

// Parse reads m from the start of b. Bytes after it are left alone. Strings are copied out of b,
// so that m does not keep the frame.
func Parse(b []byte, m Message) error {
	d := newDecoder(b)
	m.decode(d)
	return d.finish()
}

// ErrMalformed is wrapped by every error about bytes that are not what they should be.
var ErrMalformed = errors.New("malformed message")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// Encoder appends msgpack to a slice.
type Encoder struct {
	pack *msgpack.Encoder
	out  sliceWriter
}

// sliceWriter is what the encoder writes to; it cannot fail, which is why the errors of the
// encoder are not looked at.
type sliceWriter struct{ b []byte }

func (w *sliceWriter) Write(p []byte) (int, error) { w.b = append(w.b, p...); return len(p), nil }
func (w *sliceWriter) WriteByte(c byte) error      { w.b = append(w.b, c); return nil }

var encoders = sync.Pool{New: func() any {
	e := new(Encoder)
	e.pack = msgpack.NewEncoder(&e.out)
	return e
}}

func newEncoder(b []byte) *Encoder {
	e := encoders.Get().(*Encoder)
	e.out.b = b
	return e
}

func (e *Encoder) finish() []byte {
	b := e.out.b
	e.out.b = nil
	encoders.Put(e)
	return b
}

func (e *Encoder) array(n int)     { _ = e.pack.EncodeArrayLen(n) }
func (e *Encoder) nothing()        { _ = e.pack.EncodeNil() }
func (e *Encoder) bool(v bool)     { _ = e.pack.EncodeBool(v) }
func (e *Encoder) string(s string) { _ = e.pack.EncodeString(s) }
func (e *Encoder) int(n int64)     { _ = e.pack.EncodeInt(n) }

func (e *Encoder) topicID(id TopicID) {
	_ = e.pack.EncodeBytesLen(len(id))
	e.out.b = append(e.out.b, id[:]...)
}

func (e *Encoder) optionalString(s *string) {
	if s == nil {
		e.nothing()
		return
	}
	e.string(*s)
}

// failure encodes err as nil or as [code, sentence].
func (e *Encoder) failure(err error) {
	if err == nil {
		e.nothing()
		return
	}
	e.array(2)
	e.int(int64(Code(err)))
	e.string(Sentence(err))
}

// Decoder reads msgpack from a slice. The first error stays and makes every later read return
// zero, so that a message is decoded without a branch for each field.
type Decoder struct {
	pack *msgpack.Decoder
	in   sliceReader
	left int // values left in the array that is being read
	err  error
}

// sliceReader is a reader that the msgpack decoder does not buffer again, because it can unread.
type sliceReader struct {
	b  []byte
	at int
}

func (r *sliceReader) Read(p []byte) (int, error) {
	if r.at == len(r.b) {
		return 0, errShort
	}
	n := copy(p, r.b[r.at:])
	r.at += n
	return n, nil
}

func (r *sliceReader) ReadByte() (byte, error) {
	if r.at == len(r.b) {
		return 0, errShort
	}
	r.at++
	return r.b[r.at-1], nil
}

func (r *sliceReader) UnreadByte() error { r.at--; return nil }

var errShort = fmt.Errorf("%w: it ends too early", ErrMalformed)

var decoders = sync.Pool{New: func() any {
	d := new(Decoder)
	d.pack = msgpack.NewDecoder(&d.in)
	return d
}}

func newDecoder(b []byte) *Decoder {
	d := decoders.Get().(*Decoder)
	d.in = sliceReader{b: b}
	d.left, d.err = 1, nil
	return d
}

func (d *Decoder) finish() error {
	err := d.err
	d.in, d.err = sliceReader{}, nil
	decoders.Put(d)
	return err
}

func (d *Decoder) fail(err error) {
	if d.err == nil {
		if !errors.Is(err, ErrMalformed) {
			err = malformed("%v", err)
		}
		d.err = err
	}
}

// more says that the array has a further field: one that a later version appended.
func (d *Decoder) more() bool { return d.err == nil && d.left > 0 }

// next takes one value of the current array, and says whether it is there to be read.
func (d *Decoder) next() bool {
	if d.err != nil {
		return false
	}
	if d.left == 0 {
		d.err = malformed("a field is missing")
		return false
	}
	d.left--
	return true
}

// open enters an array. It returns how many values the array has and what close needs to go on
// with the one around it.
func (d *Decoder) open() (n, outer int) {
	if !d.next() {
		return 0, d.left
	}
	outer = d.left
	n, err := d.pack.DecodeArrayLen()
	switch {
	case err != nil:
		d.fail(err)
		return 0, outer
	case n < 0:
		d.fail(malformed("nil in the place of an array"))
		return 0, outer
	case n > len(d.in.b)-d.in.at:
		d.fail(malformed("%d values in %d bytes", n, len(d.in.b)-d.in.at))
		return 0, outer
	}
	d.left = n
	return n, outer
}

// close leaves an array, skipping what a newer peer has appended to it.
func (d *Decoder) close(outer int) {
	for d.more() {
		d.left--
		d.skip()
	}
	d.left = outer
}

// skip passes over one value of any kind. It does not recurse, so that arrays nested a million
// deep cannot exhaust the stack.
func (d *Decoder) skip() {
	for left := int64(1); left > 0 && d.err == nil; left-- {
		left += d.skipOne()
	}
}

// skipOne passes over one value's own bytes and returns how many values it contains.
func (d *Decoder) skipOne() int64 {
	code, err := d.pack.PeekCode()
	if err != nil {
		d.fail(err)
		return 0
	}
	var n int
	switch {
	case code == msgpcode.Array16, code == msgpcode.Array32, msgpcode.IsFixedArray(code):
		n, err = d.pack.DecodeArrayLen()
	case code == msgpcode.Map16, code == msgpcode.Map32, msgpcode.IsFixedMap(code):
		n, err = d.pack.DecodeMapLen()
		n *= 2
	case msgpcode.IsString(code), msgpcode.IsBin(code):
		n, err = d.pack.DecodeBytesLen()
		d.advance(n)
		n = 0
	case msgpcode.IsExt(code):
		_, n, err = d.pack.DecodeExtHeader()
		d.advance(n)
		n = 0
	default:
		err = d.pack.Skip() // a number, a bool or nil
	}
	if err != nil {
		d.fail(err)
		return 0
	}
	return int64(n)
}

// advance passes over n bytes and returns them, aliased.
func (d *Decoder) advance(n int) []byte {
	if d.err != nil || n <= 0 {
		return nil
	}
	if n > len(d.in.b)-d.in.at {
		d.fail(errShort)
		return nil
	}
	d.in.at += n
	return d.in.b[d.in.at-n : d.in.at : d.in.at]
}

// isNil takes a nil, if that is what comes next.
func (d *Decoder) isNil() bool {
	if d.err != nil || d.left == 0 || d.in.at == len(d.in.b) || d.in.b[d.in.at] != msgpcode.Nil {
		return false
	}
	d.left--
	d.in.at++
	return true
}

func (d *Decoder) bool() bool {
	if !d.next() {
		return false
	}
	v, err := d.pack.DecodeBool()
	if err != nil {
		d.fail(err)
	}
	return v
}

func (d *Decoder) int64() int64 {
	if !d.next() {
		return 0
	}
	if d.in.at < len(d.in.b) && d.in.b[d.in.at] == msgpcode.Nil { // the decoder would take it for 0
		d.fail(malformed("nil in the place of a number"))
		return 0
	}
	n, err := d.pack.DecodeInt64()
	if err != nil {
		d.fail(err)
		return 0
	}
	return n
}

// integer reads a number that must fit T.
func integer[T ~int8 | ~int16 | ~int32 | ~int64 | ~int | ~uint8 | ~uint32](d *Decoder) T {
	n := d.int64()
	if int64(T(n)) != n {
		d.fail(malformed("%d does not fit its field", n))
		return 0
	}
	return T(n)
}

// length reads a number that is not negative and fits an int32.
func (d *Decoder) length() int {
	n := d.int64()
	if n < 0 || n > math.MaxInt32 {
		d.fail(malformed("%d is no length", n))
		return 0
	}
	return int(n)
}

// bytes reads a string or binary value, aliased.
func (d *Decoder) bytes() []byte {
	if !d.next() {
		return nil
	}
	n, err := d.pack.DecodeBytesLen()
	switch {
	case err != nil:
		d.fail(err)
		return nil
	case n < 0:
		d.fail(malformed("nil in the place of a string"))
		return nil
	}
	return d.advance(n)
}

func (d *Decoder) string() string { return string(d.bytes()) }

func (d *Decoder) optionalString() *string {
	if d.isNil() {
		return nil
	}
	s := d.string()
	return &s
}

func (d *Decoder) topicID() (id TopicID) {
	if b := d.bytes(); len(b) == len(id) {
		copy(id[:], b)
	} else {
		d.fail(malformed("a topic id has %d bytes", len(b)))
	}
	return id
}

// failure reads what Encoder.failure wrote. A code without a sentence is that code alone, so
// that an error looks the same on both sides.
func (d *Decoder) failure() error {
	if d.isNil() {
		return nil
	}
	_, outer := d.open()
	code, sentence := integer[ErrorCode](d), d.string()
	d.close(outer)
	if d.err == nil && code == None {
		d.fail(malformed("an error with code 0"))
	}
	if sentence == "" {
		return code
	}
	return &CodedError{Code: code, Message: sentence}
}
