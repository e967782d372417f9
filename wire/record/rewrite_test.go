package record

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// rewriteSource is a batch of n keyed records at offsets from 100 on.
func rewriteSource(codec Codec, n int) []byte {
	var b Builder
	b.Reset(codec, 0, false)
	for i := range n {
		b.Append(int64(1000+10*i), fmt.Appendf(nil, "key-%d", i), bytes.Repeat([]byte{byte(i)}, 50), []RecordHeader{{Key: "h", Value: []byte{1}}})
	}
	batch := bytes.Clone(b.Finish(7, 2, 40))
	SetBaseOffset(batch, 100)
	SetLeaderEpoch(batch, 5)
	return batch
}

// rewrite keeps the records whose place is in keep.
func rewrite(t *testing.T, batch []byte, horizon int64, keep ...int) []byte {
	t.Helper()
	var r Reader
	defer r.Close()
	if err := r.Reset(batch, 1<<20); err != nil {
		t.Fatal(err)
	}
	var w Rewriter
	w.Reset(r.Header(), horizon)
	for range 2 { // the second time after a Rewind
		var rec Record
		w.Reset(r.Header(), horizon)
		for i := 0; r.Next(&rec); i++ {
			if slices.Contains(keep, i) {
				w.Keep(&rec)
			}
		}
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
		r.Rewind()
	}
	return w.Finish()
}

func TestARewrittenBatchKeepsItsPlaceAndTheRecordsTheirs(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		for _, horizon := range []int64{NoTimestamp, 1 << 41} {
			batch := rewriteSource(codec, 20)
			before, _ := ParseHeader(batch)
			got := rewrite(t, batch, horizon, 3, 4, 17)
			h, whole, rest, err := Next(got)
			if err != nil || len(rest) > 0 || !VerifyCRC(whole) || h.Consistent() != nil {
				t.Fatalf("%v: %+v, %d bytes after it, %v", codec, h, len(rest), err)
			}
			if h.HasDeleteHorizon() != (horizon != NoTimestamp) || horizon != NoTimestamp && h.BaseTimestamp != horizon {
				t.Errorf("%v: horizon %d: %+v", codec, horizon, h)
			}
			want := before
			want.Length, want.CRC, want.Count, want.MaxTimestamp = h.Length, h.CRC, 3, 1170
			want.Attributes, want.BaseTimestamp = h.Attributes, h.BaseTimestamp
			if h != want || h.Codec() != codec {
				t.Errorf("%v: %+v, want %+v", codec, h, want)
			}
			old, kept := all(t, batch), all(t, got)
			for i, place := range []int{3, 4, 17} {
				if fmt.Sprint(kept[i]) != fmt.Sprint(old[place]) {
					t.Errorf("%v: record %d is %v, was %v", codec, place, kept[i], old[place])
				}
			}
		}
	}
}

func TestABatchWithoutRecordsHoldsThePlaceOfItsSequences(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		got := rewrite(t, rewriteSource(codec, 4), 1<<41)
		h, err := ParseHeader(got)
		if err != nil || len(got) != HeaderBytes || !VerifyCRC(got) {
			t.Fatalf("%d bytes: %v", len(got), err)
		}
		if h.Count != 0 || h.LastOffset() != 103 || h.LastSequence() != 43 || h.MaxTimestamp != 1030 ||
			h.Codec() != None || h.HasDeleteHorizon() || h.LeaderEpoch != 5 {
			t.Errorf("%+v", h)
		}
		if n := len(all(t, got)); n != 0 {
			t.Errorf("%d records", n)
		}
	}
}

func TestRewritingKeepsLogAppendTime(t *testing.T) {
	batch := rewriteSource(Snappy, 5)
	StampLogAppendTime(batch, 9999)
	got := all(t, rewrite(t, batch, NoTimestamp, 0, 4))
	if len(got) != 2 || got[0].Timestamp != 9999 || got[1].Timestamp != 9999 || got[1].Offset != wire.Offset(104) {
		t.Errorf("%+v", got)
	}
}
