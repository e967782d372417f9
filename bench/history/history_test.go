package history

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"
)

// at is the place of all tests here.
var at = Place{"orders", 2}

// right is a history in which nothing is wrong: two writers, five records each, acknowledged in turn,
// read back by two readers at the end and by one on the way.
func right() *History {
	h := &History{}
	writers := []*Writer{h.NewWriter("kafka", at), h.NewWriter("native", at)}
	var records []Read
	for i := range 10 {
		w := writers[i%2]
		sent := time.Duration(i) * time.Millisecond
		n := w.Sending(sent)
		w.Acknowledge(n, int64(i), sent+time.Millisecond/2)
		records = append(records, NewRead(int64(i), Value(w.ID, n, 60)))
	}
	h.Readings = []Reading{
		{Reader: "tail", Place: at, Records: slices.Clone(records[:7])},
		{Reader: "final 1", Place: at, Final: true, Records: records},
		{Reader: "final 2", Place: at, Final: true, Records: slices.Clone(records)},
	}
	return h
}

func check(h *History) *Findings {
	var found Findings
	h.Check(&found)
	return &found
}

func TestARightHistoryIsFoundRight(t *testing.T) {
	if found := check(right()); found.Total() != 0 {
		t.Fatalf("found %v", found.Witnesses)
	}
}

func TestARecordOfUnknownOutcomeMayBeThereOrNot(t *testing.T) {
	h := right()
	h.Writers[0].Fail(h.Writers[0].Sending(time.Second), Unknown, errors.New("timed out"), 2*time.Second)
	h.Writers[0].Sending(3 * time.Second) // and nobody answered for this one
	if found := check(h); found.Total() != 0 {
		t.Fatalf("absent: found %v", found.Witnesses)
	}
	for i := range h.Readings {
		if r := &h.Readings[i]; r.Final {
			r.Records = append(r.Records, Read{Offset: 10, Writer: 0, Number: 5})
		}
	}
	if found := check(h); found.Total() != 0 {
		t.Fatalf("present: found %v", found.Witnesses)
	}
}

// TestEachCheckerFindsWhatItIsFor breaks the right history in every way there is a kind for.
func TestEachCheckerFindsWhatItIsFor(t *testing.T) {
	finals := func(h *History, change func(r *Reading)) {
		for i := range h.Readings {
			if h.Readings[i].Final {
				change(&h.Readings[i])
			}
		}
	}
	for _, c := range []struct {
		name  string
		want  Kind
		count int64
		spoil func(h *History)
	}{
		{"the last record is gone", Lost, 1, func(h *History) {
			finals(h, func(r *Reading) { r.Records = r.Records[:9] })
		}},
		{"a record is gone and another has its offset", Lost, 1, func(h *History) {
			finals(h, func(r *Reading) { r.Records[9] = Read{Offset: 9, Writer: 0, Number: 5} })
			h.Writers[0].Sending(time.Second)
		}},
		{"the same, as a contradiction", Inconsistent, 1, func(h *History) {
			finals(h, func(r *Reading) { r.Records[9] = Read{Offset: 9, Writer: 0, Number: 5} })
			h.Writers[0].Sending(time.Second)
		}},
		{"a record is there twice", Doubled, 2, func(h *History) {
			finals(h, func(r *Reading) { r.Records = append(r.Records, Read{Offset: 10, Writer: 1, Number: 4}) })
		}},
		{"two records of a writer change places", Reordered, 4, func(h *History) { // to each reader, and twice by the clock
			w := h.Writers[0]
			w.sends[1].Offset, w.sends[2].Offset = w.sends[2].Offset, w.sends[1].Offset
			finals(h, func(r *Reading) { r.Records[2].Number, r.Records[4].Number = 2, 1 })
			h.Readings = h.Readings[1:]
		}},
		{"a record comes before one that was acknowledged before it was sent", Reordered, 1, func(h *History) {
			late := &h.Writers[1].sends[1] // at offset 3; offset 4 was acknowledged after 4.5 ms
			late.Sent, late.Done = 10*time.Millisecond, 11*time.Millisecond
		}},
		{"a record is at another offset than acknowledged", Misplaced, 3, func(h *History) { // all three readers have it
			h.Writers[1].sends[2].Offset = 50
		}},
		{"a reader on the way saw another record", Inconsistent, 1, func(h *History) {
			h.Readings[0].Records[6].Number++
		}},
		{"two final readers do not agree", Inconsistent, 1, func(h *History) {
			h.Readings[1].Records[9].Number = 3
			h.Readings[2].Records[9].Number = 4
			h.Writers[1].sends[4].Outcome = Unknown
		}},
		{"bytes that nobody wrote", Unwritten, 1, func(h *History) {
			value := Value(0, 4, 60)
			value[30]++
			h.Readings[2].Records[8] = NewRead(8, value)
		}},
		{"a number that was never sent", Unwritten, 1, func(h *History) {
			h.Readings[2].Records = append(h.Readings[2].Records, Read{Offset: 10, Writer: 1, Number: 5})
		}},
		{"a writer of another partition", Unwritten, 1, func(h *History) {
			other := h.NewWriter("kafka", Place{"orders", 3})
			other.Sending(0)
			h.Readings[2].Records = append(h.Readings[2].Records, Read{Offset: 10, Writer: other.ID, Number: 0})
		}},
		{"a record that was refused", Unwritten, 3, func(h *History) {
			h.Writers[0].Fail(0, Refused, errors.New("too large"), time.Second)
		}},
		{"a reader on the way goes back", Skipped, 1, func(h *History) {
			r := &h.Readings[0]
			r.Records = append(r.Records, r.Records[6])
		}},
		{"a reader on the way passes over a record", Skipped, 1, func(h *History) {
			h.Readings[0].Records = slices.Delete(h.Readings[0].Records, 3, 5)
		}},
		{"an offset is missing", Skipped, 2, func(h *History) {
			h.Readings = h.Readings[1:]
			finals(h, func(r *Reading) { r.Records = slices.Delete(r.Records, 3, 4) })
		}},
		{"the first offset is missing", Skipped, 2, func(h *History) {
			h.Readings = h.Readings[1:]
			finals(h, func(r *Reading) { r.Records = r.Records[1:] })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := right()
			c.spoil(h)
			found := check(h)
			if got := found.Count(c.want); got != c.count {
				t.Fatalf("%d %s, want %d; found %v", got, c.want, c.count, found.Witnesses)
			}
		})
	}
}

