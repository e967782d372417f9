package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/pierrec/lz4/v4"

	"github.com/troupe-mq/troupe/wire"
)

func TestCodecsHaveKafkasNames(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		if got, err := ParseCodec(codec.String()); got != codec || err != nil {
			t.Errorf("%v is read as %v, %v", codec, got, err)
		}
	}
	if got, err := ParseCodec("uncompressed"); got != None || err != nil {
		t.Errorf("uncompressed is %v, %v", got, err)
	}
	for _, name := range []string{"", "producer", "GZIP", "lz5"} {
		if _, err := ParseCodec(name); err == nil || !strings.Contains(err.Error(), "want") {
			t.Errorf("%q: %v", name, err)
		}
	}
	if s := Codec(5).String(); s != "codec 5" {
		t.Errorf("%q", s)
	}
}

func TestEveryLevelOfEveryCodecComesBack(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 200_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	text := bytes.Repeat([]byte("the quick brown fox "), 10_000)
	for codec := None; codec <= Zstd; codec++ {
		for _, level := range []int{-1 << 20, -5, 0, 1, 2, 5, 9, 12, 17, 22, 1 << 20} {
			for _, plain := range [][]byte{nil, {1}, text[:100], text, noise, append(text[:70_000:70_000], noise...)} {
				compressed := compress([]byte("before"), codec, level, plain)
				if !bytes.HasPrefix(compressed, []byte("before")) {
					t.Fatalf("%v level %d overwrites", codec, level)
				}
				if compressed = compressed[len("before"):]; codec == None {
					continue
				}
				if most := len(plain) + len(plain)/6 + 100; len(compressed) > most {
					t.Errorf("%v level %d makes %d bytes of %d", codec, level, len(compressed), len(plain))
				}
				got, err := decompress(codec, compressed, len(plain))
				if err != nil || !bytes.Equal(got.Bytes, plain) {
					t.Fatalf("%v level %d, %d bytes: %v", codec, level, len(plain), err)
				}
				got.Release()
			}
		}
	}
}

func TestRawSnappyBlocksAreRead(t *testing.T) {
	plain := bytes.Repeat([]byte("librdkafka writes a block without a frame. "), 3000)
	got, err := decompress(Snappy, s2.EncodeSnappy(nil, plain), len(plain))
	if err != nil || !bytes.Equal(got.Bytes, plain) {
		t.Fatal(err)
	}
}

func TestLZ4FramesOfEveryShapeAreRead(t *testing.T) {
	plain := bytes.Repeat([]byte("blocks may be small or large, checked or not. "), 30_000)
	for _, options := range [][]lz4.Option{
		{lz4.BlockSizeOption(lz4.Block64Kb)},
		{lz4.BlockSizeOption(lz4.Block4Mb), lz4.ChecksumOption(true)},
		{lz4.BlockSizeOption(lz4.Block256Kb), lz4.BlockChecksumOption(true), lz4.ChecksumOption(false)},
		{lz4.BlockSizeOption(lz4.Block1Mb), lz4.SizeOption(uint64(len(plain))), lz4.CompressionLevelOption(lz4.Level5)},
	} {
		var frame bytes.Buffer
		w := lz4.NewWriter(&frame)
		if err := w.Apply(options...); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := decompress(LZ4, frame.Bytes(), len(plain))
		if err != nil || !bytes.Equal(got.Bytes, plain) {
			t.Errorf("%v: %v", options, err)
		}
	}
}

func TestLinkedLZ4BlocksAreRead(t *testing.T) {
	first := []byte(strings.Repeat("python's lz4 links its blocks by default; ", 20))
	// One literal, then a match of 100 bytes that begins 50 bytes before this block, and five literals.
	second := []byte{0x1f, '!', 51, 0, 100 - 4 - 15, 0x50, 'a', 'b', 'c', 'd', 'e'}
	frame := append([]byte(nil), lz4Header...)
	frame[4] &^= lz4BlocksAlone
	frame = binary.LittleEndian.AppendUint32(frame, uint32(len(first))|lz4Stored)
	frame = append(frame, first...)
	frame = binary.LittleEndian.AppendUint32(frame, uint32(len(second)))
	frame = append(frame, second...)
	frame = binary.LittleEndian.AppendUint32(frame, 0)

	want := append(bytes.Clone(first), '!')
	for range 100 {
		want = append(want, want[len(want)-51])
	}
	want = append(want, "abcde"...)
	got, err := decompress(LZ4, frame, 1<<20)
	if err != nil || !bytes.Equal(got.Bytes, want) {
		t.Errorf("%v", err)
	}
}

func TestOurLZ4FramesHoldForAStrictReader(t *testing.T) {
	plain := bytes.Repeat([]byte("the header's checksum is a constant. "), 5000)
	var got bytes.Buffer
	if _, err := lz4.NewReader(bytes.NewReader(compress(nil, LZ4, 0, plain))).WriteTo(&got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), plain) {
		t.Error("the content differs")
	}
}

