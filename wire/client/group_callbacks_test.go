package client_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

// within fails the test if what is done does not end in a while.
func within(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s has not come to an end", what)
	}
}

func TestOnRetryMayCallTheMemberItTellsOf(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	var g *client.GroupConsumer
	made, told := make(chan struct{}), make(chan struct{})
	c, err := client.NewWith(client.Config{
		Addrs: []string{serve(t, b)}, RetryBackoff: time.Millisecond,
		OnRetry: func(_ string, _ int32, err error) {
			if !errors.Is(err, wire.NotCoordinator) {
				return
			}
			<-made
			_ = g.Owned()
			_ = g.Positions()
			if err := g.CommitSync(t.Context()); err != nil {
				t.Errorf("CommitSync = %v", err)
			}
			if err := g.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
			close(told)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	refused := false
	var a asked
	b.FailGroups(a.hear)
	a.refusing(func(wire.GroupRequest) error {
		if refused {
			return nil
		}
		refused = true
		return wire.NotCoordinator
	})
	g = join(t, c)
	close(made)
	for {
		if _, err := g.Poll(t.Context()); errors.Is(err, client.ErrClosed) {
			break
		}
	}
	within(t, "OnRetry", told)
}

func TestOnRetryMayCloseTheClient(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, _ *nativetest.Broker) {
		n.setDown(true)
		var c *client.Client
		made, closed := make(chan struct{}), make(chan struct{}, 1)
		c, err := client.NewWith(client.Config{
			Addrs: []string{"b1:9092"}, Dial: n.dial,
			OnRetry: func(string, int32, error) {
				<-made
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				select {
				case closed <- struct{}{}:
				default:
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		g := join(t, c)
		close(made)
		<-closed
		if _, err := g.Poll(t.Context()); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Poll = %v", err)
		}
	})
}

func TestTheOutcomeOfACommitMayLeadToAnything(t *testing.T) {
	for name, react := range map[string]func(c *client.Client, g *client.GroupConsumer) error{
		"another commit":              func(_ *client.Client, g *client.GroupConsumer) error { return g.CommitSync(context.Background()) },
		"the end of the member":       func(_ *client.Client, g *client.GroupConsumer) error { return g.Close() },
		"the end of the client":       func(c *client.Client, _ *client.GroupConsumer) error { return c.Close() },
		"the member closed by others": closedByOthers,
		"a poll, which is refused":    pollInCallback,
	} {
		t.Run(name, func(t *testing.T) {
			b := nativetest.New()
			b.CreateTopic("t", 1)
			c := connect(t, serve(t, b))
			g := join(t, c, client.ManualCommit())
			pollUntil(t, owns(g, 1), g)
			done := make(chan struct{})
			g.CommitAsync(func(err error) {
				defer close(done)
				if err := errors.Join(err, react(c, g)); err != nil {
					t.Error(err)
				}
			}, client.GroupOffset{Topic: "t", Offset: 1})
			within(t, "done", done)
		})
	}
}

// closedByOthers closes the member while another goroutine does, which waits for this one.
func closedByOthers(_ *client.Client, g *client.GroupConsumer) error {
	closing := make(chan struct{})
	go func() {
		close(closing)
		_ = g.Close()
	}()
	<-closing
	return g.Close()
}

func pollInCallback(_ *client.Client, g *client.GroupConsumer) error {
	if _, err := g.Poll(context.Background()); !errors.Is(err, client.ErrInCallback) {
		return fmt.Errorf("poll: %w", err)
	}
	return nil
}

func TestACommitThatIsWaitedForReturnsBehindTheOutcomesOfThoseBefore(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		c := n.client()
		defer func() { _ = c.Close() }()
		g := join(t, c, client.ManualCommit())
		pollUntil(t, owns(g, 1), g)
		told := false
		g.CommitAsync(func(error) {
			time.Sleep(time.Minute) // on the clock of the bubble
			told = true
		}, client.GroupOffset{Topic: "t", Offset: 1})
		if err := g.CommitSync(t.Context(), client.GroupOffset{Topic: "t", Offset: 2}); err != nil || !told {
			t.Errorf("CommitSync = %v, and the outcome of the one before was told: %t", err, told)
		}
		leave(t, g)
	})
}

func TestWhoIsToldOfPartitionsCanNeitherPollNorClose(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	var g *client.GroupConsumer
	calls := 0
	within := func([]client.PartitionName) {
		calls++
		if _, err := g.Poll(t.Context()); !errors.Is(err, client.ErrInCallback) {
			t.Errorf("Poll = %v", err)
		}
		if err := g.Close(); !errors.Is(err, client.ErrInCallback) {
			t.Errorf("Close = %v", err)
		}
		if err := g.CommitSync(t.Context()); err != nil {
			t.Errorf("CommitSync = %v", err)
		}
	}
	g = join(t, c, client.OnAssigned(within), client.OnRevoked(within))
	pollUntil(t, owns(g, 1), g)
	if err := g.Close(); err != nil || calls != 2 {
		t.Errorf("Close = %v, after %d calls", err, calls)
	}
}

func TestTheCallbackOfARecordCannotWaitForItself(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	p, err := c.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	r := client.Record{Topic: "t", Value: []byte("v")}
	err = p.Produce(t.Context(), r, func(client.Record, error) {
		defer close(done)
		_, produced := p.ProduceSync(context.Background(), r)
		for _, err := range []error{produced, p.Flush(context.Background()), p.Close()} {
			if !errors.Is(err, client.ErrInCallback) {
				t.Errorf("told %v", err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	within(t, "the callback", done)
}

func TestAMemberWhoseHeartbeatGotLostCommitsAndLeavesSoon(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		b.SetHeartbeatInterval(time.Second)
		c := n.client()
		defer func() { _ = c.Close() }()
		fill(t, c, "t", 0, numbered(3)...)
		g := join(t, c, client.CommitEvery(time.Hour))
		pollRecords(t, g, 3)
		lost, end := make(chan struct{}), make(chan struct{})
		defer close(end)
		var a asked
		a.refusing(func(q wire.GroupRequest) error { // as if the coordinator had gone on to another epoch with the lost one
			switch q := q.(type) {
			case *wire.CommitOffsets:
				select {
				case <-lost:
					return wire.StaleMemberEpoch
				default:
				}
			case *wire.ConsumerHeartbeat:
				if q.MemberEpoch > 0 && q.Subscribed { // it asks where it stands
					a.refuse = nil
				}
			}
			return nil
		})
		left := make(chan struct{})
		b.FailGroups(func(q wire.GroupRequest) error {
			h, heartbeat := q.(*wire.ConsumerHeartbeat)
			if heartbeat && h.MemberEpoch == wire.MemberLeaves {
				close(left)
			}
			select {
			case <-lost:
			default:
				if heartbeat {
					close(lost)
					<-end
				}
			}
			return a.hear(q)
		})
		<-lost
		synctest.Wait()
		begun := time.Now()
		if err := g.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("Close took %s", took)
		}
		if got := b.Committed("g", "t", 0); got != 3 {
			t.Errorf("%d is committed of 3 that were read", got)
		}
		select {
		case <-left:
		default:
			t.Error("the member has not left")
		}
	})
}

func TestAMemberThatMayHaveJoinedWithoutHearingOfItLeaves(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		c := n.client()
		defer func() { _ = c.Close() }()
		asked, end, left := make(chan struct{}), make(chan struct{}), make(chan struct{})
		defer close(end)
		b.FailGroups(func(q wire.GroupRequest) error {
			switch h := q.(*wire.ConsumerHeartbeat); h.MemberEpoch {
			case wire.MemberJoins:
				close(asked)
				<-end
			case wire.MemberLeaves:
				close(left)
			}
			return nil
		})
		g := join(t, c)
		<-asked
		begun := time.Now()
		if err := g.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("Close took %s", took)
		}
		<-left
	})
}
