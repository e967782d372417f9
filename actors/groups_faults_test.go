package actors

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
)

func TestAnAppendThatTakesTooLongLosesTheShard(t *testing.T) {
	withOrders(t, func(t *testing.T, c *company) {
		c.commits("billing", "orders", 1)
		shard := c.shard("billing")
		gate := c.disk.Hold("/data")
		defer gate.Release()
		commit := c.later(commitOf("billing", "orders", 2))
		time.Sleep(appendPatience + time.Second)
		if err := <-commit; !errors.Is(err, wire.NotCoordinator) {
			t.Errorf("the commit: %v, want NOT_COORDINATOR", err)
		}
		// Whether the commit will be in the log is open: nobody is told of any offset until it is known.
		for range 3 {
			if err := <-c.later(fetchOf("billing", "orders")); !errors.Is(err, wire.CoordinatorLoadInProgress) {
				t.Errorf("a fetch meanwhile: %v, want COORDINATOR_LOAD_IN_PROGRESS", err)
			}
			if list := c.ListGroups(t.Context(), &wire.ListGroups{}); !errors.Is(list.Err, wire.CoordinatorLoadInProgress) {
				t.Errorf("a list meanwhile: %v, want COORDINATOR_LOAD_IN_PROGRESS", list.Err)
			}
			time.Sleep(time.Second)
		}
		gate.Release()
		c.expectCommitted("billing", "orders", 2) // which the log has
		if c.shard("billing") == shard {
			t.Error("the shard goes on")
		}
	})
}

func TestACoordinatorThatIsKilledTakesNothingWithIt(t *testing.T) {
	for _, how := range []string{"panic", "stop"} {
		t.Run(how, func(t *testing.T) {
			withOrders(t, func(t *testing.T, c *company) {
				neighbour := neighbour()
				c.commits("billing", "orders", 1)
				c.commits(neighbour, "orders", 1)
				gate := c.disk.Hold("/data")
				defer gate.Release()
				first, second := c.later(commitOf("billing", "orders", 2)), c.later(commitOf(neighbour, "orders", 2))
				without(t, first, "before the flush")
				if err := c.Kill("group/billing", how); err != nil {
					t.Fatal(err)
				}
				if err := <-first; !errors.Is(err, wire.CoordinatorNotAvailable) {
					t.Errorf("a commit on its way: %v, want COORDINATOR_NOT_AVAILABLE", err)
				}
				if err := <-c.later(fetchOf("billing", "orders")); !errors.Is(err, wire.CoordinatorLoadInProgress) {
					t.Errorf("before what it emitted is settled: %v, want COORDINATOR_LOAD_IN_PROGRESS", err)
				}
				without(t, second, "before the flush")
				gate.Release()
				if err := <-second; err != nil {
					t.Errorf("the neighbour's commit: %v", err)
				}
				c.expectCommitted("billing", "orders", 2) // which was appended
				c.commits("billing", "orders", 3)
				c.expectCommitted(neighbour, "orders", 2)
			})
		})
	}
}

// What a coordinator has sent when it ends may arrive after the news of its end.
func TestWhatADeadCoordinatorEmitsIsNotAppended(t *testing.T) {
	withOrders(t, func(t *testing.T, c *company) {
		c.commits("billing", "orders", 1)
		shard := c.shard("billing")
		dead := shard.find("billing")
		if err := c.Kill("group/billing", "stop"); err != nil {
			t.Fatal(err)
		}
		c.committed("billing", "orders")
		end := shard.part.view.Load().highWatermark
		c.send(shard.pid, &groupEmitted{run: dead, number: 2, records: []group.Record{{Key: []byte("k"), Value: []byte("v")}}})
		synctest.Wait()
		if now := shard.part.view.Load().highWatermark; now != end {
			t.Errorf("%d records were appended", now-end)
		}
	})
}

func TestAppendsOfAnotherLeaderEpochAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		topic := c.topic("orders", 1)
		part, epoch := c.routes.find(topic, 0), c.epochOf(topic)
		var r replies
		for slot, in := range []wire.LeaderEpoch{epoch - 1, epoch + 1, epoch} {
			m, pid := part.door.enterNow(&wire.Produce{
				Topic: topic, Acks: wire.AcksAll, Batches: recordsOf(1, wire.NoProducer, 0), Done: &r, Slot: slot,
			}, in)
			c.send(pid, m)
			if reply := r.one(t, slot); (in == epoch) != (reply.Err == nil) || reply.Err != nil && !errors.Is(reply.Err, wire.FencedLeaderEpoch) {
				t.Errorf("meant for epoch %d in epoch %d: %v", in, epoch, reply.Err)
			}
		}
		part.door.shut(wire.NotLeaderOrFollower, wire.NoHint)
		if m, _ := part.door.enterNow(&wire.Produce{Topic: topic, Batches: recordsOf(1, wire.NoProducer, 0), Done: &r, Slot: 9}, epoch); m != nil {
			t.Error("it enters by a door that is shut")
		}
		if reply := r.one(t, 9); !errors.Is(reply.Err, wire.NotLeaderOrFollower) {
			t.Errorf("behind a shut door: %v", reply.Err)
		}
	})
}

// neighbour returns a group of billing's partition.
func neighbour() wire.GroupID {
	for n := 0; ; n++ {
		if other := wire.GroupID(fmt.Sprint("neighbour-", n)); partitionOf(other) == partitionOf("billing") {
			return other
		}
	}
}

func TestACoordinatorThatKeepsPanickingIsReplacedAgainAndAgain(t *testing.T) {
	withOrders(t, func(t *testing.T, c *company) {
		for n := range wire.Offset(5) {
			c.commits("billing", "orders", n)
			synctest.Wait()
			if err := c.Kill("group/billing", "panic"); err != nil {
				t.Fatal(err)
			}
			c.expectCommitted("billing", "orders", n)
		}
		if err := c.Kill("group/nobody", "panic"); !errors.Is(err, wire.ResourceNotFound) {
			t.Errorf("a group that is not there: %v", err)
		}
	})
}

func TestAShardThatIsBeingReadSaysSo(t *testing.T) {
	withOrders(t, func(t *testing.T, c *company) {
		c.commits("billing", "orders", 5)
		if err := c.loads.Acquire(t.Context(), concurrentLoads); err != nil {
			t.Fatal(err)
		}
		c.root.Stop(c.shard("billing").pid)
		synctest.Wait()
		for _, q := range []wire.GroupRequest{
			fetchOf("billing", "orders"), commitOf("billing", "orders", 1), &wire.DescribeGroup{Group: neighbour()},
		} {
			if _, err := c.AskGroup(t.Context(), q); !errors.Is(err, wire.CoordinatorLoadInProgress) {
				t.Errorf("%T: %v, want COORDINATOR_LOAD_IN_PROGRESS", q, err)
			}
		}
		c.loads.Release(concurrentLoads)
		c.expectCommitted("billing", "orders", 5)
	})
}

// What a shard had on its way to the leader of its partition when it ended may be appended later, in the same epoch.
func TestTheNextShardWaitsForWhatTheOneBeforeMayStillAppend(t *testing.T) {
	withOrders(t, func(t *testing.T, c *company) {
		c.commits("billing", "orders", 1)
		shard := c.shard("billing")
		load := &offsetsLoad{broker: c.Broker, run: shard, log: shard.part.view.Load().log}
		flight := &appending{landed: make(chan struct{})}
		outcome := make(chan *groupsLoaded, 1)
		go func() { outcome <- load.all(flight) }()
		synctest.Wait()
		c.commits(neighbour(), "orders", 2)
		if len(outcome) > 0 {
			t.Fatal("it has not waited")
		}
		close(flight.landed)
		loaded := <-outcome
		if _, found := loaded.groups[neighbour()]; loaded.err != nil || !found || len(loaded.groups) != 2 {
			t.Errorf("%d groups, %v", len(loaded.groups), loaded.err)
		}
	})
}

func TestTheLastAppendOfAShardIsKnownToTheNext(t *testing.T) {
	withOrders(t, func(t *testing.T, c *company) {
		c.commits("billing", "orders", 1)
		gate := c.disk.Hold("/data")
		defer gate.Release()
		shard := c.shard("billing")
		commit := c.later(commitOf("billing", "orders", 2))
		without(t, commit, "before the flush")
		c.root.Stop(shard.pid)
		if err := <-commit; !errors.Is(err, wire.NotCoordinator) {
			t.Errorf("a commit on its way: %v, want NOT_COORDINATOR", err)
		}
		select {
		case <-shard.flight.Load().landed:
			t.Error("the append is said to be over")
		default:
		}
		gate.Release()
		c.expectCommitted("billing", "orders", 2)
	})
}
