package kafka

import "encoding/binary"

// decoder reads Kafka's primitive types. After the first read beyond the end everything reads
// as zero, and bad is set; so a caller may check once, at the end.
type decoder struct {
	rest     []byte
	bad      bool
	flexible bool // compact lengths and tagged fields (KIP-482)
}

func (d *decoder) fail() {
	d.rest, d.bad = nil, true
}

// take returns the next n bytes without copying them.
func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.rest) {
		d.fail()
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) int16() int16 {
	if b := d.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (d *decoder) int32() int32 {
	if b := d.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (d *decoder) uvarint() uint32 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || v > 1<<32-1 {
		d.fail()
		return 0
	}
	d.rest = d.rest[n:]
	return uint32(v)
}

// compact turns the number on the wire into a length; null is -1.
func (d *decoder) compact() int {
	v := d.uvarint()
	if v > 1<<31 {
		d.fail()
		return 0
	}
	return int(v) - 1
}

// null is the length of what is absent.
const null = -1

// stringLength returns null for a null string.
func (d *decoder) stringLength() int {
	if d.flexible {
		return d.compact()
	}
	return int(d.int16())
}

// bytesLength and arrayLength return null for what is null.
func (d *decoder) bytesLength() int {
	if d.flexible {
		return d.compact()
	}
	return int(d.int32())
}

func (d *decoder) arrayLength() int { return d.bytesLength() }

// string returns the bytes of a string that may not be null. They alias the frame.
func (d *decoder) string() []byte { return d.take(d.stringLength()) }

// nullable returns the bytes of a string, and false for a null one.
func (d *decoder) nullable(length int) ([]byte, bool) {
	if length == null {
		return nil, false
	}
	return d.take(length), true
}

// count returns the length of an array whose elements take at least elementBytes each.
func (d *decoder) count(elementBytes int) int {
	n := d.arrayLength()
	if n < 0 || n > len(d.rest)/elementBytes {
		d.fail()
		return 0
	}
	return n
}

// skipTags passes over tagged fields.
func (d *decoder) skipTags() {
	if !d.flexible {
		return
	}
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		d.uvarint()
		d.take(int(d.uvarint()))
	}
}
