package actors

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
)

// withOrders tests, in virtual time, a broker that is alone and has a topic.
func withOrders(t *testing.T, test func(t *testing.T, c *company)) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("orders", 1)
		test(t, c)
	})
}

// asks has a group's coordinator answer a request. It comes again, as a client does, until there is one.
func (c *company) asks(q wire.GroupRequest) (wire.GroupReply, error) {
	c.t.Helper()
	var err error
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(100 * time.Millisecond) { // virtual
		var reply wire.GroupReply
		if reply, err = c.AskGroup(c.t.Context(), q); err == nil || !wire.Code(err).Retriable() {
			return reply, err
		}
	}
	return nil, err
}

// commits commits an offset of a partition, as a tool does.
func (c *company) commits(group wire.GroupID, topic string, offset wire.Offset) {
	c.t.Helper()
	reply, err := c.asks(commitOf(group, topic, offset))
	if err == nil {
		err = errors.Join(reply.Failure(), reply.(*wire.CommittedOffsets).Errs[0])
	}
	if err != nil {
		c.t.Fatalf("commit %d in group %s: %v", offset, group, err)
	}
}

func commitOf(group wire.GroupID, topic string, offset wire.Offset) *wire.CommitOffsets {
	return &wire.CommitOffsets{Group: group, Generation: wire.NoGeneration, Offsets: []wire.OffsetCommit{
		{Topic: topic, Offset: offset, LeaderEpoch: wire.NoEpoch},
	}}
}

// largeCommitOf commits an offset so many times in one request, with 400 bytes of metadata each.
func largeCommitOf(group wire.GroupID, topic string, offset wire.Offset, times int) *wire.CommitOffsets {
	q := commitOf(group, topic, offset)
	q.Offsets[0].Metadata = strings.Repeat("m", 400)
	q.Offsets = slices.Repeat(q.Offsets, times)
	return q
}

// committed is the offset that a group has committed of a topic's first partition.
func (c *company) committed(group wire.GroupID, topic string) wire.Offset {
	c.t.Helper()
	reply, err := c.asks(fetchOf(group, topic))
	if err == nil {
		err = reply.Failure()
	}
	if err != nil {
		c.t.Fatalf("fetch the offsets of group %s: %v", group, err)
	}
	return reply.(*wire.FetchedOffsets).Offsets[0].Offset
}

func (c *company) expectCommitted(group wire.GroupID, topic string, want wire.Offset) {
	c.t.Helper()
	if got := c.committed(group, topic); got != want {
		c.t.Errorf("group %s is at %d of %s, want %d", group, got, topic, want)
	}
}

func fetchOf(group wire.GroupID, topic string) *wire.FetchOffsets {
	return &wire.FetchOffsets{Group: group, MemberEpoch: wire.UnknownMemberEpoch, Topics: []wire.NamedPartitions{{Topic: topic, Partitions: []int32{0}}}}
}

// later asks once, and delivers what comes of it.
func (c *company) later(q wire.GroupRequest) <-chan error {
	outcome := make(chan error, 1)
	go func() {
		reply, err := c.AskGroup(c.t.Context(), q)
		if err == nil {
			err = reply.Failure()
		}
		outcome <- err
	}()
	return outcome
}

// without checks that there is no outcome yet.
func without(t *testing.T, outcome <-chan error, when string) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-outcome:
		t.Fatalf("answered %s: %v", when, err)
	default:
	}
}

// shard is the run of the shard that a group belongs to.
func (c *company) shard(group wire.GroupID) *shardRun {
	c.t.Helper()
	shard, err := c.groups.shardOf(group)
	if err != nil {
		c.t.Fatal(err)
	}
	return shard
}

func TestCommittedOffsetsSurviveRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		c := start(t, disk)
		c.topic("orders", 1)
		for life := range 3 {
			if life > 0 { // read anew before anything was appended since the start
				c.committed("group-0", "orders")
				if err := c.Kill("group/group-0", "panic"); err != nil {
					t.Fatal(err)
				}
			}
			for n := range 10 {
				group := wire.GroupID(fmt.Sprint("group-", n))
				if life > 0 {
					if got := c.committed(group, "orders"); got != wire.Offset(100*(life-1)+n) {
						t.Fatalf("life %d: group %s is at %d", life, group, got)
					}
				}
				c.commits(group, "orders", wire.Offset(100*life+n))
			}
			c.expectCommitted("unknown", "orders", wire.NoOffset)
			c.end()
			c = start(t, disk)
		}
		c.end()
	})
}

func TestGroupsMoveWithTheLeaderOfTheirPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, coordinator := billing(t)
		defer cl.end()
		for _, c := range cl.members {
			if c.Self() == coordinator.Self() {
				continue
			}
			if _, err := c.AskGroup(t.Context(), fetchOf("billing", "orders")); !errors.Is(err, wire.NotCoordinator) {
				t.Errorf("broker %d, which does not coordinate: %v", c.Self(), err)
			}
		}
		cl.kill(coordinator.Self())
		next := cl.coordinator("billing")
		next.expectCommitted("billing", "orders", 1)
		next.commits("billing", "orders", 8)
	})
}

