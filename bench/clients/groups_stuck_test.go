package clients

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// rebalanceTimeout and two seconds are less than a session: it is not for its silence that a stuck member is given up.
const rebalanceTimeout = sessionTimeout - 3*time.Second

// A member is asked to give its partitions up, and does not: it is heard of, but it does not rejoin. The other one has
// them within the rebalance timeout and two seconds, and what the stuck one still commits is refused. It measures time,
// so only its own cases run at once.
func TestWhatAStuckMemberHasIsTakenInTime(t *testing.T) {
	for _, how := range []request{{Protocol: classic}, {Protocol: modern}} {
		t.Run(how.Protocol, func(t *testing.T) {
			t.Parallel()
			c := newCrew(t, 4)
			c.produce(1)
			eager := []kgo.Opt{kgo.Balancers(kgo.RangeBalancer()), kgo.RebalanceTimeout(rebalanceTimeout)}
			stuck := c.watch(how, eager...)
			stuck.await(c, "at first", []int32{0, 1, 2, 3})
			other := c.watch(how, eager...)
			stuck.awaitAsked(t)
			asked, beats := time.Now(), stuck.beats.Load()
			since := append([]int64{}, c.produced...)
			for !other.isBeyond(since) {
				if time.Since(asked) > settleLimit {
					t.Fatalf("after %s the other member has not read of all partitions", settleLimit)
				}
				c.produce(1)
				time.Sleep(100 * time.Millisecond)
			}
			if took := time.Since(asked); took > rebalanceTimeout+2*time.Second {
				t.Errorf("for %s nobody had all that the stuck member had", took)
			}
			if stuck.beats.Load() == beats {
				t.Error("the stuck member was not heard of")
			}
			c.expectRefused(stuck)
		})
	}
}

// expectRefused fails when a member commits something, or when that changes what is committed.
func (c *crew) expectRefused(w *watched) {
	c.t.Helper()
	before, err := c.offsets()
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), answerLimit)
	defer cancel()
	for partition := range c.partitions {
		first := &kgo.Record{Topic: c.topic, Partition: partition, LeaderEpoch: -1}
		if err := w.client.CommitRecords(ctx, first); !errors.Is(err, kerr.UnknownMemberID) {
			c.t.Errorf("partition %d: the stuck member's commit: %v", partition, err)
		}
	}
	after, err := c.offsets()
	if err != nil {
		c.t.Fatal(err)
	}
	for partition := range c.partitions {
		was, _ := before.Lookup(c.topic, partition)
		if is, _ := after.Lookup(c.topic, partition); is.At < was.At {
			c.t.Errorf("partition %d: offset %d is committed, it was %d", partition, is.At, was.At)
		}
	}
}
