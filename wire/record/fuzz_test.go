package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// seeds are batches of real clients and of ours, and broken ones.
func seeds(f *testing.F) [][]byte {
	f.Helper()
	files, err := filepath.Glob("testdata/*.batch")
	if err != nil {
		f.Fatal(err)
	}
	var all [][]byte
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, b)
	}
	for codec := None; codec <= Zstd; codec++ {
		b := produced(codec, 20)
		all = append(all, b, b[:len(b)-1], append(bytes.Clone(b), b...))
	}
	return append(all, nil, make([]byte, HeaderBytes), bytes.Repeat([]byte{0xff}, 100))
}

// mended returns a copy of b whose format, length and checksum hold, so that a fuzzer comes further
// than the header.
func mended(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) >= HeaderBytes {
		b[MagicAt] = Magic
		binary.BigEndian.PutUint32(b[LengthAt:], uint32(len(b)-lengthOverhead))
		setCRC(b)
	}
	return b
}

func FuzzParseHeader(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err == nil && !bytes.Equal(h.append(nil), b[:HeaderBytes]) {
			t.Fatalf("%+v is not what was read", h)
		}
		_, batch, rest, err := Next(b)
		if err == nil && !bytes.Equal(append(bytes.Clone(batch), rest...), b) {
			t.Fatal("batch and rest are not the whole")
		}
		VerifyCRC(b)
	})
}

func FuzzCheck(f *testing.F) {
	for i, b := range seeds(f) {
		f.Add(b, byte(i))
	}
	f.Fuzz(func(t *testing.T, b []byte, options byte) {
		limits := with(func(l *wire.RecordLimits) {
			l.TimestampAfter = -1
			l.Compacted, l.LogAppendTime = options&1 != 0, options&2 != 0
			l.Compression = []string{"producer", "uncompressed", "gzip", "snappy", "lz4", "zstd", "", "zstd"}[options>>2&7]
		})
		before := bytes.Clone(b)
		if _, err := Check(b, limits, now); err != nil && !bytes.Equal(b, before) {
			t.Fatal("a refused batch was changed")
		}
		b = mended(before)
		agree(t, b)
		c, err := Check(b, limits, now)
		if err != nil {
			if wire.Code(err) == wire.UnknownServerError {
				t.Fatalf("no code for a client: %v", err)
			}
			return
		}
		h, batch, rest, err := Next(c.Batches)
		if err != nil || len(rest) != 0 || !VerifyCRC(batch) || h != c.Header || h.Count != c.Records || c.Records <= 0 {
			t.Fatalf("let in %+v, %v", c, err)
		}
		if h.Codec() != None && !limits.Compacted && !c.Rewritten {
			return // nobody has looked inside
		}
		if err := Iterate(batch, 2*DefaultMaxDecompressed, ignore); err != nil {
			t.Fatalf("let in records that cannot be read: %v", err)
		}
	})
}

func FuzzIterate(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	const limit = 1 << 20
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, batch := range [][]byte{b, mended(b)} {
			bytesRead := 0
			err := Iterate(batch, limit, func(r Record) error {
				bytesRead += len(r.Key) + len(r.Value)
				return nil
			})
			if bytesRead > max(limit, len(b)) {
				t.Fatalf("%d bytes of records in %d, %v", bytesRead, len(b), err)
			}
			if err != nil && wire.Code(err) == wire.UnknownServerError {
				t.Fatalf("an error of no kind: %v", err)
			}
			_, _, _ = FirstAtOrAfter(batch, 0, now, limit)
			_, _, _ = MaxTimestampRecord(batch, 0, limit)
		}
	})
}

func FuzzScan(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, verify := range []bool{false, true} {
			next := int64(0)
			end, err := Scan(bytes.NewReader(b), 0, int64(len(b)), verify, func(at int64, h Header) error {
				if at != next {
					t.Fatalf("a batch at %d, not %d", at, next)
				}
				next += int64(h.Size())
				if verify && !VerifyCRC(b[at:next]) {
					t.Fatalf("a bad batch at %d", at)
				}
				return nil
			})
			if end != next || (err == nil) != (end == int64(len(b))) {
				t.Fatalf("end %d after %d, %v", end, next, err)
			}
			var bad *ScanError
			if err != nil && (!errors.As(err, &bad) || bad.Position != end) {
				t.Fatalf("end %d, %v", end, err)
			}
		}
		if at, h, found, err := Find(bytes.NewReader(b), 0, int64(len(b)), func(Header) bool { return true }); err != nil ||
			found && !VerifyCRC(b[at:at+int64(h.Size())]) {
			t.Fatalf("found %+v at %d, %v", h, at, err)
		}
	})
}

func FuzzDecompress(f *testing.F) {
	for codec := Gzip; codec <= Zstd; codec++ {
		f.Add(byte(codec), compress(nil, codec, 0, bytes.Repeat([]byte("seed "), 100)))
		f.Add(byte(codec), compress(nil, codec, 0, make([]byte, 1<<18)))
	}
	f.Fuzz(func(t *testing.T, codec byte, src []byte) {
		const limit = 1 << 18
		b, err := decompress(Codec(codec%8), src, limit)
		if err != nil {
			return
		}
		if len(b.Bytes) > limit {
			t.Fatalf("%d bytes", len(b.Bytes))
		}
		b.Release()
	})
}
