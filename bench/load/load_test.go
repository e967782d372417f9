package main

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-mq/troupe/bench/measure"
)

// small is a load that takes no time.
func small() workload {
	w := defaultWorkload()
	w.Records, w.Size, w.Partitions, w.Rate, w.Duration, w.Linger = 2000, 50, 2, 500, 200*time.Millisecond, 0
	return w
}

func openFloor(t *testing.T) *target {
	t.Helper()
	f := targetFlags{floor: true, durability: durabilityGroup}
	at, err := f.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(at.close)
	return at
}

func TestWhatIsProducedIsConsumedAndBothAreMeasured(t *testing.T) {
	at := openFloor(t)
	written, err := produce(t.Context(), kafkaDriver{}, at, small())
	if err != nil {
		t.Fatal(err)
	}
	read, err := consume(t.Context(), kafkaDriver{}, at, small())
	if err != nil {
		t.Fatal(err)
	}
	if read.Records != consumePasses*(written.Records+warmUp(small())) {
		t.Errorf("%d records were consumed, %d produced", read.Records, written.Records)
	}
	for _, r := range []*result{written, read} {
		if r.Cost.Elapsed <= 0 || r.Cost.Broker <= 0 || r.Cost.Client <= 0 {
			t.Errorf("%s cost %+v", r.Mode, r.Cost)
		}
	}
	if written.Batches == 0 || written.Batches > written.Records {
		t.Errorf("%d batches for %d records", written.Batches, written.Records)
	}
}

func TestALatencyRunTimesEveryRecordAtBothEnds(t *testing.T) {
	r, err := latency(t.Context(), kafkaDriver{}, openFloor(t), small())
	if err != nil {
		t.Fatal(err)
	}
	if r.Ack.N != 100 || r.EndToEnd.N != 100 || r.Ack.P50 <= 0 {
		t.Fatalf("acknowledged %+v, end to end %+v", r.Ack, r.EndToEnd)
	}
}

func TestIdempotenceWithoutAcksAllIsRefused(t *testing.T) {
	w := small()
	w.Acks, w.Idempotent = "1", true
	if err := w.check(); err == nil {
		t.Fatal("an idempotent producer without acks=all was accepted")
	}
}

func TestAJudgeKnowsEveryWayARecordCanBeHarmed(t *testing.T) {
	n := &numberedWriter{sent: 10, offsets: []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}
	record := func(number, offset int64) *kgo.Record { return &kgo.Record{Value: numbered(number), Offset: offset} }
	torn := record(5, 5)
	torn.Value[50]++
	for _, c := range []struct {
		name   string
		record *kgo.Record
		want   string
	}{
		{"right", record(5, 5), ""},
		{"lost", record(7, 5), "2 lost"},
		{"doubled", record(4, 5), "again"},
		{"misplaced", record(5, 6), "acknowledged at 5"},
		{"torn", torn, "nobody wrote"},
		{"never sent", record(10, 5), "nobody wrote"},
		{"short", &kgo.Record{Value: []byte("x")}, "nobody wrote"},
	} {
		got := n.judge(c.record, 5)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want it to say %q", c.name, got, c.want)
		}
	}
}

func TestARatioIsTheMedianOverRoundsAndHeldAgainstItsGoal(t *testing.T) {
	runOf := func(elapsed, broker time.Duration) map[string]*result {
		w := small()
		w.Size = 1000
		return map[string]*result{"produce": {Load: w, Records: 1000, Cost: measure.Cost{Elapsed: elapsed, Broker: broker}}}
	}
	var rounds []round
	for _, factor := range []time.Duration{2, 1, 4} {
		rounds = append(rounds, round{base: runOf(time.Second, time.Second), test: runOf(factor*time.Second, factor*time.Second)})
	}
	rate := produceRate(atLeast(0.5, 0.9)).over(rounds)
	if rate.Ratio.Median != 0.5 || rate.Ratio.Min != 0.25 || rate.Ratio.Max != 1 || !rate.Met {
		t.Errorf("rate %+v", rate)
	}
	if cpu := produceCPU(atMost(1.6, 1.25)).over(rounds); cpu.Ratio.Median != 2 || cpu.Met {
		t.Errorf("CPU %+v", cpu)
	}
}

func TestARoundIsDisturbedByEitherSide(t *testing.T) {
	calm := map[string]*result{"produce": {Cost: measure.Cost{Others: measure.MaxOthers}}}
	loud := map[string]*result{"produce": {}, "consume": {Cost: measure.Cost{Steal: measure.MaxSteal + 1}}}
	if (round{calm, calm}).disturbed() || !(round{calm, loud}).disturbed() || !(round{loud, calm}).disturbed() {
		t.Error("a round is judged wrongly")
	}
}
