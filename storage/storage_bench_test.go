package storage

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

func benchBatch(size int) []byte {
	var b record.Builder
	b.Reset(record.None, 0, false)
	b.Append(testNow.UnixMilli(), nil, bytes.Repeat([]byte("x"), size-record.HeaderBytes-20), nil)
	return bytes.Clone(b.Finish(wire.NoProducer, -1, -1))
}

func benchLog(b *testing.B, synced func(Synced)) *Log {
	b.Helper()
	cfg := DefaultDirConfig()
	cfg.Now, cfg.ReserveBytes, cfg.ScrubBytesPerSecond = time.Now, 0, 0
	if synced == nil {
		cfg.CheckpointInterval = time.Hour // the disk is not what is measured
	}
	d, err := OpenDir(OSFS{}, b.TempDir(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = d.Close() })
	logCfg := DefaultLogConfig()
	logCfg.Fsync, logCfg.Synced, logCfg.RetentionBytes = synced != nil, synced, 1<<30
	l, err := d.OpenLog(testRef(), logCfg)
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// retain keeps a benchmark from filling the disk.
func retain(b *testing.B, l *Log) {
	if l.Size() > 3<<30 {
		if _, _, err := l.ApplyRetention(testNow, l.EndOffset()); err != nil {
			b.Fatal(err)
		}
		l.dir.keeper.tick()
	}
}

// BenchmarkAppend asks what an append costs beyond the bare pwrite, which BenchmarkWrite measures.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("batch=%dKiB", size>>10), func(b *testing.B) {
			l, batch := benchLog(b, nil), benchBatch(size)
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := l.Append(batch, 1); err != nil {
					b.Fatal(err)
				}
				retain(b, l)
			}
		})
	}
}

// BenchmarkAppendReplicated asks what a follower pays, which checks what the leader only patches.
func BenchmarkAppendReplicated(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("batch=%dKiB", size>>10), func(b *testing.B) {
			l, batch := benchLog(b, nil), benchBatch(size)
			record.SetLeaderEpoch(batch, 1)
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				record.SetBaseOffset(batch, l.EndOffset())
				if _, err := l.AppendReplicated(batch); err != nil {
					b.Fatal(err)
				}
				retain(b, l)
			}
		})
	}
}

// BenchmarkWrite is the floor of BenchmarkAppend: the same bytes, one pwrite, nothing else.
func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("batch=%dKiB", size>>10), func(b *testing.B) {
			name := b.TempDir() + "/file"
			f, err := os.Create(name)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			batch := benchBatch(size)
			b.SetBytes(int64(len(batch)))
			at := int64(0)
			for b.Loop() {
				if _, err := f.WriteAt(batch, at); err != nil {
					b.Fatal(err)
				}
				if at += int64(size); at > 1<<30 {
					if err := f.Truncate(0); err != nil {
						b.Fatal(err)
					}
					at = 0
				}
			}
		})
	}
}

// BenchmarkAppendSync asks how long one appender waits that has each batch synced, and what group
// commit makes of many in flight.
func BenchmarkAppendSync(b *testing.B) {
	for _, inFlight := range []int{1, 16} {
		b.Run(fmt.Sprintf("batch=16KiB/inflight=%d", inFlight), func(b *testing.B) {
			synced := make(chan wire.Offset, 1<<16)
			l := benchLog(b, func(s Synced) { synced <- s.UpTo })
			batch := benchBatch(16 << 10)
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			flushed := wire.Offset(0)
			for b.Loop() {
				_, next, err := l.Append(batch, 1)
				if err != nil {
					b.Fatal(err)
				}
				for next-flushed >= wire.Offset(inFlight) {
					flushed = <-synced
				}
				retain(b, l)
			}
		})
	}
}

// BenchmarkRead asks what finding and lending costs: following the tail, and catching up in a
// sealed segment whose index is on disk.
func BenchmarkRead(b *testing.B) {
	l, batch := benchLog(b, nil), benchBatch(16<<10)
	for l.Size() < 1<<30+64<<20 {
		if _, _, err := l.Append(batch, 1); err != nil {
			b.Fatal(err)
		}
	}
	l.dir.keeper.tick()
	end := l.EndOffset()
	for name, from := range map[string]wire.Offset{"tail": end - 1, "sealed": 12_345} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := l.Read(from, end, 1<<20, true)
				if err != nil || r.Length == 0 {
					b.Fatal(r.Length, err)
				}
				r.Release()
			}
		})
	}
}

// BenchmarkOpen asks how long a start with ten thousand partitions takes, a tenth of them written to
// and all closed cleanly.
func BenchmarkOpen(b *testing.B) {
	const n = 10_000
	path := b.TempDir()
	cfg := testDirConfig()
	cfg.MaxOpenFiles = 1024
	open := func() (*Dir, []*Log) {
		d, err := OpenDir(quickFS{}, path, cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		logs, done := make([]*Log, n), make(chan error, n)
		for i := range logs {
			d.OpenLogAsync(LogRef{"idle", int32(i), testTopic}, DefaultLogConfig(), func(l *Log, err error) {
				logs[i] = l
				done <- err
			})
		}
		for range logs {
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		}
		return d, logs
	}
	d, logs := open()
	for i := 0; i < n; i += 10 {
		appendBatch(b, logs[i], benchBatch(1000), 1)
	}
	for b.Loop() {
		b.StopTimer()
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		d, _ = open()
	}
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
}
