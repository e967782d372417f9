package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/troupe-mq/troupe/bench/chaos"
	"github.com/troupe-mq/troupe/bench/measure"
)

// failoverReport is how long partitions were silent, and whether a record was harmed.
type failoverReport struct {
	Seed         uint64               `json:"seed"`
	Kills        int                  `json:"kills"`
	Victim       string               `json:"victim"`
	Fault        string               `json:"fault"`
	Durability   string               `json:"durability"`
	Sent         int64                `json:"sent"`
	Acknowledged int64                `json:"acknowledged"`
	Failed       int64                `json:"failed"` // that the application was told of
	Gaps         map[string]gapReport `json:"gaps"`   // by client library
	Problems     []string             `json:"problems"`
}

// gapReport is what one client library saw: a figure for each partition and strike.
type gapReport struct {
	Settings  string            `json:"settings"`
	Silence   measure.Quantiles `json:"silence"`
	Histogram []bucket          `json:"histogram"`
}

// bucket counts what is above the bound of the one before and not above its own.
type bucket struct {
	UpTo  time.Duration `json:"up_to_ns"` // 0: without a bound
	Count int           `json:"count"`
}

var bucketBounds = []time.Duration{
	50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 4 * time.Second, 10 * time.Second,
}

func newHistogram(gaps []time.Duration) []bucket {
	buckets := make([]bucket, len(bucketBounds)+1)
	for i, bound := range bucketBounds {
		buckets[i].UpTo = bound
	}
	for _, gap := range gaps {
		i, _ := slices.BinarySearch(bucketBounds, gap)
		buckets[i].Count++
	}
	return buckets
}

// judge is the error of a run that did not keep its promises.
func (r *failoverReport) judge(limit time.Duration) error {
	switch {
	case len(r.Problems) > 0:
		return fmt.Errorf("seed %d: %s", r.Seed, r.Problems[0])
	case r.Failed > 0:
		return fmt.Errorf("seed %d: the application was told of %d records that failed", r.Seed, r.Failed)
	}
	for library, gap := range r.Gaps {
		if gap.Silence.N == 0 {
			return fmt.Errorf("seed %d: nothing was measured: the victims led no partition", r.Seed)
		}
		if r.Fault == strikeStop && library != freshName && library != (chaos.Native{}).Name() {
			continue // it waits for its own time-out
		}
		if gap.Silence.Max > limit {
			return fmt.Errorf("seed %d: with %s a partition was silent for %s, longer than %s", r.Seed, library, gap.Silence.Max, limit)
		}
	}
	return nil
}

// what says what was done to whom.
func (r *failoverReport) what() string {
	whom := map[string]string{victimLeader: "a leader", victimController: "the controller", victimBoth: "the controller, which leads"}[r.Victim]
	return map[string]string{
		strikeKill: "SIGKILL to " + whom, strikeStop: "SIGSTOP to " + whom,
		strikeTerm: "SIGTERM to each in turn", strikeAll: "SIGKILL to all at once",
	}[r.Fault]
}

func (r *failoverReport) write(w io.Writer) {
	fmt.Fprintf(w, "%s\t%d times, seed %d, durability %s\n", r.what(), r.Kills, r.Seed, r.Durability)
	fmt.Fprintf(w, "records\t%d acknowledged of %d, %d failed\n", r.Acknowledged, r.Sent, r.Failed)
	fmt.Fprintf(w, "lost, doubled, reordered, misplaced, copies that differ\t%d\n", len(r.Problems))
	for _, problem := range r.Problems {
		fmt.Fprintf(w, "\t%s\n", problem)
	}
	fmt.Fprintln(w, "\nsilence of a partition\tsamples\tmedian\tp99\tlargest")
	libraries := slices.Sorted(maps.Keys(r.Gaps))
	for _, library := range libraries {
		q := r.Gaps[library].Silence
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", library, q.N, short(q.P50), short(q.P99), short(q.Max))
	}
	for _, library := range libraries {
		fmt.Fprintf(w, "\n%s\t%s\n", library, r.Gaps[library].Settings)
		most := slices.MaxFunc(r.Gaps[library].Histogram, func(a, b bucket) int { return a.Count - b.Count }).Count
		for i, b := range r.Gaps[library].Histogram {
			name := "up to " + b.UpTo.String()
			if b.UpTo == 0 {
				name = "more than " + bucketBounds[i-1].String()
			}
			fmt.Fprintf(w, "%s\t%d\t%s\n", name, b.Count, strings.Repeat("#", (40*b.Count+most-1)/max(most, 1)))
		}
	}
}
