package storage

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

func TestAppendNumbersEveryBatchOfARequest(t *testing.T) {
	l := openLog(t, openDir(t, t.TempDir()), testLogConfig())
	fill(t, l, 2, 1)
	request := bytes.Join([][]byte{batch(3, 1, "a"), batch(1, 1, "b"), batch(2, 1, "c")}, nil)
	base, next, err := l.Append(request, 5)
	if err != nil || base != 4 || next != 10 {
		t.Fatalf("appended %d to %d, %v", base, next, err)
	}
	var got []record.Header
	for rest := readFrom(t, l, 4, 10, 1<<20); len(rest) > 0; {
		h, _, after, err := record.Next(rest)
		if err != nil {
			t.Fatal(err)
		}
		got, rest = append(got, h), after
	}
	for i, want := range []struct{ base, last wire.Offset }{{4, 6}, {7, 7}, {8, 9}} {
		if got[i].BaseOffset != want.base || got[i].LastOffset() != want.last || got[i].LeaderEpoch != 5 {
			t.Errorf("batch %d: %d to %d in epoch %d", i, got[i].BaseOffset, got[i].LastOffset(), got[i].LeaderEpoch)
		}
	}
}

func TestAppendRefusesWhatCannotBeInALog(t *testing.T) {
	l := openLog(t, openDir(t, t.TempDir()), testLogConfig())
	fill(t, l, 1, 4)
	negative := batch(1, 1, "x")
	negative[record.LastOffsetDeltaAt] = 0x80
	for name, test := range map[string]struct {
		batches []byte
		epoch   wire.LeaderEpoch
		want    wire.ErrorCode
	}{
		"nothing":                      {nil, 4, wire.CorruptMessage},
		"half a batch":                 {batch(1, 1, "x")[:70], 4, wire.CorruptMessage},
		"a batch and a half":           {append(batch(1, 1, "x"), batch(1, 1, "x")[:20]...), 4, wire.CorruptMessage},
		"a negative count":             {negative, 4, wire.CorruptMessage},
		"an older epoch":               {batch(1, 1, "x"), 3, wire.FencedLeaderEpoch},
		"more than a segment can hold": {batch(200, 1, "x"), 4, wire.RecordListTooLarge},
	} {
		if _, _, err := l.Append(test.batches, test.epoch); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if l.EndOffset() != 2 {
		t.Fatalf("the log ends at %d", l.EndOffset())
	}
}

func TestASegmentIsRolledByBytesAgeAndOffsets(t *testing.T) {
	cfg := testLogConfig()
	cfg.SegmentAge = time.Minute
	l := openLog(t, openDir(t, t.TempDir()), cfg)
	at := testNow.UnixMilli()
	appendBatch(t, l, batch(1, at, "a"), 1)
	appendBatch(t, l, batch(1, at+60_000, "b"), 1)
	if n := len(l.segments); n != 1 {
		t.Fatalf("%d segments after a minute", n)
	}
	appendBatch(t, l, batch(1, at+60_001, "c"), 1)
	if n := len(l.segments); n != 2 || l.active().base != 2 {
		t.Fatalf("%d segments after more than a minute", n)
	}
	far := batch(1, at+60_001, "d") // as a compacted batch: one record is left of 2^31-1
	far[record.LastOffsetDeltaAt], far[record.LastOffsetDeltaAt+1] = 0x7f, 0xff
	far[record.LastOffsetDeltaAt+2], far[record.LastOffsetDeltaAt+3] = 0xff, 0xff
	appendBatch(t, l, far, 1)
	if n := len(l.segments); n != 3 || l.active().base != 3 {
		t.Fatalf("%d segments: an offset that far from the base cannot be in an index", n)
	}
	for len(l.segments) == 3 {
		appendBatch(t, l, batch(2, at+60_001, "e"), 1)
	}
	for _, s := range l.segments {
		if s.size > cfg.SegmentBytes {
			t.Errorf("segment %d has %d bytes", s.base, s.size)
		}
	}
}

func TestTheAgeOfASegmentFromAnEarlierRunCountsFromItsFirstBatch(t *testing.T) {
	path := t.TempDir()
	cfg := testLogConfig()
	cfg.SegmentAge = time.Minute
	d := openDir(t, path)
	at := testNow.UnixMilli()
	l := openLog(t, d, cfg)
	appendBatch(t, l, batch(1, at, "a"), 1)
	appendBatch(t, l, batch(1, at+50_000, "a"), 1)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, openDir(t, path), cfg)
	appendBatch(t, l, batch(1, at+60_001, "b"), 1)
	if len(l.segments) != 2 {
		t.Fatalf("%d segments", len(l.segments))
	}
}

