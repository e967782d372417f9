package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/troupe-mq/troupe/wire"
)

// Codec is a compression, in Kafka's numbers.
type Codec int8

// The codecs that every Kafka client knows.
const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2
	LZ4    Codec = 3
	Zstd   Codec = 4
)

var codecNames = [...]string{None: "none", Gzip: "gzip", Snappy: "snappy", LZ4: "lz4", Zstd: "zstd"}

// What can be wrong with compressed records.
var (
	ErrCodec        = wire.Errorf(wire.UnsupportedCompressionType, "the batch is compressed in an unknown way")
	ErrCompressed   = wire.Errorf(wire.CorruptMessage, "the compressed records cannot be decompressed")
	ErrDecompressed = wire.Errorf(wire.MessageTooLarge, "the records are larger than allowed when decompressed")
)

// String returns the name that Kafka's configurations use.
func (c Codec) String() string {
	if !c.Known() {
		return fmt.Sprintf("codec %d", int8(c))
	}
	return codecNames[c]
}

// Known says that there is such a codec.
func (c Codec) Known() bool { return c >= None && c <= Zstd }

// ParseCodec reads what String wrote, and "uncompressed", as topics call None.
func ParseCodec(name string) (Codec, error) {
	if name == "uncompressed" {
		return None, nil
	}
	for c, known := range codecNames {
		if name == known {
			return Codec(c), nil
		}
	}
	return None, fmt.Errorf("compression %q: want none, gzip, snappy, lz4 or zstd", name)
}

// Levels returns the compression levels that a codec has besides 0, its default; false when it
// has none. Compression takes a level outside for the nearest one inside.
func (c Codec) Levels() (lowest, highest int, ok bool) {
	switch c {
	case Gzip:
		return gzip.BestSpeed, gzip.BestCompression, true
	case LZ4:
		return 1, 17, true
	case Zstd:
		return zstdLowestLevel, zstdHighestLevel, true
	default:
		return 0, 0, false
	}
}

// compress appends the compressed src to dst.
func compress(dst []byte, codec Codec, level int, src []byte) []byte {
	if lowest, highest, ok := codec.Levels(); ok && level != 0 {
		level = min(max(level, lowest), highest)
	}
	switch codec {
	case Gzip:
		return compressGzip(dst, level, src)
	case Snappy:
		return compressSnappy(dst, src)
	case LZ4:
		return compressLZ4(dst, level, src)
	case Zstd:
		return compressZstd(dst, level, src)
	default:
		return append(dst, src...)
	}
}

// decompress returns the records that src holds, at most limit bytes, in a buffer that the caller
// releases. The buffer grows with what comes out, never by what src claims.
func decompress(codec Codec, src []byte, limit int) (*wire.Buffer, error) {
	limit = max(limit, 0)
	switch codec {
	case Gzip:
		return decompressGzip(src, limit)
	case Snappy:
		return decompressSnappy(src, limit)
	case LZ4:
		return decompressLZ4(src, limit)
	case Zstd:
		return decompressZstd(src, limit)
	default:
		return nil, ErrCodec
	}
}

// firstRoom returns the buffer in which the decompression of src begins.
func firstRoom(src []byte, limit int) *wire.Buffer { return room(4*len(src), limit) }

// room returns a buffer of at least n bytes, and all that its memory has, but no more than limit.
func room(n, limit int) *wire.Buffer {
	b := wire.NewBuffer(min(n, limit))
	b.Bytes = b.Bytes[:min(cap(b.Bytes), limit)]
	return b
}

// grow returns a buffer of the next class, but not above limit, with the same content in its first
// used bytes, and releases the old one. It says ErrDecompressed when that is no larger.
func grow(b *wire.Buffer, used, limit int) (*wire.Buffer, error) {
	size := len(b.Bytes)
	if size >= limit {
		b.Release()
		return nil, ErrDecompressed
	}
	larger := room(4*max(size, 1), limit)
	copy(larger.Bytes, b.Bytes[:used])
	b.Release()
	return larger, nil
}

// gzipLevels is how many of gzip's levels have a pool: 0 is the default, then 1 to 9.
const gzipLevels = gzip.BestCompression + 1

var (
	gzipWriters [gzipLevels]sync.Pool
	gzipReaders sync.Pool
)

func compressGzip(dst []byte, level int, src []byte) []byte {
	pool := &gzipWriters[level]
	out := bytes.NewBuffer(dst)
	w, ok := pool.Get().(*gzip.Writer)
	if ok {
		w.Reset(out)
	} else {
		if level == 0 {
			level = gzip.DefaultCompression
		}
		w, _ = gzip.NewWriterLevel(out, level) // the level is one that exists
	}
	_, _ = w.Write(src) // a bytes.Buffer takes everything
	_ = w.Close()
	w.Reset(nil)
	pool.Put(w)
	return out.Bytes()
}

// gzipSource is a pooled reader together with what it reads from.
type gzipSource struct {
	in bytes.Reader
	gz gzip.Reader
}

func decompressGzip(src []byte, limit int) (*wire.Buffer, error) {
	s, ok := gzipReaders.Get().(*gzipSource)
	if !ok {
		s = new(gzipSource)
	}
	defer func() {
		s.in.Reset(nil)
		gzipReaders.Put(s)
	}()
	s.in.Reset(src)
	if err := s.gz.Reset(&s.in); err != nil {
		return nil, ErrCompressed
	}
	b, n := firstRoom(src, limit), 0
	for {
		if n == len(b.Bytes) {
			if n == limit && atEnd(&s.gz) {
				return b, nil
			}
			var err error
			if b, err = grow(b, n, limit); err != nil {
				return nil, err
			}
		}
		k, err := s.gz.Read(b.Bytes[n:])
		n += k
		if errors.Is(err, io.EOF) {
			b.Bytes = b.Bytes[:n]
			return b, nil
		}
		if err != nil {
			b.Release()
			return nil, ErrCompressed
		}
	}
}

// atEnd says that r has no more bytes.
func atEnd(r io.Reader) bool {
	var one [1]byte
	n, err := io.ReadFull(r, one[:])
	return n == 0 && err == io.EOF
}