func TestWithoutAFinalReadingNothingIsLost(t *testing.T) {
	h := right()
	h.Readings = h.Readings[:1]
	if found := check(h); found.Total() != 0 {
		t.Fatalf("found %v", found.Witnesses)
	}
}

func TestOnlyTheFirstFewFindingsAreWrittenOutAndAllAreCounted(t *testing.T) {
	h := right()
	for i := range h.Readings {
		h.Readings[i].Records = nil
	}
	found := check(h)
	if found.Count(Lost) != 10 || len(found.Witnesses) != maxWitnesses {
		t.Fatalf("%d lost, %d witnesses", found.Count(Lost), len(found.Witnesses))
	}
}

func TestAValueTellsItsWriterAndThatItIsWhole(t *testing.T) {
	for _, size := range []int{0, MinValueBytes, 100} {
		b := Value(7, 1<<40, size)
		writer, number, ok := ParseValue(b)
		if !ok || writer != 7 || number != 1<<40 || len(b) != max(size, MinValueBytes) {
			t.Errorf("size %d: writer %d, number %d, %v, %d bytes", size, writer, number, ok, len(b))
		}
		for i := range b {
			torn := bytes.Clone(b)
			torn[i] ^= 1
			if _, _, ok := ParseValue(torn); ok {
				t.Errorf("size %d: byte %d was changed, and it is still taken", size, i)
			}
		}
		if _, _, ok := ParseValue(b[:len(b)-1]); ok {
			t.Errorf("size %d: it is taken without its last byte", size)
		}
	}
}

func FuzzParseValue(f *testing.F) {
	f.Add(Value(1, 2, 40))
	f.Add([]byte("trh1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if writer, number, ok := ParseValue(b); ok && !bytes.Equal(b[:16], Value(writer, number, len(b))[:16]) {
			t.Fatalf("%x is taken for record %d of writer %d", b, number, writer)
		}
	})
}

