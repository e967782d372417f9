package storage

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// at gives a batch its place, as a leader does.
func at(b []byte, base wire.Offset, epoch wire.LeaderEpoch) []byte {
	record.SetBaseOffset(b, base)
	record.SetLeaderEpoch(b, epoch)
	return b
}

func TestAFollowersLogIsTheLeadersByteForByte(t *testing.T) {
	leader := openLog(t, openDir(t, t.TempDir()), testLogConfig())
	d := openDir(t, t.TempDir())
	follower := openLog(t, d, testLogConfig())
	want := append(fill(t, leader, 30, 3), fill(t, leader, 30, 5)...)
	for from := wire.Offset(0); from < leader.EndOffset(); {
		b, next, epoch, err := leader.ReadBuffer(from, leader.EndOffset(), 450)
		if err != nil || next <= from || epoch != leader.EpochEnd(leader.LastEpoch()).LeaderEpoch && epoch != 3 {
			t.Fatalf("read at %d: next %d, epoch %d, %v", from, next, epoch, err)
		}
		if got, err := follower.AppendReplicated(b.Bytes); err != nil || got != next {
			t.Fatalf("appended up to %d, %v; want %d", got, err, next)
		}
		b.Release()
		from = next
	}
	expectLog(t, follower, want)
	if !slices.Equal(follower.Epochs(), leader.Epochs()) || len(follower.Epochs()) != 2 {
		t.Fatalf("epochs are %v, the leader has %v", follower.Epochs(), leader.Epochs())
	}
	for i, s := range follower.segments {
		if s.size > follower.Config().SegmentBytes {
			t.Errorf("segment %d has %d bytes", i, s.size)
		}
	}
}

