package replica

import (
	"cmp"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// rememberedBatches is how many batches of a producer a duplicate is looked up in: clients keep
// at most five in flight per partition.
const rememberedBatches = 5

// Batch is what the rules of idempotence need to know of a record batch.
type Batch struct {
	Producer  wire.ProducerID
	Epoch     wire.ProducerEpoch
	Sequence  wire.Sequence // of the first record
	Count     int32         // of records, at least 1
	Timestamp int64         // the largest, milliseconds since 1970
}

func (b Batch) lastSequence() wire.Sequence { return b.Sequence.Next(b.Count - 1) }

// Producers is what one partition knows of its idempotent producers. It is a fold over the log:
// the same batches in the same order give the same state, on every replica and after every
// restart.
type Producers struct {
	byID map[wire.ProducerID]*producer
}

type producer struct {
	epoch            wire.ProducerEpoch
	coordinatorEpoch int32
	currentTxnStart  wire.Offset
	lastTimestamp    int64                // of its last batch
	lastSeen         int64                // by the broker's clock: a batch may carry any timestamp
	batches          []wire.ProducerBatch // of this epoch, oldest first
}

// NewProducers knows nobody.
func NewProducers() *Producers { return &Producers{} }

// Len is how many producers are known.
func (p *Producers) Len() int { return len(p.byID) }

// Check decides about a batch before it is appended.
//
//   - A batch that was appended before is a duplicate: it is answered with its first offset and
//     not appended again.
//   - An older epoch is fenced: INVALID_PRODUCER_EPOCH.
//   - A new epoch begins with sequence 0, and within an epoch each batch begins where the last
//     one ended, wrapping after the largest sequence: else OUT_OF_ORDER_SEQUENCE_NUMBER.
//   - A producer that is not known (its records have expired, or it is new) may begin anywhere:
//     there is nothing left to compare with (KIP-360).
//
// A batch from before the remembered ones is out of order as well. It is never called a duplicate,
// which clients take for success: a producer that was not known may have had its first batch refused
// and its second one appended, and now repeats the first.
func (p *Producers) Check(b Batch) (duplicate wire.ProducerBatch, isDuplicate bool, err error) {
	known := p.byID[b.Producer]
	if known == nil {
		return duplicate, false, nil
	}
	if b.Epoch < known.epoch {
		return duplicate, false, wire.Errorf(wire.InvalidProducerEpoch, "producer %d has epoch %d, the batch has %d", b.Producer, known.epoch, b.Epoch)
	}
	if b.Epoch > known.epoch {
		if b.Sequence != 0 {
			return duplicate, false, wire.Errorf(wire.OutOfOrderSequenceNumber, "producer %d begins epoch %d with sequence %d, not 0", b.Producer, b.Epoch, b.Sequence)
		}
		return duplicate, false, nil
	}
	if len(known.batches) == 0 {
		return duplicate, false, nil
	}
	last := b.lastSequence()
	for _, old := range known.batches {
		if old.LastSequence == last && old.OffsetDelta == b.Count-1 {
			return old, true, nil
		}
	}
	newest := known.batches[len(known.batches)-1].LastSequence
	if expected := newest.Next(1); b.Sequence != expected {
		return duplicate, false, wire.Errorf(wire.OutOfOrderSequenceNumber, "producer %d sent sequence %d, %d is next", b.Producer, b.Sequence, expected)
	}
	return duplicate, false, nil
}

// Appended takes note of a batch that is in the log now, with its first record at base. The time
// now, in milliseconds since 1970, says when the producer was last heard of.
func (p *Producers) Appended(b Batch, base wire.Offset, now int64) {
	p.add(wire.ProducerBatch{
		Producer: b.Producer, Epoch: b.Epoch, LastSequence: b.lastSequence(),
		LastOffset: base + wire.Offset(b.Count-1), OffsetDelta: b.Count - 1,
		Timestamp: b.Timestamp, CoordinatorEpoch: -1, CurrentTxnStart: wire.NoOffset,
	}, now)
}

// Load takes the batches of a snapshot, oldest first for each producer. It is followed by
// Appended for every batch in the log after the snapshot.
func (p *Producers) Load(batches []wire.ProducerBatch, now int64) {
	for _, b := range batches {
		p.add(b, now)
	}
}

func (p *Producers) add(b wire.ProducerBatch, now int64) {
	if p.byID == nil {
		p.byID = make(map[wire.ProducerID]*producer)
	}
	known := p.byID[b.Producer]
	if known == nil {
		known = &producer{}
		p.byID[b.Producer] = known
	}
	if known.epoch != b.Epoch {
		known.epoch, known.batches = b.Epoch, known.batches[:0]
	}
	known.coordinatorEpoch, known.currentTxnStart = b.CoordinatorEpoch, b.CurrentTxnStart
	known.lastTimestamp, known.lastSeen = b.Timestamp, now
	if b.LastSequence < 0 {
		return // a snapshot's entry of a producer without batches
	}
	if len(known.batches) == rememberedBatches {
		known.batches = append(known.batches[:0], known.batches[1:]...)
	}
	known.batches = append(known.batches, b)
}

// Snapshot returns every remembered batch, ordered by producer and then oldest first: what Load
// takes.
func (p *Producers) Snapshot() []wire.ProducerBatch {
	var all []wire.ProducerBatch
	for id, known := range p.byID {
		if len(known.batches) == 0 {
			all = append(all, wire.ProducerBatch{
				Producer: id, Epoch: known.epoch, LastSequence: -1, LastOffset: wire.NoOffset,
				Timestamp: known.lastTimestamp, CoordinatorEpoch: known.coordinatorEpoch, CurrentTxnStart: known.currentTxnStart,
			})
		}
		all = append(all, known.batches...)
	}
	slices.SortStableFunc(all, func(a, b wire.ProducerBatch) int { return cmp.Compare(a.Producer, b.Producer) })
	return all
}

// States describes the producers, ordered by id.
func (p *Producers) States() []wire.ProducerState {
	states := make([]wire.ProducerState, 0, len(p.byID))
	for id, known := range p.byID {
		state := wire.ProducerState{
			Producer: id, Epoch: known.epoch, LastSequence: -1, LastOffset: wire.NoOffset,
			LastTimestamp: known.lastTimestamp, CoordinatorEpoch: known.coordinatorEpoch, CurrentTxnStart: known.currentTxnStart,
		}
		if n := len(known.batches); n > 0 {
			state.LastSequence, state.LastOffset = known.batches[n-1].LastSequence, known.batches[n-1].LastOffset
		}
		states = append(states, state)
	}
	slices.SortFunc(states, func(a, b wire.ProducerState) int { return cmp.Compare(a.Producer, b.Producer) })
	return states
}

// Expire forgets the producers that appended nothing since before (milliseconds since 1970, of the
// broker's clock) and have no transaction open. It returns how many.
//
// Kafka: goes by the timestamps of the records, so that whoever imports old records is forgotten
// while it does.
func (p *Producers) Expire(before int64) int {
	expired := 0
	for id, known := range p.byID {
		if known.lastSeen < before && known.currentTxnStart == wire.NoOffset {
			delete(p.byID, id)
			expired++
		}
	}
	return expired
}
