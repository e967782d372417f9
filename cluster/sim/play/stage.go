package play

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// Epoch is when every world begins.
var Epoch = time.Unix(1_700_000_000, 0)

// Stage is where a world is played.
type Stage struct {
	// Random is the only source of randomness.
	Random *rand.Rand
	// Calm says that no more faults are made: everything has to heal.
	Calm bool
	// Check is asked after every event, if there is one.
	Check func()

	now       time.Duration
	scheduled uint64
	events    schedule
	played    int64
	digest    uint64
	violation string

	trace  io.Writer
	column int
}

// Process is something on the stage that runs, or did.
type Process struct {
	Dead        bool
	PausedUntil time.Duration
}

// Outcome is what became of a world.
type Outcome struct {
	Violation string // empty: every invariant held
	Events    int64
	Simulated time.Duration
	Digest    uint64 // of all that happened: the same seed gives the same
}

// New is an empty stage. What happens is written to trace, if there is one, with a column as wide as names are. A simulator
// draws from a stream of its own, so that its seeds are not those of others.
func New(seed, stream uint64, trace io.Writer, column int) Stage {
	return Stage{Random: rand.New(rand.NewPCG(seed, stream)), trace: trace, column: column}
}

// Now is the time since the beginning.
func (s *Stage) Now() time.Duration { return s.now }

// Outcome is what has become of the world so far.
func (s *Stage) Outcome() Outcome {
	return Outcome{Violation: s.violation, Events: s.played, Simulated: s.now, Digest: s.digest}
}

// At lets something happen after a time, as long as the process lives that it is of. Without one it is of the world itself.
func (s *Stage) At(after time.Duration, of *Process, do func()) {
	s.scheduled++
	s.events.push(event{at: s.now + after, seq: s.scheduled, of: of, do: do})
}

// Until lets everything happen up to a time.
func (s *Stage) Until(end time.Duration) {
	for s.violation == "" && len(s.events.heap) > 0 && s.events.heap[0].at <= end {
		e := s.events.pop()
		s.now = e.at
		if p := e.of; p != nil {
			if p.Dead {
				continue
			}
			if p.PausedUntil > s.now {
				e.at = p.PausedUntil
				s.events.push(e)
				continue
			}
		}
		s.played++
		s.digest = s.digest*1099511628211 ^ uint64(e.at) ^ e.seq<<40
		s.Guard(e.do)
		if s.Check != nil {
			s.Guard(s.Check)
		}
	}
	if s.violation == "" {
		s.now = end
	}
}

// Faults lets something go wrong now and then, until all is calm.
func (s *Stage) Faults(every time.Duration, fault func()) {
	s.At(s.Between(every/4, 2*every), nil, func() {
		if s.Calm {
			return
		}
		fault()
		s.Faults(every, fault)
	})
}

// Guard turns a panic, by which rules stop rather than going on, into a violation. After one nothing is done any more.
func (s *Stage) Guard(do func()) {
	if s.violation != "" {
		return
	}
	defer func() {
		if cause := recover(); cause != nil {
			if err, ok := cause.(error); ok {
				panic(err) // a bug: an index, a nil
			}
			s.Violate("stopped: %v", cause)
		}
	}()
	do()
}

// Violate notes an invariant that is broken. The first one counts.
func (s *Stage) Violate(format string, args ...any) {
	if s.violation == "" {
		s.violation = fmt.Sprintf(format, args...)
		s.Note("", "VIOLATION: %s", s.violation)
	}
}

// Between draws a time.
func (s *Stage) Between(from, upTo time.Duration) time.Duration {
	return from + time.Duration(s.Random.Int64N(int64(upTo-from)+1))
}

// Chance draws whether something happens.
func (s *Stage) Chance(percent int) bool { return s.Random.IntN(100) < percent }

// Traced says that somebody reads what is noted.
func (s *Stage) Traced() bool { return s.trace != nil }

// Note writes to the trace what happens, and to whom.
func (s *Stage) Note(who, format string, args ...any) {
	if s.trace != nil {
		fmt.Fprintf(s.trace, "%10.4f %-*s %s\n", s.now.Seconds(), s.column, who, fmt.Sprintf(format, args...))
	}
}
