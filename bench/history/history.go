// Package history holds what clients of a log saw, and finds what a log must never do: lose an
// acknowledged record, write it twice, in another order or at another offset, show two readers
// different records in one place, or keep copies that differ.
//
//	history.go   what happened: writers with their records, readings
//	value.go     what is in a record, so that it tells whose it is and whether it is whole
//	check.go     the checkers over one partition; each is linear but for sorting
//	replicas.go  copies of a partition compared batch by batch
//	silence.go   how long nobody's record was acknowledged
//	verdict.go   valid, invalid, or unknown because too little happened
//
// A Writer belongs to one partition and numbers its records 0, 1, 2, ... A record has one of three
// outcomes. Acknowledged: it is in the log, at the offset that the acknowledgement named. Refused:
// it is not. Unknown, which is also what a record has that nobody answered for: it may be there,
// once. Whoever records history says Refused only of what cannot have been written, and Unknown of
// all else: that can hide a fault, but can never accuse a log that is right.
//
// All times are since the beginning of the run, on one clock. Nothing here reads a clock, a socket
// or a file.
package history

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Place is a partition of a topic.
type Place struct {
	Topic     string
	Partition int32
}

func (p Place) String() string { return fmt.Sprintf("%s/%d", p.Topic, p.Partition) }

// Outcome is what became of a record.
type Outcome int8

// The outcomes. The zero value says the least.
const (
	Unknown Outcome = iota
	Acknowledged
	Refused
)

// Send is one record of a writer.
type Send struct {
	Sent    time.Duration // when it was handed to the client
	Done    time.Duration // when the outcome was told
	Offset  int64         // of an acknowledged record
	Outcome Outcome
}

// Writer is whoever writes numbered records to a place, one after the other. A client may tell the
// outcomes on any goroutine.
type Writer struct {
	ID     uint32
	Client string // what it writes with, for people
	Place  Place

	mu     sync.Mutex
	sends  []Send
	acked  int64
	failed int64
	last   time.Duration // of the acknowledgements
	errs   map[string]int64
}

// Sending notes that the next record is about to be handed to the client, and returns its number.
func (w *Writer) Sending(at time.Duration) (number int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sends = append(w.sends, Send{Sent: at})
	return int64(len(w.sends) - 1)
}

// Acknowledge notes that a record is at an offset.
func (w *Writer) Acknowledge(number, offset int64, at time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.sends[number]
	s.Done, s.Offset, s.Outcome = at, offset, Acknowledged
	w.acked++
	w.last = max(w.last, at)
}

// Fail notes that a record was given up: refused, or with an unknown outcome.
func (w *Writer) Fail(number int64, outcome Outcome, err error, at time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.sends[number]
	s.Done, s.Outcome = at, outcome
	w.failed++
	if w.errs == nil {
		w.errs = make(map[string]int64)
	}
	w.errs[err.Error()]++
}

// Counts returns how many records were sent, acknowledged and given up so far.
func (w *Writer) Counts() (sent, acknowledged, failed int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(len(w.sends)), w.acked, w.failed
}

// Errors returns what the client said of records that it gave up, and how often.
func (w *Writer) Errors() map[string]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	errs := make(map[string]int64, len(w.errs))
	for text, n := range w.errs {
		errs[text] = n
	}
	return errs
}

// LastAcknowledged is when a record was last acknowledged; 0 before the first.
func (w *Writer) LastAcknowledged() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// acknowledgedSince returns when records were acknowledged from a time on, and the last time before,
// of a client that is told in the order in which it sent.
func (w *Writer) acknowledgedSince(from time.Duration) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var times []time.Duration
	for i := len(w.sends) - 1; i >= 0; i-- {
		if s := &w.sends[i]; s.Outcome == Acknowledged {
			times = append(times, s.Done)
			if s.Done < from {
				break
			}
		}
	}
	return times
}

// Sends returns a copy of what was sent so far.
func (w *Writer) Sends() []Send {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sends)
}

// Read is a record as a reader saw it.
type Read struct {
	Offset int64
	Writer uint32
	Number int64
	Broken bool // the value is none that a writer makes; Writer and Number say nothing then
}

// NewRead opens the value of a record.
func NewRead(offset int64, value []byte) Read {
	writer, number, ok := ParseValue(value)
	return Read{Offset: offset, Writer: writer, Number: number, Broken: !ok}
}

// Reading is what one reader saw of a place, in the order in which it came, from the first offset
// on.
type Reading struct {
	Reader  string
	Place   Place
	Final   bool // made after everything had ended and healed: it saw all that is there
	Records []Read
}

// History is what happened to a topic.
type History struct {
	Writers  []*Writer
	Readings []Reading
}

// NewWriter adds a writer.
func (h *History) NewWriter(client string, place Place) *Writer {
	w := &Writer{ID: uint32(len(h.Writers)), Client: client, Place: place}
	h.Writers = append(h.Writers, w)
	return w
}

// Counts returns the sums over all writers.
func (h *History) Counts() (sent, acknowledged, failed int64) {
	for _, w := range h.Writers {
		s, a, f := w.Counts()
		sent, acknowledged, failed = sent+s, acknowledged+a, failed+f
	}
	return sent, acknowledged, failed
}

// Places returns where there are writers, in their order.
func (h *History) Places() []Place {
	var places []Place
	for _, w := range h.Writers {
		if !slices.Contains(places, w.Place) {
			places = append(places, w.Place)
		}
	}
	return places
}
