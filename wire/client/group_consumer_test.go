package client_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

// journal is what the callbacks of a member were told, in order.
type journal struct {
	mu      sync.Mutex
	entries []string
}

func (j *journal) note(what string) func([]client.PartitionName) {
	return func(names []client.PartitionName) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.entries = append(j.entries, what+" "+short(names))
	}
}

func short(names []client.PartitionName) string {
	var list []string
	for _, name := range names {
		list = append(list, fmt.Sprintf("%s/%d", name.Topic, name.Partition))
	}
	return strings.Join(list, " ")
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries)
}

func (j *journal) options() []client.GroupOption {
	return []client.GroupOption{
		client.OnAssigned(j.note("assigned")), client.OnRevoked(j.note("revoked")), client.OnLost(j.note("lost")),
	}
}

// join makes a member of group g that reads topic t.
func join(t testing.TB, c *client.Client, options ...client.GroupOption) *client.GroupConsumer {
	t.Helper()
	g, err := c.NewGroupConsumer("g", append([]client.GroupOption{client.Topics("t")}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

// pollUntil polls members in turn until done says so, and returns the records of all.
func pollUntil(t testing.TB, done func() bool, members ...*client.GroupConsumer) []client.Record {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	var got []client.Record
	for !done() {
		for _, g := range members {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			records, err := g.Poll(ctx)
			cancel()
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("Poll: %v", err)
			}
			got = append(got, records...)
		}
		if time.Now().After(deadline) {
			for _, g := range members {
				t.Logf("member %s owns %v", g.MemberID(), g.Owned())
			}
			t.Fatal("it does not come to that")
		}
	}
	return got
}

func owns(g *client.GroupConsumer, n int) func() bool {
	return func() bool { return len(g.Owned()) == n }
}

// pollRecords polls a member until it has n records.
func pollRecords(t testing.TB, g *client.GroupConsumer, n int) []client.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []client.Record
	for len(got) < n {
		records, err := g.Poll(ctx)
		if err != nil {
			t.Fatalf("after %d of %d records: %v", len(got), n, err)
		}
		got = append(got, records...)
	}
	return got
}

func TestTwoMembersShareATopicAndOneTakesOverFromTheOther(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 4)
	c := connect(t, serve(t, b))
	for p := range int32(4) {
		fill(t, c, "t", p, numbered(50)...)
	}
	var first, second journal
	one := join(t, c, append(first.options(), client.WithClientID("one"))...)
	got := pollRecords(t, one, 200)
	two := join(t, c, append(second.options(), client.WithClientID("two"))...)
	got = append(got, pollUntil(t, func() bool { return owns(one, 2)() && owns(two, 2)() }, one, two)...)
	if len(got) != 200 {
		t.Errorf("%d records were read, each of the 200 should be once", len(got))
	}
	want := []string{"assigned t/0 t/1 t/2 t/3", "revoked t/1 t/3"}
	if !slices.Equal(first.all(), want) || !slices.Equal(second.all(), []string{"assigned t/1 t/3"}) {
		t.Errorf("the callbacks were told %q and %q", first.all(), second.all())
	}
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	fill(t, c, "t", 0, "after")
	if got := pollRecords(t, two, 1); string(got[0].Value) != "after" || len(two.Owned()) != 4 {
		t.Errorf("the one that stays read %q and owns %v", got[0].Value, two.Owned())
	}
}

func TestWhatAMemberHasReadIsCommittedBeforeItsPartitionGoes(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 2)
	c := connect(t, serve(t, b))
	for p := range int32(2) {
		fill(t, c, "t", p, numbered(10)...)
	}
	var order []string
	one := join(t, c, client.WithClientID("one"), client.CommitEvery(time.Hour), client.OnRevoked(func(names []client.PartitionName) {
		order = append(order, fmt.Sprint("revoked at ", b.Committed("g", names[0].Topic, names[0].Partition)))
	}))
	pollRecords(t, one, 20)
	two := join(t, c, client.WithClientID("two"))
	pollUntil(t, owns(two, 1), one, two)
	if !slices.Equal(order, []string{"revoked at 10"}) {
		t.Errorf("the callback was told %q", order)
	}
	if b.Committed("g", "t", 0) > 0 { // where it began
		t.Error("the partition that stays was committed before its time")
	}
}

func TestAGroupGoesOnWhereItHasCommitted(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	fill(t, c, "t", 0, numbered(10)...)
	g := join(t, c, client.WithMaxPollRecords(4))
	pollRecords(t, g, 4)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	g = join(t, c, client.ManualCommit())
	got := pollRecords(t, g, 6)
	if got[0].Offset != 4 {
		t.Errorf("after automatic commits it went on at %d", got[0].Offset)
	}
	if err := g.CommitSync(t.Context(), client.After(got[:3]...)...); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	g = join(t, c)
	if got := pollRecords(t, g, 3); got[0].Offset != 7 {
		t.Errorf("after a commit of its own it went on at %d", got[0].Offset)
	}
}

