package replica

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/troupe-mq/troupe/wire"
)

func batch(epoch wire.ProducerEpoch, sequence wire.Sequence, count int32) Batch {
	return Batch{Producer: 42, Epoch: epoch, Sequence: sequence, Count: count, Timestamp: 1000}
}

// appended is a state after batches were appended one after the other from offset 0.
func appended(batches ...Batch) *Producers {
	p := NewProducers()
	var base wire.Offset
	for _, b := range batches {
		p.Appended(b, base, 1000)
		base += wire.Offset(b.Count)
	}
	return p
}

func TestIdempotence(t *testing.T) {
	last := wire.MaxSequence
	for _, c := range []struct {
		name      string
		known     *Producers
		b         Batch
		duplicate wire.Offset // first offset of the original; -1: none
		err       error
	}{
		{"a new producer may begin anywhere (KIP-360)", NewProducers(), batch(0, 17, 1), -1, nil},
		{"the next sequence follows the last", appended(batch(0, 0, 3)), batch(0, 3, 2), -1, nil},
		{"a gap is out of order", appended(batch(0, 0, 3)), batch(0, 4, 2), -1, wire.OutOfOrderSequenceNumber},
		{"a repeated batch is a duplicate with its first offset", appended(batch(0, 0, 3), batch(0, 3, 2)), batch(0, 3, 2), 3, nil},
		{"an older one of the five is a duplicate too", appended(batch(0, 0, 3), batch(0, 3, 2), batch(0, 5, 1)), batch(0, 0, 3), 0, nil},
		{"the same end with another length is no duplicate", appended(batch(0, 0, 3)), batch(0, 1, 2), -1, wire.OutOfOrderSequenceNumber},
		{"a batch that was never appended is no duplicate, though later ones were", appended(batch(0, 3, 2)), batch(0, 0, 3), -1, wire.OutOfOrderSequenceNumber},
		{
			"a batch older than the five cannot be told from one that was never appended",
			appended(batch(0, 0, 1), batch(0, 1, 1), batch(0, 2, 1), batch(0, 3, 1), batch(0, 4, 1), batch(0, 5, 1)),
			batch(0, 0, 1), -1, wire.OutOfOrderSequenceNumber,
		},
		{"an older epoch is fenced", appended(batch(3, 0, 1)), batch(2, 1, 1), -1, wire.InvalidProducerEpoch},
		{"a new epoch begins at 0", appended(batch(3, 0, 9)), batch(4, 0, 1), -1, nil},
		{"a new epoch does not begin elsewhere", appended(batch(3, 0, 9)), batch(4, 9, 1), -1, wire.OutOfOrderSequenceNumber},
		{"an old sequence of a new epoch is no duplicate", appended(batch(3, 0, 9), batch(4, 0, 1)), batch(4, 1, 1), -1, nil},
		{"after the largest sequence comes 0", appended(batch(0, last-1, 2)), batch(0, 0, 5), -1, nil},
		{"a batch may wrap inside", appended(batch(0, last-1, 1)), batch(0, last, 3), -1, nil},
		{"and be a duplicate", appended(batch(0, last, 3)), batch(0, last, 3), 0, nil},
		{"and what follows it begins after the wrap", appended(batch(0, last, 3)), batch(0, 2, 1), -1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			duplicate, isDuplicate, err := c.known.Check(c.b)
			if !errors.Is(err, c.err) || (c.err == nil) != (err == nil) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if isDuplicate != (c.duplicate >= 0) {
				t.Fatalf("duplicate: %v", isDuplicate)
			}
			if first := duplicate.LastOffset - wire.Offset(duplicate.OffsetDelta); isDuplicate && first != c.duplicate {
				t.Fatalf("first offset %d, want %d", first, c.duplicate)
			}
		})
	}
}

// A client with five batches in flight whose connection breaks sends them all again, from the
// first one that it has no answer for. Whatever it repeats, the log holds each batch once and in
// order.
func TestARetryingProducerIsAppendedOnceAndInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := NewProducers()
		first := wire.Sequence(rapid.Int32Range(0, int32(wire.MaxSequence)).Draw(t, "first sequence"))
		var sent []Batch
		var offsets []wire.Offset // where each was appended
		next, end := first, wire.Offset(0)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			from := max(0, len(sent)-rapid.IntRange(0, 5).Draw(t, "repeated"))
			count := rapid.Int32Range(1, 100).Draw(t, "records")
			sent = append(sent, Batch{Producer: 1, Sequence: next, Count: count})
			next = next.Next(count)
			for i := from; i < len(sent); i++ {
				duplicate, isDuplicate, err := p.Check(sent[i])
				if err != nil {
					t.Fatalf("batch %d: %v", i, err)
				}
				if isDuplicate != (i < len(offsets)) {
					t.Fatalf("batch %d: duplicate is %v", i, isDuplicate)
				}
				if isDuplicate {
					if got := duplicate.LastOffset - wire.Offset(duplicate.OffsetDelta); got != offsets[i] {
						t.Fatalf("batch %d: offset %d, want %d", i, got, offsets[i])
					}
					continue
				}
				p.Appended(sent[i], end, 1000)
				offsets = append(offsets, end)
				end += wire.Offset(sent[i].Count)
			}
			if rapid.Bool().Draw(t, "restart") {
				reloaded := NewProducers()
				reloaded.Load(p.Snapshot(), 1000)
				p = reloaded
			}
		}
	})
}

func TestASnapshotIsTheWholeState(t *testing.T) {
	p := appended(batch(0, 0, 3), batch(0, 3, 2), batch(0, 5, 1))
	p.Appended(Batch{Producer: 7, Epoch: 2, Sequence: 0, Count: 1, Timestamp: 5}, 6, 1000)
	again := NewProducers()
	again.Load(p.Snapshot(), 1000)
	if diff := cmp.Diff(p.Snapshot(), again.Snapshot()); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff(p.States(), again.States()); diff != "" {
		t.Fatal(diff)
	}
	if p.Len() != 2 || p.States()[0].Producer != 7 || p.States()[1].LastSequence != 5 {
		t.Fatalf("states %+v", p.States())
	}
}

func TestSilentProducersAreForgotten(t *testing.T) {
	p := appended(batch(0, 0, 1))
	p.Appended(Batch{Producer: 7, Count: 1, Timestamp: 5}, 1, 2000) // an old record, sent lately
	if n := p.Expire(1500); n != 1 || p.Len() != 1 || p.States()[0].Producer != 7 {
		t.Fatalf("%d expired, left %+v", n, p.States())
	}
}
