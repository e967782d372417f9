package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// patientGroups has brokers hear of members often, but wait for those that are away for as long as they do by default.
var patientGroups = quickGroups[:2]

func TestAStaticMemberThatIsAwayIsTakenOut(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir(), patientGroups...).ready["kafka"]
	must(t, "", "topic", "create", "t", "--partitions=2", bootstrap)
	one := startCopy(t, "t", "--group=g", "--instance=one", bootstrap)
	one.says(t, "has t/0-1")
	two := startCopy(t, "t", "--group=g", "--instance=two", bootstrap)
	two.says(t, "has t/1")
	one.end(t)
	two.end(t)
	remedy := `"troupe group remove-member g --instance one --instance two" takes them out`
	for _, args := range [][]string{{"reset", "g", "--topic=t", "--to-earliest", "--yes"}, {"delete", "g"}, {"delete", "g", "--offsets", "--topic=t"}} {
		failsWithLines(t, []string{remedy}, append(append([]string{"group"}, args...), bootstrap)...)
	}
	for _, view := range []string{"--members", "--members=false"} {
		if got := inProcess(t, "", "group", "describe", "g", view, bootstrap); got.code != exitDone || !strings.Contains(got.err, remedy) || strings.Contains(got.out, "away") != (view == "--members") {
			t.Errorf("describe %s: exit code %d, %s%s", view, got.code, got.err, got.out)
		}
	}
	if got := inProcess(t, "", cobra.ShellCompNoDescRequestCmd, "group", "remove-member", "g", bootstrap, "--instance", ""); !strings.HasPrefix(got.out, "one\ntwo\n:") {
		t.Errorf("--instance completes to %s", got.out)
	}

	failsWithLines(t, []string{`no member with the instance "three"`}, "group", "remove-member", "g", "--instance=one", "--instance=three", bootstrap)
	if got := must(t, "", "group", "remove-member", "g", "--instance=one", "--instance=two", "--instance=one", bootstrap); got != "took one out of g\ntook two out of g\n" {
		t.Errorf("remove-member wrote %q", got)
	}
	if got := describeG(t, bootstrap); got.State != "Empty" || len(got.Members) != 0 || len(got.Partitions) != 2 {
		t.Errorf("then the group is %+v", got)
	}
	must(t, "", "group", "delete", "g", "--yes", bootstrap)
}

func TestAMemberThatHangsIsTakenOutAndOneThatLivesComesBack(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir(), patientGroups...).ready["kafka"]
	must(t, "", "topic", "create", "t", "--partitions=2", bootstrap)
	killed := startCopy(t, "t", "--group=g", bootstrap)
	killed.says(t, "has t/0-1")
	if err := killed.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	id := describeG(t, bootstrap).Members[0].Member
	living := startCopy(t, "t", "--group=g", bootstrap)
	must(t, "", "group", "remove-member", "g", "--member="+id, "--yes", bootstrap)
	living.says(t, "has t/0-1")
	failsWithLines(t, []string{`no member with the id "` + id + `"`}, "group", "remove-member", "g", "--member="+id, bootstrap)

	must(t, "", "group", "remove-member", "g", "--member="+describeG(t, bootstrap).Members[0].Member, bootstrap)
	living.says(t, "has lost")
	living.says(t, "has t/0-1")
	living.end(t)
}

func TestAMemberOfTheClassicProtocolIsTakenOutOnceItIsNamed(t *testing.T) {
	addr := startBroker(t, t.TempDir(), patientGroups...).ready["kafka"]
	bootstrap := "--bootstrap=" + addr
	must(t, "a\n", "produce", "t", bootstrap)
	classic, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.InstanceID("i"))
	if err != nil {
		t.Fatal(err)
	}
	if fetches := classic.PollFetches(t.Context()); fetches.Err() != nil {
		t.Fatal(fetches.Err())
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"g"}, exitUsage, "whom? Give --instance or --member"},
		{[]string{"g", "--instance="}, exitFailed, `no member with the instance ""`},
		{[]string{"nothing", "--instance=i"}, exitFailed, "troupe group list"},
	} {
		got := inProcess(t, "", append(append([]string{"group", "remove-member"}, c.args...), bootstrap)...)
		if got.code != c.code || !strings.Contains(got.err, c.want) || strings.Count(got.err, "\n") != 1 {
			t.Errorf("%q: exit code %d, stderr %q; want %d and %q", c.args, got.code, got.err, c.code, c.want)
		}
	}
	if got := describeG(t, bootstrap); got.Protocol != "classic" || len(got.Members) != 1 {
		t.Errorf("the group is %+v", got)
	}
	classic.Close() // by which a static member does not leave
	must(t, "", "group", "remove-member", "g", "--instance=i", bootstrap)
	if got := describeG(t, bootstrap); got.State != "Empty" {
		t.Errorf("then the group is %+v", got)
	}
}
