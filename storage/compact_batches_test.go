package storage

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

func TestEpochsAreTheSameWhenTheyAreToldFromACompactedLog(t *testing.T) {
	path := t.TempDir()
	k := openKeyedLog(t, path, OSFS{}, compactedConfig())
	for i := range 50 {
		k.epoch = wire.LeaderEpoch(1 + i/5)
		k.put(fmt.Sprintf("a=%d", i))
	}
	k.settleAll()
	k.clean(1 << 20)
	k.check()
	want := k.Epochs()
	if len(want) != 10 || len(k.read()) != 1 {
		t.Fatalf("%d epochs, %d records", len(want), len(k.read()))
	}
	if err := k.dir.Close(); err != nil {
		t.Fatal(err)
	}
	if err := (OSFS{}).Remove(k.path + "/" + epochFile); err != nil {
		t.Fatal(err)
	}
	again := openKeyedLog(t, path, OSFS{}, compactedConfig())
	if got := again.Epochs(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestProducersAreKnownFromACompactedLog(t *testing.T) {
	path := t.TempDir()
	for _, snapshots := range []bool{true, false} {
		t.Run(fmt.Sprintf("snapshots=%t", snapshots), func(t *testing.T) {
			cfg := compactedConfig()
			var k *keyedLog
			if snapshots { // which know the last batch of each
				cfg.Producers = func() (list []wire.ProducerBatch) {
					for p := range wire.ProducerID(3) {
						if last := k.EndOffset() - 3 + wire.Offset(p); last >= 0 {
							list = append(list, wire.ProducerBatch{Producer: p, LastOffset: last, CurrentTxnStart: -1})
						}
					}
					return list
				}
			}
			k = openKeyedLog(t, fmt.Sprintf("%s/%t", path, snapshots), OSFS{}, cfg)
			for i := range 60 {
				var b record.Builder
				b.Reset(record.None, 0, false)
				b.Append(testNow.UnixMilli(), []byte("key"), []byte("value"), nil)
				appendBatch(t, k.Log, bytes.Clone(b.Finish(wire.ProducerID(i%3), 0, wire.Sequence(i/3))), 1)
			}
			k.settleAll()
			k.clean(1 << 20)
			last := map[wire.ProducerID]wire.Sequence{}
			n := 0
			if err := k.replay(0, func(h record.Header) { last[h.Producer] = h.LastSequence(); n++ }); err != nil {
				t.Fatal(err)
			}
			if want := map[wire.ProducerID]wire.Sequence{0: 19, 1: 19, 2: 19}; fmt.Sprint(last) != fmt.Sprint(want) {
				t.Errorf("the last sequences are %v, want %v", last, want)
			}
			// Besides them the first one stays, of its epoch, and the last one of each segment.
			if most := 4 + len(k.segments); snapshots && n > most || !snapshots && n != 60 {
				t.Errorf("%d batches are left", n)
			}
		})
	}
}

func TestTransactionalAndControlBatchesAreLeftAlone(t *testing.T) {
	k := openKeyedLog(t, t.TempDir(), OSFS{}, compactedConfig())
	var b record.Builder
	put := func(transactional, control bool) {
		b.Reset(record.None, 0, transactional)
		b.Append(testNow.UnixMilli(), []byte("key"), []byte("value"), nil)
		batch := bytes.Clone(b.Finish(9, 0, 0))
		if control {
			batch[record.AttributesAt+1] |= record.AttributeControl
			record.SetProducer(batch, 9, 0, -1) // renews the checksum
		}
		appendBatch(t, k.Log, batch, 1)
	}
	put(false, false) // has no successor that is known to be committed
	put(true, false)
	put(true, true)
	put(false, false)
	put(true, false)
	k.settleAll()
	k.clean(1 << 20)
	var offsets []wire.Offset
	for rest := readAll(t, k.Log, 1<<20); len(rest) > 0; {
		h, _, after, err := record.Next(rest)
		if err != nil {
			t.Fatal(err)
		}
		if h.Count > 0 {
			offsets = append(offsets, h.BaseOffset)
		}
		rest = after
	}
	if !slices.Equal(offsets, []wire.Offset{1, 2, 3, 4}) {
		t.Errorf("left are %v", offsets)
	}
}
