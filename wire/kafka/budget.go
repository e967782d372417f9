package kafka

import (
	"sync"
	"sync/atomic"
)

// budget counts the bytes in flight on all connections. It lets a request pass while there is
// room, so the last one may overshoot by its size; one that is larger than all never waits for ever.
type budget struct {
	limit   int64
	used    atomic.Int64
	waiting atomic.Int32

	mu     sync.Mutex
	room   sync.Cond
	closed bool
}

func newBudget(limit int64) *budget {
	b := &budget{limit: limit}
	b.room.L = &b.mu
	return b
}

// take waits for room and takes n bytes. It is false when the budget was closed.
func (b *budget) take(n int64) bool {
	if b.tryTake(n) {
		return true
	}
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.closed {
		if b.tryTake(n) {
			return true
		}
		b.room.Wait()
	}
	return false
}

func (b *budget) tryTake(n int64) bool {
	for {
		used := b.used.Load()
		if used >= b.limit {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// give returns n bytes. Completions call it: it waits for nothing but a short lock.
func (b *budget) give(n int64) {
	b.used.Add(-n)
	if b.waiting.Load() == 0 {
		return
	}
	b.mu.Lock()
	b.room.Broadcast()
	b.mu.Unlock()
}

// close lets all that wait go, without what they waited for.
func (b *budget) close() {
	b.mu.Lock()
	b.closed = true
	b.room.Broadcast()
	b.mu.Unlock()
}
