package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Kind is something that a log must not do.
type Kind string

// The kinds. The comment says exactly what is looked for.
const (
	Lost         Kind = "lost"         // acknowledged, and in no final reading
	Doubled      Kind = "doubled"      // at two offsets of one reading
	Reordered    Kind = "reordered"    // before a record of the same writer that was sent earlier, or of any writer that was acknowledged before this one was sent
	Misplaced    Kind = "misplaced"    // acknowledged at one offset, read at another
	Inconsistent Kind = "inconsistent" // two readings, or an acknowledgement and a reading, with different records at one offset
	Unwritten    Kind = "unwritten"    // read, though nobody sent it or it was refused
	Skipped      Kind = "skipped"      // a reader went back, or passed over an offset that holds a record
	Diverged     Kind = "diverged"     // copies whose bytes differ below what readers were shown
	Unhealed     Kind = "unhealed"     // still not whole long after the last fault
)

// Kinds are all kinds, in the order of a report.
var Kinds = []Kind{Lost, Doubled, Reordered, Misplaced, Inconsistent, Unwritten, Skipped, Diverged, Unhealed}

// Finding is one proof that a log is wrong.
type Finding struct {
	Kind  Kind   `json:"kind"`
	Place string `json:"place"`
	Text  string `json:"text"`
}

func (f Finding) String() string { return fmt.Sprintf("%s: %s: %s", f.Kind, f.Place, f.Text) }

// maxWitnesses is how many findings of a kind and place are written out. All are counted.
const maxWitnesses = 5

// Findings are all that was found. The zero value is empty.
type Findings struct {
	counts    map[Kind]int64
	Witnesses []Finding // the first few of each kind and place
}

// Add counts a finding.
func (f *Findings) Add(kind Kind, place Place, format string, args ...any) {
	if f.counts == nil {
		f.counts = make(map[Kind]int64)
	}
	f.counts[kind]++
	at := place.String()
	same := 0
	for i := range f.Witnesses {
		if f.Witnesses[i].Kind == kind && f.Witnesses[i].Place == at {
			same++
		}
	}
	if same < maxWitnesses {
		f.Witnesses = append(f.Witnesses, Finding{kind, at, fmt.Sprintf(format, args...)})
	}
}

// Count is how often a kind was found.
func (f *Findings) Count(kind Kind) int64 { return f.counts[kind] }

// Total is how much was found.
func (f *Findings) Total() (n int64) {
	for _, count := range f.counts {
		n += count
	}
	return n
}

// Check looks at everything that clients saw.
func (h *History) Check(found *Findings) {
	for _, place := range h.Places() {
		c := newChecker(h, place, found)
		for _, r := range c.readings {
			c.records(r)
			c.order(r)
		}
		c.lost()
		c.realTime()
	}
}

// identity is which record it is.
type identity struct {
	writer uint32
	number int64
}

func (id identity) String() string {
	return fmt.Sprintf("record %d of writer %d", id.number, id.writer)
}

// checker looks at one place.
type checker struct {
	place    Place
	found    *Findings
	sends    map[uint32][]Send // by writer
	readings []Reading
	seen     map[int64]witness // by offset: the record that is there, as whoever saw it first says
	last     int64             // the largest offset that anybody saw
}

type witness struct {
	record identity
	by     string
}

func newChecker(h *History, place Place, found *Findings) *checker {
	c := &checker{place: place, found: found, sends: make(map[uint32][]Send), seen: make(map[int64]witness), last: -1}
	for _, r := range h.Readings {
		if r.Place == place {
			c.readings = append(c.readings, r)
		}
	}
	// Final readings first: what they say is what is there, and the others are held against it.
	slices.SortStableFunc(c.readings, func(a, b Reading) int { return cmp.Compare(rank(a), rank(b)) })
	for _, w := range h.Writers {
		if w.Place == place {
			c.sends[w.ID] = w.Sends()
		}
	}
	return c
}

func rank(r Reading) int {
	if r.Final {
		return 0
	}
	return 1
}

// records holds every record of a reading against what was sent, and against other readings.
func (c *checker) records(r Reading) {
	at := make(map[identity]int64, len(r.Records)) // where this reading saw it
	for _, read := range r.Records {
		id := identity{read.Writer, read.Number}
		sends, known := c.sends[read.Writer]
		switch {
		case read.Broken:
			c.found.Add(Unwritten, c.place, "offset %d: %s read bytes that nobody wrote", read.Offset, r.Reader)
			continue
		case !known || read.Number < 0 || read.Number >= int64(len(sends)):
			c.found.Add(Unwritten, c.place, "offset %d: %s read %s, which was never sent here", read.Offset, r.Reader, id)
			continue
		case sends[read.Number].Outcome == Refused:
			c.found.Add(Unwritten, c.place, "offset %d: %s read %s, which was refused", read.Offset, r.Reader, id)
		}
		if before, again := at[id]; again && before != read.Offset {
			c.found.Add(Doubled, c.place, "%s read %s at offset %d and again at %d", r.Reader, id, before, read.Offset)
		} else {
			c.misplaced(r.Reader, id, read.Offset)
			at[id] = read.Offset
		}
		c.see(r.Reader, id, read.Offset)
	}
}

