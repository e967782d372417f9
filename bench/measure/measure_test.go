package measure

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestBusyCPULeavesOutIdleWaitingAndStolenTime(t *testing.T) {
	got, err := parseMachineCPU("cpu  1 2 4 800 1600 8 16 32 0 0")
	if err != nil {
		t.Fatal(err)
	}
	if want := (machineCPU{busy: 310 * time.Millisecond, steal: 320 * time.Millisecond}); got != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestOnlyTheKernelsThreadsCountAsTheKernel(t *testing.T) {
	thread := "17 (kworker/0:1 (x)) I 2 0 0 0 -1 69238880 0 0 0 0 3 4 0 0 20 0 1 0 36 0 0"
	process := "170 (a ) 2 b) S 1 0 0 0 -1 69238880 0 0 0 0 3 4 0 0 20 0 1 0 36 0 0"
	if got, err := parseKernelThread(thread); err != nil || got != 70*time.Millisecond {
		t.Errorf("a kernel thread has %s, %v", got, err)
	}
	if got, err := parseKernelThread(process); err != nil || got != 0 {
		t.Errorf("a process has %s, %v", got, err)
	}
	if _, err := parseKernelThread("17 (kworker) I 2"); err == nil {
		t.Error("a short line was accepted")
	}
}

func TestAnUnknownFirstLineOfTheStatFileIsAnError(t *testing.T) {
	for _, line := range []string{"", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3", "cpu a b c d e f g h"} {
		if _, err := parseMachineCPU(line); err == nil {
			t.Errorf("%q was accepted", line)
		}
	}
}

func TestAMeterChargesOurOwnWorkToTheClientAndToTheMeasuredProcess(t *testing.T) {
	m, err := Start(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for begun := ownCPU(); ownCPU()-begun < 50*time.Millisecond; {
		_ = NewQuantiles(make([]time.Duration, 1000))
	}
	c, err := m.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if c.Client < 50*time.Millisecond || c.Broker < 40*time.Millisecond {
		t.Fatalf("50 ms of work are charged as client %s, broker %s", c.Client, c.Broker)
	}
}

func TestAProcessThatIsGoneCannotBeMeasured(t *testing.T) {
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(gone.Process.Pid); err == nil {
		t.Fatal("a process that ended was measured")
	}
}

func TestQuantilesTakeTheValueAtTheirRank(t *testing.T) {
	var latencies []time.Duration
	for i := 1000; i >= 0; i-- {
		latencies = append(latencies, time.Duration(i))
	}
	if got, want := NewQuantiles(latencies), (Quantiles{N: 1001, P50: 500, P99: 990, P999: 999, Max: 1000}); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func TestTheMedianOfAnEvenNumberLiesBetweenTheMiddleTwo(t *testing.T) {
	if got, want := NewSpread([]float64{4, 1, 3, 2}), (Spread{Median: 2.5, Min: 1, Max: 4, N: 4}); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}
