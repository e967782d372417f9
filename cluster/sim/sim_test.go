package sim

import (
	"flag"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

var (
	seeds  = flag.Uint64("sim.seeds", 300, "how many seeds the protocol is played with")
	first  = flag.Uint64("sim.first", 1, "the first of them")
	one    = flag.Uint64("sim.seed", 0, "play this seed alone, and print all that happens")
	mutant = flag.String("sim.mutant", string(None), "the mutant that -sim.seed plays")
)

func TestOneSeed(t *testing.T) {
	if *one == 0 {
		t.Skip("-sim.seed names one")
	}
	if r := Run(*one, Mutant(*mutant), os.Stdout); r.Violation != "" {
		t.Fatal(r.Violation)
	}
}

// play runs seeds on all processors and returns those that failed.
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

func TestTheProtocolKeepsEveryInvariant(t *testing.T) {
	began := time.Now()
	failed, stats := play(None, *first, *seeds)
	took := time.Since(began)
	t.Logf("%d seeds, %.0f a minute, %.1f simulated hours; %+v", *seeds, float64(*seeds)/took.Minutes(),
		float64(stats.Simulated)/3.6e6, stats)
	for i, seed := range failed {
		if i == 10 {
			t.Fatalf("and %d more", len(failed)-i)
		}
		r := Run(seed, None, nil)
		t.Errorf("seed %d: %s", seed, r.Violation)
	}
}
