package client_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

func TestWhatIsTakenBackBeforeItBeganDoesNotBegin(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 2)
		var a asked
		b.FailGroups(a.hear)
		c := n.client()
		defer func() { _ = c.Close() }()
		var told journal
		one := join(t, c, append(told.options(), client.WithClientID("one"))...)
		id := wire.MemberID(one.MemberID())
		two, heartbeats := wire.MemberID(""), 0
		a.refusing(func(q wire.GroupRequest) error {
			switch q := q.(type) {
			case *wire.FetchOffsets: // so it does not know where to begin
				if q.Member == id {
					return wire.CoordinatorNotAvailable
				}
			case *wire.ConsumerHeartbeat: // so it tells everything, and that it has nothing, twice
				if q.Member != id {
					two = q.Member
				} else if two != "" {
					if heartbeats++; heartbeats == 1 || heartbeats == 3 {
						return wire.RequestTimedOut
					}
				}
			}
			return nil
		})
		poll(t, one)
		next := join(t, c, client.WithClientID("two"))
		pollUntil(t, owns(next, 1), one, next)
		time.Sleep(time.Second) // one hears that it has one partition less
		a.refusing(nil)
		pollUntil(t, owns(one, 1), one, next)
		if got := told.all(); !slices.Equal(got, []string{"assigned t/0"}) {
			t.Errorf("the callbacks were told %q", got)
		}
		leave(t, one, next)
	})
}

func TestAnAnswerThatComesAfterARefusalDoesNotUndoIt(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		c := n.client()
		defer func() { _ = c.Close() }()
		asked, refused := make(chan struct{}), make(chan struct{})
		var once atomic.Bool
		b.FailGroups(func(q wire.GroupRequest) error {
			switch q := q.(type) {
			case *wire.FetchOffsets:
				<-asked
				defer close(refused)
				return wire.GroupAuthorizationFailed
			case *wire.ConsumerHeartbeat:
				if q.MemberEpoch > 0 && once.CompareAndSwap(false, true) {
					close(asked)
					<-refused
					time.Sleep(time.Second) // the refusal is there before
				}
			}
			return nil
		})
		g := join(t, c)
		for range 20 {
			if _, err := g.Poll(soon(t)); errors.Is(err, wire.GroupAuthorizationFailed) {
				break
			}
		}
		time.Sleep(5 * time.Second)
		for range 3 {
			if _, err := g.Poll(soon(t)); !errors.Is(err, wire.GroupAuthorizationFailed) {
				t.Errorf("Poll: %v", err)
			}
		}
		_ = g.Close()
	})
}

// soon returns a context that ends soon.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
