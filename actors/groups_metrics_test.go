package actors

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
)

// startCounted begins a broker with a topic and with metrics.
func startCounted(t *testing.T) (*company, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	c := startWith(t, Dependencies{FS: crashfs.New(), Logger: slog.New(slog.DiscardHandler), Metrics: NewMetrics(registry)})
	c.topic("orders", 1)
	return c, registry
}

func TestWhatGroupsDoIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, registry := startCounted(t)
		defer c.end()
		c.topic("returns", 1)
		c.alter(wire.ConfigResource{Type: wire.ConfigBroker}, "offsets.retention.minutes=1", "offsets.retention.check.interval.ms=1000")
		m := &member{c: c, group: "billing"}
		if err := errors.Join(m.join(), m.sync(), m.commit(1), m.commit(2)); err != nil {
			t.Fatal(err)
		}
		c.commits("shipping", "orders", 1)
		c.commits("shipping", "returns", 1)
		c.expectScraped(map[string]float64{"troupe_groups state=Stable": 1, "troupe_groups state=Empty": 1})
		time.Sleep(5 * time.Minute) // virtual
		synctest.Wait()
		expectValues(t, gathered(t, registry), map[string]float64{
			"troupe_group_offset_commits_total": 4, "troupe_group_offsets_expired_total": 3, "troupe_group_partition_failures_total": 0,
			"troupe_group_load_duration_seconds_count":            50,
			"troupe_group_rebalances_total trigger=member-joined": 1, "troupe_group_rebalances_total trigger=session-expired": 1,
		})
	})
}

func TestWhatRebalancesMoveAndForHowLongIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, registry := startCounted(t)
		defer c.end()
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
		expectValues(t, gathered(t, registry), map[string]float64{
			"troupe_group_partitions_moved_total": 1, "troupe_group_partition_pause_seconds_sum": 3,
		})
	})
}
