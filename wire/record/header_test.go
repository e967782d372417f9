package record

import (
	"bytes"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

func TestHeaderIsAsKafkaLaysItOut(t *testing.T) {
	theirs := kmsg.RecordBatch{
		FirstOffset: 1 << 40, Length: 49 + 3, PartitionLeaderEpoch: 5, Magic: 2, CRC: -2,
		Attributes: 0x14, LastOffsetDelta: 6, FirstTimestamp: now, MaxTimestamp: now + 1,
		ProducerID: 1 << 33, ProducerEpoch: 8, FirstSequence: 1<<31 - 3, NumRecords: 7, Records: []byte("abc"),
	}
	b := theirs.AppendTo(nil)
	h, err := ParseHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	want := Header{
		BaseOffset: 1 << 40, Length: 52, LeaderEpoch: 5, Magic: 2, CRC: 1<<32 - 2,
		Attributes: 0x14, LastOffsetDelta: 6, BaseTimestamp: now, MaxTimestamp: now + 1,
		Producer: 1 << 33, ProducerEpoch: 8, BaseSequence: 1<<31 - 3, Count: 7,
	}
	if h != want {
		t.Errorf("read\n%+v, want\n%+v", h, want)
	}
	if !bytes.Equal(h.append(nil), b[:HeaderBytes]) {
		t.Error("append does not write what ParseHeader read")
	}
	if h.Size() != 64 || h.LastOffset() != 1<<40+6 || h.NextOffset() != 1<<40+7 ||
		h.Codec() != Zstd || !h.Transactional() || h.Control() || h.LogAppendTime() || !h.HasProducer() {
		t.Errorf("what follows from %+v is wrong", h)
	}
	// Sequences wrap from 2^31-1 to 0: the records have ...645, 646, 647, 0, 1, 2, 3.
	if h.LastSequence() != 3 {
		t.Errorf("last sequence %d", h.LastSequence())
	}
}

func TestPatchesLeaveTheChecksumAlone(t *testing.T) {
	batch := produced(None, 3)
	SetBaseOffset(batch, 1<<50)
	SetLeaderEpoch(batch, 77)
	h, err := ParseHeader(batch)
	if err != nil || !VerifyCRC(batch) || h.BaseOffset != 1<<50 || h.LeaderEpoch != 77 {
		t.Errorf("%+v, %v", h, err)
	}
	for i := CRCAt; i < len(batch); i++ {
		batch[i] ^= 1
		if VerifyCRC(batch) {
			t.Fatalf("the checksum does not notice byte %d", i)
		}
		batch[i] ^= 1
	}
}

func TestNextStepsOverBatchesUntilOneIsTorn(t *testing.T) {
	first, second := produced(None, 3), produced(LZ4, 5)
	b := append(append([]byte(nil), first...), second...)
	h, batch, rest, err := Next(b)
	if err != nil || h.Count != 3 || !bytes.Equal(batch, first) {
		t.Fatalf("first: %+v, %v", h, err)
	}
	if cap(batch) != len(batch) {
		t.Error("appending to a batch would write into the next one")
	}
	h, batch, rest, err = Next(rest)
	if err != nil || h.Count != 5 || !bytes.Equal(batch, second) || len(rest) != 0 {
		t.Fatalf("second: %+v, %v", h, err)
	}
	for cut := range second {
		if _, _, _, err := Next(second[:cut]); !errors.Is(err, ErrTruncated) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

func TestParseHeaderTellsWhatIsNoBatch(t *testing.T) {
	batch := produced(None, 1)
	change := func(at int, x byte) []byte {
		b := bytes.Clone(batch)
		b[at] = x
		return b
	}
	for _, c := range []struct {
		name string
		b    []byte
		want error
		code wire.ErrorCode
	}{
		{"nothing", nil, ErrTruncated, wire.CorruptMessage},
		{"a byte less than a header", batch[:60], ErrTruncated, wire.CorruptMessage},
		{"a short message set of format 1", change(MagicAt, 1)[:40], ErrMagic, wire.UnsupportedForMessageFormat},
		{"format 0", change(MagicAt, 0), ErrMagic, wire.UnsupportedForMessageFormat},
		{"format 3", change(MagicAt, 3), ErrMagic, wire.UnsupportedForMessageFormat},
		{"length of 48", change(LengthAt+3, 48), ErrLength, wire.CorruptMessage},
		{"negative length", change(LengthAt, 0x80), ErrLength, wire.CorruptMessage},
		{"zeros, as at the end of a preallocated file", make([]byte, 100), ErrMagic, wire.UnsupportedForMessageFormat},
	} {
		if _, err := ParseHeader(c.b); !errors.Is(err, c.want) || wire.Code(err) != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestConsistentHeadersAreThoseOfALog(t *testing.T) {
	good := Header{BaseOffset: 5, LastOffsetDelta: 9, Count: 10}
	for _, c := range []struct {
		name   string
		change func(*Header)
		want   error
	}{
		{"full", func(*Header) {}, nil},
		{"compacted", func(h *Header) { h.Count = 2 }, nil},
		{"emptied by compaction", func(h *Header) { h.Count = 0 }, nil},
		{"more records than offsets", func(h *Header) { h.Count = 11 }, ErrHeader},
		{"negative count", func(h *Header) { h.Count = -1 }, ErrHeader},
		{"negative delta", func(h *Header) { h.LastOffsetDelta, h.Count = -1, 0 }, ErrHeader},
		{"negative offset", func(h *Header) { h.BaseOffset = -1 }, ErrHeader},
		{"offset overflows", func(h *Header) { h.BaseOffset = 1<<63 - 10 }, ErrHeader},
	} {
		h := good
		c.change(&h)
		if err := h.Consistent(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
