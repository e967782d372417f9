package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// quickGroups has brokers hear of members often, so that nobody waits for the next heartbeat.
var quickGroups = []string{
	"--set", "group.consumer.heartbeat.interval.ms=50",
	"--set", "group.consumer.session.timeout.ms=1000",
}

// copyOf is a running troupe consume --group.
type copyOf struct {
	cmd   *exec.Cmd
	out   *bufio.Scanner // its records
	lines chan string    // of its stderr
}

func startCopy(t *testing.T, args ...string) *copyOf {
	t.Helper()
	c := &copyOf{cmd: troupe(t, append([]string{"consume"}, args...)...), lines: make(chan string, 100)}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.lines)
		for lines := bufio.NewScanner(errs); lines.Scan(); {
			c.lines <- lines.Text()
		}
	}()
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	return c
}

// says waits until the copy says something on stderr.
func (c *copyOf) says(t *testing.T, want string) {
	t.Helper()
	var before []string
	for line := range c.lines {
		if strings.Contains(line, want) {
			return
		}
		before = append(before, line)
	}
	t.Fatalf("it never said %q, only %q", want, before)
}

// read reads n records.
func (c *copyOf) read(t *testing.T, n int) []string {
	t.Helper()
	var got []string
	for len(got) < n && c.out.Scan() {
		got = append(got, c.out.Text())
	}
	if len(got) < n {
		t.Fatalf("only %d records of %d came", len(got), n)
	}
	return got
}

// end interrupts the copy and waits for it.
func (c *copyOf) end(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for range c.lines { // to its end
	}
	_ = c.cmd.Wait() // the exit code tells
	if code := c.cmd.ProcessState.ExitCode(); code != exitDone {
		t.Errorf("exit code %d", code)
	}
}

// describeG returns what group describe --json says of group g.
func describeG(t *testing.T, bootstrap string) groupJSON {
	t.Helper()
	var groups []groupJSON
	if err := json.Unmarshal([]byte(must(t, "", "group", "describe", "g", "--json", bootstrap)), &groups); err != nil || len(groups) != 1 {
		t.Fatalf("%d groups, %v", len(groups), err)
	}
	return groups[0]
}

func TestCopiesOfConsumeShareATopicAndGoOnForEachOther(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir(), quickGroups...).ready["kafka"]
	must(t, "", "topic", "create", "t", "--partitions=2", bootstrap)
	must(t, "a\nb\n", "produce", "t", "--partition=0", bootstrap)
	one := startCopy(t, "t", "--group=g", "--from-beginning", bootstrap)
	one.says(t, "this member gets t/0-1, has t/0-1")
	if got := one.read(t, 2); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("the first copy wrote %q", got)
	}
	two := startCopy(t, "t", "--group=g", "--from-beginning", bootstrap)
	one.says(t, "this member gives up t/1, has t/0")
	two.says(t, "this member gets t/1, has t/1")
	must(t, "c\n", "produce", "t", "--partition=0", bootstrap)
	must(t, "d\n", "produce", "t", "--partition=1", bootstrap)
	if got := append(one.read(t, 1), two.read(t, 1)...); !slices.Equal(got, []string{"c", "d"}) {
		t.Errorf("the copies wrote %q", got)
	}
	one.end(t)
	two.says(t, "this member gets t/0, has t/0-1")
	must(t, "e\n", "produce", "t", "--partition=0", bootstrap)
	if got := two.read(t, 1); got[0] != "e" {
		t.Errorf("the second copy wrote %q", got)
	}
	if err := two.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	three := startCopy(t, "t", "--group=g", "--from-beginning", bootstrap)
	three.says(t, "this member gets t/0-1, has t/0-1") // once the session of the one that was killed has ended
	must(t, "f\n", "produce", "t", "--partition=0", bootstrap)
	for got := three.read(t, 1); got[0] != "f"; got = three.read(t, 1) {
		if got[0] != "d" && got[0] != "e" {
			t.Errorf("%q had been committed", got)
		}
	}
	three.end(t)
	for _, p := range describeG(t, bootstrap).Partitions {
		if p.Lag != 0 || p.LagSeconds != 0 || p.Member != "" {
			t.Errorf("in the end %+v", p)
		}
	}
}

