package record

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// benchBatch returns a batch of about size bytes with records whose value has valueBytes.
func benchBatch(codec Codec, size, valueBytes int) (batch []byte, records int) {
	var b Builder
	b.Reset(codec, 0, false)
	value := []byte(strings.Repeat("a log line of some length, 0123456789 ", valueBytes/20+1))[:valueBytes]
	for b.Len() < size {
		b.Append(now+int64(b.Count()/10), nil, value, nil)
	}
	return b.Finish(7, 0, 0), b.Count()
}

var benchSizes = []struct {
	name             string
	batch, valueSize int
}{
	{"batch=16KiB/value=100B", 16 << 10, 100},
	{"batch=16KiB/value=1KiB", 16 << 10, 1 << 10},
	{"batch=1MiB/value=100B", 1<<20 - 200, 100},
	{"batch=1MiB/value=1KiB", 1<<20 - 2048, 1 << 10},
}

// What does the door cost, and how much of it is the walk?
func BenchmarkCheck(b *testing.B) {
	for _, size := range benchSizes {
		batch, records := benchBatch(None, size.batch, size.valueSize)
		b.Run(size.name, func(b *testing.B) {
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Check(batch, anything, now); err != nil {
					b.Fatal(err)
				}
			}
			perRecord(b, records)
		})
	}
}

func BenchmarkWalk(b *testing.B) {
	for _, size := range benchSizes {
		batch, records := benchBatch(None, size.batch, size.valueSize)
		h, _ := ParseHeader(batch)
		b.Run(size.name, func(b *testing.B) {
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				w := newWalk(&h)
				if err := w.records(batch[HeaderBytes:]); err != nil {
					b.Fatal(err)
				}
			}
			perRecord(b, records)
		})
	}
}

// What does a consumer pay per record?
func BenchmarkReader(b *testing.B) {
	for codec := None; codec <= Zstd; codec++ {
		batch, records := benchBatch(codec, 64<<10, 100)
		b.Run("codec="+codec.String(), func(b *testing.B) {
			b.SetBytes(64 << 10)
			b.ReportAllocs()
			var r Reader
			var rec Record
			for b.Loop() {
				if err := r.Reset(batch, 1<<20); err != nil {
					b.Fatal(err)
				}
				for r.Next(&rec) {
				}
				if r.Err() != nil {
					b.Fatal(r.Err())
				}
			}
			perRecord(b, records)
		})
	}
}

// What does a producer pay per record?
func BenchmarkBuilder(b *testing.B) {
	value := []byte(strings.Repeat("a log line of some length, 0123456789 ", 3))[:100]
	for codec := None; codec <= Zstd; codec++ {
		b.Run("codec="+codec.String(), func(b *testing.B) {
			b.SetBytes(64 << 10)
			b.ReportAllocs()
			var builder Builder
			for b.Loop() {
				builder.Reset(codec, 0, false)
				for range 600 {
					builder.Append(now, nil, value, nil)
				}
				builder.Finish(wire.NoProducer, -1, -1)
			}
			perRecord(b, 600)
		})
	}
}

// How fast can recovery read a segment?
func BenchmarkScan(b *testing.B) {
	batch, _ := benchBatch(None, 16<<10, 100)
	file := bytes.Repeat(batch, 256)
	for _, verify := range []bool{false, true} {
		b.Run(fmt.Sprintf("verify=%t", verify), func(b *testing.B) {
			b.SetBytes(int64(len(file)))
			b.ReportAllocs()
			r := bytes.NewReader(file)
			for b.Loop() {
				end, err := Scan(r, 0, int64(len(file)), verify, func(int64, Header) error { return nil })
				if err != nil || end != int64(len(file)) {
					b.Fatal(end, err)
				}
			}
		})
	}
}

func perRecord(b *testing.B, records int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(records), "ns/record")
}
