package record

import (
	"errors"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/troupe-mq/troupe/wire"
)

// The levels of the original zstd, which Kafka's configurations mean.
const (
	zstdLowestLevel  = -131072
	zstdHighestLevel = 22
)

const (
	zstdBlockBytes = 128 << 10 // the most that one block of a frame holds
	zstdSlack      = 32        // what the decoder likes to have behind the end
)

var (
	zstdEncoders [zstd.SpeedBestCompression + 1]sync.Pool // by speed
	zstdDecoders sync.Pool
)

func compressZstd(dst []byte, level int, src []byte) []byte {
	speed := zstd.SpeedDefault
	if level != 0 {
		speed = zstd.EncoderLevelFromZstd(level)
	}
	pool := &zstdEncoders[speed]
	e, ok := pool.Get().(*zstd.Encoder)
	if !ok {
		// The batch has a checksum of its own. The error would be of options that do not exist.
		e, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(1),
			zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true))
	}
	dst = e.EncodeAll(src, dst)
	pool.Put(e)
	return dst
}

func decompressZstd(src []byte, limit int) (*wire.Buffer, error) {
	most, ok := zstdMost(src)
	if !ok {
		return nil, ErrCompressed
	}
	d, ok := zstdDecoders.Get().(*zstd.Decoder)
	if !ok {
		// It decodes into the memory that it is given and makes none by what a frame claims.
		d, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecodeAllCapLimit(true))
	}
	defer zstdDecoders.Put(d)
	ceiling := min(most, limit+zstdBlockBytes) + zstdSlack
	b := firstRoom(src, ceiling)
	for {
		out, err := d.DecodeAll(src, b.Bytes[:0:len(b.Bytes)])
		tooSmall := errors.Is(err, zstd.ErrDecoderSizeExceeded)
		switch {
		case len(out) > limit, tooSmall && len(b.Bytes) == ceiling && most > limit:
			b.Release()
			return nil, ErrDecompressed
		case err == nil:
			b.Bytes = b.Bytes[:copy(b.Bytes, out)] // out lies there already
			return b, nil
		// The decoder has many errors for too little room. With room for a whole block it was none.
		case !tooSmall && len(b.Bytes)-len(out) >= zstdBlockBytes, len(b.Bytes) == ceiling:
			b.Release()
			return nil, ErrCompressed
		}
		if b, err = grow(b, 0, ceiling); err != nil {
			return nil, err
		}
	}
}

// zstdMost returns the most that can come of the frames in src, going by their blocks and not by
// the content size that a frame may claim.
func zstdMost(src []byte) (most int, ok bool) {
	for len(src) > 0 {
		var h zstd.Header
		if err := h.Decode(src); err != nil || h.HeaderSize > len(src) {
			return 0, false
		}
		src = src[h.HeaderSize:]
		if h.Skippable {
			if uint64(h.SkippableSize) > uint64(len(src)) {
				return 0, false
			}
			src = src[h.SkippableSize:]
			continue
		}
		for last := false; !last; {
			if len(src) < 3 {
				return 0, false
			}
			block := int(src[0]) | int(src[1])<<8 | int(src[2])<<16
			last = block&1 != 0
			size := block >> 3
			skip := size
			switch block >> 1 & 3 {
			case 0: // stored
				most += size
			case 1: // one byte, so many times
				most += size
				skip = 1
			case 2:
				most += zstdBlockBytes
			default:
				return 0, false
			}
			if src = src[3:]; skip > len(src) {
				return 0, false
			}
			src = src[skip:]
		}
		if h.HasCheckSum {
			if len(src) < 4 {
				return 0, false
			}
			src = src[4:]
		}
	}
	return most, true
}