func TestDescribeShowsWhoIsBehindAndByHowMuch(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir(), quickGroups...).ready["kafka"]
	must(t, "", "topic", "create", "t", "--partitions=2", bootstrap)
	before := time.Now()
	must(t, "a\nb\nc\n", "produce", "t", "--partition=1", bootstrap)
	after := time.Now()
	must(t, "", "group", "reset", "g", "--topic=t:1", "--to-offset=1", "--yes", bootstrap)
	least := time.Since(after).Seconds()
	group := describeG(t, bootstrap)
	most := time.Since(before).Seconds()
	p := group.Partitions[0]
	if group.State != "Empty" || len(group.Members) != 0 || len(group.Partitions) != 1 || p.CurrentOffset != 1 || p.EndOffset != 3 || p.Lag != 2 {
		t.Errorf("described as %+v", group)
	}
	if p.LagSeconds < least || p.LagSeconds > most+1 { // an append time may be half a second too early
		t.Errorf("the lag is %.3f s, the truth between %.3f and %.3f", p.LagSeconds, least, most)
	}
	if got := must(t, "", "group", "reset", "g", "--topic=t:1", "--to-latest", "--yes", bootstrap); got != "GROUP  TOPIC  PARTITION  NEW-OFFSET  OLD-OFFSET  SHIFT\ng      t              1           3           1     +2\n" {
		t.Errorf("reset wrote\n%s", got)
	}
	member := startCopy(t, "t", "--group=g", "--from-beginning", "--instance=i", bootstrap)
	member.says(t, "gets t/0-1")
	begunAt(t, bootstrap, 0, 3)
	group = describeG(t, bootstrap)
	if len(group.Members) != 1 || group.Protocol != "consumer" || group.Coordinator < 0 || group.Members[0].ClientID != "troupe-consume" || group.Members[0].Instance != "i" {
		t.Fatalf("described as %+v", group)
	}
	id := group.Members[0].Member
	want := []groupPartitionJSON{{"t", 0, 0, 0, 0, 0, id}, {"t", 1, 3, 3, 0, 0, id}}
	if !slices.Equal(group.Partitions, want) {
		t.Errorf("partitions %+v, want %+v", group.Partitions, want)
	}
	table := must(t, "", "group", "describe", "g", bootstrap)
	header := "GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG LAG-SECONDS CONSUMER-ID HOST CLIENT-ID"
	if got := strings.Join(strings.Fields(strings.SplitN(table, "\n", 2)[0]), " "); got != header {
		t.Errorf("the columns are %s", got)
	}
	if !strings.Contains(table, id+"  /127.0.0.1  troupe-consume") {
		t.Errorf("the table is\n%s", table)
	}
	if members := must(t, "", "group", "describe", "g", "--members", bootstrap); !strings.Contains(members, "t:0,1") {
		t.Errorf("the members are\n%s", members)
	}
	if state := must(t, "", "group", "describe", "g", "--state", bootstrap); !strings.Contains(state, "Stable") || !strings.Contains(state, strings.TrimPrefix(bootstrap, "--bootstrap=")) {
		t.Errorf("the state is\n%s", state)
	}
	if list := must(t, "", "group", "list", "--state", "stable", bootstrap); !strings.Contains(list, "g      consumer  Stable") {
		t.Errorf("the list is\n%s", list)
	}
	var history []rebalanceJSON
	if err := json.Unmarshal([]byte(must(t, "", "group", "history", "g", "--json", bootstrap)), &history); err != nil || len(history) == 0 || history[0].Trigger != "member-joined" {
		t.Errorf("the history is %+v, %v", history, err)
	}
	member.end(t)
}

