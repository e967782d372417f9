package record

import (
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

const now = int64(1_700_000_000_000)

var anything = &wire.RecordLimits{MaxBatchBytes: 1 << 20, TimestampBefore: -1, TimestampAfter: time.Hour, Compression: "producer"}

func TestSmoke(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		var b Builder
		b.Reset(codec, 0, false)
		for i := range 300 {
			b.Append(now+int64(i), []byte("key"), make([]byte, i*3), []RecordHeader{{Key: "a", Value: []byte("b")}})
		}
		batch := b.Finish(7, 1, 5)
		c, err := Check(batch, anything, now)
		if err != nil {
			t.Fatal(codec, err)
		}
		n := 0
		err = Iterate(c.Batches, 1<<20, func(r Record) error {
			if len(r.Value) != n*3 || r.Offset != wire.Offset(n) || r.Timestamp != now+int64(n) || r.Headers[0].Key != "a" {
				t.Fatal(codec, n, r)
			}
			n++
			return nil
		})
		if err != nil || n != 300 {
			t.Fatal(codec, err, n)
		}
		for target := None; target <= Zstd; target++ {
			l := *anything
			l.Compression = target.String()
			c2, err := Check(batch, &l, now)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Check(c2.Batches, &l, now); err != nil {
				t.Fatal(err)
			}
			t.Log(codec, target, len(c2.Batches), c2.Rewritten)
		}
	}
}
