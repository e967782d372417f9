package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// describe returns what topic describe --json says of one topic.
func describe(t *testing.T, name, bootstrap string) topicJSON {
	t.Helper()
	var topics []topicJSON
	if err := json.Unmarshal([]byte(must(t, "", "topic", "describe", name, "--json", bootstrap)), &topics); err != nil || len(topics) != 1 {
		t.Fatalf("%d topics, %v", len(topics), err)
	}
	return topics[0]
}

func TestATopicLivesThroughItsCommands(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	must(t, "", "topic", "create", "orders", "--partitions=3", "--replication-factor=1", "--config=retention.ms=3600000", bootstrap)
	must(t, "a\nb\n", "produce", "orders", "--partition=1", bootstrap)

	topic := describe(t, "orders", bootstrap)
	if topic.Name != "orders" || len(topic.TopicID) != 22 || topic.Configs["retention.ms"] != "3600000" || len(topic.Partitions) != 3 {
		t.Errorf("described as %+v", topic)
	}
	if topic.State != "healthy" || topic.Records != 2 {
		t.Errorf("state %q and %d records", topic.State, topic.Records)
	}
	for i, want := range []int64{0, 2, 0} {
		p := topic.Partitions[i]
		if p.Partition != int32(i) || p.Leader < 0 || !slices.Equal(p.Replicas, []int32{p.Leader}) || !slices.Equal(p.ISR, p.Replicas) || p.LogStartOffset != 0 || p.HighWatermark != want {
			t.Errorf("partition %d is %+v, want a high watermark of %d", i, p, want)
		}
	}

	must(t, "", "topic", "alter", "orders", "--partitions=5", "--config=segment.bytes=2097152", "--delete-config=retention.ms", bootstrap)
	topic = describe(t, "orders", bootstrap)
	if _, set := topic.Configs["retention.ms"]; set || topic.Configs["segment.bytes"] != "2097152" || len(topic.Partitions) != 5 {
		t.Errorf("altered to %+v", topic)
	}

	must(t, "", "topic", "create", "second", bootstrap)
	if list := must(t, "", "topic", "list", bootstrap); !strings.Contains(list, "orders") || !strings.Contains(list, "second") {
		t.Errorf("list:\n%s", list)
	}
	must(t, "", "topic", "delete", "orders", "second", bootstrap)
	if list := must(t, "", "topic", "list", "--json", bootstrap); strings.TrimSpace(list) != "[]" {
		t.Errorf("after the deletion: %s", list)
	}
}

func TestNoAdviceIsToCreateATopicWhoseNameIsRefused(t *testing.T) {
	if got := hintFor(wire.UnknownTopicOrPartition, "good"); !strings.Contains(got, "troupe topic create good") {
		t.Errorf("good: %q", got)
	}
	for _, name := range []string{"bad!", "", "a b", strings.Repeat("x", 250)} {
		if got := hintFor(wire.UnknownTopicOrPartition, name); strings.Contains(got, "create") || !strings.Contains(got, "troupe topic list") {
			t.Errorf("%q: %q", name, got)
		}
	}
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	got := inProcess(t, "", "consume", "bad!", "--from-beginning", bootstrap)
	if got.code != exitFailed || strings.Contains(got.err, "create") {
		t.Errorf("consume: exit code %d, %q", got.code, got.err)
	}
	must(t, "", "topic", "create", "there", bootstrap)
	if got := inProcess(t, "", "topic", "describe", "there", "gone", bootstrap); !strings.Contains(got.err, "troupe topic create gone") {
		t.Errorf("describe: %q", got.err)
	}
	if got := inProcess(t, "", "topic", "list", "--internal", "--json", bootstrap); got.code != exitDone || !strings.Contains(got.out, `"there"`) {
		t.Errorf("list: exit code %d, %s%s", got.code, got.out, got.err)
	}
}

func TestMistakesAboutTopicsSayWhatToDo(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	must(t, "", "topic", "create", "there", bootstrap)
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"create there", exitFailed, "--if-not-exists"},
		{"create there --if-not-exists", exitDone, ""},
		{"create a/b", exitFailed, "INVALID_TOPIC"},
		{"create new --config=retention.msx=1", exitFailed, "retention.ms"},
		{"create new --config=retention.ms=soon", exitFailed, "retention.ms"},
		{"create new --config=retention.ms", exitUsage, "key=value"},
		{"create new --partitions=0", exitUsage, "--partitions"},
		{"create new --replication-factor=3", exitFailed, "--replication-factor"},
		{"describe missing", exitFailed, "troupe topic list"},
		{"alter missing --partitions=2", exitFailed, "troupe topic list"},
		{"alter there", exitUsage, "--config"},
		{"alter there --partitions=1", exitFailed, "there"},
		{"delete missing", exitFailed, "--if-exists"},
		{"delete missing --if-exists", exitDone, ""},
	} {
		got := inProcess(t, "", append([]string{"topic"}, append(strings.Fields(c.args), bootstrap)...)...)
		if got.code != c.code || !strings.Contains(got.err, c.want) {
			t.Errorf("topic %s: exit code %d, %q; want %d and %q", c.args, got.code, got.err, c.code, c.want)
		}
		if c.code != exitDone && strings.Count(got.err, "\n") != 1 {
			t.Errorf("topic %s: stderr is not one line: %q", c.args, got.err)
		}
	}
}
