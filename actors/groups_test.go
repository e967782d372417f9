package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
)

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

func fetchOf(group wire.GroupID, topic string) *wire.FetchOffsets {
	return &wire.FetchOffsets{Group: group, MemberEpoch: wire.UnknownMemberEpoch, Topics: []wire.OffsetTopic{{Topic: topic, Partitions: []int32{0}}}}
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
			if got := c.committed("unknown", "orders"); got != wire.NoOffset {
				t.Errorf("a group that nobody knows is at %d", got)
			}
			c.end()
			c = start(t, disk)
		}
		c.end()
	})
}

func TestGroupsMoveWithTheLeaderOfTheirPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		cl.awaitReady()
		cl.any().topic("orders", 1)
		cl.awaitTopic("orders")
		coordinator := cl.coordinator("shipping")
		coordinator.commits("shipping", "orders", 7)
		for _, c := range cl.members {
			if c.Self() == coordinator.Self() {
				continue
			}
			if _, err := c.AskGroup(t.Context(), fetchOf("shipping", "orders")); !errors.Is(err, wire.NotCoordinator) {
				t.Errorf("broker %d, which does not coordinate: %v", c.Self(), err)
			}
		}
		cl.kill(coordinator.Self())
		next := cl.coordinator("shipping")
		if got := next.committed("shipping", "orders"); got != 7 {
			t.Errorf("the next coordinator has offset %d, want 7", got)
		}
		next.commits("shipping", "orders", 8)
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
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("orders", 1)
		c.commits("billing", "orders", 1)
		topic, _ := c.View().Topic(wire.OffsetsTopic)
		_, err := c.DeleteRecords(t.Context(), &wire.DeleteRecords{Topic: topic.ID, Partition: partitionOf("billing"), Before: wire.NoOffset})
		if !errors.Is(err, wire.InvalidTopic) {
			t.Errorf("records are deleted: %v", err)
		}
		if deleted := c.DeleteTopics(t.Context(), []wire.TopicRef{{Name: wire.OffsetsTopic}}); !errors.Is(deleted[0].Err, wire.InvalidTopic) {
			t.Errorf("it is deleted: %v", deleted[0].Err)
		}
		if got := c.committed("billing", "orders"); got != 1 {
			t.Errorf("offset %d, want 1", got)
		}
	})
}

func TestACommitIsAnsweredOnceItIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("orders", 1)
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
		if got := c.committed("billing", "orders"); got != 2 {
			t.Errorf("offset %d, want 2", got)
		}
	})
}

func TestAnAppendThatTakesTooLongLosesTheShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("orders", 1)
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
		if got := c.committed("billing", "orders"); got != 2 {
			t.Errorf("offset %d, want 2, which the log has", got)
		}
		if c.shard("billing") == shard {
			t.Error("the shard goes on")
		}
	})
}

func TestACoordinatorThatIsKilledTakesNothingWithIt(t *testing.T) {
	for _, how := range []string{"panic", "stop"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := start(t, crashfs.New())
				defer c.end()
				c.topic("orders", 1)
				neighbour := neighbourOf("billing")
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
				if got := c.committed("billing", "orders"); got != 2 {
					t.Errorf("offset %d, want 2, which was appended", got)
				}
				c.commits("billing", "orders", 3)
				if got := c.committed(neighbour, "orders"); got != 2 {
					t.Errorf("the neighbour is at %d", got)
				}
			})
		})
	}
}

// What a coordinator has sent when it ends may arrive after the news of its end.
func TestWhatADeadCoordinatorEmitsIsNotAppended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("orders", 1)
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

// neighbourOf returns a group of the same partition.
func neighbourOf(id wire.GroupID) wire.GroupID {
	for n := 0; ; n++ {
		if other := wire.GroupID(fmt.Sprint("neighbour-", n)); partitionOf(other) == partitionOf(id) {
			return other
		}
	}
}

