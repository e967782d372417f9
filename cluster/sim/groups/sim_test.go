package groups

import (
	"bytes"
	"flag"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	seeds       = flag.Uint64("sim.seeds", 200, "how many seeds groups are played with")
	first       = flag.Uint64("sim.first", 1, "the first of them")
	one         = flag.Uint64("sim.seed", 0, "play this seed alone, and print all that happens")
	mutant      = flag.String("sim.mutant", string(None), "the mutant that -sim.seed plays")
	mutantSeeds = flag.Uint64("sim.mutantseeds", 2000, "how many seeds a mutant may live for")
	count       = flag.Bool("sim.count", false, "play all of a mutant's seeds, and tell how many fail")
)

// play runs seeds on all processors. What it returns does not depend on their number.
func play(m Mutant, first, seeds uint64) (failed []uint64, stats Stats) {
	var mu sync.Mutex
	var workers sync.WaitGroup
	n := uint64(runtime.GOMAXPROCS(0))
	for worker := range n {
		workers.Go(func() {
			for seed := first + worker; seed < first+seeds; seed += n {
				r := Run(seed, m, nil)
				mu.Lock()
				stats.Add(r.Stats)
				if r.Violation != "" {
					failed = append(failed, seed)
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	slices.Sort(failed)
	return failed, stats
}

func TestGroupsKeepEveryInvariant(t *testing.T) {
	if *one != 0 {
		if r := Run(*one, Mutant(*mutant), os.Stdout); r.Violation != "" {
			t.Fatal(r.Violation)
		}
		return
	}
	began := time.Now()
	failed, stats := play(None, *first, *seeds)
	took := time.Since(began)
	t.Logf("%d seeds, %.0f a minute, %.1f simulated hours, %.1f per minute: %+v", *seeds, float64(*seeds)/took.Minutes(),
		float64(stats.Simulated)/3.6e6, float64(stats.Simulated)/3.6e6/took.Minutes(), stats)
	for i, seed := range failed {
		if i == 3 {
			t.Fatalf("%d of %d seeds failed: %v", len(failed), *seeds, failed)
		}
		var trace bytes.Buffer
		r := Run(seed, None, &trace)
		lines := strings.SplitAfter(trace.String(), "\n")
		t.Errorf("seed %d: %s\nthe end of its trace (-sim.seed %d prints all):\n%s", seed, r.Violation, seed,
			strings.Join(lines[max(0, len(lines)-60):], ""))
	}
	// What never happened was not tested.
	v := reflect.ValueOf(stats)
	for i := range v.NumField() {
		if v.Field(i).Int() == 0 {
			t.Errorf("%s: never, in %d seeds", v.Type().Field(i).Name, *seeds)
		}
	}
}

// A mutant is a coordinator without one of its rules. As long as one lives, the seeds that pass say nothing about that
// rule.
func TestEveryMutantFails(t *testing.T) {
	for _, m := range Mutants {
		t.Run(string(m.Name), func(t *testing.T) {
			t.Parallel()
			if *count {
				failed, _ := play(m.Name, 1, *mutantSeeds)
				t.Logf("%s: %d of %d seeds fail", m.Does, len(failed), *mutantSeeds)
				return
			}
			for seed := uint64(1); seed <= *mutantSeeds; seed++ {
				if r := Run(seed, m.Name, nil); r.Violation != "" {
					t.Logf("%s: seed %d: %s", m.Does, seed, r.Violation)
					return
				}
			}
			t.Errorf("%s: it lives on after %d seeds", m.Does, *mutantSeeds)
		})
	}
}

func TestASeedIsTheSameRunEachTime(t *testing.T) {
	for seed := uint64(1); seed <= 8; seed++ {
		var traces [2]bytes.Buffer
		var results [2]Result
		for i := range traces {
			results[i] = Run(seed, None, &traces[i])
		}
		if results[0] != results[1] || !bytes.Equal(traces[0].Bytes(), traces[1].Bytes()) {
			t.Fatalf("seed %d: %+v, and then %+v", seed, results[0], results[1])
		}
		if untraced := Run(seed, None, nil); untraced != results[0] {
			t.Fatalf("seed %d is another run without a trace: %+v, %+v", seed, untraced, results[0])
		}
	}
}
