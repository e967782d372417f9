package record

import "math/bits"

// Numbers in records are zigzag varints: seven bits a byte, the lowest first, and the sign in the
// lowest bit. A 32-bit one has at most five bytes, a 64-bit one ten; longer ones, and ones with bits
// beyond, are refused, because a Java client reads something else there or nothing at all.
const (
	maxVarint32 = 5
	maxVarint64 = 10
)

// varint32 reads a number at b[i:] and returns where the next thing begins, or -1.
func varint32(b []byte, i int) (int32, int) {
	if uint(i) < uint(len(b)) && b[i] < 0x80 {
		return int32(b[i]>>1) ^ -int32(b[i]&1), i + 1
	}
	return longVarint32(b, i)
}

func longVarint32(b []byte, i int) (int32, int) {
	u, next := uvarint(b, i, maxVarint32)
	if u > 1<<32-1 {
		return 0, -1
	}
	return int32(uint32(u)>>1) ^ -int32(u&1), next
}

// varint64 is varint32 for the timestamps.
func varint64(b []byte, i int) (int64, int) {
	u, next := uvarint(b, i, maxVarint64)
	return int64(u>>1) ^ -int64(u&1), next
}

func uvarint(b []byte, i, limit int) (uint64, int) {
	var u uint64
	for n := 0; n < limit && uint(i) < uint(len(b)); n++ {
		x := b[i]
		i++
		if x < 0x80 {
			if n == maxVarint64-1 && x > 1 {
				return 0, -1
			}
			return u | uint64(x)<<(7*n), i
		}
		u |= uint64(x&0x7f) << (7 * n)
	}
	return 0, -1
}

func zigzag32(v int32) uint64 { return uint64(uint32(v<<1) ^ uint32(v>>31)) }
func zigzag64(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

func appendUvarint(b []byte, u uint64) []byte {
	for u >= 0x80 {
		b = append(b, byte(u)|0x80)
		u >>= 7
	}
	return append(b, byte(u))
}

func appendVarint32(b []byte, v int32) []byte { return appendUvarint(b, zigzag32(v)) }
func appendVarint64(b []byte, v int64) []byte { return appendUvarint(b, zigzag64(v)) }

func uvarintBytes(u uint64) int { return (bits.Len64(u|1) + 6) / 7 }
func varint32Bytes(v int32) int { return uvarintBytes(zigzag32(v)) }
func varint64Bytes(v int64) int { return uvarintBytes(zigzag64(v)) }
