package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// changed returns a copy of a batch after a change to its header, with the CRC made to hold.
func changed(batch []byte, change func(*Header)) []byte {
	h, err := ParseHeader(batch)
	if err != nil {
		panic(err)
	}
	change(&h)
	b := append(h.append(nil), batch[HeaderBytes:]...)
	setCRC(b)
	return b
}

// holding returns an uncompressed batch of n records with exactly these bytes for records.
func holding(n int32, records []byte) []byte {
	h := Header{
		Magic: Magic, LastOffsetDelta: n - 1, BaseTimestamp: now, MaxTimestamp: now,
		Producer: wire.NoProducer, ProducerEpoch: -1, BaseSequence: -1, Count: n,
	}
	return encode(nil, &h, 0, records)
}

func TestTheDoorRefusesWhatIsNoBatch(t *testing.T) {
	good := produced(None, 3)
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	for _, c := range []struct {
		name  string
		batch []byte
		want  wire.ErrorCode
	}{
		{"nothing", nil, wire.InvalidRecord},
		{"a few bytes", good[:10], wire.CorruptMessage},
		{"half a batch", good[:len(good)/2], wire.CorruptMessage},
		{"two batches", append(bytes.Clone(good), good...), wire.InvalidRecord},
		{"bytes after the batch", append(bytes.Clone(good), 0), wire.InvalidRecord},
		{"a flipped bit", flipped, wire.CorruptMessage},
		{"format 1", changed(good, func(h *Header) { h.Magic = 1 }), wire.UnsupportedForMessageFormat},
		{"format 0, short", changed(good, func(h *Header) { h.Magic = 0 })[:40], wire.UnsupportedForMessageFormat},
		{"length 0", changed(good, func(h *Header) { h.Length = 0 }), wire.CorruptMessage},
		{"negative length", changed(good, func(h *Header) { h.Length = -1 }), wire.CorruptMessage},
		{"largest length", changed(good, func(h *Header) { h.Length = math.MaxInt32 }), wire.MessageTooLarge},
		{"length shorter than the records", changed(good, func(h *Header) { h.Length-- }), wire.InvalidRecord},
	} {
		if _, err := Check(c.batch, anything, now); wire.Code(err) != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := Check(good, anything, now); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func TestTheDoorRefusesHeadersThatNoClientMayWrite(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Header)
		want   wire.ErrorCode
	}{
		{"unchanged", func(*Header) {}, wire.None},
		{"any base offset and leader epoch", func(h *Header) { h.BaseOffset, h.LeaderEpoch = -9, 77 }, wire.None},
		{"no producer", func(h *Header) { h.Producer, h.ProducerEpoch, h.BaseSequence = -1, -1, -1 }, wire.None},
		{"transactional", func(h *Header) { h.Attributes |= AttributeTransactional }, wire.None},
		{"control", func(h *Header) { h.Attributes |= AttributeControl }, wire.InvalidRecord},
		{"delete horizon", func(h *Header) { h.Attributes |= AttributeDeleteHorizon }, wire.InvalidRecord},
		{"stamped by the client", func(h *Header) { h.Attributes |= AttributeLogAppendTime }, wire.InvalidTimestamp},
		{"codec 5", func(h *Header) { h.Attributes |= 5 }, wire.UnsupportedCompressionType},
		{"codec 7", func(h *Header) { h.Attributes |= 7 }, wire.UnsupportedCompressionType},
		{"no records", func(h *Header) { h.Count, h.LastOffsetDelta = 0, -1 }, wire.InvalidRecord},
		{"negative count", func(h *Header) { h.Count = -3 }, wire.InvalidRecord},
		{"smallest count", func(h *Header) { h.Count, h.LastOffsetDelta = math.MinInt32, math.MaxInt32 }, wire.InvalidRecord},
		{"largest count", func(h *Header) { h.Count = math.MaxInt32; h.LastOffsetDelta = math.MaxInt32 - 1 }, wire.InvalidRecord},
		{"more offsets than records", func(h *Header) { h.LastOffsetDelta++ }, wire.InvalidRecord},
		{"fewer records than counted", func(h *Header) { h.Count++; h.LastOffsetDelta++ }, wire.InvalidRecord},
		{"more records than counted", func(h *Header) { h.Count--; h.LastOffsetDelta-- }, wire.InvalidRecord},
		{"negative sequence", func(h *Header) { h.BaseSequence = -1 }, wire.InvalidRecord},
		{"negative producer epoch", func(h *Header) { h.ProducerEpoch = -1 }, wire.InvalidRecord},
		{"transactional without a producer", func(h *Header) { h.Attributes |= AttributeTransactional; h.Producer = -1 }, wire.InvalidRecord},
	} {
		if _, err := Check(changed(produced(None, 3), c.change), anything, now); wire.Code(err) != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestTheDoorWalksUncompressedRecords(t *testing.T) {
	// length, attributes, timestamp delta, offset delta, key, value, headers
	for _, c := range []struct {
		name    string
		count   int32
		records []byte
		want    wire.ErrorCode
	}{
		{"shortest record", 1, []byte{12, 0, 0, 0, 1, 1, 0}, wire.None},
		{"key, value and header", 1, []byte{24, 0, 0, 0, 2, 'k', 2, 'v', 2, 2, 'h', 2, 'x'}, wire.None},
		{"a header with a null value", 1, []byte{18, 0, 0, 0, 1, 1, 2, 2, 'h', 1}, wire.None},
		{"overlong numbers that fit", 1, []byte{16, 0, 0x80, 0, 0x80, 0, 1, 1, 0}, wire.None},
		{"nothing", 1, nil, wire.InvalidRecord},
		{"a byte missing", 1, []byte{12, 0, 0, 0, 1, 1}, wire.InvalidRecord},
		{"a byte more in the record", 1, []byte{14, 0, 0, 0, 1, 1, 0, 0}, wire.InvalidRecord},
		{"a byte more after it", 1, []byte{12, 0, 0, 0, 1, 1, 0, 0}, wire.InvalidRecord},
		{"a record too short to be one", 1, []byte{10, 0, 0, 0, 1, 1}, wire.InvalidRecord},
		{"negative record length", 1, []byte{11, 0, 0, 0, 1, 1, 0}, wire.InvalidRecord},
		{"first offset 1", 1, []byte{12, 0, 0, 2, 1, 1, 0}, wire.InvalidRecord},
		{"offset twice", 2, []byte{12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 0, 1, 1, 0}, wire.InvalidRecord},
		{"key of length -2", 1, []byte{12, 0, 0, 0, 3, 1, 0}, wire.InvalidRecord},
		{"key longer than the record", 1, []byte{12, 0, 0, 0, 126, 1, 0}, wire.InvalidRecord},
		{"value longer than the record", 1, []byte{12, 0, 0, 0, 1, 126, 0}, wire.InvalidRecord},
		{"negative number of headers", 1, []byte{12, 0, 0, 0, 1, 1, 1}, wire.InvalidRecord},
		{"more headers than could be", 1, []byte{20, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f}, wire.InvalidRecord},
		{"header without a name", 1, []byte{16, 0, 0, 0, 1, 1, 2, 1, 1}, wire.InvalidRecord},
		{"header value cut off", 1, []byte{18, 0, 0, 0, 1, 1, 2, 2, 'h', 4}, wire.InvalidRecord},
		{"length that never ends", 1, bytes.Repeat([]byte{0x80}, 20), wire.InvalidRecord},
		{"length of more than 32 bits", 1, []byte{0x8c, 0x80, 0x80, 0x80, 0x10, 0, 0, 0, 1, 1, 0}, wire.InvalidRecord},
		{"timestamp in ten bytes", 1, []byte{30, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 0, 1, 1, 0}, wire.None},
		{"timestamp of 65 bits", 1, []byte{30, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2, 0, 1, 1, 0}, wire.InvalidRecord},
		{"length in six bytes", 1, []byte{0x8c, 0x80, 0x80, 0x80, 0x80, 0, 0, 0, 0, 1, 1, 0}, wire.InvalidRecord},
	} {
		batch := holding(c.count, c.records)
		agree(t, batch)
		if _, err := Check(batch, anything, now); wire.Code(err) != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestTheDoorComparesBothBytesOfAnOffset(t *testing.T) {
	var records []byte
	for i := range int32(300) {
		records = appendRecord(records, bodyBytes(0, i, nil, nil, nil), 0, i, nil, nil, nil)
	}
	if _, err := Check(holding(300, records), anything, now); err != nil {
		t.Fatal(err)
	}
	// The last record is length, attributes, timestamp, offset in two bytes, and three more.
	for _, back := range []int{4, 5} {
		wrong := bytes.Clone(records)
		wrong[len(wrong)-back] ^= 2
		if _, err := Check(holding(300, wrong), anything, now); wire.Code(err) != wire.InvalidRecord {
			t.Errorf("byte %d from the end: %v", back, err)
		}
	}
}

func TestTheDoorOpensNoBombs(t *testing.T) {
	compacted := with(func(l *wire.RecordLimits) { l.Compacted = true })
	var b Builder
	for _, codec := range []Codec{Gzip, Zstd} {
		b.Reset(codec, 0, false)
		b.Append(now, []byte("k"), make([]byte, 32<<20), nil)
		batch := b.Finish(wire.NoProducer, -1, -1)
		most := 8 * max(smallDecompressed, maxRatio*len(batch)) // a pool's class is four times the one before
		var err error
		n := allocated(func() { _, err = Check(batch, compacted, now) })
		if wire.Code(err) != wire.MessageTooLarge || n > most {
			t.Errorf("%v: %d bytes for %d received, %v", codec, n, len(batch), err)
		}
	}
}

func TestTheDoorMeasuresTheBatch(t *testing.T) {
	batch := produced(None, 100)
	exact := with(func(l *wire.RecordLimits) { l.MaxBatchBytes = len(batch) })
	c, err := Check(batch, exact, now)
	if err != nil || c.Bytes != len(batch) || c.Records != 100 || c.Rewritten || c.MaxTimestamp != now+99 || c.Header.Producer != 7 {
		t.Errorf("%+v, %v", c, err)
	}
	exact.MaxBatchBytes--
	if _, err := Check(batch, exact, now); wire.Code(err) != wire.MessageTooLarge {
		t.Errorf("a byte too much: %v", err)
	}
}

func TestTheDoorNamesTheRecordsWithBadTimestamps(t *testing.T) {
	var b Builder
	for _, age := range []time.Duration{0, -time.Hour, time.Hour, 61 * time.Minute, -61 * time.Minute} {
		b.Append(now-age.Milliseconds(), nil, nil, nil)
	}
	b.Append(NoTimestamp, nil, nil, nil)
	batch := b.Finish(wire.NoProducer, -1, -1)
	limits := with(func(l *wire.RecordLimits) { l.TimestampBefore, l.TimestampAfter = time.Hour, time.Hour })
	_, err := Check(batch, limits, now)
	var invalid *InvalidRecordsError
	if !errors.As(err, &invalid) || !errors.Is(err, wire.InvalidTimestamp) || wire.Sentence(err) == "" {
		t.Fatalf("%v", err)
	}
	if len(invalid.Records) != 2 || invalid.Records[0].Index != 3 || invalid.Records[1].Index != 4 {
		t.Errorf("refused %+v", invalid.Records)
	}
	limits.TimestampBefore, limits.TimestampAfter = -1, -1
	if _, err := Check(batch, limits, now); err != nil {
		t.Errorf("without limits: %v", err)
	}
	limits.TimestampAfter, limits.LogAppendTime = 0, true
	if _, err := Check(batch, limits, now); err != nil {
		t.Errorf("with the broker's own timestamps: %v", err)
	}
}

func TestTheDoorSeesFirstAndLargestTimestampOfACompressedBatch(t *testing.T) {
	limits := with(func(l *wire.RecordLimits) { l.TimestampBefore, l.TimestampAfter = time.Hour, time.Hour })
	hour := time.Hour.Milliseconds()
	for _, c := range []struct {
		name       string
		base, most int64
		want       wire.ErrorCode
	}{
		{"now", now, now, wire.None},
		{"none", NoTimestamp, NoTimestamp, wire.None},
		{"the edges", now - hour, now + hour, wire.None},
		{"old", now - hour - 1, now, wire.InvalidTimestamp},
		{"early", now, now + hour + 1, wire.InvalidTimestamp},
	} {
		batch := changed(produced(Snappy, 3), func(h *Header) { h.BaseTimestamp, h.MaxTimestamp = c.base, c.most })
		if _, err := Check(batch, limits, now); wire.Code(err) != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestTheDoorWantsKeysForCompactedTopics(t *testing.T) {
	compacted := with(func(l *wire.RecordLimits) { l.Compacted = true })
	for codec := None; codec <= Zstd; codec++ {
		var b Builder
		b.Reset(codec, 0, false)
		for i := range 300 {
			b.Append(now, [][]byte{nil, []byte("k"), {}}[i%3], nil, nil)
		}
		batch := b.Finish(wire.NoProducer, -1, -1)
		_, err := Check(batch, compacted, now)
		var invalid *InvalidRecordsError
		if !errors.As(err, &invalid) || !errors.Is(err, wire.InvalidRecord) {
			t.Fatalf("%v: %v", codec, err)
		}
		// An empty key is a key, and the hundredth record without one is the last that is named.
		if n := len(invalid.Records); n != 100 || invalid.Records[0].Index != 0 || invalid.Records[1].Index != 3 {
			t.Errorf("%v: %d refused, %+v", codec, n, invalid.Records[:2])
		}
		if _, err := Check(produced(codec, 10), compacted, now); err != nil {
			t.Errorf("%v with keys: %v", codec, err)
		}
		if _, err := Check(batch, anything, now); err != nil {
			t.Errorf("%v on a topic that is not compacted: %v", codec, err)
		}
	}
}

func TestTheDoorOpensCompressedBatchesOnlyWhenItMust(t *testing.T) {
	for codec := Gzip; codec <= Zstd; codec++ {
		rubbish := changed(produced(None, 3), func(h *Header) { h.Attributes = int16(codec) })
		if _, err := Check(rubbish, anything, now); err != nil {
			t.Errorf("%v was opened: %v", codec, err)
		}
		compacted := with(func(l *wire.RecordLimits) { l.Compacted = true })
		if _, err := Check(rubbish, compacted, now); wire.Code(err) != wire.CorruptMessage {
			t.Errorf("%v was not opened: %v", codec, err)
		}
	}
}

func TestTheDoorStampsBatches(t *testing.T) {
	limits := with(func(l *wire.RecordLimits) { l.LogAppendTime = true })
	for codec := None; codec <= Zstd; codec++ {
		batch := produced(codec, 3)
		c, err := Check(batch, limits, now+12345)
		if err != nil || c.MaxTimestamp != now+12345 || c.Rewritten || &c.Batches[0] != &batch[0] || !VerifyCRC(batch) {
			t.Fatalf("%v: %+v, %v", codec, c, err)
		}
		for _, r := range all(t, batch) {
			if r.Timestamp != now+12345 {
				t.Errorf("%v: timestamp %d", codec, r.Timestamp)
			}
		}
	}
}

func TestTheDoorCorrectsAWrongLargestTimestamp(t *testing.T) {
	for _, wrong := range []int64{NoTimestamp, now, math.MaxInt64} {
		batch := changed(produced(None, 5), func(h *Header) { h.MaxTimestamp = wrong })
		c, err := Check(batch, anything, now)
		if err != nil || c.MaxTimestamp != now+4 || c.Header.MaxTimestamp != now+4 || !VerifyCRC(c.Batches) {
			t.Errorf("%d became %+v, %v", wrong, c.Header, err)
		}
	}
}

func TestTheDoorGivesTheTopicItsCodec(t *testing.T) {
	for from := None; from <= Zstd; from++ {
		for to := None; to <= Zstd; to++ {
			batch := changed(produced(from, 200), func(h *Header) { h.Attributes |= AttributeTransactional })
			before, want := bytes.Clone(batch), all(t, batch)
			limits := with(func(l *wire.RecordLimits) { l.Compression = to.String() })
			c, err := Check(batch, limits, now)
			if err != nil {
				t.Fatalf("%v to %v: %v", from, to, err)
			}
			h := c.Header
			if h.Codec() != to || c.Rewritten != (from != to) || !VerifyCRC(c.Batches) || h.Size() != len(c.Batches) ||
				h.Producer != 7 || h.ProducerEpoch != 1 || h.BaseSequence != 5 || !h.Transactional() ||
				h.BaseTimestamp != now || h.MaxTimestamp != now+199 || h.Count != 200 || h.LastOffsetDelta != 199 {
				t.Errorf("%v to %v: %+v", from, to, c)
			}
			if !bytes.Equal(batch, before) {
				t.Errorf("%v to %v changed what the client sent", from, to)
			}
			got := all(t, c.Batches)
			for i := range want {
				if string(got[i].Value) != string(want[i].Value) || got[i].Timestamp != want[i].Timestamp {
					t.Fatalf("%v to %v: record %d is %+v", from, to, i, got[i])
				}
			}
		}
	}
}

func TestTheDoorMeasuresWhatItMadeAnew(t *testing.T) {
	var b Builder
	b.Reset(Zstd, 0, false)
	b.Append(now, nil, make([]byte, 100_000), nil)
	batch := b.Finish(wire.NoProducer, -1, -1)
	limits := with(func(l *wire.RecordLimits) { l.MaxBatchBytes, l.Compression = 10_000, "uncompressed" })
	if _, err := Check(batch, limits, now); wire.Code(err) != wire.MessageTooLarge {
		t.Errorf("%v", err)
	}
}

func TestTheDoorDoesNotAllocate(t *testing.T) {
	for _, codec := range []Codec{None, Zstd} {
		batch := produced(codec, 100)
		if n := testing.AllocsPerRun(20, func() {
			if _, err := Check(batch, anything, now); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v: %v allocations", codec, n)
		}
	}
}

func TestExtremeTimestampsDoNoHarm(t *testing.T) {
	limits := with(func(l *wire.RecordLimits) { l.TimestampBefore = time.Hour })
	for _, base := range []int64{math.MinInt64, math.MaxInt64} {
		for _, delta := range []int64{math.MinInt64, -1, 1, math.MaxInt64} {
			record := appendRecord(nil, bodyBytes(delta, 0, nil, nil, nil), delta, 0, nil, nil, nil)
			batch := holding(1, record)
			binary.BigEndian.PutUint64(batch[BaseTimestampAt:], uint64(base))
			setCRC(batch)
			timestamp := base + delta
			_, err := Check(batch, limits, now)
			if want := timestamp == NoTimestamp; (err == nil) != want {
				t.Errorf("%d%+d = %d: %v", base, delta, timestamp, err)
			}
		}
	}
}
