package actors

import (
	"testing"
	"time"
)

func TestAThrottleSpreadsBytesOverTimeAndSavesNothingUp(t *testing.T) {
	var limit throttle
	now := time.Unix(1000, 0)
	if wait := limit.reserve(1<<30, now); wait != 0 {
		t.Errorf("without a rate: %v", wait)
	}
	limit.set(1000)
	for i, want := range []time.Duration{0, 500 * time.Millisecond, time.Second} {
		if wait := limit.reserve(500, now); wait != want {
			t.Errorf("500 bytes for the %d. time: wait %v, want %v", i+1, wait, want)
		}
	}
	now = now.Add(time.Hour)
	if wait := limit.reserve(1000, now); wait != 0 {
		t.Errorf("after a pause: %v", wait)
	}
	if wait := limit.reserve(1, now); wait != time.Second {
		t.Errorf("a pause is not saved up: %v", wait)
	}
}
