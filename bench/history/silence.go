package history

import (
	"slices"
	"time"
)

// Silences tell how long no record of a place was acknowledged.
type Silences struct {
	acked map[Place][]time.Duration // sorted
}

// Silences looks at what all writers saw from a time on, or those that are chosen.
func (h *History) Silences(from time.Duration, chosen func(*Writer) bool) *Silences {
	s := &Silences{acked: make(map[Place][]time.Duration)}
	for _, w := range h.Writers {
		if chosen != nil && !chosen(w) {
			continue
		}
		s.acked[w.Place] = append(s.acked[w.Place], w.acknowledgedSince(from)...)
	}
	for _, times := range s.acked {
		slices.Sort(times)
	}
	return s
}

// Longest is the longest time without an acknowledgement that overlaps from..to, as a whole: it may
// begin before and end after. With nothing acknowledged after from it lasts until to.
func (s *Silences) Longest(place Place, from, to time.Duration) time.Duration {
	times := s.acked[place]
	i, _ := slices.BinarySearch(times, from)
	begun := from
	if i > 0 {
		begun = times[i-1]
	}
	longest := time.Duration(0)
	for ; begun < to; i++ {
		if i == len(times) {
			return max(longest, to-begun)
		}
		longest = max(longest, times[i]-begun)
		begun = times[i]
	}
	return longest
}

// Next is when the first record of a place was acknowledged at or after from.
func (s *Silences) Next(place Place, from time.Duration) (time.Duration, bool) {
	times := s.acked[place]
	i, _ := slices.BinarySearch(times, from)
	if i == len(times) {
		return 0, false
	}
	return times[i], true
}
