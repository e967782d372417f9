package actors

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

func TestIdleGroupsCostNoGoroutine(t *testing.T) {
	withOrders(t, func(t *testing.T, c *company) {
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

func TestWhatWaitsForACoordinatorIsBounded(t *testing.T) {
	withOrders(t, func(t *testing.T, c *company) {
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
		if _, err := c.AskGroup(t.Context(), fetchOf(neighbour(), "orders")); err != nil {
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
	withOrders(t, func(t *testing.T, c *company) {
		c.commits("billing", "orders", 1)
		gate := c.disk.Hold("/data")
		defer gate.Release()
		var all sync.WaitGroup
		large := largeCommitOf("billing", "orders", 2, 10_000)
		refused := 0
		for range 20 { // 5 MB each
			all.Go(func() {
				if reply, err := c.AskGroup(t.Context(), large); err == nil && reply.Failure() != nil {
					t.Error(reply.Failure())
				}
			})
			synctest.Wait()
			if _, err := c.AskGroup(canceled(t), fetchOf(neighbour(), "orders")); errors.Is(err, wire.CoordinatorNotAvailable) {
				refused++
			}
		}
		if queued := c.shard("billing").queued.Load(); queued > maxQueuedBytes+8<<20 || refused == 0 {
			t.Errorf("%d bytes are queued, %d requests were refused", queued, refused)
		}
		gate.Release()
		all.Wait()
		c.expectCommitted("billing", "orders", 2)
	})
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestACallerThatGivesUpIsForgotten(t *testing.T) {
	withOrders(t, func(t *testing.T, c *company) {
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
		c.expectCommitted("shipping", "orders", 2) // a commit does not come back
	})
}

func TestACompactedOffsetsTopicLoadsWhatIsCommitted(t *testing.T) {
	withOrders(t, func(t *testing.T, c *company) {
		c.commits("billing", "orders", 0)
		c.alter(wire.ConfigResource{Type: wire.ConfigTopic, Name: wire.OffsetsTopic}, "segment.bytes=1048576", "min.cleanable.dirty.ratio=0.01")
		const rounds = 4000
		for n := range wire.Offset(rounds) {
			q := commitOf("billing", "orders", n)
			q.Offsets[0].Metadata = strings.Repeat("m", 1000)
			if reply, err := c.asks(q); err != nil || reply.Failure() != nil {
				t.Fatal(err, reply)
			}
		}
		c.commits(neighbour(), "orders", 7)
		time.Sleep(10 * time.Minute) // virtual
		shard := c.shard("billing")
		load := &offsetsLoad{broker: c.Broker, run: shard, log: shard.part.view.Load().log}
		if loaded := load.all(nil); loaded.err != nil || loaded.records > rounds/2 || len(loaded.groups) != 2 {
			t.Errorf("%d records of %d groups are left, %v", loaded.records, len(loaded.groups), loaded.err)
		}
		c.root.Stop(shard.pid)
		c.expectCommitted("billing", "orders", rounds-1)
		c.expectCommitted(neighbour(), "orders", 7)
	})
}

func TestManyWhoAskForAGroupThatNobodyKnowsAreAnsweredAlike(t *testing.T) {
	withOrders(t, func(t *testing.T, c *company) {
		c.committed("unknown", "orders")
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				reply, err := c.AskGroup(t.Context(), fetchOf("unknown", "orders"))
				if err != nil || reply.Failure() != nil || reply.(*wire.FetchedOffsets).Offsets[0].Offset != wire.NoOffset {
					t.Error(reply, err)
				}
				if reply, err := c.AskGroup(t.Context(), &wire.DescribeGroup{Group: "unknown"}); err != nil || !errors.Is(reply.Failure(), wire.GroupIDNotFound) {
					t.Error(reply, err)
				}
			})
		}
		all.Wait()
		synctest.Wait()
		if run := c.shard("unknown").find("unknown"); run != nil {
			t.Error("it is there because it was asked for")
		}
	})
}
