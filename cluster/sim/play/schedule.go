package play

import "time"

// event is something that happens at a time. One that belongs to a process is dropped with it, and
// waits while it is paused.
type event struct {
	at  time.Duration // since the beginning
	seq uint64        // what was scheduled first happens first
	of  *Process      // nil: of the world itself
	do  func()
}

func (e *event) before(o *event) bool {
	return e.at < o.at || e.at == o.at && e.seq < o.seq
}

// schedule is a binary heap of events: the earliest is first. It is written by hand, since container/heap would put each event
// into an interface, and so on the heap of Go.
type schedule struct{ heap []event }

func (s *schedule) push(e event) {
	s.heap = append(s.heap, e)
	i := len(s.heap) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !s.heap[i].before(&s.heap[parent]) {
			break
		}
		s.heap[i], s.heap[parent] = s.heap[parent], s.heap[i]
		i = parent
	}
}

func (s *schedule) pop() event {
	first := s.heap[0]
	last := len(s.heap) - 1
	s.heap[0] = s.heap[last]
	s.heap[last] = event{}
	s.heap = s.heap[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if s.heap[child].before(&s.heap[least]) {
				least = child
			}
		}
		if least == i {
			return first
		}
		s.heap[i], s.heap[least] = s.heap[least], s.heap[i]
		i = least
	}
}