func TestTheFieldsOfADescribedGroupStayWhatTheyAre(t *testing.T) {
	described, err := json.MarshalIndent(groupJSON{
		Group: "g", State: "Stable", Protocol: "consumer", Assignor: "uniform", Epoch: 3, Coordinator: 1,
		Members:    []groupMemberJSON{{Member: "m", Topics: []string{"t"}, Assigned: []topicPartitionJSON{{"t", []int32{0}}}, Target: []topicPartitionJSON{}}},
		Partitions: []groupPartitionJSON{{"t", 0, 5, 7, 2, 1.5, "m"}},
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "group_describe.json"))
	if err != nil || string(described)+"\n" != string(want) {
		t.Errorf("%v\n%s", err, described)
	}
}

func TestAResetIsForGroupsWhoseMembersHaveStopped(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir(), quickGroups...).ready["kafka"]
	must(t, "", "topic", "create", "t", "--partitions=2", bootstrap)
	must(t, strings.Repeat("x\n", 10), "produce", "t", "--partition=0", bootstrap)
	member := startCopy(t, "t", "--group=g", "--from-beginning", bootstrap)
	member.read(t, 10)
	for _, mode := range []string{"--yes", "--dry-run"} {
		got := inProcess(t, "", "group", "reset", "g", "--topic=t", "--to-earliest", mode, bootstrap)
		if got.code != exitFailed || !strings.Contains(got.err, "group g has 1 member") || strings.Count(got.err, "\n") != 1 {
			t.Errorf("%s beside a member: exit code %d, %s", mode, got.code, got.err)
		}
	}
	if got := must(t, "", "group", "reset", "g", "--topic=t:0", "--to-earliest", "--export", bootstrap); got != "t,0,0\n" {
		t.Errorf("the export beside a member is %q", got)
	}
	for _, args := range [][]string{{"delete", "g"}, {"delete", "g", "--offsets", "--topic=t"}} {
		if got := inProcess(t, "", append(append([]string{"group"}, args...), bootstrap)...); got.code != exitFailed || !strings.Contains(got.err, "--members") {
			t.Errorf("%q beside a member: exit code %d, %s", args, got.code, got.err)
		}
	}
	member.end(t)
	current := func() (list []int64) {
		for _, p := range describeG(t, bootstrap).Partitions {
			list = append(list, p.CurrentOffset)
		}
		return list
	}
	if got := must(t, "", "group", "reset", "g", "--topic=t:0", "--to-offset=4", "--dry-run", bootstrap); !strings.HasSuffix(got, "           4          10     -6\n") || !slices.Equal(current(), []int64{10, 0}) {
		t.Errorf("a dry run wrote\n%s and the offsets are %v", got, current())
	}
	must(t, "", "group", "delete", "g", "--offsets", "--topic=t:1", bootstrap) // where the member began
	if got := inProcess(t, "", "group", "reset", "g", "--topic=t:0", "--to-offset=4", bootstrap); got.code != exitUsage || !strings.Contains(got.err, "--yes") {
		t.Errorf("with nobody to ask: exit code %d, %s", got.code, got.err)
	}
	for _, c := range []struct {
		args    []string
		want    []int64
		warning string
	}{
		{[]string{"--topic=t:0", "--to-offset=4"}, []int64{4}, ""},
		{[]string{"--all-topics", "--shift-by=-3"}, []int64{1}, ""},
		{[]string{"--all-topics", "--shift-by=-3"}, []int64{0}, "t/0 begins at 0, after offset 0"},
		{[]string{"--all-topics", "--shift-by=100"}, []int64{10}, "t/0 ends at 10, before offset 100"},
		{[]string{"--topic=t", "--to-earliest"}, []int64{0, 0}, ""},
		{[]string{"--topic=t", "--to-latest"}, []int64{10, 0}, ""},
		{[]string{"--topic=t", "--to-datetime=2001-01-01"}, []int64{0, 0}, ""},
		{[]string{"--topic=t", "--to-datetime=2101-01-01"}, []int64{10, 0}, ""},
		{[]string{"--topic=t", "--by-duration=PT1H"}, []int64{0, 0}, ""},
	} {
		got := inProcess(t, "", append([]string{"group", "reset", "g", "--yes", bootstrap}, c.args...)...)
		if got.code != exitDone || c.warning == "" && got.err != "" {
			t.Errorf("%q: exit code %d, %s", c.args, got.code, got.err)
		}
		if c.warning != "" && c.want[0] == 10 && !strings.Contains(got.err, c.warning) {
			t.Errorf("%q: stderr %q, want %q", c.args, got.err, c.warning)
		}
		if offsets := current(); !slices.Equal(offsets, c.want) {
			t.Errorf("%q: the offsets are %v, want %v", c.args, offsets, c.want)
		}
	}
	kept := must(t, "", "group", "reset", "g", "--all-topics", "--to-current", "--export", bootstrap)
	if kept != "t,0,0\nt,1,0\n" {
		t.Errorf("the export is %q", kept)
	}
	must(t, "# kept\nt, 0, 7\n", "group", "reset", "g", "--from-file=-", "--yes", bootstrap)
	if offsets := current(); !slices.Equal(offsets, []int64{7, 0}) {
		t.Errorf("from a file the offsets are %v", offsets)
	}
	must(t, "", "group", "delete", "g", "--offsets", "--topic=t:1", bootstrap)
	if offsets := current(); !slices.Equal(offsets, []int64{7}) {
		t.Errorf("after a deletion the offsets are %v", offsets)
	}
	must(t, "", "group", "delete", "g", "--yes", bootstrap)
	if list := must(t, "", "group", "list", "--json", bootstrap); strings.TrimSpace(list) != "[]" {
		t.Errorf("after the deletion: %s", list)
	}
}

