package record

import (
	"errors"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// timed returns a batch from offset 100 on whose records have these timestamps.
func timed(codec Codec, timestamps ...int64) []byte {
	var b Builder
	b.Reset(codec, 0, false)
	for _, ts := range timestamps {
		b.Append(ts, nil, nil, nil)
	}
	batch := b.Finish(wire.NoProducer, -1, -1)
	SetBaseOffset(batch, 100)
	return batch
}

func TestFirstAtOrAfterGoesByOffsetNotByTime(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		batch := timed(codec, 50, 40, 70, 60, 70)
		for _, c := range []struct {
			timestamp int64
			want      TimestampOffset
			found     bool
		}{
			{0, TimestampOffset{50, 100}, true},
			{50, TimestampOffset{50, 100}, true},
			{51, TimestampOffset{70, 102}, true},
			{70, TimestampOffset{70, 102}, true},
			{71, TimestampOffset{}, false},
		} {
			got, found, err := FirstAtOrAfter(batch, 0, c.timestamp, 1<<20)
			if err != nil || found != c.found || found && got != c.want {
				t.Errorf("%v, %d: %+v, %t, %v", codec, c.timestamp, got, found, err)
			}
		}
	}
}

func TestMaxTimestampRecordIsTheFirstOfTheLargest(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		got, found, err := MaxTimestampRecord(timed(codec, 50, 70, 60, 70), 0, 1<<20)
		if err != nil || !found || got != (TimestampOffset{70, 101}) {
			t.Errorf("%v: %+v, %t, %v", codec, got, found, err)
		}
	}
	if got, found, err := MaxTimestampRecord(timed(None, NoTimestamp, NoTimestamp), 0, 0); found || err != nil {
		t.Errorf("no timestamps: %+v, %v", got, err)
	}
}

func TestStampedBatchesAreFoundAtTheirFirstRecord(t *testing.T) {
	batch := timed(None, 50, 70, 60)
	StampLogAppendTime(batch, 90)
	want := TimestampOffset{90, 100}
	if got, found, err := FirstAtOrAfter(batch, 0, 80, 0); got != want || !found || err != nil {
		t.Errorf("first: %+v, %t, %v", got, found, err)
	}
	if got, found, err := MaxTimestampRecord(batch, 0, 0); got != want || !found || err != nil {
		t.Errorf("largest: %+v, %t, %v", got, found, err)
	}
}

func TestLookupsOfDamagedBatchesFindNothing(t *testing.T) {
	batch := timed(None, 50, 60)
	batch[len(batch)-1] = 9
	if _, found, err := MaxTimestampRecord(batch, 0, 0); found || !errors.Is(err, ErrRecord) {
		t.Errorf("largest: %t, %v", found, err)
	}
	if _, found, err := FirstAtOrAfter(batch, 0, 60, 0); found || !errors.Is(err, ErrRecord) {
		t.Errorf("first: %t, %v", found, err)
	}
	if _, _, err := FirstAtOrAfter(batch[:20], 0, 0, 0); !errors.Is(err, ErrTruncated) {
		t.Errorf("no header: %v", err)
	}
}
