package client_test

import (
	"slices"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

func TestAPausedPartitionOfAGroupIsNeitherReadNorCommittedNorLost(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 2)
	c := connect(t, serve(t, b))
	g := join(t, c, client.CommitEvery(time.Hour))
	pollUntil(t, owns(g, 2), g)
	if err := g.Pause("t", 0); err != nil {
		t.Fatal(err)
	}
	fill(t, c, "t", 0, "kept back")
	fill(t, c, "t", 1, "read")
	values := func(records []client.Record) (list []string) {
		for _, r := range records {
			list = append(list, string(r.Value))
		}
		return list
	}
	if got := values(pollRecords(t, g, 1)); !slices.Equal(got, []string{"read"}) {
		t.Errorf("while partition 0 pauses %q is read", got)
	}
	if err := g.CommitSync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if paused, read := b.Committed("g", "t", 0), b.Committed("g", "t", 1); paused > 0 || read != 1 {
		t.Errorf("%d of the partition that pauses is committed, and %d of the other one, of one record each", paused, read)
	}
	if err := g.Resume("t", 0); err != nil {
		t.Fatal(err)
	}
	if got := values(pollRecords(t, g, 1)); !slices.Equal(got, []string{"kept back"}) {
		t.Errorf("then %q is read", got)
	}
}

func TestAPauseEndsWhenThePartitionGoes(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 2)
	c := connect(t, serve(t, b))
	one := join(t, c, client.WithClientID("one"))
	pollUntil(t, owns(one, 2), one)
	for p := range int32(2) {
		if err := one.Pause("t", p); err != nil {
			t.Fatal(err)
		}
	}
	two := join(t, c, client.WithClientID("two"))
	pollUntil(t, func() bool { return owns(one, 1)() && owns(two, 1)() }, one, two)
	gone := two.Owned()[0].Partition
	if err := one.Resume("t", gone); err == nil {
		t.Error("a partition that somebody else has can be resumed")
	}
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	pollUntil(t, owns(one, 2), one)
	fill(t, c, "t", 1-gone, "kept back")
	fill(t, c, "t", gone, "read")
	if got := pollRecords(t, one, 1); got[0].Partition != gone {
		t.Errorf("partition %d is read, which pauses", got[0].Partition)
	}
}