func TestWhatCannotFollowTheLogIsRefusedWhole(t *testing.T) {
	l := openLog(t, openDir(t, t.TempDir()), testLogConfig())
	want := fill(t, l, 5, 4)
	good := at(batch(2, 1, "good"), 10, 4)
	flipped := at(batch(2, 1, "flipped"), 12, 4)
	flipped[len(flipped)-1] ^= 1
	inconsistent := at(batch(1, 1, "x"), 12, 4)
	inconsistent[record.LastOffsetDeltaAt] = 0x80
	for name, test := range map[string]struct {
		second []byte
		want   wire.ErrorCode
	}{
		"nothing more":       {nil, wire.None},
		"half a batch":       {at(batch(2, 1, "x"), 12, 4)[:70], wire.CorruptMessage},
		"a wrong checksum":   {flipped, wire.CorruptMessage},
		"a negative count":   {inconsistent, wire.CorruptMessage},
		"an overlap":         {at(batch(2, 1, "x"), 11, 4), wire.OffsetOutOfRange},
		"an older epoch":     {at(batch(2, 1, "x"), 12, 3), wire.FencedLeaderEpoch},
		"a gap":              {at(batch(2, 1, "x"), 20, 4), wire.None},
		"no epoch":           {at(batch(2, 1, "x"), 12, wire.NoEpoch), wire.FencedLeaderEpoch},
		"a gap that is huge": {at(batch(2, 1, "x"), 12+math.MaxInt32, 4), wire.OffsetOutOfRange},
	} {
		if test.want == wire.None {
			continue
		}
		if _, err := l.AppendReplicated(append(bytes.Clone(good), test.second...)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := l.AppendReplicated(nil); !errors.Is(err, wire.CorruptMessage) {
		t.Errorf("nothing at all: %v", err)
	}
	if l.EndOffset() != 10 {
		t.Fatalf("the log ends at %d", l.EndOffset())
	}
	gap := at(batch(2, 1, "x"), 20, 6)
	if next, err := l.AppendReplicated(append(bytes.Clone(good), gap...)); err != nil || next != 22 {
		t.Fatalf("appended to %d, %v", next, err)
	}
	if end := l.EpochEnd(4); end.EndOffset != 20 || l.LastEpoch() != 6 {
		t.Fatalf("epoch 4 ends at %d; the last one is %d", end.EndOffset, l.LastEpoch())
	}
	expectLog(t, l, append(want, good, gap))
}

func TestReplicatedBatchesRollWhereSizeAndAgeSay(t *testing.T) {
	cfg := testLogConfig()
	cfg.SegmentBytes, cfg.SegmentAge = 400, time.Hour
	path := t.TempDir()
	l := openLog(t, openDir(t, path), cfg)
	start := testNow.UnixMilli()
	large := batch(60, start, "large")
	if len(large) <= 400 {
		t.Fatal("the large batch is small")
	}
	hour := time.Hour.Milliseconds()
	var all [][]byte
	base := wire.Offset(0)
	for _, b := range [][]byte{
		batch(2, start, "a"), batch(2, start+1, "b"), // a segment
		large,                                               // one of its own, since a batch is never split
		batch(2, start+2, "c"), batch(2, start+3+hour, "d"), // an hour later
	} {
		h, err := record.ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, at(b, base, 1))
		base += wire.Offset(h.LastOffsetDelta) + 1
	}
	if next, err := l.AppendReplicated(bytes.Join(all, nil)); err != nil || next != base {
		t.Fatalf("appended to %d, %v", next, err)
	}
	var bases []wire.Offset
	for _, s := range l.segments {
		bases = append(bases, s.base)
	}
	if want := []wire.Offset{0, 4, 64, 66}; !slices.Equal(bases, want) {
		t.Fatalf("segments begin at %d, want %d", bases, want)
	}
	expectLog(t, l, all)
	expectLog(t, openLog(t, openDir(t, crashed(t, path)), cfg), all)
}

func TestReadBufferReturnsWholeBatchesBelowALimit(t *testing.T) {
	l := openLog(t, openDir(t, t.TempDir()), testLogConfig())
	all := fill(t, l, 20, 1)
	if err := l.AdvanceStart(4); err != nil {
		t.Fatal(err)
	}
	size := len(all[0])
	for _, test := range []struct {
		from, upTo wire.Offset
		maxBytes   int
		next       wire.Offset
	}{
		{4, 40, 1, 6},
		{5, 40, 1, 6}, // the batch that holds it
		{4, 40, 3*size + 5, 10},
		{4, 9, 1 << 20, 8}, // a batch that reaches beyond is not read
		{4, 40, 1 << 20, l.segments[1].base},
		{38, 100, 1 << 20, 40},
		{40, 40, 1 << 20, 40},
		{10, 10, 1 << 20, 10},
		{10, 11, 1 << 20, 10},
	} {
		b, next, epoch, err := l.ReadBuffer(test.from, test.upTo, test.maxBytes)
		if err != nil || next != test.next {
			t.Errorf("%+v: next %d, %v", test, next, err)
			continue
		}
		if empty := test.next == test.from; empty {
			if b != nil {
				t.Errorf("%+v: %d bytes", test, len(b.Bytes))
			}
			continue
		}
		if want := bytes.Join(all[test.from/2:test.next/2], nil); !bytes.Equal(b.Bytes, want) || epoch != 1 {
			t.Errorf("%+v: %d bytes of epoch %d, want %d", test, len(b.Bytes), epoch, len(want))
		}
		b.Release()
	}
	for _, from := range []wire.Offset{3, 41} {
		if _, _, _, err := l.ReadBuffer(from, 40, 1); !errors.Is(err, wire.OffsetOutOfRange) {
			t.Errorf("read at %d: %v", from, err)
		}
	}
}

func TestWhoReadsWhileTheLogIsCutSeesOneLogOrAnError(t *testing.T) {
	l := openLog(t, openDir(t, t.TempDir()), testLogConfig())
	stable := bytes.Join(fill(t, l, 10, 1), nil) // below the high watermark, which no cut passes
	stop := make(chan struct{})
	var mu sync.Mutex
	var seen [][]byte
	var group sync.WaitGroup
	for reader := range 3 {
		group.Go(func() {
			for i := reader; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				records, err := l.Read(0, 20, 1<<20, true)
				if err == nil {
					got := make([]byte, records.Length)
					err = records.ReadInto(got)
					records.Release()
					if err == nil && !bytes.HasPrefix(stable, got) {
						t.Errorf("other bytes below the high watermark")
					}
				}
				if err != nil && !errors.Is(err, wire.KafkaStorageError) { // several cuts in a row may come in the way
					t.Errorf("read below the high watermark: %v", err)
				}
				b, _, _, err := l.ReadBuffer(wire.Offset(20+i%30), math.MaxInt64, 1<<20)
				switch {
				case err == nil && b != nil:
					mu.Lock()
					seen = append(seen, bytes.Clone(b.Bytes))
					mu.Unlock()
					b.Release()
				case err == nil || errors.Is(err, wire.KafkaStorageError) || errors.Is(err, wire.OffsetOutOfRange):
				default:
					t.Errorf("read behind it: %v", err)
				}
			}
		})
	}
	var states [][]byte // of the log before each cut, from 20 on
	for round := range 60 {
		for i := range 20 {
			b := batch(2, testNow.UnixMilli(), fmt.Sprintf("%d-%d%s", round, i, bytes.Repeat([]byte("x"), round%7)))
			appendBatch(t, l, b, wire.LeaderEpoch(round+1))
		}
		states = append(states, readAll(t, l, 1<<20)[len(stable):])
		cutLog(t, l, wire.Offset(20+(round*7)%35), false)
	}
	close(stop)
	group.Wait()
	for _, b := range seen {
		if !slices.ContainsFunc(states, func(state []byte) bool { return bytes.Contains(state, b) }) {
			t.Fatalf("%d bytes were read that never were in the log like this", len(b))
		}
	}
}

func TestCheckpointsOfALogThatLostItsEndDoNotSpeakOfWhatComesAfter(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	all := fill(t, openLog(t, d, testLogConfig()), 10, 1)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{logStartFile, highWatermarkFile} {
		if err := os.WriteFile(filepath.Join(path, name), []byte("0\n1\norders 3 30\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := openLog(t, openDir(t, path), testLogConfig())
	if l.StartOffset() != 20 || l.CheckpointedHighWatermark() != 20 {
		t.Fatalf("start %d, high watermark %d, end %d", l.StartOffset(), l.CheckpointedHighWatermark(), l.EndOffset())
	}
	all = append(all, fill(t, l, 20, 2)...)
	if hw := l.CheckpointedHighWatermark(); hw != 20 {
		t.Fatalf("the high watermark is %d, and nobody set it", hw)
	}
	l = openLog(t, openDir(t, crashed(t, path)), testLogConfig())
	if l.StartOffset() != 20 {
		t.Fatalf("the log starts at %d", l.StartOffset())
	}
	expectLog(t, l, all[10:])
}
