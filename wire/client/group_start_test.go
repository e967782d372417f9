package client_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

// began says that where partitions of t begin is committed.
func began(b *nativetest.Broker, offsets ...client.Offset) func() bool {
	return func() bool {
		var got []client.Offset
		for p := range offsets {
			got = append(got, b.Committed("g", "t", int32(p)))
		}
		return slices.Equal(got, offsets)
	}
}

// The members begin at the end, and one is killed before there was anything to read: what is produced until its partitions are
// somebody else's belongs to the group nevertheless.
func TestNothingIsSkippedWhenAMemberIsKilledThatHasReadNothing(t *testing.T) {
	for name, option := range map[string]client.GroupOption{
		"automatic commits": client.CommitEvery(time.Hour),
		"commits by hand": client.WithGroupConfig(func() client.GroupConfig {
			cfg := client.DefaultGroupConfig()
			cfg.Consumer.Topics, cfg.AutoCommit, cfg.CommitStart = []string{"t"}, false, true
			return cfg
		}()),
	} {
		t.Run(name, func(t *testing.T) {
			b := nativetest.New()
			b.CreateTopic("t", 4)
			addr := serve(t, b)
			c, killed := connect(t, addr), connect(t, addr)
			fill(t, c, "t", 0, "before")
			fromEnd := []client.GroupOption{option, client.From(client.End())}
			one := join(t, c, append(fromEnd, client.WithClientID("one"))...)
			two := join(t, killed, append(fromEnd, client.WithClientID("two"))...)
			pollUntil(t, func() bool { return owns(one, 2)() && owns(two, 2)() }, one, two)
			pollUntil(t, began(b, 1, 0, 0, 0), one, two)
			if err := killed.Close(); err != nil { // which says no farewell
				t.Fatal(err)
			}
			for p := range int32(4) {
				fill(t, c, "t", p, numbered(5)...)
			}
			got := pollRecords(t, one, 10)
			b.Expire("g", "two")
			got = append(got, pollRecords(t, one, 10)...)
			seen := make(map[client.PartitionName]int)
			for _, r := range got {
				seen[client.PartitionName{Topic: r.Topic, Partition: r.Partition}]++
			}
			for p := range int32(4) {
				if n := seen[client.PartitionName{Topic: "t", Partition: p}]; n != 5 {
					t.Errorf("%d records of partition %d were read, there are 5", n, p)
				}
			}
		})
	}
}

func TestAGroupThatReadNothingGoesOnWhereItBegan(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	fill(t, c, "t", 0, "before")
	for range 2 {
		g := join(t, c, client.From(client.End()), client.CommitEvery(time.Hour))
		pollUntil(t, began(b, 1), g)
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, c, "t", 0, "between")
	g := join(t, c, client.From(client.End()))
	if got := pollRecords(t, g, 1); string(got[0].Value) != "between" {
		t.Errorf("the group goes on with %q", got[0].Value)
	}
}

func TestWhoCommitsByHandCommitsNoBeginning(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	fill(t, c, "t", 0, "read")
	g := join(t, c, client.ManualCommit())
	pollRecords(t, g, 1)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if got := b.Committed("g", "t", 0); got != wire.NoOffset {
		t.Errorf("%d is committed", got)
	}
}

func TestABeginningDoesNotOverwriteWhatIsCommittedAfterIt(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	fill(t, c, "t", 0, numbered(3)...)
	g := join(t, c, client.ManualCommit(), client.CommitStart())
	got := pollRecords(t, g, 3)
	if err := g.CommitSync(t.Context(), client.After(got...)...); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if got := b.Committed("g", "t", 0); got != 3 {
		t.Errorf("%d is committed, and 3 was committed last", got)
	}
}

func TestADeletedTopicIsNotCalledLeaderless(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	told := make(chan error, 1000)
	c, err := client.NewWith(client.Config{
		Addrs: []string{serve(t, b)}, RetryBackoff: time.Millisecond,
		OnRetry: func(topic string, _ int32, err error) {
			if topic == "t" {
				told <- err
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	g := join(t, c, client.ManualCommit())
	pollUntil(t, owns(g, 1), g)
	fill(t, c, "t", 0, "read")
	pollRecords(t, g, 1)
	if err := c.DeleteTopic(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	var last error
	hear := func() bool {
		for len(told) > 0 {
			if last = <-told; errors.Is(last, wire.LeaderNotAvailable) {
				t.Fatalf("told of %v", last)
			}
		}
		return errors.Is(last, wire.UnknownTopicOrPartition)
	}
	pollUntil(t, hear, g)
}
