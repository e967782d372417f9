package record

import (
	"bytes"
	"encoding/binary"
	"math"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/troupe-mq/troupe/wire"
)

func drawBytes(t *rapid.T, label string, most int) []byte {
	if rapid.IntRange(0, 9).Draw(t, label+" null") == 0 {
		return nil
	}
	if rapid.IntRange(0, 19).Draw(t, label+" long") == 0 {
		return bytes.Repeat([]byte{'x'}, rapid.IntRange(0, most).Draw(t, label+" length"))
	}
	return rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, label)
}

func drawRecords(t *rapid.T) []Record {
	records := make([]Record, rapid.IntRange(1, 150).Draw(t, "records"))
	base := rapid.Int64Range(0, 1<<42).Draw(t, "base timestamp")
	for i := range records {
		r := &records[i]
		r.Offset = wire.Offset(i)
		r.Timestamp = base + rapid.Int64Range(-1<<36, 1<<36).Draw(t, "delta")
		r.Key = drawBytes(t, "key", 300)
		r.Value = drawBytes(t, "value", 100_000)
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			r.Headers = append(r.Headers, RecordHeader{
				Key: rapid.StringN(0, 20, -1).Draw(t, "name"), Value: drawBytes(t, "header", 200),
			})
		}
	}
	return records
}

func build(b *Builder, records []Record) []byte {
	for i := range records {
		b.Append(records[i].Timestamp, records[i].Key, records[i].Value, records[i].Headers)
	}
	return b.Finish(wire.NoProducer, -1, -1)
}

func TestReadingWhatWasBuiltIsIdentity(t *testing.T) {
	var b Builder // the same for all, as a client would
	rapid.Check(t, func(rt *rapid.T) {
		codec := rapid.SampledFrom([]Codec{None, Gzip, Snappy, LZ4, Zstd}).Draw(rt, "codec")
		want := drawRecords(rt)
		b.Reset(codec, 0, false)
		batch := build(&b, want)
		largest := want[0].Timestamp
		for _, r := range want {
			largest = max(largest, r.Timestamp)
		}
		if h, _ := ParseHeader(batch); h.MaxTimestamp != largest || h.BaseTimestamp != want[0].Timestamp {
			rt.Fatalf("the header says %d to %d", h.BaseTimestamp, h.MaxTimestamp)
		}
		limits := with(func(l *wire.RecordLimits) { l.MaxBatchBytes, l.TimestampAfter = math.MaxInt32, -1 })
		if _, err := Check(batch, limits, now); err != nil {
			rt.Fatalf("the door refuses what the builder made: %v", err)
		}
		if got := all(t, batch); !reflect.DeepEqual(got, want) {
			rt.Fatalf("read %+v, built %+v", got, want)
		}
	})
}

// kmsg's own encoder, and the same bytes from ours.
func TestRecordsAreEncodedAsKmsgDoes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		records := drawRecords(rt)
		var b Builder
		ours := build(&b, records)[HeaderBytes:]
		var theirs []byte
		for i, r := range records {
			k := kmsg.Record{
				TimestampDelta64: r.Timestamp - records[0].Timestamp, OffsetDelta: int32(i), Key: r.Key, Value: r.Value,
			}
			k.TimestampDelta = int32(k.TimestampDelta64)
			for _, h := range r.Headers {
				k.Headers = append(k.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
			}
			// The length is the first field: encode once to know how much follows its one byte.
			k.Length = int32(len(k.AppendTo(nil)) - 1)
			theirs = k.AppendTo(theirs)
		}
		if !bytes.Equal(ours, theirs) {
			rt.Fatalf("ours\n%x, theirs\n%x", ours, theirs)
		}
	})
}

