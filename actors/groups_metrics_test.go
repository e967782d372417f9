package actors

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
)

func TestWhatRebalancesMoveAndForHowLongIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewPedanticRegistry()
		c := startWith(t, Dependencies{FS: crashfs.New(), Logger: slog.New(slog.DiscardHandler), Metrics: NewMetrics(registry)})
		defer c.end()
		c.topic("orders", 1)
		beat := func(q *wire.ConsumerHeartbeat) *wire.ConsumerHeartbeatReply {
			t.Helper()
			q.Group = "billing"
			if q.MemberEpoch == wire.MemberJoins {
				q.RebalanceTimeout, q.Subscribed, q.Topics, q.OwnedTold = time.Minute, true, []string{"orders"}, true
			}
			reply, err := c.asks(q)
			if err != nil || reply.Failure() != nil {
				t.Fatal(err, reply)
			}
			return reply.(*wire.ConsumerHeartbeatReply)
		}
		first := beat(&wire.ConsumerHeartbeat{Member: "first", MemberEpoch: wire.MemberJoins})
		second := beat(&wire.ConsumerHeartbeat{Member: "second", MemberEpoch: wire.MemberJoins})
		beat(&wire.ConsumerHeartbeat{Member: "first", MemberEpoch: first.MemberEpoch, OwnedTold: true, Owned: first.Assignment})
		beat(&wire.ConsumerHeartbeat{Member: "first", MemberEpoch: wire.MemberLeaves})
		time.Sleep(3 * time.Second) // virtual
		if second = beat(&wire.ConsumerHeartbeat{Member: "second", MemberEpoch: second.MemberEpoch}); len(second.Assignment) != 1 {
			t.Fatalf("the second member has %+v", second.Assignment)
		}
		synctest.Wait()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var moved, paused float64
		for _, family := range families {
			switch metric := family.GetMetric()[0]; family.GetName() {
			case "troupe_group_partitions_moved_total":
				moved = metric.GetCounter().GetValue()
			case "troupe_group_partition_pause_seconds":
				paused = metric.GetHistogram().GetSampleSum()
			}
		}
		if moved != 1 || paused != 3 {
			t.Errorf("%v partitions moved, which took %v s; want one, and 3 s", moved, paused)
		}
	})
}
