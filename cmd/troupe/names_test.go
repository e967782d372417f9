package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// failsWithLines runs a command line that has to fail, with these texts in its lines on stderr, and returns its stdout.
func failsWithLines(t *testing.T, want []string, args ...string) string {
	t.Helper()
	got := inProcess(t, "", args...)
	lines := strings.Split(strings.TrimSuffix(got.err, "\n"), "\n")
	if got.code != exitFailed || len(lines) != len(want) {
		t.Fatalf("%q: exit code %d, stderr %q; want a line for each of %q", args, got.code, got.err, want)
	}
	for i, text := range want {
		if !strings.HasPrefix(lines[i], "troupe: ") || !strings.Contains(lines[i], text) {
			t.Errorf("%q: line %q on stderr, want %q in it", args, lines[i], text)
		}
	}
	return got.out
}

func TestANameThatIsMissingDoesNotKeepTheOthersBack(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir(), quickGroups...).ready["kafka"]
	for _, name := range []string{"a", "b"} {
		must(t, "", "topic", "create", name, bootstrap)
		must(t, "", "group", "reset", name, "--topic="+name, "--to-earliest", "--yes", bootstrap)
	}
	missing := []string{"group nosuch: GROUP_ID_NOT_FOUND", "group nobody: GROUP_ID_NOT_FOUND"}

	var groups []groupJSON
	out := failsWithLines(t, missing, "group", "describe", "nosuch", "b", "nobody", "a", "--json", bootstrap)
	if err := json.Unmarshal([]byte(out), &groups); err != nil || len(groups) != 2 || groups[0].Group != "b" || groups[1].Group != "a" {
		t.Errorf("described are %+v, %v", groups, err)
	}
	if out := failsWithLines(t, missing[:1], "group", "describe", "nosuch", "b", "--state", bootstrap); !strings.Contains(out, "\nb ") {
		t.Errorf("the states are\n%s", out)
	}
	if out := failsWithLines(t, missing[:1], "group", "describe", "nosuch", "--json", bootstrap); out != "" {
		t.Errorf("a group that does not exist is described as %s", out)
	}
	if out := failsWithLines(t, missing, "group", "delete", "a", "nosuch", "nobody", "b", bootstrap); out != "deleted a\ndeleted b\n" {
		t.Errorf("deleting groups wrote %q", out)
	}

	missing = []string{"topic nosuch: UNKNOWN_TOPIC_OR_PARTITION", "topic nobody: UNKNOWN_TOPIC_OR_PARTITION"}
	var topics []topicJSON
	out = failsWithLines(t, missing, "topic", "describe", "nosuch", "b", "nobody", "a", "nosuch", "--json", bootstrap)
	if err := json.Unmarshal([]byte(out), &topics); err != nil || len(topics) != 2 {
		t.Errorf("described are %+v, %v", topics, err)
	}
	if out := failsWithLines(t, missing[:1], "topic", "describe", "nosuch", bootstrap); out != "" {
		t.Errorf("a topic that does not exist is described as %s", out)
	}
	if out := failsWithLines(t, missing, "topic", "delete", "a", "nosuch", "nobody", "b", bootstrap); out != "deleted a\ndeleted b\n" {
		t.Errorf("deleting topics wrote %q", out)
	}
}

func TestAPathThatIsMissingDoesNotKeepTheOthersBack(t *testing.T) {
	_, segment := writtenLog(t)
	log, nowhere := filepath.Dir(segment), filepath.Join(t.TempDir(), "nowhere")
	if out := failsWithLines(t, []string{nowhere}, "log", "verify", nowhere, log); !strings.Contains(out, "no damage") {
		t.Errorf("verify wrote %q", out)
	}
	if out := failsWithLines(t, []string{nowhere}, "log", "dump", nowhere, log); !strings.Contains(out, segment+"\n") {
		t.Errorf("dump wrote %q", out)
	}
}

func TestOffsetsOfATopicThatIsMisspeltAreNotDeletedInSilence(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir(), quickGroups...).ready["kafka"]
	for _, name := range []string{"t", "other"} {
		must(t, "", "topic", "create", name, "--partitions=3", bootstrap)
	}
	must(t, "", "group", "reset", "g", "--topic=t", "--to-earliest", "--yes", bootstrap)
	offsets := func(topics ...string) []string { // how to delete them
		args := []string{"group", "delete", "g", "--offsets", bootstrap}
		for _, topic := range topics {
			args = append(args, "--topic="+topic)
		}
		return args
	}
	for _, c := range []struct {
		topics []string
		want   string
	}{
		{[]string{"nosuch"}, "topic nosuch: UNKNOWN_TOPIC_OR_PARTITION"},
		{[]string{"t", "nosuch"}, "topic nosuch: UNKNOWN_TOPIC_OR_PARTITION"},
		{[]string{"t:3"}, "there is no partition t/3"},
		{[]string{"other/1-7"}, "there is no partition other/3"},
	} {
		failsWithLines(t, []string{c.want}, offsets(c.topics...)...)
	}
	if got := must(t, "", offsets("other", "other/0-2")...); got != "g has committed nothing there\n" {
		t.Errorf("of a topic without offsets: %q", got)
	}
	if got := must(t, "", offsets("t:0-1")...); got != "deleted 2 offsets of g\n" {
		t.Errorf("of two partitions: %q", got)
	}
	must(t, "", "group", "reset", "g", "--topic=t", "--to-earliest", "--yes", bootstrap)
	member := startCopy(t, "t", "--group=g", bootstrap)
	member.says(t, "has t/0-2")
	failsWithLines(t, []string{"t/0 and 2 more: GROUP_SUBSCRIBED_TO_TOPIC"}, offsets("t")...)
	member.end(t)
}

func TestWhereThereAreNoGroupsTheTablesHaveTheirHeaders(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	for view, want := range map[string]string{"--json=false": "GROUP  TOPIC  ", "--members": "GROUP  CONSUMER-ID  ", "--state": "GROUP  COORDINATOR (ID)  "} {
		got := inProcess(t, "", "group", "describe", view, bootstrap)
		if got.code != exitDone || !strings.HasPrefix(got.out, want) || strings.Count(got.out, "\n") != 1 || got.err != "" {
			t.Errorf("with %s: exit code %d, %q, %q", view, got.code, got.out, got.err)
		}
	}
	if got := must(t, "", "group", "describe", "--json", bootstrap); got != "[]\n" {
		t.Errorf("in JSON: %q", got)
	}
}