// misplaced compares with the offset that the acknowledgement named.
func (c *checker) misplaced(reader string, id identity, offset int64) {
	if s := c.sends[id.writer][id.number]; s.Outcome == Acknowledged && s.Offset != offset {
		c.found.Add(Misplaced, c.place, "%s was acknowledged at offset %d, %s read it at %d", id, s.Offset, reader, offset)
	}
}

// see notes which record is at an offset, or finds that there are two.
func (c *checker) see(by string, id identity, offset int64) {
	c.last = max(c.last, offset)
	before, known := c.seen[offset]
	switch {
	case !known:
		c.seen[offset] = witness{id, by}
	case before.record != id:
		c.found.Add(Inconsistent, c.place, "offset %d: %s for %s, %s for %s", offset, before.record, before.by, id, by)
	}
}

// order finds records of one writer that come in another order than they were sent, and a reader
// that went back or passed something over.
func (c *checker) order(r Reading) {
	next := make(map[uint32]int64) // the least number that may come, by writer
	previous := int64(-1)
	for i, read := range r.Records {
		switch {
		case read.Offset <= previous:
			c.found.Add(Skipped, c.place, "%s was given offset %d after %d", r.Reader, read.Offset, previous)
		case i > 0 || r.Final:
			c.passedOver(r, previous, read.Offset)
		}
		previous = read.Offset
		if read.Broken {
			continue
		}
		if read.Number < next[read.Writer]-1 {
			c.found.Add(Reordered, c.place, "offset %d: %s comes after record %d, says %s",
				read.Offset, identity{read.Writer, read.Number}, next[read.Writer]-1, r.Reader)
		}
		next[read.Writer] = max(next[read.Writer], read.Number+1)
	}
}

// passedOver finds what a reader did not see between two offsets. Final readings come first, so all
// that is there is known by then; in a final reading itself no offset may be missing, since nothing
// is ever removed from these topics.
func (c *checker) passedOver(r Reading, previous, offset int64) {
	for missing := previous + 1; missing < offset; missing++ {
		at, known := c.seen[missing]
		switch {
		case known:
			c.found.Add(Skipped, c.place, "%s passed over offset %d, which holds %s for %s", r.Reader, missing, at.record, at.by)
			return
		case r.Final:
			c.found.Add(Skipped, c.place, "%s found no offset %d before %d", r.Reader, missing, offset)
			return
		}
	}
}

// lost finds acknowledged records that no final reading has.
func (c *checker) lost() {
	final := make(map[identity]bool)
	complete := false
	for _, r := range c.readings {
		if !r.Final {
			continue
		}
		complete = true
		for _, read := range r.Records {
			if !read.Broken {
				final[identity{read.Writer, read.Number}] = true
			}
		}
	}
	if !complete {
		return // nobody has looked
	}
	for writer, sends := range c.sends {
		for number, s := range sends {
			id := identity{writer, int64(number)}
			if s.Outcome == Acknowledged && !final[id] {
				c.found.Add(Lost, c.place, "%s was acknowledged at offset %d, %s after it was sent", id, s.Offset, s.Done-s.Sent)
				if at, taken := c.seen[s.Offset]; taken {
					c.found.Add(Inconsistent, c.place, "offset %d: acknowledged for %s, holds %s for %s", s.Offset, id, at.record, at.by)
				}
			}
		}
	}
}

// realTime finds a record that is before another in the log though it was sent only after that one
// had been acknowledged, whoever sent them.
func (c *checker) realTime() {
	type acked struct {
		identity
		Send
	}
	var all []acked
	for writer, sends := range c.sends {
		for number, s := range sends {
			if s.Outcome == Acknowledged {
				all = append(all, acked{identity{writer, int64(number)}, s})
			}
		}
	}
	slices.SortFunc(all, func(a, b acked) int { return cmp.Compare(a.Offset, b.Offset) })
	earliest, first := time.Duration(math.MaxInt64), identity{} // the first acknowledgement of a later offset
	for i := len(all) - 1; i >= 0; i-- {
		a := all[i]
		if earliest < a.Sent {
			c.found.Add(Reordered, c.place, "%s is at offset %d, before %s, which was acknowledged %s before the former was sent",
				a.identity, a.Offset, first, a.Sent-earliest)
		}
		if a.Done < earliest {
			earliest, first = a.Done, a.identity
		}
	}
}
