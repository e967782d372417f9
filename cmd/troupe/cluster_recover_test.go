package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// kill ends a broker as a machine that dies does.
func (b *runningBroker) kill(t *testing.T) {
	t.Helper()
	if err := b.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = b.cmd.Wait() // it was killed
}

func TestAClusterIsRecoveredFromOneBroker(t *testing.T) {
	brokers, bootstrap := startThree(t)
	must(t, "", "topic", "create", "orders", "--partitions=3", "--replication-factor=3", bootstrap)
	must(t, strings.Repeat("an order\n", 100), "produce", "orders", bootstrap)
	first, survivor := brokers[0].ready["data"], brokers[2].ready["data"]

	got := inProcess(t, "", "cluster", "recover", "--data", survivor, "--yes")
	if got.code != exitFailed || !strings.Contains(got.err, "a broker runs on "+survivor+": stop it first") {
		t.Errorf("of a broker that runs: exit code %d, %s%s", got.code, got.out, got.err)
	}
	brokers[2].stop(t, syscall.SIGTERM)
	brokers[0].kill(t)
	brokers[1].kill(t)

	found := fromJSON[recoveryJSON](t, must(t, "", "cluster", "recover", "--data", survivor, "--dry-run", "--json"))
	slices.Sort(found.Voters)
	if found.ClusterID != brokers[0].ready["cluster_id"] || found.BrokerID != 3 || !slices.Equal(found.Voters, []int32{1, 2, 3}) ||
		found.LastTerm == 0 || found.LastIndex == 0 || found.Topics != 1 || found.Partitions != 3 || len(found.Brokers) != 3 || found.Recovered {
		t.Errorf("found %+v", found)
	}
	text := must(t, "", "cluster", "recover", "--data", survivor, "--dry-run")
	for _, want := range []string{found.ClusterID, "1, 2, 3", "1, with 3 partitions", "Nothing was done", "highest term"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	got = inProcess(t, "", "cluster", "recover", "--data", survivor)
	if got.code != exitUsage || !strings.Contains(got.err, "may be lost") || !strings.Contains(got.err, "--yes") {
		t.Errorf("nobody was asked: exit code %d, %s", got.code, got.err)
	}

	done := fromJSON[recoveryJSON](t, must(t, "", "cluster", "recover", "--data", survivor, "--yes", "--json"))
	if !done.Recovered || done.RecoveryEpoch != 1 || !slices.Equal(done.Voters, []int32{3}) || done.LastTerm <= found.LastTerm || done.LastIndex <= found.LastIndex {
		t.Errorf("recovered %+v from %+v", done, found)
	}
	if entries, err := os.ReadDir(done.KeptAs); err != nil || len(entries) == 0 || filepath.Dir(done.KeptAs) != survivor {
		t.Errorf("the metadata from before are not in %s: %v", done.KeptAs, err)
	}
	got = inProcess(t, "", "cluster", "recover", "--data", survivor, "--yes")
	if got.code != exitFailed || !strings.Contains(got.err, "broker 3 is the only voter of its cluster") {
		t.Errorf("again: exit code %d, %s%s", got.code, got.out, got.err)
	}

	alone := startBroker(t, survivor)
	bootstrap = "--bootstrap=" + alone.ready["kafka"]
	must(t, "", "topic", "elect-leaders", "--unclean", "--yes", bootstrap)
	if read := must(t, "", "consume", "orders", "--from-beginning", "--exit-at-end", bootstrap); strings.Count(read, "an order\n") != 100 {
		t.Errorf("%d of 100 records are there:\n%s", strings.Count(read, "an order\n"), read)
	}

	// One with the old metadata, and one with nothing.
	old := startBroker(t, first, "--join", alone.ready["cluster"])
	blank := startBroker(t, t.TempDir(), "--join", alone.ready["cluster"], "--node-id=2")
	if old.ready["broker_id"] != "1" || blank.ready["broker_id"] != "2" {
		t.Errorf("brokers came back as %s and %s", old.ready["broker_id"], blank.ready["broker_id"])
	}
	must(t, "", "cluster", "health", "--wait", bootstrap)
	if topic := describe(t, "orders", bootstrap); topic.State != "healthy" || topic.Records != 100 {
		t.Errorf("state %q and %d records", topic.State, topic.Records)
	}
	if aside, _ := filepath.Glob(filepath.Join(first, "__cluster_metadata-*-set-aside")); len(aside) != 1 {
		t.Errorf("set aside are %v", aside)
	}
}

func TestMistakesAboutARecoverySayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "--data is missing"},
		{[]string{"--data", "/nonexistent", "--bootstrap", "127.0.0.1:1"}, exitUsage, "leave --bootstrap out"},
		{[]string{"--data", "/nonexistent"}, exitFailed, "/nonexistent is no log directory of a broker"},
		{[]string{"extra"}, exitUsage, "one argument too many"},
	} {
		got := inProcess(t, "", append([]string{"cluster", "recover"}, c.args...)...)
		if got.code != c.code || !strings.Contains(got.err, c.want) || strings.Count(got.err, "\n") != 1 {
			t.Errorf("%v: exit code %d, %q; want %d and %q", c.args, got.code, got.err, c.code, c.want)
		}
	}
}
