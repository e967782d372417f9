package history

import "fmt"

// Batch is a record batch in a copy of a partition.
type Batch struct {
	Base, Last int64
	Epoch      int32
	Sum        [32]byte // of all its bytes
}

func (b Batch) String() string {
	return fmt.Sprintf("batch %d-%d of epoch %d, sum %x", b.Base, b.Last, b.Epoch, b.Sum[:4])
}

// Copy is what one broker has of a place, from its first batch on.
type Copy struct {
	Broker  int32
	Place   Place
	Batches []Batch
	Damage  string // what is wrong behind the last batch; "" when nothing is
}

// CompareCopies finds copies of one place that differ below end, or do not reach it. What is behind
// end was shown to nobody: there copies may differ.
func CompareCopies(copies []Copy, end int64, found *Findings) {
	for i := range copies {
		c := &copies[i]
		reached := int64(0)
		if len(c.Batches) > 0 {
			reached = c.Batches[len(c.Batches)-1].Last + 1
		}
		if reached < end {
			found.Add(Diverged, c.Place, "the copy of broker %d ends at %d, records up to %d were read%s", c.Broker, reached, end, damage(c))
		}
		if i > 0 {
			compareTwo(&copies[0], c, end, found)
		}
	}
}

func damage(c *Copy) string {
	if c.Damage == "" {
		return ""
	}
	return ": " + c.Damage
}

// compareTwo stops at the first difference: what follows one is seldom equal again.
func compareTwo(a, b *Copy, end int64, found *Findings) {
	for i := range min(len(a.Batches), len(b.Batches)) {
		if a.Batches[i].Base >= end {
			return
		}
		if a.Batches[i] != b.Batches[i] {
			found.Add(Diverged, a.Place, "broker %d has %s where broker %d has %s", a.Broker, a.Batches[i], b.Broker, b.Batches[i])
			return
		}
	}
}