func TestAGroupReadsOnWhereItWasAndEndsWhereItIsTold(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir(), quickGroups...).ready["kafka"]
	must(t, "", "topic", "create", "t", bootstrap)
	must(t, "a\nb\nc\nd\n", "produce", "t", bootstrap)
	consume := func(args ...string) string {
		return must(t, "", append([]string{"consume", "t", "--group=g", "--from-beginning", bootstrap}, args...)...)
	}
	if got := consume("--max-messages=3"); got != "a\nb\nc\n" {
		t.Errorf("first %q", got)
	}
	if got := consume("--exit-at-end"); got != "d\n" {
		t.Errorf("then %q", got)
	}
	if got := consume("--exit-at-end"); got != "" {
		t.Errorf("in the end %q", got)
	}
}

func TestGroupCommandsSayWhatIsWrong(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir(), quickGroups...).ready["kafka"]
	must(t, "", "topic", "create", "t", bootstrap)
	file := filepath.Join(t.TempDir(), "offsets.csv")
	if err := os.WriteFile(file, []byte("t,0,5\nt,x,5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"group", "describe", "nothing"}, exitFailed, "troupe group list"},
		{[]string{"group", "describe", "g", "--members", "--state"}, exitUsage, "exclude each other"},
		{[]string{"group", "history", "nothing"}, exitFailed, "troupe group list"},
		{[]string{"group", "delete", "nothing"}, exitFailed, "--if-exists accepts that"},
		{[]string{"group", "delete", "nothing", "--if-exists"}, exitDone, ""},
		{[]string{"group", "delete", "g", "--offsets"}, exitUsage, "--offsets needs --topic"},
		{[]string{"group", "delete", "g", "--topic=t"}, exitUsage, "goes with --offsets"},
		{[]string{"group", "list", "--state=stabel"}, exitUsage, "Stable, Empty"},
		{[]string{"group", "reset", "g", "--topic=t"}, exitUsage, "where to?"},
		{[]string{"group", "reset", "g", "--topic=t", "--to-earliest", "--to-latest"}, exitUsage, "--to-earliest and --to-latest exclude each other"},
		{[]string{"group", "reset", "g", "--to-earliest"}, exitUsage, "of which topics?"},
		{[]string{"group", "reset", "g", "--topic=t:x", "--to-earliest"}, exitUsage, `"x" is no partition`},
		{[]string{"group", "reset", "g", "--topic=t:7", "--to-earliest"}, exitFailed, "there is no partition t/7"},
		{[]string{"group", "reset", "g", "--topic=nothing", "--to-earliest"}, exitFailed, "troupe topic list"},
		{[]string{"group", "reset", "g", "--topic=t", "--shift-by=1"}, exitFailed, "nothing there"},
		{[]string{"group", "reset", "g", "--all-topics", "--to-earliest"}, exitFailed, "has committed nothing"},
		{[]string{"group", "reset", "g", "--topic=t", "--to-offset=-1"}, exitUsage, "from 0 up"},
		{[]string{"group", "reset", "g", "--topic=t", "--to-datetime=noon"}, exitUsage, "--to-datetime noon"},
		{[]string{"group", "reset", "g", "--topic=t", "--by-duration=long"}, exitUsage, "PT1H30M"},
		{[]string{"group", "reset", "g", "--from-file=" + file}, exitFailed, `line 2: "x" is no partition`},
		{[]string{"group", "reset", "g", "--from-file=/nonexistent"}, exitUsage, "/nonexistent"},
		{[]string{"group", "reset", "g", "--from-file=" + filepath.Dir(file)}, exitUsage, "is a directory"},
		{[]string{"consume", "nothing", "--group=g"}, exitFailed, "troupe topic create nothing"},
		{[]string{"consume", "t", "--group=g", "--partition=0"}, exitUsage, "exclude each other"},
		{[]string{"consume", "t", "--group=g", "--offset=5"}, exitUsage, "troupe group reset"},
		{[]string{"consume", "t", "--instance=i"}, exitUsage, "--group"},
		{[]string{"consume", "t", "--group="}, exitUsage, "--group is empty"},
	} {
		got := inProcess(t, "", append(c.args, bootstrap)...)
		if got.code != c.code || !strings.Contains(got.err, c.want) || strings.Count(got.err, "\n") > 1 {
			t.Errorf("%q: exit code %d, want %d; stderr %q, want one line with %q", c.args, got.code, c.code, got.err, c.want)
		}
	}
	for _, mode := range []string{"--dry-run", "--yes"} {
		got := inProcess(t, "", "group", "reset", "billing", "--topic=t", "--to-earliest", mode, bootstrap)
		if got.code != exitDone || got.err != "troupe: there is no group billing yet: it will be made\n" {
			t.Errorf("%s: exit code %d, stderr %q", mode, got.code, got.err)
		}
		if !strings.HasSuffix(got.out, "           0           -      -\n") {
			t.Errorf("%s of what was not committed yet:\n%s", mode, got.out)
		}
	}
	for _, args := range [][]string{{"group", "describe", bootstrap, "b"}, {"consume", "t", bootstrap, "--group", ""}} {
		got := inProcess(t, "", append([]string{cobra.ShellCompNoDescRequestCmd}, args...)...)
		if completions, _, _ := strings.Cut(got.out, ":"); completions != "billing\n" {
			t.Errorf("%q completes to %q", args, completions)
		}
	}
}

func TestDurationsAreReadAsGoAndISOWriteThem(t *testing.T) {
	for text, want := range map[string]string{
		"90m": "1h30m0s", "PT1H30M": "1h30m0s", "P1D": "24h0m0s", "p2dt3h": "51h0m0s", "PT0.5S": "500ms", "0s": "0s",
		"": "", "P": "", "PT": "", "PTH": "", "-5m": "", "P-1D": "", "PT-5M": "", "1D": "", "P1W": "", "PT1D": "",
	} {
		d, err := parseISODuration(text)
		if got := fmt.Sprint(d); err == nil && got != want || err != nil && want != "" {
			t.Errorf("%q: %s, %v; want %q", text, got, err, want)
		}
	}
}
