package actors

import (
	"math"
	"sync"
	"time"
)

// throttle spreads bytes over time: what this broker sends to replicas that reassignments bring in
// (leader.replication.throttled.rate). All replica actors of a broker share one.
type throttle struct {
	mu   sync.Mutex
	rate int64     // bytes a second; 0 or less, or the largest number: as fast as it goes
	free time.Time // when the bytes sent so far have taken their time
}

func (t *throttle) set(rate int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rate != rate {
		t.rate, t.free = rate, time.Time{} // who waits at the old rate would wait for it no longer
	}
}

// wait is how long it is until more may be sent.
func (t *throttle) wait(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, t.free.Sub(now))
}

// spend notes that n bytes were sent.
func (t *throttle) spend(n int, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rate <= 0 || t.rate == math.MaxInt64 {
		return
	}
	if t.free.Before(now) {
		t.free = now
	}
	t.free = t.free.Add(time.Duration(float64(n) / float64(t.rate) * float64(time.Second)))
}
