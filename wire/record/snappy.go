package record

import (
	"bytes"
	"encoding/binary"

	"github.com/klauspost/compress/s2"

	"github.com/troupe-mq/troupe/wire"
)

// Java's snappy stream ("xerial") is a magic, two version numbers, and then blocks, each behind its
// length. Java's reader takes a raw block as well, and so do we, but only the stream has blocks of
// a size that every client can hold, so the stream is what we write.
var xerialHeader = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}

const (
	xerialMagicBytes = 8
	xerialBlockBytes = 32 << 10 // as Java writes

	// snappyBestRatio is more than snappy can gain: its copies make 64 bytes of three.
	snappyBestRatio = 32
)

func compressSnappy(dst, src []byte) []byte {
	dst = append(dst, xerialHeader...)
	for len(src) > 0 {
		block := src[:min(len(src), xerialBlockBytes)]
		src = src[len(block):]
		at := len(dst)
		most := at + 4 + s2.MaxEncodedLen(len(block))
		if cap(dst) < most {
			dst = append(make([]byte, 0, 2*most), dst...)
		}
		encoded := s2.EncodeSnappy(dst[at+4:most], block)
		binary.BigEndian.PutUint32(dst[at:at+4], uint32(len(encoded)))
		dst = dst[:at+4+len(encoded)]
	}
	return dst
}

func decompressSnappy(src []byte, limit int) (*wire.Buffer, error) {
	if len(src) < len(xerialHeader) || !bytes.Equal(src[:xerialMagicBytes], xerialHeader[:xerialMagicBytes]) {
		size, err := snappyBytes(src, limit)
		if err != nil {
			return nil, err
		}
		return decodeSnappy(src, size, func(src []byte) (block, rest []byte, ok bool) { return src, nil, true })
	}
	src = src[len(xerialHeader):]
	total := 0
	for rest := src; len(rest) > 0; {
		block, after, ok := xerialBlock(rest)
		if !ok {
			return nil, ErrCompressed
		}
		size, err := snappyBytes(block, limit-total)
		if err != nil {
			return nil, err
		}
		total, rest = total+size, after
	}
	return decodeSnappy(src, total, xerialBlock)
}

// decodeSnappy decodes all blocks that next takes off src, which are total bytes in all.
func decodeSnappy(src []byte, total int, next func([]byte) (block, rest []byte, ok bool)) (*wire.Buffer, error) {
	b := wire.NewBuffer(total)
	for n := 0; len(src) > 0; {
		block, rest, _ := next(src)
		size, _ := s2.DecodedLen(block)
		if _, err := s2.Decode(b.Bytes[n:n+size:n+size], block); err != nil {
			b.Release()
			return nil, ErrCompressed
		}
		n, src = n+size, rest
	}
	return b, nil
}

// snappyBytes returns the size that a block claims to have, if that is possible.
func snappyBytes(block []byte, limit int) (int, error) {
	size, err := s2.DecodedLen(block)
	if err != nil || size > snappyBestRatio*len(block) {
		return 0, ErrCompressed
	}
	if size > limit {
		return 0, ErrDecompressed
	}
	return size, nil
}

func xerialBlock(b []byte) (block, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	size := binary.BigEndian.Uint32(b)
	if b = b[4:]; uint64(size) > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:size], b[size:], true
}
