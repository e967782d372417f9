package wire

import (
	"sync"
	"testing"
)

// expectReady fails unless these places were woken, in this order.
func expectReady(t *testing.T, w *Waiter, places ...string) {
	t.Helper()
	var got []string
	for _, s := range w.Ready(nil) {
		got = append(got, s.Of.(string))
	}
	if len(got) != len(places) {
		t.Fatalf("woken: %q, want %q", got, places)
	}
	for i := range got {
		if got[i] != places[i] {
			t.Fatalf("woken: %q, want %q", got, places)
		}
	}
	select {
	case <-w.C():
		if len(places) == 0 {
			t.Error("the waiter is woken")
		}
	default:
		if len(places) > 0 {
			t.Error("the waiter is not woken")
		}
	}
}

func TestASpotIsWokenOnceByWhatLiesBeyondItsOffset(t *testing.T) {
	var one, two Parking
	w := NewWaiter()
	one.Enter(w.Spot("one"), 5)
	two.Enter(w.Spot("two"), 7)
	one.Passed(5)
	expectReady(t, w)
	two.Passed(9)
	one.Passed(6)
	one.Passed(7)
	expectReady(t, w, "two", "one")
	one.Passed(8)
	one.All()
	expectReady(t, w)
	one.Enter(w.Spot("one"), 8)
	one.Enter(w.Spot("one"), 9) // again: only the offset changes
	one.Passed(9)
	expectReady(t, w)
	one.All()
	expectReady(t, w, "one")
}

func TestASpotThatLeftIsNotWoken(t *testing.T) {
	var one, two Parking
	w, other := NewWaiter(), NewWaiter()
	one.Enter(w.Spot("one"), 1)
	one.Enter(other.Spot("other"), 1)
	w.Spot("one").Leave()
	w.Spot("one").Leave()
	if n := one.Len(); n != 1 {
		t.Errorf("%d wait", n)
	}
	one.Passed(2)
	expectReady(t, w)
	expectReady(t, other, "other")
	one.Enter(w.Spot("one"), 1)
	two.Enter(w.Spot("one"), 1) // a spot is in one place at a time
	if one.Len() != 0 || two.Len() != 1 {
		t.Errorf("%d wait here and %d there", one.Len(), two.Len())
	}
	w.Leave()
	if two.Len() != 0 {
		t.Error("it has not left")
	}
}

// Whoever enters and then looks misses nothing that is shown first and woken for afterwards.
func TestNothingIsMissedBetweenLookingAndParking(t *testing.T) {
	const last = 10_000
	var p Parking
	var mu sync.Mutex
	shown := Offset(0)
	look := func() Offset {
		mu.Lock()
		defer mu.Unlock()
		return shown
	}
	var mover sync.WaitGroup
	mover.Go(func() {
		for offset := Offset(1); offset <= last; offset++ {
			mu.Lock()
			shown = offset
			mu.Unlock()
			p.Passed(offset)
		}
	})
	w := NewWaiter()
	for seen := Offset(0); seen < last; {
		s := w.Spot("it")
		p.Enter(s, seen)
		if now := look(); now > seen {
			seen = now
			continue
		}
		<-w.C()
		w.Ready(nil)
		seen = look()
	}
	mover.Wait()
	if w.Leave(); p.Len() != 0 {
		t.Errorf("%d still wait", p.Len())
	}
}
