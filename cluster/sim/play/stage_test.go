package play

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func newStage() *Stage {
	s := New(1, 1, nil, 0)
	return &s
}

func TestEventsHappenByTimeAndThenInTheOrderTheyWereScheduledIn(t *testing.T) {
	type moment struct {
		at time.Duration
		n  int
	}
	s, random := newStage(), rand.New(rand.NewPCG(1, 2))
	var want, got []moment
	for n := range 1000 {
		m := moment{time.Duration(random.IntN(50)), n}
		want = append(want, m)
		s.At(m.at, nil, func() {
			if s.Now() != m.at {
				t.Errorf("what is to happen at %d happens at %d", m.at, s.Now())
			}
			got = append(got, m)
		})
	}
	slices.SortStableFunc(want, func(a, b moment) int { return int(a.at - b.at) })
	s.Until(49)
	if !slices.Equal(got, want) {
		t.Errorf("happened %v, want %v", got, want)
	}
}

func TestWhatIsLaterThanTheEndHappensAfterIt(t *testing.T) {
	s := newStage()
	var happened []time.Duration
	for _, at := range []time.Duration{3, 5, 6} {
		s.At(at, nil, func() { happened = append(happened, s.Now()) })
	}
	s.Until(5)
	if s.Now() != 5 || !slices.Equal(happened, []time.Duration{3, 5}) {
		t.Fatalf("at %d happened %v", s.Now(), happened)
	}
	s.Until(10)
	if s.Now() != 10 || !slices.Equal(happened, []time.Duration{3, 5, 6}) {
		t.Fatalf("at %d happened %v", s.Now(), happened)
	}
}

func TestADeadProcessDoesNothingMore(t *testing.T) {
	s, p := newStage(), &Process{}
	happened := 0
	s.At(1, p, func() { happened++ })
	s.At(2, nil, func() { p.Dead = true })
	s.At(3, p, func() { happened++ })
	s.Until(5)
	if happened != 1 || s.Outcome().Events != 2 {
		t.Errorf("%d things happened to the process, in %d events", happened, s.Outcome().Events)
	}
}

func TestAPausedProcessCatchesUpInOrder(t *testing.T) {
	s, p := newStage(), &Process{PausedUntil: 10}
	var happened []string
	for at, name := range []string{"a", "b", "c"} {
		s.At(time.Duration(at), p, func() {
			if s.Now() != 10 {
				t.Errorf("%s happens at %d", name, s.Now())
			}
			happened = append(happened, name)
		})
	}
	s.At(5, nil, func() { happened = append(happened, "others go on") })
	s.Until(20)
	if want := []string{"others go on", "a", "b", "c"}; !slices.Equal(happened, want) {
		t.Errorf("happened %v, want %v", happened, want)
	}
}

func TestTheFirstViolationEndsAllAndStopsTheTime(t *testing.T) {
	var trace strings.Builder
	s := New(1, 1, &trace, 4)
	s.At(time.Second, nil, func() {
		s.Violate("%d is too many", 7)
		s.Violate("and so is 8")
	})
	s.At(2*time.Second, nil, func() { t.Error("it goes on") })
	s.Until(3 * time.Second)
	s.Guard(func() { t.Error("it goes on") })
	if o := s.Outcome(); o.Violation != "7 is too many" || o.Simulated != time.Second {
		t.Errorf("the outcome is %+v", o)
	}
	if want := "    1.0000      VIOLATION: 7 is too many\n"; trace.String() != want {
		t.Errorf("the trace is %q, want %q", trace.String(), want)
	}
}

func TestRulesThatStopAreAViolationAndBugsAreNone(t *testing.T) {
	s := newStage()
	s.Guard(func() { panic("the epoch went back") })
	if got, want := s.Outcome().Violation, "stopped: the epoch went back"; got != want {
		t.Errorf("the violation is %q, want %q", got, want)
	}
	bug := errors.New("index out of range")
	defer func() {
		if cause := recover(); cause != any(bug) {
			t.Errorf("a bug ends as %v", cause)
		}
	}()
	newStage().Guard(func() { panic(bug) })
}

func TestEveryEventIsFollowedByTheCheck(t *testing.T) {
	s := newStage()
	events, checks := 0, 0
	s.Check = func() {
		checks++
		if checks != events {
			t.Errorf("check %d comes after %d events", checks, events)
		}
		if events == 2 {
			s.Violate("two are enough")
		}
	}
	for range 3 {
		s.At(1, nil, func() { events++ })
	}
	s.Until(5)
	if events != 2 || checks != 2 {
		t.Errorf("%d events, %d checks", events, checks)
	}
}

func TestFaultsAreMadeAgainAndAgainUntilAllIsCalm(t *testing.T) {
	s := newStage()
	faults := 0
	s.Faults(time.Second, func() { faults++ })
	s.Until(100 * time.Second)
	if faults < 50 || faults > 400 { // at least a quarter of a second apart, at most two
		t.Errorf("%d faults in 100 s", faults)
	}
	s.Calm = true
	before := faults
	s.Until(200 * time.Second)
	if faults != before {
		t.Errorf("%d faults once all is calm", faults-before)
	}
}

func TestAnotherOrderOfEventsHasAnotherDigest(t *testing.T) {
	digest := func(first, second time.Duration) uint64 {
		s := newStage()
		s.At(first, nil, func() {})
		s.At(second, nil, func() {})
		s.Until(10)
		return s.Outcome().Digest
	}
	if once, again := digest(1, 2), digest(1, 2); once != again {
		t.Error("the same events have two digests")
	}
	if digest(1, 2) == digest(2, 1) {
		t.Error("two orders have one digest")
	}
}