func TestACoordinatorThatKeepsPanickingIsReplacedAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("orders", 1)
		for n := range wire.Offset(5) {
			c.commits("billing", "orders", n)
			synctest.Wait()
			if err := c.Kill("group/billing", "panic"); err != nil {
				t.Fatal(err)
			}
			if got := c.committed("billing", "orders"); got != n {
				t.Errorf("after panic %d: offset %d", n+1, got)
			}
		}
		if err := c.Kill("group/nobody", "panic"); !errors.Is(err, wire.ResourceNotFound) {
			t.Errorf("a group that is not there: %v", err)
		}
	})
}

func TestAShardThatIsBeingReadSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("orders", 1)
		c.commits("billing", "orders", 5)
		if err := c.loads.Acquire(t.Context(), concurrentLoads); err != nil {
			t.Fatal(err)
		}
		c.root.Stop(c.shard("billing").pid)
		synctest.Wait()
		for _, q := range []wire.GroupRequest{fetchOf("billing", "orders"), commitOf("billing", "orders", 1), &wire.DescribeGroup{Group: "unknown"}} {
			q := q
			if billing := partitionOf(q.Of()) == partitionOf("billing"); !billing {
				continue
			}
			if _, err := c.AskGroup(t.Context(), q); !errors.Is(err, wire.CoordinatorLoadInProgress) {
				t.Errorf("%T: %v, want COORDINATOR_LOAD_IN_PROGRESS", q, err)
			}
		}
		c.loads.Release(concurrentLoads)
		if got := c.committed("billing", "orders"); got != 5 {
			t.Errorf("offset %d, want 5", got)
		}
	})
}

func TestIdleGroupsCostNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("orders", 1)
		c.commits("billing", "orders", 1)
		synctest.Wait()
		before := runtime.NumGoroutine()
		const groups = 10_000
		for n := range groups {
			c.commits(wire.GroupID(fmt.Sprint("idle-", n)), "orders", 1)
		}
		synctest.Wait()
		if after := runtime.NumGoroutine(); after > before+10 {
			t.Errorf("%d goroutines, %d before there were %d groups", after, before, groups)
		}
		if list := c.ListGroups(t.Context(), &wire.ListGroups{}); list.Err != nil || len(list.Groups) != groups+1 {
			t.Errorf("%d groups are listed, %v", len(list.Groups), list.Err)
		}
	})
}

func TestAGroupOfWhichNothingIsLeftHasNoActor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("orders", 1)
		for round := range 3 {
			c.commits("billing", "orders", wire.Offset(round))
			if reply, err := c.asks(&wire.DeleteGroup{Group: "billing"}); err != nil || reply.Failure() != nil {
				t.Fatal(err, reply)
			}
			synctest.Wait()
			if run := c.shard("billing").find("billing"); run != nil {
				t.Fatalf("it is still there: %+v", run)
			}
			if got := c.committed("billing", "orders"); got != wire.NoOffset {
				t.Errorf("a deleted group is at %d", got)
			}
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
			if got := c.committed(group, "orders"); got != wire.NoOffset {
				t.Errorf("group %s is at %d of a topic that was created anew", group, got)
			}
		}
		if got := c.committed("billing", "returns"); got != 2 {
			t.Errorf("the other topic: offset %d, want 2", got)
		}
		c.end()
	})
}

func TestACallerThatGivesUpIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("orders", 1)
		c.commits("shipping", "orders", 1)
		gate := c.disk.Hold("/data")
		defer gate.Release()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.AskGroup(ctx, commitOf("shipping", "orders", 2)); !errors.Is(err, wire.RequestTimedOut) {
			t.Errorf("%v, want REQUEST_TIMED_OUT", err)
		}
		gate.Release()
		synctest.Wait()
		if waiting := c.shard("shipping").waiting.Load(); waiting != 0 {
			t.Errorf("%d requests are said to wait", waiting)
		}
		if got := c.committed("shipping", "orders"); got != 2 {
			t.Errorf("offset %d, want 2: a commit does not come back", got)
		}
	})
}

func TestWhatWaitsForACoordinatorIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("orders", 1)
		c.commits("billing", "orders", 1)
		gate := c.disk.Hold("/data")
		defer gate.Release()
		const tooMany = 100
		outcomes := make(chan error, maxWaitingOfGroup+tooMany)
		for range maxWaitingOfGroup + tooMany {
			go func() {
				_, err := c.AskGroup(t.Context(), commitOf("billing", "orders", 2))
				outcomes <- err
			}()
		}
		synctest.Wait()
		if len(outcomes) != tooMany {
			t.Errorf("%d were answered before the flush, want %d", len(outcomes), tooMany)
		}
		for range len(outcomes) {
			if err := <-outcomes; !errors.Is(err, wire.CoordinatorNotAvailable) {
				t.Errorf("one too many: %v, want COORDINATOR_NOT_AVAILABLE", err)
			}
		}
		if _, err := c.AskGroup(t.Context(), fetchOf(neighbourOf("billing"), "orders")); err != nil {
			t.Errorf("the neighbour: %v", err)
		}
		gate.Release()
		for range maxWaitingOfGroup {
			if err := <-outcomes; err != nil {
				t.Fatal(err)
			}
		}
		if shard := c.shard("billing"); shard.waiting.Load() != 0 || shard.queued.Load() != 0 || shard.find("billing").waiting.Load() != 0 {
			t.Errorf("%d wait, and %d bytes, when nothing does", shard.waiting.Load(), shard.queued.Load())
		}
	})
}

func TestRecordsThatAreNotAppendedYetAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("orders", 1)
		c.commits("billing", "orders", 1)
		gate := c.disk.Hold("/data")
		defer gate.Release()
		var all sync.WaitGroup
		large := commitOf("billing", "orders", 2)
		for range 10_000 {
			large.Offsets = append(large.Offsets, wire.OffsetCommit{Topic: "orders", Offset: 2, LeaderEpoch: wire.NoEpoch, Metadata: strings.Repeat("m", 400)})
		}
		refused := 0
		for range 20 { // 5 MB each
			all.Go(func() {
				if reply, err := c.AskGroup(t.Context(), large); err == nil && reply.Failure() != nil {
					t.Error(reply.Failure())
				}
			})
			synctest.Wait()
			if _, err := c.AskGroup(canceled(t), fetchOf(neighbourOf("billing"), "orders")); errors.Is(err, wire.CoordinatorNotAvailable) {
				refused++
			}
		}
		if queued := c.shard("billing").queued.Load(); queued > maxQueuedBytes+8<<20 || refused == 0 {
			t.Errorf("%d bytes are queued, %d requests were refused", queued, refused)
		}
		gate.Release()
		all.Wait()
		if got := c.committed("billing", "orders"); got != 2 {
			t.Errorf("offset %d, want 2", got)
		}
	})
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestWhatGroupsDoIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewPedanticRegistry()
		c := startWith(t, Dependencies{FS: crashfs.New(), Logger: slog.New(slog.DiscardHandler), Metrics: NewMetrics(registry)})
		defer c.end()
		c.topic("orders", 1)
		c.topic("returns", 1)
		c.configure("offsets.retention.minutes", "1")
		c.configure("offsets.retention.check.interval.ms", "1000")
		m := &member{c: c, group: "billing"}
		if err := errors.Join(m.join(), m.sync(), m.commit(1), m.commit(2)); err != nil {
			t.Fatal(err)
		}
		c.commits("shipping", "orders", 1)
		c.commits("shipping", "returns", 1)
		c.expectScraped(map[string]float64{"troupe_groups state=Stable": 1, "troupe_groups state=Empty": 1})
		time.Sleep(5 * time.Minute) // virtual
		synctest.Wait()
		want := map[string]float64{
			"troupe_group_offset_commits_total": 4, "troupe_group_offsets_expired_total": 3, "troupe_group_partition_failures_total": 0,
			"troupe_group_load_duration_seconds": 50, "troupe_group_rebalances_total member-joined": 1, "troupe_group_rebalances_total session-expired": 1,
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				key := family.GetName()
				for _, label := range metric.GetLabel() {
					key += " " + label.GetValue()
				}
				if value, told := want[key]; told {
					if got := metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount()); got != value {
						t.Errorf("%s is %v, want %v", key, got, value)
					}
					delete(want, key)
				}
			}
		}
		for key := range want {
			t.Errorf("%s is not told", key)
		}
	})
}

// partitionOf is the partition of the offsets topic that a group belongs to.
func partitionOf(id wire.GroupID) int32 { return group.PartitionOf(id, 50) }
