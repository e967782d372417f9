package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// gather reads what several copies write until all of want has come. Some may come twice.
func gather(t *testing.T, lines <-chan string, want []string) {
	t.Helper()
	missing := make(map[string]bool)
	for _, w := range want {
		missing[w] = true
	}
	for line := range lines {
		if delete(missing, line); len(missing) == 0 {
			return
		}
	}
	t.Fatalf("%d records never came", len(missing))
}

func TestAGroupGoesOnWhenItsCoordinatorDies(t *testing.T) {
	brokers := []*runningBroker{startBroker(t, t.TempDir(), quickGroups...)}
	for range 2 {
		brokers = append(brokers, startBroker(t, t.TempDir(), append(slices.Clone(quickGroups), "--join", brokers[0].ready["cluster"])...))
	}
	var addrs []string
	for _, b := range brokers {
		addrs = append(addrs, b.ready["kafka"])
	}
	bootstrap := "--bootstrap=" + strings.Join(addrs, ",")
	must(t, "", "cluster", "health", "--wait", bootstrap)
	must(t, "", "topic", "create", "t", "--partitions=4", "--replication-factor=3", bootstrap)
	lines := make(chan string, 10_000) // so that nobody waits for a reader that has gone
	var copies []*copyOf
	for range 2 {
		c := startCopy(t, "t", "--group=g", "--from-beginning", bootstrap)
		copies = append(copies, c)
		go func() {
			for c.out.Scan() {
				lines <- c.out.Text()
			}
		}()
	}
	for round := range 3 {
		var want []string
		for i := range 200 {
			want = append(want, fmt.Sprintf("%d-%d", round, i))
		}
		for p := range 4 {
			must(t, strings.Join(want[p*50:p*50+50], "\n"), "produce", "t", fmt.Sprintf("--partition=%d", p), bootstrap)
		}
		gather(t, lines, want)
		if round > 0 {
			continue
		}
		coordinator := describeG(t, bootstrap).Coordinator
		i := slices.IndexFunc(brokers, func(b *runningBroker) bool { return b.ready["broker_id"] == fmt.Sprint(coordinator) })
		if err := brokers[i].cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = brokers[i].cmd.Wait()
	}
	for _, c := range copies {
		c.end(t)
	}
	for _, p := range describeG(t, bootstrap).Partitions {
		if p.CurrentOffset != 150 || p.Lag != 0 {
			t.Errorf("in the end %+v", p)
		}
	}
}