func TestCopiesThatDifferBelowWhatWasReadAreFound(t *testing.T) {
	batches := func() []Batch {
		return []Batch{{Base: 0, Last: 4, Epoch: 1, Sum: [32]byte{1}}, {Base: 5, Last: 9, Epoch: 2, Sum: [32]byte{2}}}
	}
	for _, c := range []struct {
		name  string
		end   int64
		want  int64
		spoil func(c *Copy)
	}{
		{"equal copies", 10, 0, func(*Copy) {}},
		{"a copy that has more", 10, 0, func(c *Copy) { c.Batches = append(c.Batches, Batch{Base: 10, Last: 12}) }},
		{"other bytes that nobody was shown", 5, 0, func(c *Copy) { c.Batches[1].Sum[0]++ }},
		{"other bytes", 10, 1, func(c *Copy) { c.Batches[1].Sum[0]++ }},
		{"another epoch", 10, 1, func(c *Copy) { c.Batches[0].Epoch = 3 }},
		{"a copy that is too short", 10, 1, func(c *Copy) { c.Batches = c.Batches[:1] }},
		{"an empty copy", 10, 1, func(c *Copy) { c.Batches = nil }},
	} {
		copies := []Copy{{Broker: 1, Place: at, Batches: batches()}, {Broker: 2, Place: at, Batches: batches()}}
		c.spoil(&copies[1])
		var found Findings
		CompareCopies(copies, c.end, &found)
		if found.Count(Diverged) != c.want {
			t.Errorf("%s: %v", c.name, found.Witnesses)
		}
	}
}

func TestASilenceIsMeasuredWholeAndMayNotHaveEnded(t *testing.T) {
	h := &History{}
	w := h.NewWriter("kafka", at)
	for _, ms := range []time.Duration{10, 20, 30, 530, 540, 550} {
		w.Acknowledge(w.Sending(0), 0, ms*time.Millisecond)
	}
	s := h.Silences(0, nil)
	for _, c := range []struct{ from, to, want time.Duration }{
		{0, 25, 10},     // before the first there is nothing to begin with
		{35, 100, 500},  // begun before, ended after
		{31, 545, 500},  // in the middle
		{545, 900, 350}, // still lasting
		{800, 900, 350}, // it began at 550
	} {
		if got := s.Longest(at, c.from*time.Millisecond, c.to*time.Millisecond); got != c.want*time.Millisecond {
			t.Errorf("%d to %d: %s, want %d ms", c.from, c.to, got, c.want)
		}
	}
	if got := h.Silences(535*time.Millisecond, nil).Longest(at, 535*time.Millisecond, 545*time.Millisecond); got != 10*time.Millisecond {
		t.Errorf("seen from the end: %s", got)
	}
	if got := w.LastAcknowledged(); got != 550*time.Millisecond {
		t.Errorf("the last was acknowledged at %s", got)
	}
	if next, ok := s.Next(at, 31*time.Millisecond); !ok || next != 530*time.Millisecond {
		t.Errorf("next is at %s, %v", next, ok)
	}
	if _, ok := s.Next(at, time.Second); ok {
		t.Error("something was acknowledged after the last")
	}
	if got := h.Silences(0, func(*Writer) bool { return false }).Longest(at, 0, time.Second); got != time.Second {
		t.Errorf("without writers: %s", got)
	}
}

func TestTheVerdictNeedsFaultsThatHadAnEffectAndALoad(t *testing.T) {
	enough := Evidence{Duration: time.Minute, Acknowledged: 6000, Faults: 6, Final: 4, Places: 4}
	var nothing, something Findings
	something.Add(Lost, at, "gone")
	for _, c := range []struct {
		name   string
		found  *Findings
		change func(e *Evidence)
		want   Verdict
	}{
		{"enough of everything", &nothing, func(*Evidence) {}, Valid},
		{"something found", &something, func(*Evidence) {}, Invalid},
		{"something found in a run of nothing", &something, func(e *Evidence) { *e = Evidence{} }, Invalid},
		{"too few faults", &nothing, func(e *Evidence) { e.Faults = 5 }, Undecidable},
		{"no fault in a short run", &nothing, func(e *Evidence) { e.Duration, e.Faults = time.Second, 0 }, Undecidable},
		{"too few acknowledgements", &nothing, func(e *Evidence) { e.Acknowledged = 5999 }, Undecidable},
		{"a partition that nobody read back", &nothing, func(e *Evidence) { e.Final = 3 }, Undecidable},
		{"no partition at all", &nothing, func(e *Evidence) { e.Final, e.Places = 0, 0 }, Undecidable},
	} {
		e := enough
		c.change(&e)
		got, reason := Judge(c.found, e)
		if got != c.want || (got == Undecidable) != (reason != "") {
			t.Errorf("%s: %s (%s), want %s", c.name, got, reason, c.want)
		}
	}
}
