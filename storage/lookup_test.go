package storage

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

type stamped struct {
	offset    wire.Offset
	timestamp int64
}

// appendAtRandomTimes appends batches, some of them compressed, with timestamps that go up and down.
func appendAtRandomTimes(t *testing.T, l *Log, n int, rng *rand.Rand) (all []stamped) {
	t.Helper()
	for range n {
		var b record.Builder
		b.Reset([]record.Codec{record.None, record.Snappy, record.Zstd}[rng.IntN(3)], 0, false)
		offset := l.EndOffset()
		for i := range 1 + rng.IntN(4) {
			at := 1000 + int64(offset)*10 + rng.Int64N(300)
			b.Append(at, nil, fmt.Appendf(nil, "%d", offset), nil)
			all = append(all, stamped{offset + wire.Offset(i), at})
		}
		appendBatch(t, l, bytes.Clone(b.Finish(wire.NoProducer, -1, -1)), 3)
	}
	return all
}

// slowOffsetForTimestamp is what OffsetForTimestamp means.
func slowOffsetForTimestamp(all []stamped, timestamp int64, start, upTo wire.Offset) stamped {
	for _, s := range all {
		if s.timestamp >= timestamp && s.offset >= start {
			if s.offset >= upTo {
				break
			}
			return s
		}
	}
	return stamped{wire.NoOffset, -1}
}

func expectLookups(t *testing.T, l *Log, all []stamped) {
	t.Helper()
	for timestamp := int64(900); timestamp < all[len(all)-1].timestamp+600; timestamp += 37 {
		for _, upTo := range []wire.Offset{l.EndOffset(), l.EndOffset() / 2} {
			want := slowOffsetForTimestamp(all, timestamp, l.StartOffset(), upTo)
			offset, at, epoch, err := l.OffsetForTimestamp(timestamp, upTo)
			if err != nil || offset != want.offset || at != want.timestamp || offset >= 0 && epoch != 3 {
				t.Fatalf("timestamp %d up to %d: %d at %d in epoch %d, %v; want %+v", timestamp, upTo, offset, at, epoch, err, want)
			}
		}
	}
	for upTo := l.StartOffset(); upTo <= l.EndOffset(); upTo += 5 {
		// Whole batches lie below a watermark.
		h := headerAt(t, l, min(upTo, l.EndOffset()-1))
		upTo = max(h.BaseOffset, l.StartOffset())
		want := stamped{wire.NoOffset, -1}
		for _, s := range all {
			if s.offset < upTo && s.offset >= l.StartOffset() && s.timestamp > want.timestamp {
				want = s
			}
		}
		offset, at, _, err := l.MaxTimestampOffset(upTo)
		if err != nil || offset != want.offset || at != want.timestamp {
			t.Fatalf("largest timestamp up to %d: %d at %d, %v; want %+v", upTo, offset, at, err, want)
		}
		upTo = max(upTo, h.LastOffset())
	}
}

func headerAt(t *testing.T, l *Log, offset wire.Offset) record.Header {
	t.Helper()
	h, err := record.ParseHeader(readFrom(t, l, offset, l.EndOffset(), 1))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestTimestampsAreFoundAsASlowSearchWould(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	l := openLog(t, d, testLogConfig())
	all := appendAtRandomTimes(t, l, 120, rand.New(rand.NewPCG(1, 2)))
	expectLookups(t, l, all) // from memory
	d.keeper.tick()
	expectLookups(t, l, all) // from the index files
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, openDir(t, path), testLogConfig())
	expectLookups(t, l, all) // from the files of an earlier run
}

func TestIndexesThatAreMissingOrWrongAreRebuilt(t *testing.T) {
	damages := map[string]func([]byte) []byte{
		"missing":   nil,
		"empty":     func([]byte) []byte { return nil },
		"cut short": func(b []byte) []byte { return b[:len(b)/2+1] },
		"zeros":     func(b []byte) []byte { return make([]byte, len(b)) },
		"shifted":   func(b []byte) []byte { return append(bytes.Clone(b[len(b)/2:]), b[:len(b)/2]...) },
		"too large": func(b []byte) []byte { return bytes.Repeat([]byte{0x7f}, len(b)) },
		"astray": func(b []byte) []byte { // in order, in bounds, and wrong
			b = bytes.Clone(b)
			for i := 7; i < len(b); i += 8 {
				b[i]--
			}
			return b
		},
	}
	for name, damage := range damages {
		for _, suffix := range []string{indexSuffix, timesSuffix} {
			t.Run(name+suffix, func(t *testing.T) {
				path := t.TempDir()
				d := openDir(t, path)
				l := openLog(t, d, testLogConfig())
				all := appendAtRandomTimes(t, l, 120, rand.New(rand.NewPCG(3, 4)))
				want := readAll(t, l, 1<<20)
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				spoil(t, filepath.Join(path, testRef().String()), suffix, damage)
				d = openDir(t, path)
				l = openLog(t, d, testLogConfig())
				if got := readAll(t, l, 1); !bytes.Equal(got, want) {
					t.Error("the log reads differently")
				}
				if suffix == indexSuffix || name != "astray" {
					expectLookups(t, l, all)
				}
				if len(l.damage) > 0 {
					t.Errorf("damage is seen in the log itself: %v", l.damage)
				}
				fill(t, l, 10, 4) // entries for the index of the active segment
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				if found, err := Verify(OSFS{}, path); err != nil || suffix == indexSuffix && len(found) > 0 {
					t.Errorf("not rebuilt on disk: %d damages, %v", len(found), err)
				}
			})
		}
	}
}

// spoil changes the files with a suffix, or removes them when damage is nil.
func spoil(t *testing.T, dir, suffix string, damage func([]byte) []byte) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		n++
		name := filepath.Join(dir, e.Name())
		if damage == nil {
			err = os.Remove(name)
		} else {
			var content []byte
			if content, err = os.ReadFile(name); err == nil {
				err = os.WriteFile(name, damage(content), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n == 0 {
		t.Fatalf("no file ends in %s", suffix)
	}
}
