package storage

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// A killed log: eight batches of two records below the durable point, eight above it, in one
// segment or in several.
type killed struct {
	path    string
	batches [][]byte
}

func kill(t *testing.T, segmentBytes int64) killed {
	t.Helper()
	path := t.TempDir()
	d := openDir(t, path)
	cfg := testLogConfig()
	cfg.SegmentBytes = segmentBytes
	l := openLog(t, d, cfg)
	batches := fill(t, l, 8, 1)
	syncLog(t, l)
	d.keeper.tick()
	batches = append(batches, fill(t, l, 8, 2)...)
	return killed{crashed(t, path), batches}
}

// change rewrites the segment that holds the i-th batch; edit gets its content and where the batch
// begins in it.
func (k killed) change(t *testing.T, i int, edit func(content []byte, at int) []byte) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(k.path, testRef().String(), "*"+logSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Backward(names) {
		if baseOf(name) > wire.Offset(2*i) {
			continue
		}
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(content, k.batches[i])
		if err := os.WriteFile(name, edit(content, at), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	t.Fatalf("no segment holds batch %d", i)
	return ""
}

func flip(content []byte, at int) []byte {
	content[at+record.HeaderBytes+3] ^= 0x10
	return content
}

func (k killed) open(t *testing.T, boot string) (*Log, string, error) {
	t.Helper()
	var said bytes.Buffer
	cfg := testDirConfig()
	cfg.BootID = boot
	d, err := OpenDir(OSFS{}, k.path, cfg, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	l, err := d.OpenLog(testRef(), testLogConfig())
	return l, said.String(), err
}

// The cases of cluster/decisions/0002-torn-tail-or-corruption.md.
func TestATornTailIsCutAndCorruptionIsKept(t *testing.T) {
	const durable, above, last = 3, 11, 15 // batches
	cut := func(n int) func([]byte, int) []byte {
		return func(content []byte, at int) []byte { return content[:at+n] }
	}
	zero := func(content []byte, at int) []byte {
		clear(content[at : at+100])
		return content
	}
	garbage := func(content []byte, _ int) []byte {
		return append(content, bytes.Repeat([]byte{2}, 300)...)
	}
	for name, test := range map[string]struct {
		batch int
		edit  func([]byte, int) []byte
		boot  string
		ends  wire.Offset // where the log ends; -1: corruption
	}{
		"the write that the kill cut short":                 {last, cut(40), testBoot, 30},
		"the same, in the header":                           {last, cut(5), testBoot, 30},
		"the same, after a power cut":                       {last, cut(40), "boot-2", 30},
		"a bit flips in the last batch":                     {last, flip, testBoot, 30},
		"garbage at the end":                                {last, garbage, testBoot, 32},
		"garbage at the end, after a power cut":             {last, garbage, "boot-2", 32},
		"a page is lost in a power cut":                     {above, zero, "boot-2", 22},
		"a page is wrong though the machine ran on":         {above, zero, testBoot, -1},
		"a bit flips above the durable point":               {above, flip, testBoot, -1},
		"a bit flips there, and a power cut may explain it": {above, flip, "boot-2", 22},
		"the machine cannot tell its boots apart":           {above, flip, "", 22},
		"the file is cut short below the durable point":     {durable, cut(0), testBoot, -1},
		"the same there, after a power cut":                 {durable, cut(0), "boot-2", -1},
	} {
		for _, segmentBytes := range []int64{1 << 20, 500} {
			if segmentBytes == 500 && (strings.Contains(name, "garbage") || test.batch == durable) {
				continue // it would be in a segment that recovery does not look at
			}
			t.Run(name, func(t *testing.T) {
				k := kill(t, segmentBytes)
				file := k.change(t, test.batch, test.edit)
				before, _ := os.ReadFile(file)
				l, said, err := k.open(t, test.boot)
				if test.ends < 0 {
					var corrupt *CorruptionError
					after, _ := os.ReadFile(file)
					if !errors.As(err, &corrupt) || corrupt.Path != file || !errors.Is(err, wire.CorruptMessage) || !bytes.Equal(before, after) {
						t.Fatalf("opened with %v; the file is as it was: %t", err, bytes.Equal(before, after))
					}
					return
				}
				if err != nil || l.EndOffset() != test.ends {
					t.Fatalf("the log ends at %v, want %d: %v", l, test.ends, err)
				}
				if !strings.Contains(said, "torn") {
					t.Errorf("nothing is said of it: %s", said)
				}
				expectLog(t, l, k.batches[:test.ends/2])
			})
		}
	}
}

func TestABatchThatIsCorruptBelowTheDurablePointIsNeverLent(t *testing.T) {
	k := kill(t, 1<<20)
	k.change(t, 3, flip)
	l, _, err := k.open(t, testBoot)
	if err != nil {
		t.Fatal(err) // recovery reads nothing below the durable point
	}
	if got := readFrom(t, l, 0, 32, 1<<20); !bytes.Equal(got, bytes.Join(k.batches[:3], nil)) {
		t.Fatalf("%d bytes are lent", len(got))
	}
	for range 2 {
		_, err := l.Read(6, 32, 1<<20, true)
		var corrupt *CorruptionError
		if !errors.As(err, &corrupt) || corrupt.Offset != 6 || corrupt.Position != int64(3*len(k.batches[0])) || !errors.Is(err, wire.CorruptMessage) {
			t.Fatalf("read the corrupt batch: %v", err)
		}
	}
	if got := readFrom(t, l, 8, 32, 1<<20); !bytes.Equal(got, bytes.Join(k.batches[4:], nil)) {
		t.Fatalf("%d bytes are lent behind it", len(got))
	}
	if len(l.damage) != 1 {
		t.Errorf("%d places are reported", len(l.damage))
	}
}

func TestRecoveryMayBeRepeated(t *testing.T) {
	k := kill(t, 500)
	k.change(t, 15, func(content []byte, at int) []byte { return content[:at+70] })
	for i := range 3 {
		l, _, err := k.open(t, testBoot)
		if err != nil || l.EndOffset() != 30 {
			t.Fatalf("opening %d: %v", i, err)
		}
		if l.EpochEnd(1).EndOffset != 16 || l.LastEpoch() != 2 {
			t.Fatalf("epochs %v", l.Epochs())
		}
		expectLog(t, l, k.batches[:15])
		if err := l.dir.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSegmentsThatAreMissingAreNotMissed(t *testing.T) {
	k := kill(t, 500)
	names, err := filepath.Glob(filepath.Join(k.path, testRef().String(), "*"+logSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if l, _, err := k.open(t, testBoot); !errors.Is(err, wire.CorruptMessage) {
		t.Fatalf("an empty log in place of one with 16 records: %v, %v", l, err)
	}
}

func TestACheckpointThatIsLostCostsOnlyTime(t *testing.T) {
	for _, name := range []string{recoveryPointFile, logStartFile, highWatermarkFile, bootFile, testRef().String() + "/" + epochFile} {
		for _, content := range []string{"", "0\n1\n", "1\n0\n", "0\n99999999999\nx", "0\n1\norders 3 -1\n"} {
			k := kill(t, 500)
			if err := os.WriteFile(filepath.Join(k.path, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			l, _, err := k.open(t, testBoot)
			if err != nil || l.EndOffset() != 32 || l.EpochEnd(1).EndOffset != 16 || l.LastEpoch() != 2 {
				t.Fatalf("%s with %q: %v", name, content, err)
			}
			expectLog(t, l, k.batches)
		}
	}
}

func TestLeftoversOfACrashAreRemovedAndStrangersAreNot(t *testing.T) {
	k := kill(t, 1<<20)
	partition := filepath.Join(k.path, testRef().String())
	leftovers := []string{"leader-epoch-checkpoint.tmp", "00000000000000000000.log.deleted", "00000000000000000000.log.cleaned"}
	strangers := []string{"notes.txt", "123.log", "0000000000000000000x.log"}
	for _, name := range append(slices.Clone(leftovers), strangers...) {
		if err := os.WriteFile(filepath.Join(partition, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := k.open(t, testBoot); err != nil {
		t.Fatal(err)
	}
	for _, name := range leftovers {
		if _, err := os.Stat(filepath.Join(partition, name)); !os.IsNotExist(err) {
			t.Errorf("%s is still there", name)
		}
	}
	for _, name := range strangers {
		if _, err := os.Stat(filepath.Join(partition, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheNewestValidSnapshotIsLoadedAndTheRestReplayed(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	cfg := testLogConfig()
	var l *Log
	cfg.Producers = func() []wire.ProducerBatch {
		return []wire.ProducerBatch{
			{Producer: 5, LastOffset: l.EndOffset() - 3, CurrentTxnStart: -1},
			{Producer: 5, LastOffset: l.EndOffset() - 1, CurrentTxnStart: -1},
		}
	}
	l = openLog(t, d, cfg)
	for i := range 30 {
		var b record.Builder
		b.Reset(record.None, 0, false)
		b.Append(testNow.UnixMilli(), nil, bytes.Repeat([]byte("x"), 30), nil)
		b.Append(testNow.UnixMilli(), nil, nil, nil)
		appendBatch(t, l, bytes.Clone(b.Finish(5, 0, wire.Sequence(2*i))), 1)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	expect := func(wantLoaded wire.Offset) {
		t.Helper()
		d := openDir(t, path)
		defer func() { _ = d.Close() }()
		l = openLog(t, d, cfg)
		loaded, next := wire.NoOffset, wire.Offset(0)
		err := l.RecoverProducers(func(batches []wire.ProducerBatch) {
			loaded = batches[len(batches)-1].LastOffset + 1
			next = loaded
		}, func(h record.Header) {
			if h.BaseOffset != next || h.Producer != 5 {
				t.Errorf("replayed %d, want %d", h.BaseOffset, next)
			}
			next = h.NextOffset()
		})
		if err != nil || loaded != wantLoaded || next != 60 {
			t.Fatalf("loaded %d, want %d; replayed to %d, %v", loaded, wantLoaded, next, err)
		}
		l.closed.Store(true) // no new snapshot
	}
	expect(60)
	snapshots, err := filepath.Glob(filepath.Join(path, testRef().String(), "*"+snapshotSuffix))
	if err != nil || len(snapshots) < 3 {
		t.Fatalf("snapshots %v, %v", snapshots, err)
	}
	spoilFile(t, snapshots[len(snapshots)-1])
	expect(baseOf(snapshots[len(snapshots)-2]))
	for _, name := range snapshots[:len(snapshots)-1] {
		spoilFile(t, name)
	}
	expect(wire.NoOffset)
}

func spoilFile(t *testing.T, name string) {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-1] ^= 1
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestASegmentThatWasSealedAfterTheCheckpointKnowsItsNewestRecord(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	l := openLog(t, d, testLogConfig())
	at := testNow.UnixMilli()
	for i := range int64(3) {
		appendBatch(t, l, batch(2, at+i, "a"), 1)
	}
	if err := l.writeIndexes(l.active()); err != nil { // as after 32 MiB
		t.Fatal(err)
	}
	appendBatch(t, l, batch(2, at+100_000, "newest"), 1) // too soon for an entry
	syncLog(t, l)
	d.keeper.tick()
	cfg := testLogConfig()
	cfg.SegmentBytes = 300
	l.SetConfig(cfg)
	appendBatch(t, l, batch(2, at+1, "b"), 1) // rolls where the durable point is
	if l.active().base != 8 {
		t.Fatalf("the active segment begins at %d", l.active().base)
	}
	l = openLog(t, openDir(t, crashed(t, path)), testLogConfig())
	if largest, err := l.largestTimestamp(l.segments[0]); err != nil || largest.timestamp != at+100_001 {
		t.Fatalf("the newest record of the sealed segment is of %d, want %d: %v", largest.timestamp, at+100_001, err)
	}
}

func TestWhileTheMachineRunsOnlyTheLastBatchCanBeTorn(t *testing.T) {
	for i := 8; i < 15; i++ {
		k := kill(t, 500) // some of them are the last of their segment
		k.change(t, i, flip)
		if l, _, err := k.open(t, testBoot); !errors.Is(err, wire.CorruptMessage) {
			t.Errorf("batch %d of 16 is corrupt, and the log is opened: %v, %v", i, l, err)
		}
	}
}
