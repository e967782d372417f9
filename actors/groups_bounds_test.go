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

	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
)

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
			if _, err := c.AskGroup(canceled(t), fetchOf(neighbour(), "orders")); errors.Is(err, wire.CoordinatorNotAvailable) {
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

func TestACompactedOffsetsTopicLoadsWhatIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("orders", 1)
		c.commits("billing", "orders", 0)
		text := func(s string) *string { return &s }
		changed := c.AlterConfigs(t.Context(), []wire.AlterConfigs{{
			Resource: wire.ConfigResource{Type: wire.ConfigTopic, Name: wire.OffsetsTopic},
			Changes:  []wire.ConfigChange{{Name: "segment.bytes", Value: text("1048576")}, {Name: "min.cleanable.dirty.ratio", Value: text("0.01")}},
		}}, false)
		if changed[0] != nil {
			t.Fatal(changed[0])
		}
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
		if got := c.committed("billing", "orders"); got != rounds-1 {
			t.Errorf("offset %d, want %d", got, rounds-1)
		}
		if got := c.committed(neighbour(), "orders"); got != 7 {
			t.Errorf("the neighbour's offset is %d, want 7", got)
		}
	})
}

func TestManyWhoAskForAGroupThatNobodyKnowsAreAnsweredAlike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("orders", 1)
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
