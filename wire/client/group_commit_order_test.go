package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

// A commit whose caller does not wait any more may still be on its way: the next one must not overtake it, or it would be taken back.
func TestACommitThatWasGivenUpDoesNotUndoTheNextOne(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		c := n.client()
		defer func() { _ = c.Close() }()
		g := join(t, c, client.ManualCommit())
		pollUntil(t, owns(g, 1), g)
		b.FailGroups(func(q wire.GroupRequest) error {
			if q, ok := q.(*wire.CommitOffsets); ok && q.Offsets[0].Offset == 1 {
				time.Sleep(5 * time.Second) // on the clock of the bubble
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.CommitSync(ctx, client.GroupOffset{Topic: "t", Offset: 1}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the first commit: %v", err)
		}
		if err := g.CommitSync(t.Context(), client.GroupOffset{Topic: "t", Offset: 2}); err != nil {
			t.Errorf("the second commit: %v", err)
		}
		time.Sleep(time.Minute)
		if got := b.Committed("g", "t", 0); got != 2 {
			t.Errorf("%d is committed, and 2 was acknowledged last", got)
		}
		leave(t, g)
	})
}

func TestACommitThatNobodyWaitsForBeforeItIsSentIsNotMade(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	g := join(t, connect(t, serve(t, b)), client.ManualCommit())
	pollUntil(t, owns(g, 1), g)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.CommitSync(ctx, client.GroupOffset{Topic: "t", Offset: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("CommitSync = %v", err)
	}
	if err := g.CommitSync(t.Context()); err != nil { // behind the other
		t.Error(err)
	}
	if got := b.Committed("g", "t", 0); got > 0 {
		t.Errorf("%d is committed", got)
	}
}

func TestOffsetsOfVeryManyPartitionsAreAskedForAndCommittedInParts(t *testing.T) {
	const partitions, most = 10_500, 5_000
	b := nativetest.New()
	b.CreateTopic("t", partitions)
	g := join(t, connect(t, serve(t, b)), client.ManualCommit())
	b.FailGroups(func(q wire.GroupRequest) error {
		asked := 0
		switch q := q.(type) {
		case *wire.FetchOffsets:
			for _, topic := range q.Topics {
				asked += len(topic.Partitions)
			}
		case *wire.CommitOffsets:
			asked = len(q.Offsets)
		}
		if asked > most {
			return wire.Errorf(wire.InvalidRequest, "%d offsets in one request", asked)
		}
		return nil
	})
	pollUntil(t, owns(g, partitions), g)
	var offsets []client.GroupOffset
	for p := range int32(partitions) {
		offsets = append(offsets, client.GroupOffset{Topic: "t", Partition: p, Offset: client.Offset(p)})
	}
	if err := g.CommitSync(t.Context(), offsets...); err != nil {
		t.Fatal(err)
	}
	for p := range int32(partitions) {
		if got := b.Committed("g", "t", p); got != client.Offset(p) {
			t.Fatalf("%d is committed of partition %d", got, p)
		}
	}
}
