package client

import (
	"math"
	"testing"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// Whatever a broker sends as records, reading them ends, goes forward, and does not panic.
func FuzzChunk(f *testing.F) {
	var b record.Builder
	for codec := record.None; codec <= record.Zstd; codec++ {
		b.Reset(codec, 0, false)
		b.Append(1, []byte("key"), []byte("value"), []record.RecordHeader{{Key: "h", Value: []byte("v")}})
		b.Append(2, nil, nil, nil)
		batch := b.Finish(wire.NoProducer, -1, -1)
		f.Add(append([]byte(nil), batch...), int64(1))
		f.Add(append([]byte(nil), batch[:len(batch)-1]...), int64(0))
	}
	f.Fuzz(func(t *testing.T, bytes []byte, from int64) {
		if from < 0 {
			from = 0
		}
		whole, _, _ := wholeBatches(bytes)
		if whole > len(bytes) {
			t.Fatalf("%d bytes of %d are whole", whole, len(bytes))
		}
		c := chunk{topic: "t", bytes: bytes[:whole], next: Offset(from)}
		last := Offset(from) - 1
		records, _ := c.take(nil, math.MaxInt)
		for _, r := range records {
			if r.Offset <= last {
				t.Fatalf("offset %d comes after %d", r.Offset, last)
			}
			last = r.Offset
		}
	})
}