func TestAutomaticCommitsComeInTime(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	fill(t, c, "t", 0, numbered(10)...)
	g := join(t, c, client.CommitEvery(20*time.Millisecond))
	pollRecords(t, g, 10)
	pollUntil(t, func() bool { return b.Committed("g", "t", 0) == 10 }, g)
}

func TestAMemberThatWasFencedLosesAllAndBeginsAnew(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 2)
	c := connect(t, serve(t, b))
	for p := range int32(2) {
		fill(t, c, "t", p, numbered(5)...)
	}
	var told journal
	g := join(t, c, append(told.options(), client.WithClientID("one"), client.ManualCommit())...)
	got := pollRecords(t, g, 10)
	b.Expire("g", "one")
	if err := g.CommitSync(t.Context(), client.After(got...)...); !errors.Is(err, client.ErrNotOwned) && !errors.Is(err, wire.UnknownMemberID) {
		t.Errorf("a commit of a member that the group does not know: %v", err)
	}
	again := pollUntil(t, func() bool { return len(told.all()) == 3 }, g)
	again = append(again, pollRecords(t, g, 10-len(again))...)
	want := []string{"assigned t/0 t/1", "lost t/0 t/1", "assigned t/0 t/1"}
	if !slices.Equal(told.all(), want) || len(again) != 10 {
		t.Errorf("the callbacks were told %q, and %d records were read again", told.all(), len(again))
	}
}

func TestAProgramThatDoesNotPollLosesItsPartitionsToOthers(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 2)
	c := connect(t, serve(t, b))
	var told journal
	idle := join(t, c, append(told.options(), client.WithMaxPollInterval(200*time.Millisecond))...)
	pollUntil(t, owns(idle, 2), idle)
	busy := join(t, c)
	pollUntil(t, owns(busy, 2), busy)
	pollUntil(t, func() bool { return owns(idle, 1)() && owns(busy, 1)() }, idle, busy)
	if got := told.all(); len(got) < 2 || got[1] != "lost t/0 t/1" {
		t.Errorf("the callbacks were told %q", got)
	}
}

func TestAStaticMemberFindsItsPartitionsAgain(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 2)
	c := connect(t, serve(t, b))
	static := join(t, c, client.Instance("a"), client.WithClientID("a"))
	other := join(t, c, client.WithClientID("b"))
	both := func() bool { return owns(static, 1)() && owns(other, 1)() }
	pollUntil(t, both, static, other)
	if err := static.Close(); err != nil {
		t.Fatal(err)
	}
	for range 10 { // heartbeats in which the other could get what is not its own
		pollUntil(t, owns(other, 1), other)
	}
	static = join(t, c, client.Instance("a"), client.WithClientID("a"))
	pollUntil(t, both, static, other)
	if got := short(static.Owned()); got != "t/0" {
		t.Errorf("the static member came back to %s", got)
	}
}

