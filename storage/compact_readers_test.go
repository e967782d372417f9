package storage

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

func TestReadersNeverSeeACompactionHalfDone(t *testing.T) {
	cfg := compactedConfig()
	cfg.MinDirtyRatio = 0
	k := openKeyedLog(t, t.TempDir(), quickFS{}, cfg)
	const keys = 20
	for i := range 200 {
		k.put(fmt.Sprintf("k%d=%d", i%keys, i))
	}
	k.settleAll()
	k.clean(1 << 20)
	end := k.EndOffset()

	var group sync.WaitGroup
	stop := make(chan struct{})
	reading := func(read func()) {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					read()
				}
			}
		})
	}
	for range 2 {
		reading(func() { expectEveryKey(t, k.Log, keys) })
	}
	reading(func() {
		upTo := k.EndOffset()
		first, _, _, err := k.OffsetForTimestamp(0, upTo)
		newest, _, _, err2 := k.MaxTimestampOffset(upTo)
		if err != nil || err2 != nil {
			t.Errorf("lookups: %v, %v", err, err2)
		}
		// When more was appended meanwhile, none of what was there then needs to be left.
		if k.EndOffset() == upTo && (first < 0 || first >= upTo || newest < end-1) {
			t.Errorf("the first record is at %d, the newest at %d, up to %d", first, newest, upTo)
		}
	})
	reading(func() {
		if _, ok := k.AppendedAt(end - 1); !ok {
			t.Error("a time is not known")
		}
		k.RetentionDue(testNow, k.EndOffset())
		next := wire.Offset(0)
		if err := k.replay(0, func(h record.Header) { next = h.NextOffset() }); err != nil || next != 0 {
			t.Errorf("replayed up to %d: %v", next, err)
		}
	})
	// The appender goes on, and so does the keeper, while the cleaner compacts.
	cleaned := make(chan struct{})
	for i := range 300 {
		var b record.Builder
		b.Reset(record.None, 0, false)
		b.Append(testNow.UnixMilli()+int64(1000+i), fmt.Appendf(nil, "k%d", i%keys), fmt.Appendf(nil, "%d", 200+i), []record.RecordHeader{{Key: "n"}})
		appendBatch(t, k.Log, bytes.Clone(b.Finish(wire.NoProducer, -1, -1)), 1)
		if i%30 == 29 {
			k.commitAll()
			group.Go(func() { k.clean(12 * 30); cleaned <- struct{}{} })
			if err := k.AdvanceStart(wire.Offset(i / 10)); err != nil {
				t.Error(err)
			}
			<-cleaned
		}
	}
	close(stop)
	group.Wait()
	if k.CleanedOffset() < 400 {
		t.Errorf("cleaned to %d of %d", k.CleanedOffset(), k.EndOffset())
	}
	expectEveryKey(t, k.Log, keys)
}

// expectEveryKey reads the log from the start and expects every key, with values that only grow.
func expectEveryKey(t *testing.T, l *Log, keys int) {
	t.Helper()
	last := map[string]int{}
	for from := l.StartOffset(); from < l.EndOffset(); { // which moves: the last value of a key may come late
		b, next, _, err := l.ReadBuffer(from, l.EndOffset(), 600)
		if err != nil || b == nil {
			if from < l.StartOffset() {
				from = l.StartOffset()
				continue
			}
			t.Errorf("read at %d of %d to %d: %v", from, l.StartOffset(), l.EndOffset(), err)
			return
		}
		for rest := b.Bytes; len(rest) > 0; {
			_, batch, after, err := record.Next(rest)
			if err == nil {
				err = record.Iterate(batch, 1<<20, func(r record.Record) error {
					value := 0
					if _, err := fmt.Sscan(string(r.Value), &value); err != nil || value < last[string(r.Key)] {
						t.Errorf("%s is %d after %d (%v)", r.Key, value, last[string(r.Key)], err)
					}
					last[string(r.Key)] = value
					return nil
				})
			}
			if err != nil {
				t.Error(err)
			}
			rest = after
		}
		b.Release()
		from = next
	}
	if len(last) != keys {
		t.Errorf("%d keys of %d are in the log", len(last), keys)
	}
}

func TestWhoLookedBeforeASwapIsSentToTheNewSegment(t *testing.T) {
	k := openKeyedLog(t, t.TempDir(), quickFS{}, compactedConfig())
	for i := range 100 {
		k.put(fmt.Sprintf("k%d=%d", i%5, i))
	}
	k.settleAll()
	var views []view
	for i := range len(k.segments) - 1 {
		views = append(views, k.viewAt(k.segments[i].base, k.EndOffset()))
	}
	k.clean(1 << 20)
	gone := 0
	for _, v := range views {
		if slices.Contains(k.segments, v.s) {
			continue // there was nothing to be left out
		}
		gone++
		r, err := k.readSegment(v, v.s.base, 1<<20, true)
		if wire.Code(err) != wire.KafkaStorageError {
			t.Errorf("the segment at %d, which is gone, was read: %d bytes, %v", v.s.base, r.Length, err)
		}
		if err := k.writeIndexes(v.s); err != nil { // as the keeper might, late
			t.Error(err)
		}
	}
	if gone < 3 {
		t.Errorf("%d segments were swapped", gone)
	}
	k.check()
}
