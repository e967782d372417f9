package replica

import (
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// Parked holds those who wait for the high watermark to reach an offset, ordered by that offset.
// T is what the shell needs to answer one of them.
type Parked[T any] struct {
	waiting []parked[T] // waiting[first:], ascending by end
	first   int
}

type parked[T any] struct {
	end      wire.Offset
	deadline time.Time
	who      T
}

// Len is how many wait.
func (p *Parked[T]) Len() int { return len(p.waiting) - p.first }

// Add parks who until the high watermark is at least end.
//
// Appends arrive in the order of their ends. Only a duplicate of an earlier batch waits for an
// offset below the last one, and finds its place from the back.
func (p *Parked[T]) Add(end wire.Offset, deadline time.Time, who T) {
	if p.first > 32 && p.first > len(p.waiting)/2 {
		n := copy(p.waiting, p.waiting[p.first:])
		clear(p.waiting[n:])
		p.waiting, p.first = p.waiting[:n], 0
	}
	p.waiting = append(p.waiting, parked[T]{end, deadline, who})
	for i := len(p.waiting) - 1; i > p.first && p.waiting[i-1].end > end; i-- {
		p.waiting[i], p.waiting[i-1] = p.waiting[i-1], p.waiting[i]
	}
}

// Next takes out the one with the smallest offset if that is at most highWatermark.
func (p *Parked[T]) Next(highWatermark wire.Offset) (who T, ok bool) {
	if p.Len() == 0 || p.waiting[p.first].end > highWatermark {
		return who, false
	}
	who = p.waiting[p.first].who
	p.waiting[p.first] = parked[T]{}
	p.first++
	if p.first == len(p.waiting) {
		p.waiting, p.first = p.waiting[:0], 0
	}
	return who, true
}

// Expire takes out all whose deadline has passed, and returns the earliest deadline left.
// A zero deadline never passes.
func (p *Parked[T]) Expire(now time.Time) (expired []T, next time.Time) {
	kept := p.waiting[p.first:p.first]
	for _, w := range p.waiting[p.first:] {
		if !w.deadline.IsZero() && !now.Before(w.deadline) {
			expired = append(expired, w.who)
			continue
		}
		if !w.deadline.IsZero() && (next.IsZero() || w.deadline.Before(next)) {
			next = w.deadline
		}
		kept = append(kept, w)
	}
	clear(p.waiting[p.first+len(kept):])
	p.waiting = p.waiting[:p.first+len(kept)]
	return expired, next
}

// Drain takes out everyone.
func (p *Parked[T]) Drain() []T {
	var all []T
	for _, w := range slices.Clone(p.waiting[p.first:]) {
		all = append(all, w.who)
	}
	clear(p.waiting)
	p.waiting, p.first = p.waiting[:0], 0
	return all
}
