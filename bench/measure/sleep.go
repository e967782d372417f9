package measure

import (
	"time"

	"golang.org/x/sys/unix"
)

// SleepUntil blocks the calling thread until t. time.Sleep wakes up to a millisecond late, the
// resolution of the runtime's poller, which would hide the latency of what is measured.
func SleepUntil(t time.Time) {
	for {
		left := time.Until(t)
		if left <= 0 {
			return
		}
		request := unix.NsecToTimespec(left.Nanoseconds())
		if err := unix.Nanosleep(&request, nil); err == nil {
			return
		}
	}
}
