package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
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

// historyOfG returns what group history --json says of group g, the newest rebalance first.
func historyOfG(t *testing.T, bootstrap string) (history []rebalanceJSON) {
	t.Helper()
	if err := json.Unmarshal([]byte(must(t, "", "group", "history", "g", "--json", bootstrap)), &history); err != nil {
		t.Fatal(err)
	}
	return history
}

// hasSeenSomebodyLeave tells whether the metrics of the broker have a rebalance of that kind.
func (b *runningBroker) hasSeenSomebodyLeave() bool {
	answer, err := http.Get("http://" + b.ready["admin"] + "/metrics") //nolint:noctx // as short as the test
	if err != nil {
		return false
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	return err == nil && strings.Contains(string(text), `troupe_group_rebalances_total{trigger="member-left"}`)
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
	var history []rebalanceJSON // of the group, as long as its first coordinator lives
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
		history = historyOfG(t, bootstrap)
		coordinator := describeG(t, bootstrap).Coordinator
		i := slices.IndexFunc(brokers, func(b *runningBroker) bool { return b.ready["broker_id"] == fmt.Sprint(coordinator) })
		if err := brokers[i].cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = brokers[i].cmd.Wait()
		brokers = slices.Delete(brokers, i, i+1)
	}
	for _, c := range copies {
		c.end(t)
	}
	all := historyOfG(t, bootstrap)
	if older := all[max(0, len(all)-len(history)):]; len(history) == 0 || len(all) == len(history) || !reflect.DeepEqual(older, history) {
		t.Errorf("the coordinator that died knew of %+v, and the next one tells %+v", history, all)
	}
	if !slices.ContainsFunc(brokers, (*runningBroker).hasSeenSomebodyLeave) {
		t.Error("no broker has counted a rebalance for somebody who left")
	}
	for _, p := range describeG(t, bootstrap).Partitions {
		if p.CurrentOffset != 150 || p.Lag != 0 {
			t.Errorf("in the end %+v", p)
		}
	}
}
