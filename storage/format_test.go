package storage

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

var update = flag.Bool("update-log", false, "rewrite testdata/log/golden.txt")

// TestTheBytesAreThoseOfTheFormat compares a small directory with what FORMAT.md describes, and what
// directories in use hold: a difference needs a new version.
func TestTheBytesAreThoseOfTheFormat(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	cfg := testLogConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 400, 100
	var l *Log
	cfg.Producers = func() []wire.ProducerBatch {
		return []wire.ProducerBatch{
			{Producer: 7, Epoch: 1, LastSequence: 3, LastOffset: 3, OffsetDelta: 1, Timestamp: 1_000, CoordinatorEpoch: -1, CurrentTxnStart: -1},
			{Producer: 7, Epoch: 1, LastSequence: 5, LastOffset: l.EndOffset() - 1, OffsetDelta: 1, Timestamp: 2_000, CoordinatorEpoch: -1, CurrentTxnStart: -1},
		}
	}
	l = openLog(t, d, cfg)
	for i := range 8 {
		var b record.Builder
		b.Reset(record.None, 0, false)
		b.Append(int64(1_000+i), []byte("key"), []byte("value"), []record.RecordHeader{{Key: "h", Value: nil}})
		b.Append(int64(2_000+i), nil, fmt.Appendf(nil, "%d", i), nil)
		appendBatch(t, l, bytes.Clone(b.Finish(7, 1, wire.Sequence(2*i))), wire.LeaderEpoch(1+i/5))
	}
	l.SetHighWatermark(15)
	if err := l.AdvanceStart(2); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	got := hexDump(t, path)
	name := filepath.Join("testdata", "log", "golden.txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the files are not those of %s (-update-log rewrites it):\n%s", name, got)
	}
}

// hexDump shows all files below dir, but those that differ each time.
func hexDump(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == metaFile || entry.Name() == lockFileName {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s\n", name)
		if strings.HasSuffix(name, "checkpoint") || entry.Name() == topicFile {
			fmt.Fprintf(&b, "%s\n", bytes.TrimSuffix(content, []byte("\n")))
			return nil
		}
		b.WriteString(hex.Dump(content))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
