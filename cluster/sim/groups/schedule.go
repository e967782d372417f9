package groups

import (
	"container/heap"
	"time"
)

// event is something that happens at a time. One that belongs to a process is dropped with it, and waits while it is
// paused.
type event struct {
	at  time.Duration // since the beginning
	seq uint64        // what was scheduled first happens first
	of  *process      // nil: of the world itself
	do  func()
}

// process is a broker or a client that runs, or did.
type process struct {
	dead        bool
	pausedUntil time.Duration
}

// schedule is a heap of events: the earliest is first.
type schedule []event

func (s *schedule) next() *event { return &(*s)[0] }
func (s *schedule) pop() event   { return heap.Pop(s).(event) }

// Len implements heap.Interface.
func (s *schedule) Len() int { return len(*s) }

// Less implements heap.Interface.
func (s *schedule) Less(i, j int) bool {
	a, b := &(*s)[i], &(*s)[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

// Swap implements heap.Interface.
func (s *schedule) Swap(i, j int) { (*s)[i], (*s)[j] = (*s)[j], (*s)[i] }

// Push implements heap.Interface.
func (s *schedule) Push(e any) { *s = append(*s, e.(event)) }

// Pop implements heap.Interface.
func (s *schedule) Pop() any {
	last := len(*s) - 1
	e := (*s)[last]
	(*s)[last] = event{}
	*s = (*s)[:last]
	return e
}
