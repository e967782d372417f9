package chaos

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/bench/history"
	"github.com/troupe-mq/troupe/bench/testbed"
)

// patience is how long a test waits for what must happen. The machine may be busy.
const patience = 60 * time.Second

// loaded is three brokers in this process under an open loop of both libraries.
type loaded struct {
	t    *testing.T
	bed  *testbed.Bed
	cfg  LoadConfig
	load *Load
	rng  *rand.Rand
}

func startLoaded(t *testing.T) *loaded {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	l := &loaded{t: t, bed: testbed.Start(t, 3), rng: rand.New(rand.NewPCG(seed, 0))}
	l.cfg = LoadConfig{
		Addresses: l.bed.Kafka(), Topic: topic, Partitions: 3, Libraries: []Library{Kafka{}, Native{}}, Rate: 150, Size: 100, Tail: true,
	}
	if err := CreateTopic(t.Context(), l.cfg.Addresses, topic, l.cfg.Partitions, 3, ""); err != nil {
		t.Fatal(err)
	}
	var err error
	if l.load, err = StartLoad(t.Context(), l.cfg, time.Now()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.load.close)
	return l
}

// goesOn waits until every writer has got on since a time.
func (l *loaded) goesOn(since time.Duration) {
	l.t.Helper()
	for _, w := range l.load.History.Writers {
		l.bed.Eventually(w.Client+" writes to "+w.Place.String(), func() bool { return w.LastAcknowledged() > since })
	}
}

// check ends the load, reads all back, and fails if a record was harmed.
func (l *loaded) check() {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	if err := l.load.Stop(ctx); err != nil {
		l.t.Fatalf("the last records are not answered: %v", err)
	}
	if _, err := readAll(ctx, &l.cfg, l.load.History); err != nil {
		l.t.Fatalf("reading back: %v", err)
	}
	var found history.Findings
	l.load.History.Check(&found)
	for _, witness := range found.Witnesses {
		l.t.Error(witness)
	}
	if _, acknowledged, _ := l.load.History.Counts(); acknowledged == 0 {
		l.t.Error("nothing was acknowledged, so the test proves nothing")
	}
}

func TestWhatWasAcknowledgedUnderLoadSurvivesThePowerOfAllBrokers(t *testing.T) {
	l := startLoaded(t)
	l.goesOn(0)
	for range 3 {
		l.bed.CutPower(l.rng)
		l.bed.StartAll()
		l.goesOn(l.load.now())
	}
	l.check()
}

func TestBrokersThatAllComeBackElsewhereAreOneClusterAgain(t *testing.T) {
	l := startLoaded(t)
	l.goesOn(0)
	l.bed.CutPower(l.rng)
	l.bed.Move()
	l.bed.StartAll()
	l.cfg.Addresses = l.bed.Kafka()
	if _, err := endOffsets(t.Context(), &l.cfg); err != nil { // clients that know only old addresses are lost
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_ = l.load.Stop(ended) // what was not acknowledged before is not going to be
	reading, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := readAll(reading, &l.cfg, l.load.History); err != nil {
		t.Fatal(err)
	}
	var found history.Findings
	l.load.History.Check(&found)
	for _, witness := range found.Witnesses {
		t.Error(witness)
	}
}

func TestWhatOneBrokerForgetsTheOthersHave(t *testing.T) {
	l := startLoaded(t)
	l.goesOn(0)
	for i := range 3 {
		broker := l.bed.Brokers[i]
		broker.CutPower(l.rng)
		l.goesOn(l.load.now())
		broker.Start()
		l.bed.Eventually("the broker is back", func() bool {
			view := broker.Node().Broker().View()
			for _, b := range view.Brokers() {
				if b.Fenced {
					return false
				}
			}
			return len(view.Brokers()) == 3
		})
	}
	l.check()
}
