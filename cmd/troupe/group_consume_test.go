package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// begunAt waits until group g has committed these offsets.
func begunAt(t *testing.T, bootstrap string, want ...int64) {
	t.Helper()
	for {
		var got []int64
		for _, p := range describeG(t, bootstrap).Partitions {
			got = append(got, p.CurrentOffset)
		}
		if slices.Equal(got, want) {
			return
		}
	}
}

func TestACopyThatIsKilledBeforeItReadAnythingSkipsNothing(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir(), quickGroups...).ready["kafka"]
	must(t, "", "topic", "create", "t", "--partitions=2", bootstrap)
	must(t, "old\n", "produce", "t", "--partition=1", bootstrap)
	one := startCopy(t, "t", "--group=g", bootstrap)
	one.says(t, "gets t/0-1")
	two := startCopy(t, "t", "--group=g", bootstrap)
	two.says(t, "gets t/1")
	begunAt(t, bootstrap, 0, 1)
	if err := two.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	must(t, "a\n", "produce", "t", "--partition=0", bootstrap)
	must(t, "b\n", "produce", "t", "--partition=1", bootstrap)
	if got := one.read(t, 2); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("the copy that stays wrote %q", got)
	}
	one.end(t)
}

func TestAGroupThatBeganAtTheEndGoesOnThere(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir(), quickGroups...).ready["kafka"]
	must(t, "", "topic", "create", "t", "--partitions=2", bootstrap)
	must(t, "old\n", "produce", "t", "--partition=0", bootstrap)
	consume := func() string { return must(t, "", "consume", "t", "--group=g", "--exit-at-end", bootstrap) }
	if got := consume(); got != "" {
		t.Errorf("from the end %q is read", got)
	}
	must(t, "a\n", "produce", "t", "--partition=0", bootstrap)
	must(t, "b\n", "produce", "t", "--partition=1", bootstrap) // which was empty
	got := strings.Fields(consume())
	if slices.Sort(got); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("then %q is read", got)
	}
}

func TestACopyWhoseReaderHasEnoughLeavesTheGroup(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir(), quickGroups...).ready["kafka"]
	must(t, strings.Repeat("line\n", 200_000), "produce", "t", bootstrap)
	ended, stderr := readOneLine(t, "line\n", "t", "--group=g", "--from-beginning", bootstrap)
	group := describeG(t, bootstrap)
	if code := ended.ExitCode(); code != exitFailed || len(group.Members) > 0 || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit code %d, %d members, %q", code, len(group.Members), stderr)
	}
	if p := group.Partitions[0]; p.CurrentOffset < 0 || p.Lag == 0 {
		t.Errorf("what nobody has read is committed: %+v", p)
	}
}

func TestWhatIsTakenAwayAtTheEndIsAFailure(t *testing.T) {
	var stderr bytes.Buffer
	g := &groupRun{
		consumption: &consumption{topic: "t"}, group: "g", std: streams{err: &stderr},
		owned: map[int32]bool{0: true}, done: map[int32]wire.Offset{0: 5}, committed: map[int32]wire.Offset{0: 5},
	}
	all := []client.PartitionName{{Topic: "t"}}
	g.ending = true
	g.lost(all)
	if g.unsaved != nil {
		t.Errorf("all was committed: %v", g.unsaved)
	}
	g.done[0] = 7
	g.lost(all)
	if g.unsaved == nil || !strings.Contains(g.unsaved.Error(), "others will read the last records again") {
		t.Errorf("a record was not committed: %v", g.unsaved)
	}
}