// allocated returns how many bytes f allocates when no pool has any to give.
func allocated(f func()) int {
	runtime.GC()
	runtime.GC() // what a pool holds survives the first
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

func TestBombsDoNotGoOff(t *testing.T) {
	const limit = 1 << 20
	zeros := make([]byte, 32<<20)
	for codec := Gzip; codec <= Zstd; codec++ {
		h := Header{Magic: Magic, Attributes: int16(codec), Count: 1, Producer: -1}
		batch := encode(nil, &h, 0, zeros)
		bomb := batch[HeaderBytes:]
		var err error
		// One buffer of a pool's class after the other, up to the one that holds the limit.
		if n := allocated(func() { _, err = decompress(codec, bomb, limit) }); n > 8*limit {
			t.Errorf("%v: %d bytes allocated", codec, n)
		}
		if !errors.Is(err, ErrDecompressed) || wire.Code(err) != wire.MessageTooLarge {
			t.Errorf("%v: %v", codec, err)
		}
		if err := Iterate(batch, limit, ignore); !errors.Is(err, ErrDecompressed) {
			t.Errorf("%v: Iterate says %v", codec, err)
		}
		compacted := with(func(l *wire.RecordLimits) { l.Compacted, l.MaxBatchBytes = true, 64<<20 })
		if _, err := Check(batch, compacted, now); err == nil {
			t.Errorf("%v: let in", codec)
		}
	}
}

func TestClaimsOfSizeAllocateNothing(t *testing.T) {
	lz4Oversize := binary.LittleEndian.AppendUint32(bytes.Clone(lz4Header), 100_000|lz4Stored)
	lz4Oversize = append(append(lz4Oversize, make([]byte, 100_000)...), 0, 0, 0, 0)
	lz4WithDictionary := compress(nil, LZ4, 0, []byte("all else is right"))
	lz4WithDictionary[4] |= lz4Dictionary
	for _, c := range []struct {
		name  string
		codec Codec
		src   []byte
	}{
		{"snappy block of 4 GiB", Snappy, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0, 'x'}},
		{"snappy block of 60 MiB", Snappy, []byte{0x80, 0x80, 0x80, 0x1e, 0, 'x'}},
		{"xerial block of 4 GiB", Snappy, append(bytes.Clone(xerialHeader), 0xff, 0xff, 0xff, 0xff)},
		{"xerial block that holds 60 MiB", Snappy, append(bytes.Clone(xerialHeader), 0, 0, 0, 6, 0x80, 0x80, 0x80, 0x1e, 0, 'x')},
		{"xerial with half a length", Snappy, append(bytes.Clone(xerialHeader), 0, 0)},
		{"LZ4 block of 2 GiB", LZ4, append(bytes.Clone(lz4Header), 0xff, 0xff, 0xff, 0x7f, 0)},
		{"LZ4 with a content size of 2^63", LZ4, []byte{4, 0x22, 0x4d, 0x18, 0x68, 0x70, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x82}},
		{"LZ4 with a dictionary", LZ4, []byte{4, 0x22, 0x4d, 0x18, 0x61, 0x70, 0, 0, 0, 0, 0x82, 0, 0, 0, 0}},
		{"LZ4 without an end", LZ4, lz4Header},
		{"LZ4 rubbish in a block of up to 4 MiB", LZ4, []byte{4, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73, 4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}},
		{"LZ4 block larger than the frame says", LZ4, lz4Oversize},
		{"LZ4 that needs a dictionary", LZ4, lz4WithDictionary},
		{"zstd, a thousand bad blocks", Zstd, append(append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58},
			bytes.Repeat([]byte{12, 0, 0, 0xff}, 1000)...), 1, 0, 0)},
		{"zstd content of 60 MiB, empty block", Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0xc0, 3, 1, 0, 0}},
		{"zstd window of 1 GiB", Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0xa0, 1, 0, 0}},
		{"zstd without blocks", Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58}},
		{"zstd, reserved block", Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 7, 0, 0}},
		{"zstd, skippable frame of 4 GiB", Zstd, []byte{0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff}},
		{"gzip header only", Gzip, []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3}},
		{"gzip, nothing", Gzip, nil},
		{"lz4, nothing", LZ4, nil},
	} {
		var err error
		n := allocated(func() { _, err = decompress(c.codec, c.src, 64<<20) })
		if n > 1<<20+16*len(c.src) {
			t.Errorf("%s: %d bytes allocated", c.name, n)
		}
		if !errors.Is(err, ErrCompressed) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestTruncatedCompressionIsCorrupt(t *testing.T) {
	plain := bytes.Repeat([]byte("cut anywhere "), 50)
	for codec := Gzip; codec <= Zstd; codec++ {
		compressed := compress(nil, codec, 0, plain)
		for cut := 1; cut < len(compressed); cut++ {
			if codec == Snappy && cut == len(xerialHeader) {
				continue // a stream without blocks is an empty one
			}
			if b, err := decompress(codec, compressed[:cut], 1<<20); !errors.Is(err, ErrCompressed) {
				t.Errorf("%v cut at %d: %v", codec, cut, err)
				b.Release()
			}
		}
	}
}
