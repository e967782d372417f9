package storage

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// numbered returns batches as a log has them from base on.
func numbered(base wire.Offset, epoch wire.LeaderEpoch, sizes ...int) []byte {
	var all []byte
	for _, n := range sizes {
		b := batch(n, testNow.UnixMilli()+int64(base), "fuzz")
		record.SetBaseOffset(b, base)
		record.SetLeaderEpoch(b, epoch)
		base += wire.Offset(n)
		all = append(all, b...)
	}
	return all
}

// writePartition makes the files of a partition in a new log directory, as a foreign hand would.
func writePartition(t testing.TB, files map[string][]byte) string {
	t.Helper()
	path := t.TempDir()
	partition := filepath.Join(path, testRef().String())
	if err := os.MkdirAll(partition, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := saveIdentity(quickFS{}, path, newIdentity()); err != nil {
		t.Fatal(err)
	}
	if err := saveTopicID(quickFS{}, partition, testTopic); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(partition, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// validPrefix is what recovery must keep: whole batches in order from offset 0 on.
func validPrefix(content []byte) (size int, next wire.Offset) {
	epoch := wire.NoEpoch
	for rest := content; ; {
		h, b, after, err := record.Next(rest)
		if err != nil || h.Consistent() != nil || h.BaseOffset < next || h.LastOffset() > 1<<31-1 || h.LeaderEpoch < epoch || !record.VerifyCRC(b) {
			return size, next
		}
		size, next, epoch, rest = size+len(b), h.NextOffset(), h.LeaderEpoch, after
	}
}

func FuzzRecoveryKeepsTheValidPrefix(f *testing.F) {
	whole := numbered(0, 3, 1, 2, 3)
	f.Add([]byte{}, "boot-2")
	f.Add(whole, testBoot)
	f.Add(whole[:len(whole)-7], "boot-2")
	f.Add(append(bytes.Clone(whole), make([]byte, 200)...), "boot-2")
	f.Add(append(bytes.Clone(whole), numbered(2, 3, 1)...), "boot-2")          // overlap
	f.Add(append(bytes.Clone(whole), numbered(90, 3, 1)...), "boot-2")         // gap
	f.Add(append(bytes.Clone(whole), numbered(6, 1, 1)...), "boot-2")          // an older epoch
	f.Add(append(bytes.Clone(whole), numbered(1<<32, 3, 1)...), "boot-2")      // far away
	f.Add(append(flip(bytes.Clone(whole), 0), numbered(6, 3, 1)...), testBoot) // a bad first batch
	f.Fuzz(func(t *testing.T, content []byte, boot string) {
		path := writePartition(t, map[string][]byte{offsetFile(0, logSuffix): content})
		cfg := testDirConfig()
		cfg.BootID = boot
		d, err := OpenDir(quickFS{}, path, cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.Close() }()
		l, err := d.OpenLog(testRef(), testLogConfig())
		if err != nil {
			t.Fatalf("nothing was durable, so all of it may be torn: %v", err)
		}
		size, next := validPrefix(content)
		if l.EndOffset() != next || l.Size() != int64(size) {
			t.Fatalf("kept %d bytes up to %d, want %d up to %d", l.Size(), l.EndOffset(), size, next)
		}
		if next > 0 {
			if got := readFrom(t, l, 0, next, 1<<30); !bytes.Equal(got, content[:size]) {
				t.Fatal("the prefix reads differently")
			}
		}
		if epoch := max(l.LastEpoch(), 0); next < 1<<31-1 {
			appendBatch(t, l, batch(1, 1, "after"), epoch)
		}
	})
}

func FuzzIndexFilesCostNoData(f *testing.F) {
	log := numbered(0, 3, 1, 2, 3, 4, 5, 6, 7, 8)
	f.Add([]byte{}, []byte{}, []byte("0\n1\n3 0\n"), []byte("0\n1\norders 3 20\n"))
	f.Add(encodeIndex([]indexEntry{{2, 80}}), encodeTimes([]timeEntry{{testNow.UnixMilli() + 2, 2}}), []byte("0\n0\n"), []byte("0\n0\n"))
	f.Add(make([]byte, 64), make([]byte, 48), []byte("0\n1\n9 30\n"), []byte("0\n1\norders 3 36\n"))
	f.Add(bytes.Repeat([]byte{1}, 80), bytes.Repeat([]byte{1}, 60), []byte("1"), []byte("0\n1\norders 3 1\n"))
	f.Fuzz(func(t *testing.T, index, times, epochs, points []byte) {
		path := writePartition(t, map[string][]byte{
			offsetFile(0, logSuffix): log, offsetFile(0, indexSuffix): index, offsetFile(0, timesSuffix): times,
			offsetFile(36, logSuffix): numbered(36, 3, 2), epochFile: epochs,
		})
		if err := os.WriteFile(filepath.Join(path, recoveryPointFile), points, 0o644); err != nil {
			t.Fatal(err)
		}
		d, err := OpenDir(quickFS{}, path, testDirConfig(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.Close() }()
		l, err := d.OpenLog(testRef(), testLogConfig())
		if err != nil {
			return // a durable point beyond the end is damage, and stays
		}
		if l.EndOffset() != 38 {
			t.Fatalf("the log ends at %d", l.EndOffset())
		}
		want := append(bytes.Clone(log), numbered(36, 3, 2)...)
		if l.StartOffset() == 0 {
			if got := readAll(t, l, 1); !bytes.Equal(got, want) {
				t.Fatal("the log reads differently")
			}
		}
		if _, _, _, err := l.OffsetForTimestamp(testNow.UnixMilli()+5, 38); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(OSFS{}, path); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzProducerSnapshot(f *testing.F) {
	f.Add(encodeProducers(nil))
	f.Add(encodeProducers([]wire.ProducerBatch{{Producer: 7, LastOffset: 9, CurrentTxnStart: -1}}))
	f.Add(make([]byte, 10))
	f.Fuzz(func(t *testing.T, content []byte) {
		batches, err := parseProducers(content)
		if err == nil && !bytes.Equal(encodeProducers(batches), content) {
			t.Fatal("what was read is not what is written")
		}
	})
}

func FuzzCheckpoints(f *testing.F) {
	f.Add([]byte("0\n0\n"))
	f.Add([]byte("0\n1\norders 3 17\n"))
	f.Add([]byte("0\n2\n1 0\n4 17\n"))
	f.Add([]byte("0\n2\nboot\norders 3\n"))
	f.Add([]byte("version: 0\ntopic_id: AQIDAAAAAAAAAAAAAAAAAA"))
	f.Add([]byte(`{"version": 1, "directory_id": "x"}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		if c, err := parseOffsetCheckpoint(content); err == nil {
			if again, err := parseOffsetCheckpoint(c.encode()); err != nil || len(again) != len(c) {
				t.Fatalf("offsets: %v", err)
			}
		}
		if epochs, err := parseEpochs(content); err == nil {
			if again, err := parseEpochs(encodeEpochs(epochs)); err != nil || len(again) != len(epochs) {
				t.Fatalf("epochs: %v", err)
			}
		}
		if c, err := parseBootCheckpoint(content); err == nil {
			if again, err := parseBootCheckpoint(c.encode()); err != nil || len(again.logs) != len(c.logs) {
				t.Fatalf("boots: %v", err)
			}
		}
		_, _ = parseTopicFile(content)
		_, _ = parseIdentity(content)
		if at, err := parsePlace(string(content)); err == nil && at.String() != string(content) {
			t.Fatalf("place %q", at)
		}
	})
}

func FuzzWhatALeaderSendsIsAppendedWholeOrNotAtAll(f *testing.F) {
	whole := numbered(5, 3, 1, 2, 3)
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(numbered(4, 3, 2))                                   // overlap
	f.Add(numbered(9, 4, 2))                                   // gap
	f.Add(numbered(5, 1, 2))                                   // older epoch
	f.Add(append(numbered(5, 3, 2), numbered(7, 2, 2)...))     // epochs that fall
	f.Add(append(numbered(5, 3, 2), numbered(1<<40, 3, 2)...)) // a gap that is too large
	f.Add(numbered(5, 3, 40))                                  // more than a segment takes
	f.Fuzz(func(t *testing.T, batches []byte) {
		path := writePartition(t, nil)
		d, err := OpenDir(quickFS{}, path, testDirConfig(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.Close() }()
		cfg := testLogConfig()
		cfg.SegmentBytes = 300
		l := openLog(t, d, cfg)
		before := numbered(0, 2, 2, 3)
		if _, err := l.AppendReplicated(before); err != nil {
			t.Fatal(err)
		}
		end := wire.Offset(5)
		next, err := l.AppendReplicated(batches)
		want := before
		if err == nil {
			want = append(want, batches...)
			end = next
		}
		if l.EndOffset() != end || d.Err() != nil {
			t.Fatalf("the log ends at %d, want %d (%v); the directory: %v", l.EndOffset(), end, err, d.Err())
		}
		if got := readAll(t, l, 1<<20); !bytes.Equal(got, want) {
			t.Fatalf("the log has %d bytes, want %d", len(got), len(want))
		}
		if size, valid := validPrefix(want); size != len(want) || valid != end {
			t.Fatalf("%d of %d bytes are valid, up to %d of %d", size, len(want), valid, end)
		}
	})
}
