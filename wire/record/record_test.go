package record

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

const now = int64(1_700_000_000_000)

// anything is what a topic takes by default.
var anything = &wire.RecordLimits{
	MaxBatchBytes: 1 << 20, TimestampBefore: -1, TimestampAfter: time.Hour, Compression: "producer",
}

// with returns the default limits, changed.
func with(change func(*wire.RecordLimits)) *wire.RecordLimits {
	limits := *anything
	change(&limits)
	return &limits
}

// produced returns a batch of n plain records, key-0 to key-(n-1), a millisecond apart from now on.
func produced(codec Codec, n int) []byte {
	var b Builder
	b.Reset(codec, 0, false)
	for i := range n {
		b.Append(now+int64(i), fmt.Appendf(nil, "key-%d", i), fmt.Appendf(nil, "value %d", i), nil)
	}
	return bytes.Clone(b.Finish(7, 1, 5))
}

// all reads every record of a batch, with memory of their own.
func all(t testing.TB, batch []byte) []Record {
	t.Helper()
	var records []Record
	err := Iterate(batch, 64<<20, func(r Record) error {
		r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
		headers := []RecordHeader(nil)
		for _, h := range r.Headers {
			headers = append(headers, RecordHeader{Key: h.Key, Value: bytes.Clone(h.Value)})
		}
		r.Headers = headers
		records = append(records, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func TestReaderKeepsNullAndEmptyApart(t *testing.T) {
	var b Builder
	b.Append(now, nil, []byte{}, []RecordHeader{{Key: "", Value: nil}, {Key: "h", Value: []byte{}}})
	b.Append(now, []byte{}, nil, nil)
	records := all(t, b.Finish(wire.NoProducer, -1, -1))
	if r := records[0]; r.Key != nil || r.Value == nil || len(r.Headers) != 2 ||
		r.Headers[0].Value != nil || r.Headers[1].Value == nil {
		t.Errorf("first record: %+v", r)
	}
	if r := records[1]; r.Key == nil || r.Value != nil || len(r.Headers) != 0 {
		t.Errorf("second record: %+v", r)
	}
}

func TestReaderTakesGapsOfCompactionButNoTurns(t *testing.T) {
	compacted := func(deltas ...int32) []byte {
		h := Header{
			BaseOffset: 100, Magic: Magic, LastOffsetDelta: 9, BaseTimestamp: now, MaxTimestamp: now,
			Producer: wire.NoProducer, ProducerEpoch: -1, BaseSequence: -1, Count: int32(len(deltas)),
		}
		var records []byte
		for _, d := range deltas {
			records = appendRecord(records, bodyBytes(0, d, nil, nil, nil), 0, d, nil, nil, nil)
		}
		return encode(nil, &h, 0, records)
	}
	records := all(t, compacted(2, 3, 9))
	if len(records) != 3 || records[0].Offset != 102 || records[2].Offset != 109 {
		t.Errorf("records %+v", records)
	}
	if n := len(all(t, compacted())); n != 0 {
		t.Errorf("a batch that compaction emptied has %d records", n)
	}
	for _, deltas := range [][]int32{{3, 2}, {3, 3}, {-1}, {10}} {
		if err := Iterate(compacted(deltas...), 0, ignore); !errors.Is(err, ErrRecord) {
			t.Errorf("offset deltas %d: %v", deltas, err)
		}
	}
}

func ignore(Record) error { return nil }

func TestReaderGivesLogAppendTimeToAllRecords(t *testing.T) {
	batch := produced(None, 3)
	StampLogAppendTime(batch, now+5000)
	if !VerifyCRC(batch) {
		t.Error("the stamp broke the checksum")
	}
	for _, r := range all(t, batch) {
		if r.Timestamp != now+5000 {
			t.Errorf("timestamp %d", r.Timestamp)
		}
	}
	if h, _ := ParseHeader(batch); h.BaseTimestamp != now {
		t.Errorf("the base timestamp became %d", h.BaseTimestamp)
	}
}

func TestReaderDoesNotAllocateForUncompressedRecords(t *testing.T) {
	var b Builder
	headers := []RecordHeader{{Key: "trace", Value: []byte("1")}, {Key: "span", Value: []byte("2")}}
	for range 100 {
		b.Append(now, []byte("key"), []byte("value"), headers)
	}
	batch := b.Finish(wire.NoProducer, -1, -1)
	var r Reader
	var rec Record
	allocations := testing.AllocsPerRun(20, func() {
		if err := r.Reset(batch, 0); err != nil {
			t.Fatal(err)
		}
		for r.Next(&rec) {
		}
	})
	if allocations != 0 || r.Err() != nil {
		t.Errorf("%v allocations, error %v", allocations, r.Err())
	}
}

func TestIterateStopsWithTheErrorOfItsFunction(t *testing.T) {
	stop, calls := fmt.Errorf("stop"), 0
	err := Iterate(produced(Zstd, 10), 1<<20, func(Record) error {
		calls++
		return stop
	})
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestRecordsOfADroppedReaderStayValid(t *testing.T) {
	var r Reader
	if err := r.Reset(produced(Gzip, 2), 1<<20); err != nil {
		t.Fatal(err)
	}
	var rec Record
	r.Next(&rec)
	kept := rec.Value
	r = Reader{} // dropped, not closed
	for range 100 {
		all(t, produced(Snappy, 50))
	}
	if string(kept) != "value 0" {
		t.Errorf("the record became %q", kept)
	}
}

func TestBuilderForeseesItsSize(t *testing.T) {
	var b Builder
	for i := range 200 {
		key := []byte(strings.Repeat("k", i))
		headers := []RecordHeader{{Key: strings.Repeat("h", i), Value: key}, {Key: "null"}}[:i%3]
		before, grows := b.Len(), b.RecordBytes(now-int64(i*i*i), key, nil, headers)
		b.Append(now-int64(i*i*i), key, nil, headers)
		if b.Len() != before+grows {
			t.Fatalf("record %d: %d bytes, then %d; %d foreseen", i, before, b.Len(), grows)
		}
	}
	if b.Count() != 200 || len(b.Finish(1, 0, 0)) != b.Len() {
		t.Errorf("%d records in %d bytes", b.Count(), b.Len())
	}
}

func TestBuilderFinishesAgainForAnotherEpoch(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		var b Builder
		b.Reset(codec, 0, true)
		b.Append(now, nil, []byte("v"), nil)
		first := bytes.Clone(b.Finish(7, 1, 5))
		again := b.Finish(7, 2, 0)
		SetProducer(first, 7, 2, 0)
		if !bytes.Equal(first, again) {
			t.Errorf("%v: SetProducer and a second Finish differ", codec)
		}
		h, err := ParseHeader(again)
		if err != nil || h.ProducerEpoch != 2 || h.BaseSequence != 0 || !h.Transactional() || !VerifyCRC(again) {
			t.Errorf("%v: %+v, %v", codec, h, err)
		}
	}
}

func TestBuilderForgetsTheBatchBefore(t *testing.T) {
	var b Builder
	b.Reset(LZ4, 0, true)
	b.Append(1, []byte("old"), nil, nil)
	b.Finish(1, 1, 1)
	b.Reset(None, 0, false)
	if b.Len() != HeaderBytes || b.Count() != 0 {
		t.Errorf("%d records in %d bytes after a reset", b.Count(), b.Len())
	}
	empty := b.Finish(wire.NoProducer, -1, -1)
	h, err := ParseHeader(empty)
	if err != nil || len(empty) != HeaderBytes || h.Count != 0 || h.LastOffsetDelta != -1 || h.Transactional() {
		t.Errorf("an empty batch: %+v, %v", h, err)
	}
	b.Append(now, []byte("new"), nil, nil)
	if r := all(t, b.Finish(wire.NoProducer, -1, -1)); len(r) != 1 || r[0].Timestamp != now || string(r[0].Key) != "new" {
		t.Errorf("after the reset: %+v", r)
	}
}