func TestAStaticMemberWaitsForTheEndOfItsFormerRun(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	killed := join(t, connect(t, serve(t, b)), client.Instance("a"), client.WithClientID("killed"))
	pollUntil(t, owns(killed, 1), killed)
	again := join(t, c, client.Instance("a"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := again.Poll(ctx); !errors.Is(err, wire.UnreleasedInstanceID) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Poll = %v", err)
	}
	b.Expire("g", "killed")
	pollUntil(t, owns(again, 1), again)
}

func TestNothingIsReadThatMustBeCommittedAndIsNot(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	fill(t, c, "t", 0, numbered(3)...)
	g := join(t, c, client.MustBeCommitted())
	if _, err := g.Poll(t.Context()); !errors.Is(err, client.ErrNothingCommitted) {
		t.Fatalf("Poll = %v", err)
	}
	if err := g.CommitSync(t.Context()); err != nil || b.Committed("g", "t", 0) != wire.NoOffset {
		t.Errorf("a position that nobody chose was committed: %v, %d", err, b.Committed("g", "t", 0))
	}
	if err := g.Seek("t", 0, client.AtOffset(1)); err != nil {
		t.Fatal(err)
	}
	if got := pollRecords(t, g, 2); got[0].Offset != 1 {
		t.Errorf("after Seek it read on at %d", got[0].Offset)
	}
}

func TestTroubleOfTheCoordinatorPasses(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	var failures atomic.Int32
	b.FailGroups(func(wire.GroupRequest) error {
		switch failures.Add(1) {
		case 1, 3:
			return wire.CoordinatorLoadInProgress
		case 2, 5:
			return wire.NotCoordinator
		}
		return nil
	})
	var told atomic.Int32
	c, err := client.NewWith(client.Config{
		Addrs: []string{serve(t, b)}, RetryBackoff: time.Millisecond,
		OnRetry: func(topic string, _ int32, err error) {
			if topic == "" && err != nil {
				told.Add(1)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	fill(t, c, "t", 0, numbered(3)...)
	g := join(t, c)
	pollRecords(t, g, 3)
	if err := g.CommitSync(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil { // by then OnRetry has been told of all
		t.Error(err)
	}
	if failures.Load() < 6 || told.Load() < 2 {
		t.Errorf("%d requests were made, OnRetry was told of %d failures", failures.Load(), told.Load())
	}
}

func TestAMemberThatTheGroupDoesNotTakeIsToldWhy(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	b.FailGroups(func(wire.GroupRequest) error { return wire.Errorf(wire.GroupMaxSizeReached, "the group has 3 members") })
	g := join(t, connect(t, serve(t, b)))
	for range 2 {
		if _, err := g.Poll(t.Context()); !errors.Is(err, wire.GroupMaxSizeReached) {
			t.Errorf("Poll = %v", err)
		}
	}
}

func TestAPartOfANameSelectsTopicsInAGroupTo(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("log-a", 1)
	b.CreateTopic("log-b", 1)
	b.CreateTopic("other", 1)
	c := connect(t, serve(t, b))
	g, err := c.NewGroupConsumer("g", client.Pattern(regexp.MustCompile("^log-")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = g.Close() }()
	pollUntil(t, owns(g, 2), g)
	if got := short(g.Owned()); got != "log-a/0 log-b/0" {
		t.Errorf("it owns %s", got)
	}
}

func TestATopicThatDoesNotExistYetIsWaitedForAndNamed(t *testing.T) {
	b := nativetest.New()
	c := connect(t, serve(t, b))
	g := join(t, c)
	named := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		_, err := g.Poll(ctx)
		return errors.Is(err, client.ErrUnknownTopic) && errors.Is(err, context.DeadlineExceeded)
	}
	pollUntil(t, named)
	b.CreateTopic("t", 1)
	pollUntil(t, owns(g, 1), g)
	fill(t, c, "t", 0, "at last")
	pollRecords(t, g, 1)
}

func TestACommitOfWhatIsNotOwnedIsRefusedAndTheRestIsDone(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	b.CreateTopic("other", 1)
	c := connect(t, serve(t, b))
	g := join(t, c, client.ManualCommit())
	pollUntil(t, owns(g, 1), g)
	err := g.CommitSync(t.Context(), client.GroupOffset{Topic: "other", Offset: 5}, client.GroupOffset{Topic: "t", Offset: 7})
	var of *client.PartitionError
	if !errors.Is(err, client.ErrNotOwned) || !errors.As(err, &of) || of.Topic != "other" {
		t.Errorf("CommitSync = %v", err)
	}
	if b.Committed("g", "other", 0) != wire.NoOffset || b.Committed("g", "t", 0) != 7 {
		t.Errorf("committed are %d and %d", b.Committed("g", "other", 0), b.Committed("g", "t", 0))
	}
}

func TestCommitsKeepTheirOrder(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	g := join(t, c, client.ManualCommit())
	pollUntil(t, owns(g, 1), g)
	var outcomes []error
	for i := range 100 {
		g.CommitAsync(func(err error) { outcomes = append(outcomes, err) }, client.GroupOffset{Topic: "t", Offset: client.Offset(i)})
	}
	if err := g.CommitSync(t.Context(), client.GroupOffset{Topic: "t", Offset: 100}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(outcomes...); err != nil || len(outcomes) != 100 || b.Committed("g", "t", 0) != 100 {
		t.Errorf("%d outcomes, %v; committed is %d", len(outcomes), err, b.Committed("g", "t", 0))
	}
}

func TestAClientThatIsClosedLeavesNoMemberBehind(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	g := join(t, c)
	pollUntil(t, owns(g, 1), g)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Poll(t.Context()); !errors.Is(err, client.ErrClosed) {
		t.Errorf("Poll = %v", err)
	}
	if err := g.CommitSync(t.Context(), client.GroupOffset{Topic: "t", Offset: 1}); !errors.Is(err, client.ErrClosed) {
		t.Errorf("CommitSync = %v", err)
	}
	if err := g.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

func TestAPollThatWaitsEndsWithTheConsumer(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	g := join(t, c)
	pollUntil(t, owns(g, 1), g)
	polled := make(chan error)
	go func() {
		_, err := g.Poll(context.Background())
		polled <- err
	}()
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if err := <-polled; !errors.Is(err, client.ErrClosed) {
		t.Errorf("Poll = %v", err)
	}
}

func TestGroupConsumersThatMakeNoSenseAreRefused(t *testing.T) {
	c := connect(t, "127.0.0.1:1")
	for name, options := range map[string][]client.GroupOption{
		"nothing to read":    nil,
		"partitions":         {client.Partition("t", 0, client.Beginning())},
		"one offset for all": {client.Topics("t"), client.From(client.AtOffset(5))},
		"no time to poll":    {client.Topics("t"), client.WithMaxPollInterval(0)},
		"no time to commit":  {client.Topics("t"), client.CommitEvery(0)},
	} {
		if g, err := c.NewGroupConsumer("g", options...); err == nil {
			t.Errorf("%s: accepted", name)
			_ = g.Close()
		}
	}
	if _, err := c.NewGroupConsumer("", client.Topics("t")); err == nil {
		t.Error("a group without a name was accepted")
	}
}
