package storage

import (
	"errors"
	"log/slog"
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
