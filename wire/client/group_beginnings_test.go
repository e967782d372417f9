package client_test

import (
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

// halfThere is a member that reads partition 0, while the leader of partition 1, b2, cannot be reached.
func halfThere(t *testing.T, n *network, b *nativetest.Broker, c *client.Client) *client.GroupConsumer {
	t.Helper()
	b.CreateTopic("t", 2)
	second := b.Join(2)
	n.add("b2", second)
	fill(t, c, "t", 0, "one")
	second.Lead("t", 1)
	n.kill("b2")
	g := join(t, c, client.From(client.Beginning()))
	got := pollUntil(t, owns(g, 2), g)
	for len(got) == 0 {
		records, err := g.Poll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, records...)
	}
	return g
}

// Whoever has the partition next might begin at its end, and skip what is in it.
func TestCloseCommitsWherePartitionsBeginThatWereNotLocatedYet(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		c := n.client()
		defer func() { _ = c.Close() }()
		g := halfThere(t, n, b, c)
		time.AfterFunc(time.Second, func() { n.restart("b2") })
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		for p, want := range []client.Offset{1, 0} {
			if got := b.Committed("g", "t", int32(p)); got != want {
				t.Errorf("%d is committed of partition %d, want %d", got, p, want)
			}
		}
	})
}

func TestCloseDoesNotWaitForLongForALeaderThatIsAway(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		c := n.client()
		defer func() { _ = c.Close() }()
		g := halfThere(t, n, b, c)
		asked := time.Now()
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(asked); took > 4*time.Second {
			t.Errorf("Close took %v", took)
		}
		if got := b.Committed("g", "t", 0); got != 1 {
			t.Errorf("%d is committed of partition 0", got)
		}
		if got := b.Committed("g", "t", 1); got != wire.NoOffset {
			t.Errorf("%d is committed of partition 1", got)
		}
	})
}