// coordinator is the broker that coordinates a group, once there is one that runs.
func (cl *cluster) coordinator(group wire.GroupID) (found *company) {
	cl.t.Helper()
	cl.await("somebody coordinates "+string(group), func() bool {
		id, err := cl.any().FindCoordinator(cl.t.Context(), group)
		found = cl.members[id]
		return err == nil && found != nil
	})
	return found
}

func TestTheOffsetsTopicIsMadeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		cl.awaitReady()
		var all sync.WaitGroup
		for range 5 {
			for _, c := range cl.members {
				all.Go(func() {
					_, err := c.FindCoordinator(t.Context(), "billing")
					if err != nil && !errors.Is(err, wire.CoordinatorNotAvailable) {
						t.Errorf("broker %d: %v", c.Self(), err)
					}
				})
			}
		}
		all.Wait()
		cl.awaitTopic(wire.OffsetsTopic)
		topic, _ := cl.any().View().Topic(wire.OffsetsTopic)
		state, _ := cl.any().View().Partition(topic.ID, 0)
		if topic.Partitions != 50 || len(state.Replicas) != 3 || !topic.Internal {
			t.Errorf("%+v, %+v", topic, state)
		}
		found := cl.coordinator("billing").Self()
		for _, c := range cl.members {
			if id, err := c.FindCoordinator(t.Context(), "billing"); err != nil || id != found {
				t.Errorf("broker %d finds %d, %v, and another one %d", c.Self(), id, err, found)
			}
		}
	})
}

func TestClientsLeaveTheOffsetsTopicAlone(t *testing.T) {
	withOrders(t, func(t *testing.T, c *company) {
		c.commits("billing", "orders", 1)
		topic, _ := c.View().Topic(wire.OffsetsTopic)
		_, err := c.DeleteRecords(t.Context(), &wire.DeleteRecords{Topic: topic.ID, Partition: partitionOf("billing"), Before: wire.NoOffset})
		if !errors.Is(err, wire.InvalidTopic) {
			t.Errorf("records are deleted: %v", err)
		}
		if deleted := c.DeleteTopics(t.Context(), []wire.TopicRef{{Name: wire.OffsetsTopic}}); !errors.Is(deleted[0].Err, wire.InvalidTopic) {
			t.Errorf("it is deleted: %v", deleted[0].Err)
		}
		c.expectCommitted("billing", "orders", 1)
	})
}

func TestACommitIsAnsweredOnceItIsDurable(t *testing.T) {
	withOrders(t, func(t *testing.T, c *company) {
		c.commits("billing", "orders", 1)
		gate := c.disk.Hold("/data")
		defer gate.Release()
		commit := c.later(commitOf("billing", "orders", 2))
		without(t, commit, "before the flush")
		fetch := c.later(fetchOf("billing", "orders"))
		without(t, fetch, "with an offset that may yet be lost")
		if err := <-c.later(fetchOf("shipping", "orders")); err != nil {
			t.Errorf("a group that waits for nothing: %v", err)
		}
		gate.Release()
		if err := errors.Join(<-commit, <-fetch); err != nil {
			t.Error(err)
		}
		c.expectCommitted("billing", "orders", 2)
	})
}

func TestAGroupOfWhichNothingIsLeftHasNoActor(t *testing.T) {
	withOrders(t, func(t *testing.T, c *company) {
		for round := range 3 {
			c.commits("billing", "orders", wire.Offset(round))
			if reply, err := c.asks(&wire.DeleteGroup{Group: "billing"}); err != nil || reply.Failure() != nil {
				t.Fatal(err, reply)
			}
			synctest.Wait()
			if run := c.shard("billing").find("billing"); run != nil {
				t.Fatalf("it is still there: %+v", run)
			}
			c.expectCommitted("billing", "orders", wire.NoOffset)
			synctest.Wait()
			if run := c.shard("billing").find("billing"); run != nil {
				t.Fatalf("it is there because it was asked for: %+v", run)
			}
		}
		synctest.Wait()
		if list := c.ListGroups(t.Context(), &wire.ListGroups{}); len(list.Groups) != 0 {
			t.Errorf("listed: %+v", list.Groups)
		}
	})
}

func TestTheOffsetsOfADeletedTopicAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		c := start(t, disk)
		c.topic("orders", 1)
		c.topic("returns", 1)
		c.commits("billing", "orders", 1)
		c.commits("billing", "returns", 2)
		c.commits("asleep", "orders", 3)
		c.end()
		c = start(t, disk)
		if got := c.committed("billing", "orders"); got != 1 {
			t.Fatalf("offset %d", got)
		}
		if deleted := c.DeleteTopics(t.Context(), []wire.TopicRef{{Name: "orders"}}); deleted[0].Err != nil {
			t.Fatal(deleted[0].Err)
		}
		c.topic("orders", 1)
		for _, group := range []wire.GroupID{"billing", "asleep"} {
			c.expectCommitted(group, "orders", wire.NoOffset)
		}
		c.expectCommitted("billing", "returns", 2)
		c.end()
	})
}

// partitionOf is the partition of the offsets topic that a group belongs to.
func partitionOf(id wire.GroupID) int32 { return group.PartitionOf(id, 50) }
