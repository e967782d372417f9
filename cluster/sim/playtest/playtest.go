// Package playtest tests simulators: every seed has to keep the invariants, and is the same run each time; and every mutant
// has to break one.
package playtest

import (
	"bytes"
	"flag"
	"io"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/cluster/sim/play"
)

var (
	seeds       = flag.Uint64("sim.seeds", 200, "how many seeds are played")
	first       = flag.Uint64("sim.first", 1, "the first of them")
	one         = flag.Uint64("sim.seed", 0, "play this seed alone, and print all that happens")
	mutant      = flag.String("sim.mutant", string(play.None), "the mutant that -sim.seed plays")
	mutantSeeds = flag.Uint64("sim.mutantseeds", 2000, "how many seeds a mutant may live for")
	count       = flag.Bool("sim.count", false, "play all of a mutant's seeds, and tell how many fail")
)

// Simulator is one that is to be tested. Its Stats are counters of what a run has been through.
type Simulator[Profile, Stats comparable] struct {
	Run     func(seed uint64, mutant play.Mutant, trace io.Writer) play.Result[Profile, Stats]
	Mutants play.Mutants[Profile]
}

// KeepsEveryInvariant plays the rules as they are, in many seeds, which have to be through all that is counted.
func (s Simulator[Profile, Stats]) KeepsEveryInvariant(t *testing.T) {
	if *one != 0 {
		if r := s.Run(*one, play.Mutant(*mutant), os.Stdout); r.Violation != "" {
			t.Fatal(r.Violation)
		}
		return
	}
	began := time.Now() //nolint:forbidigo // how many seeds are played in a minute, a real one
	all := s.play(play.None, *first, *seeds)
	minutes := time.Since(began).Minutes()
	t.Logf("%d seeds, %.0f a minute, %.1f simulated hours, %.1f per minute, %d events: %+v", *seeds, float64(*seeds)/minutes,
		all.simulated.Hours(), all.simulated.Hours()/minutes, all.events, all.stats)
	for i, seed := range all.failed {
		if i == 3 {
			t.Fatalf("%d of %d seeds failed: %v", len(all.failed), *seeds, all.failed)
		}
		var trace bytes.Buffer
		r := s.Run(seed, play.None, &trace)
		lines := strings.SplitAfter(trace.String(), "\n")
		t.Errorf("seed %d: %s\nthe end of its trace (-sim.seed %d prints all):\n%s", seed, r.Violation, seed,
			strings.Join(lines[max(0, len(lines)-60):], ""))
	}
	// What never happened was not tested.
	v := reflect.ValueOf(all.stats)
	for i := range v.NumField() {
		if v.Field(i).Int() == 0 {
			t.Errorf("%s: never, in %d seeds", v.Type().Field(i).Name, *seeds)
		}
	}
}

// KillsEveryMutant plays the rules without one of them, one after the other. As long as a mutant lives, the seeds that pass
// say nothing about its rule.
func (s Simulator[Profile, Stats]) KillsEveryMutant(t *testing.T) {
	for _, m := range s.Mutants {
		t.Run(string(m.Name), func(t *testing.T) {
			t.Parallel()
			if *count {
				t.Logf("%s: %d of %d seeds fail", m.Does, len(s.play(m.Name, 1, *mutantSeeds).failed), *mutantSeeds)
				return
			}
			for seed := uint64(1); seed <= *mutantSeeds; seed++ {
				if r := s.Run(seed, m.Name, nil); r.Violation != "" {
					t.Logf("%s: seed %d: %s", m.Does, seed, r.Violation)
					return
				}
			}
			t.Errorf("%s: it lives on after %d seeds", m.Does, *mutantSeeds)
		})
	}
}

// PlaysASeedTheSameEachTime plays some seeds more than once.
func (s Simulator[Profile, Stats]) PlaysASeedTheSameEachTime(t *testing.T) {
	for seed := uint64(1); seed <= 8; seed++ {
		var traces [2]bytes.Buffer
		var results [2]play.Result[Profile, Stats]
		for i := range traces {
			results[i] = s.Run(seed, play.None, &traces[i])
		}
		if results[0] != results[1] || !bytes.Equal(traces[0].Bytes(), traces[1].Bytes()) {
			t.Fatalf("seed %d: %+v, and then %+v", seed, results[0], results[1])
		}
		if untraced := s.Run(seed, play.None, nil); untraced != results[0] {
			t.Fatalf("seed %d is another run without a trace: %+v, %+v", seed, untraced, results[0])
		}
	}
}

// sum is what became of many seeds.
type sum[Stats any] struct {
	failed    []uint64
	events    int64
	simulated time.Duration
	stats     Stats
}

// play runs seeds on all processors. What it returns does not depend on their number.
func (s Simulator[Profile, Stats]) play(m play.Mutant, first, seeds uint64) (all sum[Stats]) {
	var mu sync.Mutex
	var workers sync.WaitGroup
	n := uint64(runtime.GOMAXPROCS(0))
	for worker := range n {
		workers.Go(func() {
			for seed := first + worker; seed < first+seeds; seed += n {
				r := s.Run(seed, m, nil)
				mu.Lock()
				all.events += r.Events
				all.simulated += r.Simulated
				add(&all.stats, r.Stats)
				if r.Violation != "" {
					all.failed = append(all.failed, seed)
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	slices.Sort(all.failed)
	return all
}

// add sums up counters.
func add[Stats any](to *Stats, more Stats) {
	sums, counts := reflect.ValueOf(to).Elem(), reflect.ValueOf(more)
	for i := range sums.NumField() {
		sums.Field(i).SetInt(sums.Field(i).Int() + counts.Field(i).Int())
	}
}
