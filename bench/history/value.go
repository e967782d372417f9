package history

import (
	"encoding/binary"
	"hash/crc32"
)

// MinValueBytes is the size of the smallest value: mark, writer, number, checksum.
const MinValueBytes = 4 + 4 + 8 + 4

var (
	valueMark  = [4]byte{'t', 'r', 'h', '1'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Value returns the value of a writer's record: it says whose it is, and is filled up to size with
// bytes that follow from that. The checksum at its end covers all of it.
func Value(writer uint32, number int64, size int) []byte {
	b := make([]byte, 0, max(size, MinValueBytes))
	b = append(b, valueMark[:]...)
	b = binary.BigEndian.AppendUint32(b, writer)
	b = binary.BigEndian.AppendUint64(b, uint64(number))
	for i := byte(0); len(b) < size-4; i++ {
		b = append(b, byte(number)+i)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// ParseValue returns whose record a value is of; ok is false for one that Value has not made.
func ParseValue(b []byte) (writer uint32, number int64, ok bool) {
	if len(b) < MinValueBytes || [4]byte(b[:4]) != valueMark {
		return 0, 0, false
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(b[4:]), int64(binary.BigEndian.Uint64(b[8:])), true
}