// slowWalk says what walk should: record by record, byte by byte, after the format's description.
func slowWalk(h *Header, b []byte) (maxTimestamp int64, ok bool) {
	number := func(limit int) (v int64) {
		v, n := binary.Varint(b)
		if n <= 0 || n > limit || limit == maxVarint32 && (v > math.MaxInt32 || v < math.MinInt32) {
			panic("number")
		}
		b = b[n:]
		return v
	}
	take := func() (null bool) {
		n := number(maxVarint32)
		if n < -1 {
			panic("length")
		}
		b = b[max(n, 0):]
		return n == -1
	}
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	maxTimestamp = NoTimestamp
	for i := range h.Count {
		size := number(maxVarint32)
		if size < 0 {
			return 0, false
		}
		end := len(b) - int(size)
		if end < 0 {
			return 0, false
		}
		after := b[size:]
		b = b[1:size]
		maxTimestamp = max(maxTimestamp, h.BaseTimestamp+number(maxVarint64))
		if number(maxVarint32) != int64(i) {
			return 0, false
		}
		take()
		take()
		headers := number(maxVarint32)
		if headers < 0 {
			return 0, false
		}
		for range headers {
			if take() {
				return 0, false
			}
			take()
		}
		if len(b) != 0 {
			return 0, false
		}
		b = after
	}
	return maxTimestamp, len(b) == 0
}

// agree fails unless the fast walk, the slow one, the Reader and, where it is as strict, kmsg say
// the same of a batch's records.
func agree(t interface {
	Helper()
	Fatalf(string, ...any)
}, batch []byte,
) {
	t.Helper()
	h, err := ParseHeader(batch)
	if err != nil || h.Codec() != None || h.Count < 0 || h.LastOffsetDelta != h.Count-1 || h.LogAppendTime() {
		return
	}
	_, batch, _, err = Next(batch)
	if err != nil {
		return
	}
	w := newWalk(&h)
	fast := w.records(batch[HeaderBytes:])
	slowMax, slow := slowWalk(&h, batch[HeaderBytes:])
	if (fast == nil) != slow || slow && w.maxTimestamp != slowMax {
		t.Fatalf("fast: %v, largest %d; slow: %t, %d", fast, w.maxTimestamp, slow, slowMax)
	}
	largest, n := NoTimestamp, int32(0)
	read := Iterate(batch, 0, func(r Record) error {
		if r.Offset != h.BaseOffset+wire.Offset(n) {
			return ErrRecord // the Reader allows the gaps of compaction
		}
		largest = max(largest, r.Timestamp)
		n++
		return nil
	})
	if (read == nil) != slow || slow && largest != slowMax {
		t.Fatalf("reader: %v, largest %d; slow: %t, %d", read, largest, slow, slowMax)
	}
	if slow {
		rest := batch[HeaderBytes:]
		for i := range h.Count {
			size, k := binary.Varint(rest)
			var theirs kmsg.Record
			if err := theirs.ReadFrom(rest[:k+int(size)]); err != nil || theirs.OffsetDelta != i {
				t.Fatalf("kmsg reads record %d as %+v, %v", i, theirs, err)
			}
			rest = rest[k+int(size):]
		}
	}
}

func TestFastWalkEqualsSlowOnes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		records := drawRecords(rt)
		var b Builder
		batch := build(&b, records)
		agree(rt, batch)
		for range rapid.IntRange(1, 20).Draw(rt, "mutations") {
			at := rapid.IntRange(HeaderBytes, len(batch)-1).Draw(rt, "at")
			switch rapid.IntRange(0, 3).Draw(rt, "kind") {
			case 0:
				batch[at] = rapid.Byte().Draw(rt, "byte")
			case 1:
				batch[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
			case 2: // most bytes are of keys and values: aim at the numbers before them
				batch[HeaderBytes+at%min(12, len(batch)-HeaderBytes)] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
			case 3:
				batch = append(batch[:at], batch[at+1:]...)
				binary.BigEndian.PutUint32(batch[LengthAt:], uint32(len(batch)-lengthOverhead))
			}
			if len(batch) == HeaderBytes {
				return
			}
			agree(rt, batch)
		}
	})
}
