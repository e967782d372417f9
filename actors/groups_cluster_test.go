package actors

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// billing starts three brokers with a topic, and a group that has committed offset 1 of it.
func billing(t *testing.T) (cl *cluster, coordinator *company) {
	t.Helper()
	cl = startCluster(t, 3)
	cl.awaitVoters(1, 2, 3)
	cl.awaitReady()
	cl.any().topic("orders", 1)
	cl.awaitTopic("orders")
	coordinator = cl.coordinator("billing")
	coordinator.commits("billing", "orders", 1)
	return cl, coordinator
}

// A coordinator that is cut off does not know that there is another one by now. What it remembers may be older than what
// that one has acknowledged.
func TestACoordinatorThatIsCutOffFallsSilentBeforeTheNextOneSpeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, old := billing(t)
		defer cl.end()
		var other *company
		for id, c := range cl.members {
			if id != old.Self() {
				cl.net.cut(id, old.Self())
				other = c
			}
		}
		commit := old.later(commitOf(neighbour(), "orders", 2))
		cl.awaitAtMost(metadata.SessionTimeout+10*time.Second, "another one coordinates", func() bool {
			id, err := other.FindCoordinator(t.Context(), "billing")
			return err == nil && id != old.Self()
		})
		next := cl.coordinatorBy(other, "billing")
		if _, err := old.AskGroup(t.Context(), fetchOf("billing", "orders")); !errors.Is(err, wire.NotCoordinator) {
			t.Errorf("a fetch at the old one: %v, want NOT_COORDINATOR", err)
		}
		next.commits("billing", "orders", 3)
		for id := range cl.members {
			if id != old.Self() {
				cl.net.heal(id, old.Self())
			}
		}
		if err := <-commit; err == nil {
			t.Error("a commit that nobody else has was acknowledged")
		}
		cl.awaitReady()
		cl.coordinator("billing").expectCommitted(neighbour(), "orders", wire.NoOffset) // nobody has committed any
		cl.coordinator("billing").expectCommitted("billing", "orders", 3)
	})
}

// coordinatorBy is who coordinates a group, as one of the brokers has it.
func (cl *cluster) coordinatorBy(c *company, group wire.GroupID) *company {
	cl.t.Helper()
	id, err := c.FindCoordinator(cl.t.Context(), group)
	if err != nil {
		cl.t.Fatal(err)
	}
	return cl.members[id]
}

func TestGroupsCanBeAskedByWayOfAnyBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, coordinator := billing(t)
		defer cl.end()
		for id, c := range cl.members {
			offset := wire.Offset(10 + id)
			reply, err := c.Forwarding().AskGroup(t.Context(), commitOf("billing", "orders", offset))
			if err != nil || reply.Failure() != nil {
				t.Fatal(id, err, reply)
			}
			reply, err = c.Forwarding().AskGroup(t.Context(), fetchOf("billing", "orders"))
			if err != nil || reply.(*wire.FetchedOffsets).Offsets[0].Offset != offset {
				t.Errorf("broker %d: %+v, %v", id, reply, err)
			}
			reply, err = c.Forwarding().AskGroup(t.Context(), &wire.DescribeGroup{Group: "billing"})
			if err != nil || reply.Failure() != nil || reply.(*wire.GroupDescription).Coordinator != coordinator.Self() {
				t.Errorf("broker %d: %+v, %v", id, reply, err)
			}
			list := c.Forwarding().ListGroups(t.Context(), &wire.ListGroups{})
			if list.Err != nil || len(list.Groups) != 1 || list.Groups[0].Coordinator != coordinator.Self() {
				t.Errorf("broker %d lists %+v", id, list)
			}
		}
	})
}

func TestAForwardedRequestFollowsTheCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, old := billing(t)
		defer cl.end()
		cl.kill(old.Self())
		for id, c := range cl.members {
			reply, err := c.Forwarding().AskGroup(t.Context(), fetchOf("billing", "orders"))
			if err != nil || reply.Failure() != nil || reply.(*wire.FetchedOffsets).Offsets[0].Offset != 1 {
				t.Errorf("broker %d: %+v, %v", id, reply, err)
			}
		}
	})
}

func TestNoCommitIsAcknowledgedWithTooFewReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, coordinator := billing(t)
		defer cl.end()
		shard := coordinator.shard("billing")
		var others []wire.BrokerID
		for id := range cl.members {
			if id != coordinator.Self() {
				others = append(others, id)
			}
		}
		part := shard.part
		isr := func() int {
			state, _ := coordinator.image.Load().Partition(part.tp.Topic, part.tp.Partition)
			return len(state.ISR)
		}
		cl.kill(others[0])
		cl.await("one leaves the in-sync replicas", func() bool { return isr() == 2 })
		coordinator.commits("billing", "orders", 2)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		cl.kill(others[1])
		if _, err := coordinator.AskGroup(ctx, commitOf("billing", "orders", 3)); err == nil {
			t.Error("a commit with one replica was acknowledged")
		}
		cl.startAll(others...)
		cl.awaitReady()
		cl.coordinator("billing").commits("billing", "orders", 4)
		cl.coordinator("billing").expectCommitted("billing", "orders", 4)
	})
}

func TestTheOffsetsTopicOfALoneBrokerGrowsWithTheCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 1)
		defer cl.end()
		cl.any().topic("orders", 1)
		cl.coordinator("billing").commits("billing", "orders", 1)
		for _, id := range []wire.BrokerID{2, 3} { // the third comes while replicas are on their way to the second
			cl.disks[id] = dataDisk(t)
			cl.start(id)
			time.Sleep(12 * time.Second) // virtual
		}
		topic, _ := cl.any().View().Topic(wire.OffsetsTopic)
		cl.awaitAtMost(2*time.Minute, "all partitions have three replicas in sync, and need two", func() bool {
			config, _ := metadata.EffectiveTopicConfig(cl.any().image.Load().Image, wire.OffsetsTopic)
			for n := range topic.Partitions {
				if p, _ := cl.any().View().Partition(topic.ID, n); len(p.Replicas) != 3 || len(p.ISR) != 3 {
					return false
				}
			}
			return config.MinISR == 2
		})
		cl.coordinator("billing").commits("billing", "orders", 2)
		cl.kill(cl.coordinator("billing").Self())
		cl.coordinator("billing").expectCommitted("billing", "orders", 2)
	})
}
