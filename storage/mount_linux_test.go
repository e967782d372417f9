package storage

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/troupe-mq/troupe/wire"
)

// smallVolume mounts four mebibytes of memory.
func smallVolume(t *testing.T) string {
	t.Helper()
	path := t.TempDir()
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("mounting a small volume: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, 0); err != nil {
			t.Errorf("something is still open on the volume: %v", err)
		}
	})
	return path
}

func TestARealFullDiskRefusesAppendsAndHealsByRetention(t *testing.T) {
	for name, reserve := range map[string]int64{"with a reserve": 1 << 20, "to the last byte": 0} {
		t.Run(name, func(t *testing.T) {
			cfg := testDirConfig()
			cfg.ReserveBytes = reserve
			d, err := OpenDir(OSFS{}, smallVolume(t), cfg, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = d.Close() }()
			logCfg := testLogConfig()
			logCfg.SegmentBytes, logCfg.RetentionAge = 300_000, time.Hour
			l := openLog(t, d, logCfg)
			big := benchBatch(50_001)
			for i := 0; ; i++ {
				if i > 100 {
					t.Fatal("five mebibytes went into four")
				}
				if _, _, err = l.Append(big, 1); err != nil {
					break
				}
				d.keeper.tick()
			}
			if !errors.Is(err, wire.KafkaStorageError) || d.Writable() || d.Err() != nil {
				t.Fatalf("append to a full disk: %v; the directory: %v", err, d.Err())
			}
			end := l.EndOffset()
			if got := readFrom(t, l, 0, end, 1); len(got) != len(big) {
				t.Errorf("read %d bytes", len(got))
			}
			syncLog(t, l)
			if _, removed, err := l.ApplyRetention(testNow.Add(2*time.Hour), end); err != nil || removed == 0 {
				t.Fatalf("retention removed %d segments, %v", removed, err)
			}
			d.keeper.tick() // removes the files
			d.keeper.tick() // and sees the space
			if base := appendBatch(t, l, big, 1); base != end {
				t.Errorf("appended at %d, want %d", base, end)
			}
			syncLog(t, l)
			if found, err := Verify(OSFS{}, d.Path()); err != nil || len(found) > 0 {
				t.Errorf("found %v, %v", found, err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestALogOnADiskWithoutOneFreeByteIsRecoveredAndRead(t *testing.T) {
	for name, reserve := range map[string]int64{"with a reserve": 1 << 20, "to the last byte": 0} {
		t.Run(name, func(t *testing.T) {
			volume := smallVolume(t)
			path := filepath.Join(volume, "data")
			cfg := testDirConfig()
			cfg.ReserveBytes = reserve
			open := func(cfg DirConfig) (*Dir, *Log) {
				d, err := OpenDir(OSFS{}, path, cfg, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = d.Close() })
				return d, openLog(t, d, testLogConfig())
			}
			d, l := open(cfg)
			want := fill(t, l, 30, 1)
			syncLog(t, l)
			d.keeper.tick()
			want = append(want, fill(t, l, 30, 2)...)
			start := wire.Offset(8)
			if err := l.AdvanceStart(start); err != nil {
				t.Fatal(err)
			}
			l.abandon() // killed, but for the lock and the goroutines
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			last := l.file(l.active().base, logSuffix)
			info, err := os.Stat(last)
			if err == nil {
				err = os.Truncate(last, info.Size()-5) // a torn tail, above the durable point
			}
			if err != nil {
				t.Fatal(err)
			}
			want = want[:len(want)-1]
			fillVolume(t, volume)

			d, l = open(cfg)
			if got := readAll(t, l, 1<<20); !bytes.HasSuffix(bytes.Join(want, nil), got) || l.EndOffset() != 118 {
				t.Fatalf("%d bytes were read, the log ends at %d", len(got), l.EndOffset())
			}
			d.keeper.tick()
			if _, _, err := l.Append(batch(1000, 1, "x"), 2); !errors.Is(err, wire.KafkaStorageError) || d.Writable() || d.Err() != nil {
				t.Fatalf("append to a full disk: %v; writable %t; the directory: %v", err, d.Writable(), d.Err())
			}
			if err := os.Remove(filepath.Join(volume, "other")); err != nil {
				t.Fatal(err)
			}
			d.keeper.tick()
			appendBatch(t, l, batch(1, 1, "x"), 2)
			syncLog(t, l)
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if found, err := Verify(OSFS{}, path); err != nil || len(found) > 0 {
				t.Errorf("found %v, %v", found, err)
			}
		})
	}
}

// fillVolume leaves nothing free.
func fillVolume(t *testing.T, volume string) {
	t.Helper()
	f, err := os.Create(filepath.Join(volume, "other"))
	if err != nil {
		t.Fatal(err)
	}
	for step := 1 << 20; err == nil || step > 1; {
		if _, err = f.Write(make([]byte, step)); err != nil {
			step = max(step/2, 1)
			if step == 1 && IsFull(err) {
				break
			}
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
