package wire

import "sync"

// Waiter is woken when one of the partitions that it waits for has something new for a parked fetch.
// Everything but Wake, and its Spots too, is for the goroutine that owns it at the moment.
//
//	fetch --Enter--> Spot, linked into a partition's Parking
//	                   |  the high watermark passes what the fetch has seen, or the replica ends
//	                   v
//	        Ready <-- Waiter --C--> fetch, which looks again at those that are ready, and at no others
type Waiter struct {
	woken chan struct{}
	spots map[any]*Spot

	mu    sync.Mutex
	ready []*Spot // woken since the last Ready
}

// NewWaiter returns a Waiter that nobody has woken.
func NewWaiter() *Waiter { return &Waiter{woken: make(chan struct{}, 1)} }

// Wake wakes the waiter. It never blocks, and many wakes before one C count as one. It may be called
// from any goroutine.
func (w *Waiter) Wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// C delivers one value after a Wake. A value may be left from before the waiter was parked, so
// the owner looks again rather than believing it.
func (w *Waiter) C() <-chan struct{} { return w.woken }

// Spot returns the waiter's Spot for a place, which it makes at the first call.
func (w *Waiter) Spot(place any) *Spot {
	s := w.spots[place]
	if s == nil {
		if w.spots == nil {
			w.spots = make(map[any]*Spot)
		}
		s = &Spot{Of: place, waiter: w}
		w.spots[place] = s
	}
	return s
}

// Leave ends the waiting in every place that Spot was asked for.
func (w *Waiter) Leave() {
	for _, s := range w.spots {
		s.Leave()
	}
	w.spots = nil
}

// Ready appends to list the Spots that were woken since the last call, in that order.
func (w *Waiter) Ready(list []*Spot) []*Spot {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.ready {
		s.woken = false
	}
	list = append(list, w.ready...)
	clear(w.ready)
	w.ready = w.ready[:0]
	return list
}

// Spot is where a Waiter waits for one partition. It is woken once, and then has to enter again.
type Spot struct {
	Of any // the owner's own: what it waits for

	waiter  *Waiter
	woken   bool     // is in the waiter's list; under the waiter's lock
	parking *Parking // where it entered last; the owner's

	// Under the lock of the Parking.
	prev, next *Spot // nil: it is not there any more
	beyond     Offset
}

// Bind makes a Spot that waits nowhere one of w's.
func (s *Spot) Bind(w *Waiter, of any) { s.waiter, s.Of = w, of }

// Leave ends the waiting. The Spot may have been woken before.
func (s *Spot) Leave() {
	if s.parking != nil {
		s.parking.leave(s)
		s.parking = nil
	}
}

func (s *Spot) wake() {
	s.waiter.mu.Lock()
	if !s.woken {
		s.woken = true
		s.waiter.ready = append(s.waiter.ready, s)
	}
	s.waiter.mu.Unlock()
	s.waiter.Wake()
}

// Parking is where fetches wait for one partition. It stands beside the partition's replica actor, not
// in it: who waits for ten thousand partitions would have to send as many messages, and one to an
// actor that stops is lost. The zero value is empty; it may be used from any goroutine.
//
// Nothing is missed, because who waits first enters and then looks at what the partition shows, and
// the partition first shows what is new and then wakes.
type Parking struct {
	mu   sync.Mutex
	ring Spot // sentinel
}

// Enter has s woken by the first Passed above beyond, or by All. If it is here already, only beyond changes.
func (p *Parking) Enter(s *Spot, beyond Offset) {
	if s.parking != p {
		s.Leave()
		s.parking = p
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.beyond = beyond
	if s.next != nil {
		return
	}
	if p.ring.next == nil {
		p.ring.next, p.ring.prev = &p.ring, &p.ring
	}
	s.prev, s.next = p.ring.prev, &p.ring
	s.prev.next, s.next.prev = s, s
}

func (p *Parking) leave(s *Spot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.unlink()
}

func (s *Spot) unlink() {
	if s.next != nil {
		s.prev.next, s.next.prev = s.next, s.prev
		s.prev, s.next = nil, nil
	}
}

// Len counts those who wait here.
func (p *Parking) Len() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := p.ring.next; s != nil && s != &p.ring; s = s.next {
		n++
	}
	return n
}

// Passed wakes those that wait for something beyond an offset below the high watermark.
func (p *Parking) Passed(highWatermark Offset) {
	p.wake(func(beyond Offset) bool { return beyond < highWatermark })
}

// All wakes everyone: the partition is not what it was.
func (p *Parking) All() { p.wake(func(Offset) bool { return true }) }

func (p *Parking) wake(due func(beyond Offset) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ring.next == nil {
		return
	}
	for s := p.ring.next; s != &p.ring; {
		next := s.next
		if due(s.beyond) {
			s.unlink()
			s.wake()
		}
		s = next
	}
}
