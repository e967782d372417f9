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
	free time.Time // when the bytes granted so far have been sent
}

func (t *throttle) set(rate int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rate = rate
}

// reserve grants n bytes and returns how long to wait before sending them.
func (t *throttle) reserve(n int, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rate <= 0 || t.rate == math.MaxInt64 {
		return 0
	}
	begin := t.free
	if begin.Before(now) {
		begin = now
	}
	t.free = begin.Add(time.Duration(float64(n) / float64(t.rate) * float64(time.Second)))
	return begin.Sub(now)
}
