package record

import (
	"encoding/binary"
	"sync"

	"github.com/pierrec/lz4/v4"

	"github.com/troupe-mq/troupe/wire"
)

// An LZ4 frame is a descriptor, then blocks behind their lengths, then a length of zero. Java's
// reader takes only frames whose blocks do not refer to each other. Ours takes both, and leaves
// the frame's checksums alone, because the batch has its own.
const (
	lz4Magic = 0x184D2204

	lz4Version        = 0x40
	lz4VersionMask    = 0xC0
	lz4BlocksAlone    = 0x20
	lz4BlockChecksums = 0x10
	lz4ContentSize    = 0x08
	lz4Dictionary     = 0x01

	lz4Stored     = 1 << 31 // in a block's length: it is not compressed
	lz4BlockBytes = 64 << 10
	lz4BestRatio  = 255
	lz4Window     = 64 << 10
)

// lz4Header is magic and descriptor of the frames that we write, as Java does: independent blocks
// of 64 KiB, no checksums. The last byte is the descriptor's own checksum.
var lz4Header = []byte{0x04, 0x22, 0x4D, 0x18, lz4Version | lz4BlocksAlone, 0x40, 0x82}

var (
	lz4Fast sync.Pool // of *lz4.Compressor
	lz4High sync.Pool // of *lz4.CompressorHC
)

func compressLZ4(dst []byte, level int, src []byte) []byte {
	var compressBlock func(src, dst []byte) (int, error)
	if level <= 1 {
		c, ok := lz4Fast.Get().(*lz4.Compressor)
		if !ok {
			c = new(lz4.Compressor)
		}
		defer lz4Fast.Put(c)
		compressBlock = c.CompressBlock
	} else {
		c, ok := lz4High.Get().(*lz4.CompressorHC)
		if !ok {
			c = new(lz4.CompressorHC)
		}
		c.Level = lz4.Level1 << (min(level, 10) - 2)
		defer lz4High.Put(c)
		compressBlock = c.CompressBlock
	}
	dst = append(dst, lz4Header...)
	for len(src) > 0 {
		block := src[:min(len(src), lz4BlockBytes)]
		src = src[len(block):]
		dst = appendLZ4Block(dst, block, compressBlock)
	}
	return binary.LittleEndian.AppendUint32(dst, 0)
}

func appendLZ4Block(dst, block []byte, compressBlock func(src, dst []byte) (int, error)) []byte {
	at := len(dst)
	most := at + 4 + lz4.CompressBlockBound(len(block))
	if cap(dst) < most {
		dst = append(make([]byte, 0, 2*most), dst...)
	}
	n, err := compressBlock(block, dst[at+4:most])
	if err != nil || n == 0 || n >= len(block) {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(block))|lz4Stored)
		return append(dst, block...)
	}
	binary.LittleEndian.PutUint32(dst[at:at+4], uint32(n))
	return dst[:at+4+n]
}

func decompressLZ4(src []byte, limit int) (*wire.Buffer, error) {
	frame, src, ok := parseLZ4Header(src)
	if !ok {
		return nil, ErrCompressed
	}
	b, n := firstRoom(src, limit), 0
	for len(src) >= 4 {
		size := binary.LittleEndian.Uint32(src)
		src = src[4:]
		if size == 0 { // the frame's end; what follows is its checksum
			b.Bytes = b.Bytes[:n]
			return b, nil
		}
		stored := size&lz4Stored != 0
		size &^= lz4Stored
		if uint64(size) > uint64(min(len(src), frame.blockBytes)) {
			break
		}
		block := src[:size]
		if src = src[size:]; frame.checksums {
			if len(src) < 4 {
				break
			}
			src = src[4:]
		}
		var err error
		if b, n, err = frame.decode(b, n, block, stored, limit); err != nil {
			return nil, err
		}
	}
	b.Release()
	return nil, ErrCompressed
}

type lz4Frame struct {
	blockBytes int  // the most that one block may hold
	linked     bool // a block may refer to those before it
	checksums  bool // each block is followed by one
}

func parseLZ4Header(b []byte) (frame lz4Frame, rest []byte, ok bool) {
	if len(b) < len(lz4Header) || binary.LittleEndian.Uint32(b) != lz4Magic {
		return lz4Frame{}, nil, false
	}
	flags, class := b[4], b[5]>>4&7
	if flags&lz4VersionMask != lz4Version || flags&lz4Dictionary != 0 || class < 4 {
		return lz4Frame{}, nil, false
	}
	size := len(lz4Header)
	if flags&lz4ContentSize != 0 {
		size += 8
	}
	if len(b) < size {
		return lz4Frame{}, nil, false
	}
	return lz4Frame{
		blockBytes: 1 << (8 + 2*class), // 64 KiB, 256 KiB, 1 MiB or 4 MiB
		linked:     flags&lz4BlocksAlone == 0,
		checksums:  flags&lz4BlockChecksums != 0,
	}, b[size:], true
}

// decode appends a block to the n bytes that b already holds, and returns both anew. It releases b
// when it fails.
func (f lz4Frame) decode(b *wire.Buffer, n int, block []byte, stored bool, limit int) (*wire.Buffer, int, error) {
	// The most that can come of the block. Too little room and a corrupt block are the same to the
	// decoder: what does not fit into that much is corrupt.
	most := min(f.blockBytes, lz4BestRatio*len(block))
	if stored {
		most = len(block)
	}
	for {
		room := min(len(b.Bytes)-n, most)
		if stored && room == most {
			return b, n + copy(b.Bytes[n:], block), nil
		}
		if !stored {
			var dict []byte
			if f.linked {
				dict = b.Bytes[max(0, n-lz4Window):n]
			}
			if k, err := lz4.UncompressBlockWithDict(block, b.Bytes[n:n+room:n+room], dict); err == nil {
				return b, n + k, nil
			}
		}
		if room == most {
			b.Release()
			return nil, 0, ErrCompressed
		}
		var err error
		if b, err = grow(b, n, limit); err != nil {
			return nil, 0, err
		}
	}
}
