package storage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// closedDir returns a log directory with three segments or more, closed cleanly.
func closedDir(t *testing.T) (path string, batches [][]byte) {
	t.Helper()
	path = t.TempDir()
	d := openDir(t, path)
	cfg := testLogConfig()
	var l *Log
	cfg.Producers = func() []wire.ProducerBatch {
		return []wire.ProducerBatch{{Producer: 3, LastOffset: l.EndOffset() - 1, CurrentTxnStart: -1}}
	}
	l = openLog(t, d, cfg)
	batches = fill(t, l, 50, 4)
	l.SetHighWatermark(100)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return path, batches
}

func TestVerifyFindsNothingInAWholeDirectoryAlsoWhileItIsInUse(t *testing.T) {
	path, _ := closedDir(t)
	if found, err := Verify(OSFS{}, path); err != nil || len(found) > 0 {
		t.Fatalf("found %v, %v", found, err)
	}
	fill(t, openLog(t, openDir(t, path), testLogConfig()), 20, 5)
	if found, err := Verify(OSFS{}, path); err != nil || len(found) > 0 {
		t.Fatalf("found %v, %v", found, err)
	}
}

func TestVerifyNamesFileAndPlaceOfEachDamage(t *testing.T) {
	partition := testRef().String()
	for name, test := range map[string]struct {
		file   string // a pattern; the first that matches is damaged
		damage func([]byte) []byte
		what   string
		offset wire.Offset
	}{
		"a bit in a batch":         {partition + "/*.log", func(b []byte) []byte { b[70] ^= 1; return b }, "checksum", 0},
		"a torn sealed segment":    {partition + "/*.log", func(b []byte) []byte { return b[:len(b)-5] }, "longer than the file", -2},
		"an index astray":          {partition + "/*.index", func(b []byte) []byte { b[7]--; return b }, "index", -2},
		"an index out of order":    {partition + "/*.index", func(b []byte) []byte { return append(b, b...) }, "order", 0},
		"a time that is wrong":     {partition + "/*.timeindex", func(b []byte) []byte { b[7]++; return b }, "timestamp", -2},
		"a snapshot":               {partition + "/*.snapshot", func(b []byte) []byte { b[9]++; return b }, "checksum", -1},
		"epochs":                   {partition + "/" + epochFile, func([]byte) []byte { return []byte("0\n1\n") }, "checkpoint", -1},
		"the topic id":             {partition + "/" + topicFile, func([]byte) []byte { return nil }, "malformed", -1},
		"a checkpoint":             {recoveryPointFile, func(b []byte) []byte { return b[1:] }, "checkpoint", -1},
		"the directory's identity": {metaFile, func(b []byte) []byte { return b[1:] }, "", -1},
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := closedDir(t)
			names, err := filepath.Glob(filepath.Join(path, test.file))
			if err != nil || len(names) == 0 {
				t.Fatalf("%v, %v", names, err)
			}
			content, err := os.ReadFile(names[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(names[0], test.damage(content), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, at := range []string{path, names[0]} {
				found, err := Verify(OSFS{}, at)
				i := slices.IndexFunc(found, func(d Damage) bool {
					return d.File == names[0] && strings.Contains(d.What, test.what) && (test.offset == -2 || d.Offset == test.offset)
				})
				if err != nil || i < 0 || found[i].Tail && at == path {
					t.Errorf("verifying %s found %v, %v", at, found, err)
				}
			}
		})
	}
}

func TestVerifyGoesOnBehindDamageAndTellsATornTail(t *testing.T) {
	k := kill(t, 1<<20)
	k.change(t, 3, flip)
	k.change(t, 9, flip)
	k.change(t, 15, func(b []byte, at int) []byte { return b[:at+50] })
	found, err := Verify(OSFS{}, filepath.Join(k.path, testRef().String()))
	if err != nil || len(found) != 3 || found[0].Offset != 6 || found[1].Offset != 18 || found[2].Offset != 30 {
		t.Fatalf("found %v, %v", found, err)
	}
	if found[0].Tail || found[1].Tail || !found[2].Tail {
		t.Errorf("the tail is the last one: %+v", found)
	}
}

func TestDumpTellsAllThatIsInADirectory(t *testing.T) {
	path, batches := closedDir(t)
	var log []byte
	kinds := map[string]int{}
	records := 0
	err := Dump(OSFS{}, path, DumpOptions{Records: true}, func(d Dumped) error {
		if d.Damage != nil || d.String() == "" {
			t.Errorf("%s: %v", d, d.Damage)
		}
		switch {
		case d.Batch != nil:
			content, err := os.ReadFile(d.File)
			if err != nil {
				return err
			}
			log = append(log, content[d.Position:d.Position+int64(d.Batch.Size())]...)
			records += len(d.Records)
			kinds["batch"]++
		case d.Index != nil:
			kinds["index"]++
		case d.Time != nil:
			kinds["time"]++
		case d.Producer != nil:
			kinds["producer"]++
		case strings.Contains(d.Text, "appendedAt"):
			kinds["appended"]++
		default:
			kinds["text"]++
		}
		return nil
	})
	if err != nil || !bytes.Equal(log, bytes.Join(batches, nil)) || records != 100 {
		t.Fatalf("%d records, %v", records, err)
	}
	if kinds["batch"] != 50 || kinds["index"] < 10 || kinds["time"] < 10 || kinds["producer"] < 3 || kinds["appended"] < 3 || kinds["text"] < 15 {
		t.Errorf("dumped %v", kinds)
	}
	stop := errors.New("enough")
	if err := Dump(OSFS{}, path, DumpOptions{}, func(Dumped) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped with %v", err)
	}
	for _, name := range []string{"missing", "notes.txt"} {
		if name == "notes.txt" {
			if err := os.WriteFile(filepath.Join(path, name), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := Dump(OSFS{}, filepath.Join(path, name), DumpOptions{}, func(Dumped) error { return nil }); err == nil {
			t.Errorf("%s was dumped", name)
		}
	}
}

func TestDumpStopsAtDamageAndSaysWhere(t *testing.T) {
	k := kill(t, 1<<20)
	file := k.change(t, 3, flip)
	var last Dumped
	n := 0
	if err := Dump(OSFS{}, file, DumpOptions{}, func(d Dumped) error { last = d; n++; return nil }); err != nil {
		t.Fatal(err)
	}
	if n != 4 || last.Damage == nil || last.Position != int64(3*len(k.batches[0])) || !strings.Contains(fmt.Sprint(last), "DAMAGED") {
		t.Errorf("%d things, the last %s", n, last)
	}
}

func TestTheScrubberReadsSealedSegmentsAndReportsDamage(t *testing.T) {
	path, batches := closedDir(t)
	d := openDir(t, path)
	d.metrics = NewMetrics(nil)
	l := openLog(t, d, testLogConfig())
	sealed := l.Size() - l.active().size
	pass := func() (read int64) {
		d.scrub.pass(func(n int64) bool { read += n; return true })
		return read
	}
	if read := pass(); read != sealed || len(l.damage) > 0 {
		t.Fatalf("read %d bytes of %d; damage %v", read, sealed, l.damage)
	}
	name := l.file(l.segments[1].base, logSuffix)
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	first := len(batches[l.segments[1].base/2])
	content[first+80] ^= 4
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
	pass()
	if _, reported := l.damage[damagePlace{l.segments[1].base, int64(first)}]; !reported || len(l.damage) != 1 {
		t.Errorf("damage %v", l.damage)
	}
	n := 0
	d.scrub.pass(func(int64) bool { n++; return false })
	if n != 1 {
		t.Errorf("asked %d times after it was told to stop", n)
	}
}

func TestASealedSegmentThatLostWholeBatchesIsNoticed(t *testing.T) {
	path, batches := closedDir(t)
	d := openDir(t, path)
	l := openLog(t, d, testLogConfig())
	name, next := l.file(0, logSuffix), l.segments[1].base
	n := int(next) / 2
	lost := next - 2
	cut := func() {
		t.Helper()
		info, err := os.Stat(name)
		if err == nil {
			err = os.Truncate(name, info.Size()-int64(len(batches[n-1])))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	cut()
	found, err := Verify(OSFS{}, path)
	if err != nil || !slices.ContainsFunc(found, func(d Damage) bool { return d.Offset == lost && strings.Contains(d.What, "missing") }) {
		t.Errorf("found %v, %v", found, err)
	}
	d = openDir(t, path)
	l = openLog(t, d, testLogConfig())
	if got := readFrom(t, l, 0, 100, 1<<20); !bytes.Equal(got, bytes.Join(batches[:n-1], nil)) {
		t.Errorf("%d bytes were read before what is missing", len(got))
	}
	var corrupt *CorruptionError
	if _, err := l.Read(lost, 100, 1<<20, true); !errors.As(err, &corrupt) || corrupt.Offset != lost || corrupt.Path != name {
		t.Errorf("read of what is missing: %v", err)
	}
	if got := readFrom(t, l, next, 100, 1<<20); len(got) == 0 {
		t.Errorf("nothing was read behind what is missing")
	}
	l.damage = nil
	d.scrub.pass(func(int64) bool { return true })
	if len(l.damage) != 1 {
		t.Errorf("the scrubber reports %v", l.damage)
	}
}
