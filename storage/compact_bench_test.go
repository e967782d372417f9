package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// benchKeyedLog is a log of so many records, whose keys of 20 bytes come round again and again, all of
// it committed and sealed.
func benchKeyedLog(b *testing.B, records, keys, valueBytes int, codec record.Codec) *Log {
	b.Helper()
	cfg := DefaultDirConfig()
	cfg.Now, cfg.ReserveBytes, cfg.ScrubBytesPerSecond, cfg.CleanInterval = time.Now, 0, 0, 0
	cfg.CheckpointInterval = time.Hour
	d, err := OpenDir(OSFS{}, b.TempDir(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = d.Close() })
	logCfg := DefaultLogConfig()
	logCfg.Fsync, logCfg.Compact, logCfg.Delete, logCfg.SegmentBytes = false, true, false, 128<<20
	l, err := d.OpenLog(testRef(), logCfg)
	if err != nil {
		b.Fatal(err)
	}
	var builder record.Builder
	key, value := make([]byte, 20), bytes.Repeat([]byte("value "), valueBytes/6+1)[:valueBytes]
	const perBatch = 500
	for i := 0; i < records; {
		builder.Reset(codec, 0, false)
		for range min(perBatch, records-i) {
			binary.BigEndian.PutUint64(key[12:], uint64(i%keys))
			builder.Append(testNow.UnixMilli(), key, value, nil)
			i++
		}
		if _, _, err := l.Append(builder.Finish(wire.NoProducer, -1, -1), 1); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.roll(l.EndOffset()); err != nil {
		b.Fatal(err)
	}
	syncLog(b, l)
	l.SetHighWatermark(l.EndOffset())
	d.keeper.tick()
	return l
}

// BenchmarkCompact compacts a log in which each key is there four times, as fast as it goes.
func BenchmarkCompact(b *testing.B) {
	for _, codec := range []record.Codec{record.None, record.LZ4} {
		for _, valueBytes := range []int{100, 1000} {
			b.Run(fmt.Sprintf("codec=%s/value=%d", codec, valueBytes), func(b *testing.B) {
				records := 256 << 20 / (valueBytes + 30)
				for b.Loop() {
					b.StopTimer()
					l := benchKeyedLog(b, records, records/4, valueBytes, codec)
					b.SetBytes(int64(records) * int64(valueBytes+30))
					b.StartTimer()
					if err := l.compact(time.Now(), 128<<20, unpaced); err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					if err := l.dir.Close(); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			})
		}
	}
}

// BenchmarkCompactTenMillionKeys compacts a log with ten million keys, each twice, in one round, and
// reports how large the heap became.
func BenchmarkCompactTenMillionKeys(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		l := benchKeyedLog(b, 20_000_000, 10_000_000, 40, record.None)
		b.SetBytes(l.Size())
		runtime.GC()
		var before, m runtime.MemStats
		runtime.ReadMemStats(&before)
		most, looks := uint64(0), 0
		b.StartTimer()
		err := l.compact(time.Now(), 128<<20, func(int64) bool {
			if looks++; looks%1000 == 0 {
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse-before.HeapInuse)
			}
			return true
		})
		if err != nil || l.CleanedOffset() != 20_000_000 {
			b.Fatal(err)
		}
		b.StopTimer()
		left := int64(0)
		for i := range l.segments {
			n, err := (&compaction{log: l, spend: unpaced}).countSegment(source{l.segments[i], l.segments[i].size, 0})
			if err != nil {
				b.Fatal(err)
			}
			left += n
		}
		b.ReportMetric(float64(most)/(1<<20), "MiB-heap")
		b.ReportMetric(float64(left), "records-left")
		b.StartTimer()
	}
}
