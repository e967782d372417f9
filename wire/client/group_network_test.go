package client_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

// asked is what a coordinator was asked, in order, with what it is to refuse.
type asked struct {
	mu     sync.Mutex
	all    []wire.GroupRequest
	refuse func(wire.GroupRequest) error
}

func (a *asked) hear(q wire.GroupRequest) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, q)
	if a.refuse != nil {
		return a.refuse(q)
	}
	return nil
}

func (a *asked) refusing(f func(wire.GroupRequest) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refuse = f
}

func (a *asked) take() []wire.GroupRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.all
	a.all = nil
	return all
}

// refusedCommits refuses every commit for a while.
func refusedCommits(q wire.GroupRequest) error {
	if _, commit := q.(*wire.CommitOffsets); commit {
		return wire.CoordinatorNotAvailable
	}
	return nil
}

func TestPartitionsThatStayAreReadWhileOthersCannotBeGivenUp(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 2)
		var a asked
		b.FailGroups(a.hear)
		c := n.client()
		defer func() { _ = c.Close() }()
		for p := range int32(2) {
			fill(t, c, "t", p, "before")
		}
		one := join(t, c, client.WithClientID("one"))
		pollRecords(t, one, 2)
		a.refusing(refusedCommits)
		two := join(t, c, client.WithClientID("two"))
		for range 3 {
			fill(t, c, "t", 0, "goes on")
			if got := pollRecords(t, one, 1); string(got[0].Value) != "goes on" || got[0].Partition != 0 {
				t.Errorf("read %+v", got[0])
			}
			poll(t, two) // nothing: the other could not commit what it has read
		}
		if len(two.Owned()) > 0 || len(one.Owned()) != 2 {
			t.Errorf("without a commit %v went over, and %v stayed", two.Owned(), one.Owned())
		}
		a.refusing(nil)
		pollUntil(t, owns(two, 1), one, two)
		if b.Committed("g", "t", 1) != 1 {
			t.Errorf("committed is %d", b.Committed("g", "t", 1))
		}
		leave(t, one, two)
	})
}

func TestAPartitionIsGivenUpOnlyBehindTheCommitsOfIt(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 2)
		var a asked
		b.FailGroups(a.hear)
		c := n.client()
		defer func() { _ = c.Close() }()
		var one *client.GroupConsumer
		one = join(t, c, client.WithClientID("one"), client.ManualCommit(), client.OnRevoked(func(gone []client.PartitionName) {
			for i := range client.Offset(5) {
				one.CommitAsync(nil, client.GroupOffset{Topic: "t", Partition: gone[0].Partition, Offset: i})
			}
		}))
		pollUntil(t, owns(one, 2), one)
		a.take()
		two := join(t, c, client.WithClientID("two"))
		pollUntil(t, owns(two, 1), one, two)
		commits := 0
		for _, q := range a.take() {
			switch q := q.(type) {
			case *wire.CommitOffsets:
				commits++
			case *wire.ConsumerHeartbeat:
				if string(q.Member) == one.MemberID() && q.OwnedTold && len(q.Owned) == 1 && len(q.Owned[0].Partitions) == 1 && commits < 5 {
					t.Errorf("it gave up after %d commits of 5", commits)
				}
			}
		}
		if commits != 5 || b.Committed("g", "t", 1) != 4 {
			t.Errorf("%d commits, the last of %d", commits, b.Committed("g", "t", 1))
		}
		leave(t, one, two)
	})
}

func TestAMemberLeavesExactlyWhenItHasNotPolledForTooLong(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		b.SetHeartbeatInterval(5 * time.Second)
		var a asked
		b.FailGroups(a.hear)
		c := n.client()
		defer func() { _ = c.Close() }()
		var told journal
		g := join(t, c, append(told.options(), client.WithMaxPollInterval(time.Minute))...)
		pollUntil(t, owns(g, 1), g)
		a.take()
		left := func() bool {
			return slices.ContainsFunc(a.take(), func(q wire.GroupRequest) bool {
				h, ok := q.(*wire.ConsumerHeartbeat)
				return ok && h.MemberEpoch == wire.MemberLeaves
			})
		}
		time.Sleep(59 * time.Second) // on the clock of the bubble
		if left() {
			t.Error("it left too early")
		}
		time.Sleep(7 * time.Second)
		if !left() {
			t.Error("it has not left")
		}
		poll(t, g)
		if got := told.all(); len(got) < 2 || got[1] != "lost t/0" {
			t.Errorf("the callbacks were told %q", got)
		}
		pollUntil(t, owns(g, 1), g)
		leave(t, g)
	})
}

func TestAMemberOutlivesABrokerThatFallsSilent(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		c := n.client()
		defer func() { _ = c.Close() }()
		var told journal
		g := join(t, c, append(told.options(), client.CommitEvery(time.Second))...)
		fill(t, c, "t", 0, "one")
		pollRecords(t, g, 1)
		n.mute()
		time.Sleep(3 * time.Second)
		fill(t, c, "t", 0, "two")
		if got := pollRecords(t, g, 1); string(got[0].Value) != "two" {
			t.Errorf("read %q", got[0].Value)
		}
		pollUntil(t, func() bool { return b.Committed("g", "t", 0) == 2 }, g)
		if got := told.all(); len(got) != 1 {
			t.Errorf("the callbacks were told %q", got)
		}
		leave(t, g)
	})
}

func TestWhatMayHaveGotLostIsToldAgain(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		var a asked
		b.FailGroups(a.hear)
		c := n.client()
		defer func() { _ = c.Close() }()
		g := join(t, c)
		pollUntil(t, owns(g, 1), g)
		time.Sleep(time.Second)
		for _, q := range a.take()[2:] {
			if h, ok := q.(*wire.ConsumerHeartbeat); ok && h.Subscribed && h.MemberEpoch > 0 {
				t.Errorf("all is told again for nothing: %+v", h)
			}
		}
		once := true
		a.refusing(func(wire.GroupRequest) error {
			if once {
				once = false
				return wire.RequestTimedOut
			}
			return nil
		})
		time.Sleep(time.Second)
		again := slices.ContainsFunc(a.take(), func(q wire.GroupRequest) bool {
			h, ok := q.(*wire.ConsumerHeartbeat)
			return ok && h.Subscribed && h.OwnedTold && len(h.Owned) == 1 && h.MemberEpoch > 0
		})
		if !again {
			t.Error("nothing was told again")
		}
		leave(t, g)
	})
}

// poll polls once, for a while.
func poll(t *testing.T, g *client.GroupConsumer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := g.Poll(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Poll: %v", err)
	}
}

// leave closes members before their bubble ends.
func leave(t *testing.T, members ...*client.GroupConsumer) {
	t.Helper()
	for _, g := range members {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
}