func TestReadKeepsToItsLimits(t *testing.T) {
	l := openLog(t, openDir(t, t.TempDir()), testLogConfig())
	size := len(fill(t, l, 1, 1)[0])
	fill(t, l, 7, 1) // one segment, offsets 0 to 15
	for name, test := range map[string]struct {
		from, upTo wire.Offset
		maxBytes   int
		atLeastOne bool
		want       int // bytes
	}{
		"up to the watermark":                  {0, 6, 1 << 20, false, 3 * size},
		"from the middle of a batch":           {3, 6, 1 << 20, false, 2 * size},
		"a watermark in the middle of a batch": {0, 5, 1 << 20, false, 2 * size},
		"at the watermark":                     {6, 6, 1 << 20, true, 0},
		"at the end":                           {16, 16, 1 << 20, true, 0},
		"above the watermark":                  {8, 6, 1 << 20, true, 0},
		"a watermark beyond the end":           {12, 99, 1 << 20, true, 2 * size},
		"the last batch may be cut":            {0, 16, size + 10, false, size + 10},
		"too little for one batch":             {0, 16, 10, false, 0},
		"too little, but at least one":         {0, 16, 10, true, size},
		"at least one, but not above":          {5, 5, 10, true, 0},
		"the only batch is above":              {4, 5, 10, true, 0},
		"nothing asked":                        {0, 16, 0, false, 0},
	} {
		r, err := l.Read(test.from, test.upTo, test.maxBytes, test.atLeastOne)
		if err != nil || r.Length != test.want {
			t.Errorf("%s: %d bytes, want %d, %v", name, r.Length, test.want, err)
		}
		r.Release()
	}
	for _, from := range []wire.Offset{-1, 17} {
		if _, err := l.Read(from, 16, 100, true); !errors.Is(err, wire.OffsetOutOfRange) {
			t.Errorf("read at %d: %v", from, err)
		}
	}
}

func TestReadersSeeWholeBatchesWhileTheLogGrows(t *testing.T) {
	l := openLog(t, openDir(t, t.TempDir()), testLogConfig())
	const last = 600
	readers := make(chan error, 4)
	for range cap(readers) {
		go func() {
			for from := wire.Offset(0); from < last; {
				r, err := l.Read(from, l.EndOffset(), 400, true)
				if err != nil {
					readers <- err
					return
				}
				got := make([]byte, r.Length)
				if r.Length > 0 {
					err = r.ReadInto(got)
				}
				r.Release()
				for len(got) > 0 && err == nil {
					h, b, rest, nextErr := record.Next(got)
					if nextErr != nil {
						break
					}
					if h.BaseOffset != from || !record.VerifyCRC(b) {
						err = errors.New("not the batch that was asked for")
					}
					from, got = h.NextOffset(), rest
				}
				if err != nil {
					readers <- err
					return
				}
			}
			readers <- nil
		}()
	}
	fill(t, l, last/2, 1)
	for range cap(readers) {
		if err := <-readers; err != nil {
			t.Error(err)
		}
	}
}

