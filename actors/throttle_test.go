package actors

import (
	"testing"
	"time"
)

func TestAThrottleSpreadsBytesOverTimeAndSavesNothingUp(t *testing.T) {
	var limit throttle
	now := time.Unix(1000, 0)
	limit.spend(1<<30, now)
	if wait := limit.wait(now); wait != 0 {
		t.Errorf("without a rate: %v", wait)
	}
	limit.set(1000)
	for i, want := range []time.Duration{0, 500 * time.Millisecond, time.Second} {
		if wait := limit.wait(now); wait != want {
			t.Errorf("after %d times 500 bytes: wait %v, want %v", i, wait, want)
		}
		limit.spend(500, now)
	}
	now = now.Add(time.Hour)
	if wait := limit.wait(now); wait != 0 {
		t.Errorf("after a pause: %v", wait)
	}
	limit.spend(1000, now)
	if wait := limit.wait(now); wait != time.Second {
		t.Errorf("a pause is saved up: %v", wait)
	}
	limit.set(1000)
	if wait := limit.wait(now); wait != time.Second {
		t.Errorf("the same rate again: %v", wait)
	}
	limit.set(1 << 20)
	if wait := limit.wait(now); wait != 0 {
		t.Errorf("at another rate: %v", wait)
	}
}
