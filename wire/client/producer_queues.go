package client

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// outstanding counts the records that were taken and whose callback has not returned.
type outstanding struct {
	mu     sync.Mutex
	n      int
	closed bool
	zero   chan struct{} // closed when n is 0; made anew when somebody waits
}

func (o *outstanding) init() {}

func (o *outstanding) add() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	o.n++
	return true
}

func (o *outstanding) done(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.n -= n
	if o.n == 0 && o.zero != nil {
		close(o.zero)
		o.zero = nil
	}
}

func (o *outstanding) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
}

// none returns a channel that is closed as soon as nothing is outstanding.
func (o *outstanding) none() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.n == 0 {
		c := make(chan struct{})
		close(c)
		return c
	}
	if o.zero == nil {
		o.zero = make(chan struct{})
	}
	return o.zero
}

// alarms wakes partitions at set times: when a batch has lingered enough, a pause is over or a
// batch is too old. One goroutine and one timer serve all partitions.
type alarms struct {
	mu   sync.Mutex
	heap alarmHeap
	wake chan struct{}
}

type alarm struct {
	at        time.Time
	partition *producerPartition
}

func (a *alarms) init() { a.wake = make(chan struct{}, 1) }

func (a *alarms) set(at time.Time, p *producerPartition) {
	a.mu.Lock()
	heap.Push(&a.heap, alarm{at, p})
	first := a.heap[0].at.Equal(at)
	a.mu.Unlock()
	if first {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

func (a *alarms) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var due []*producerPartition
		a.mu.Lock()
		at := now()
		for len(a.heap) > 0 && !a.heap[0].at.After(at) {
			due = append(due, heap.Pop(&a.heap).(alarm).partition)
		}
		next := time.Hour
		if len(a.heap) > 0 {
			next = a.heap[0].at.Sub(at)
		}
		a.mu.Unlock()
		for _, p := range due {
			p.alarm(at)
		}
		if len(due) > 0 {
			continue // what they set may be due already
		}
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-timer.C:
		}
	}
}

type alarmHeap []alarm

func (h alarmHeap) Len() int           { return len(h) }
func (h alarmHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h alarmHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *alarmHeap) Push(x any)        { *h = append(*h, x.(alarm)) }
func (h *alarmHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = alarm{}
	*h = old[:len(old)-1]
	return last
}