func TestWhatIsLentStaysReadableAfterItsSegmentIsGone(t *testing.T) {
	d := openDir(t, t.TempDir())
	l := openLog(t, d, testLogConfig())
	want := fill(t, l, 50, 1)
	r, err := l.Read(0, 100, 1, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.DeleteLog(l); err != nil {
		t.Fatal(err)
	}
	d.keeper.tick()
	got := make([]byte, r.Length)
	if err := r.ReadInto(got); err != nil || !bytes.Equal(got, want[0]) {
		t.Fatalf("read what was lent: %v", err)
	}
	r.Release()
	if _, err := l.Read(0, 100, 1, true); !errors.Is(err, wire.KafkaStorageError) {
		t.Fatalf("read a deleted log: %v", err)
	}
}

func TestSyncedNamesTheGenerationAndTheEnd(t *testing.T) {
	d := openDir(t, t.TempDir())
	cfg := testLogConfig()
	cfg.Fsync = true
	synced := make(chan Synced, 100)
	cfg.Synced = func(s Synced) { synced <- s }
	l := openLog(t, d, cfg)
	fill(t, l, 20, 1)
	l.RequestSync() // nothing more than what Append asked for
	for got := range synced {
		if got.Err != nil || got.Generation != l.Generation() {
			t.Fatalf("synced: %+v", got)
		}
		if got.UpTo == 40 {
			break
		}
	}
	if l.FlushedOffset() != 40 {
		t.Fatalf("flushed %d", l.FlushedOffset())
	}
	before := l.Generation()
	if l = openLog(t, d, cfg); l.Generation() <= before || l.EndOffset() != 40 {
		t.Fatalf("opened anew: generation %d, end %d", l.Generation(), l.EndOffset())
	}
}

func TestManyLogsAreSyncedTogether(t *testing.T) {
	d := openDir(t, t.TempDir())
	synced := make(chan Synced, 1000)
	var logs []*Log
	for i := range int32(3 * syncFilesMax) {
		cfg := testLogConfig()
		cfg.Synced = func(s Synced) { synced <- s }
		l, err := d.OpenLog(LogRef{"many", i, testTopic}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		appendBatch(t, l, batch(2, 1, "x"), 1)
		logs = append(logs, l)
	}
	for _, l := range logs {
		l.RequestSync()
	}
	for range logs {
		if s := <-synced; s.Err != nil || s.UpTo != 2 {
			t.Fatalf("synced: %+v", s)
		}
	}
}

func TestEpochsEndWhereTheNextOneBegins(t *testing.T) {
	l := openLog(t, openDir(t, t.TempDir()), testLogConfig())
	if end := l.EpochEnd(3); end.LeaderEpoch != wire.NoEpoch || end.EndOffset != wire.NoOffset {
		t.Errorf("an empty log has epoch %+v", end)
	}
	fill(t, l, 3, 2)
	fill(t, l, 4, 5)
	for asked, want := range map[wire.LeaderEpoch]wire.EpochEnd{
		1: {LeaderEpoch: wire.NoEpoch, EndOffset: wire.NoOffset},
		2: {LeaderEpoch: 2, EndOffset: 6},
		4: {LeaderEpoch: 2, EndOffset: 6},
		5: {LeaderEpoch: 5, EndOffset: 14},
		9: {LeaderEpoch: 5, EndOffset: 14},
	} {
		if got := l.EpochEnd(asked); got != want {
			t.Errorf("epoch %d: %+v, want %+v", asked, got, want)
		}
	}
}

func TestMoreLogsAreWrittenThanFilesMayBeOpen(t *testing.T) {
	cfg := testDirConfig()
	cfg.MaxOpenFiles = 5
	volume := &countingVolume{}
	d, err := OpenDir(volumeOnly{OSFS{}, volume}, t.TempDir(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	logs := make([]*Log, 40)
	for round := range 3 {
		for i := range logs {
			if round == 0 {
				if logs[i], err = d.OpenLog(LogRef{"many", int32(i), testTopic}, testLogConfig()); err != nil {
					t.Fatal(err)
				}
			}
			fill(t, logs[i], 1, 1)
			if open := len(d.files.ring); open > cfg.MaxOpenFiles {
				t.Fatalf("%d files are open", open)
			}
		}
	}
	before := volume.syncs.Load()
	syncLog(t, logs[39])
	if logs[39].FlushedOffset() != 6 || volume.syncs.Load() == before {
		t.Fatalf("flushed %d with %d syncs of the volume", logs[39].FlushedOffset(), volume.syncs.Load()-before)
	}
	for _, l := range logs {
		syncLog(t, l)
		if got := readAll(t, l, 100); len(got) == 0 || l.FlushedOffset() != 6 {
			t.Fatalf("%d bytes, flushed %d", len(got), l.FlushedOffset())
		}
	}
}

// volumeOnly counts how often the volume is synced.
type volumeOnly struct {
	OSFS
	volume *countingVolume
}

func (v volumeOnly) OpenVolume(string) (Volume, error) { return v.volume, nil }

type countingVolume struct{ syncs atomic.Int64 }

func (v *countingVolume) Sync() error  { v.syncs.Add(1); return nil }
func (v *countingVolume) Close() error { return nil }

func TestAWantOfDescriptorsRefusesAppendsAndPasses(t *testing.T) {
	fsys := &crowdedFS{}
	d, err := OpenDir(fsys, t.TempDir(), testDirConfig(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	l := openLog(t, d, testLogConfig())
	fsys.crowded.Store(true)
	if _, _, err := l.Append(batch(1, 1, "x"), 1); !errors.Is(err, wire.KafkaStorageError) || d.Err() != nil {
		t.Fatalf("append: %v; the directory: %v", err, d.Err())
	}
	fsys.crowded.Store(false)
	expectLog(t, l, fill(t, l, 3, 1))
}

type crowdedFS struct {
	OSFS
	crowded atomic.Bool
}

func (c *crowdedFS) OpenFile(name string, flag int, perm os.FileMode) (File, error) {
	if c.crowded.Load() {
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	return c.OSFS.OpenFile(name, flag, perm)
}
