package actors

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/wire"
)

// groupMetrics is what coordinators count.
type groupMetrics struct {
	loads      prometheus.Histogram
	lost       prometheus.Counter
	commits    prometheus.Counter
	expired    prometheus.Counter
	rebalances *prometheus.CounterVec
	rebalance  prometheus.Histogram
	moved      prometheus.Counter
	pause      prometheus.Histogram
}

func newGroupMetrics(reg prometheus.Registerer) groupMetrics {
	m := groupMetrics{
		loads: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "troupe_group_load_duration_seconds", Help: "How long coordinators took to load a partition of the offsets topic.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "troupe_group_partition_failures_total", Help: "Partitions of the offsets topic whose groups had to be loaded anew, as something could not be read or appended.",
		}),
		commits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "troupe_group_offset_commits_total", Help: "Offsets that groups have committed.",
		}),
		expired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "troupe_group_offsets_expired_total", Help: "Committed offsets that were dropped, being kept no longer.",
		}),
		rebalances: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "troupe_group_rebalances_total", Help: "Rebalances that have ended, by what they were for.",
		}, []string{"trigger"}),
		rebalance: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "troupe_group_rebalance_duration_seconds", Help: "How long rebalances took.",
			Buckets: prometheus.ExponentialBuckets(0.01, 3, 10),
		}),
		moved: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "troupe_group_partitions_moved_total", Help: "Partitions that changed hands in rebalances.",
		}),
		pause: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "troupe_group_partition_pause_seconds", Help: "How long partitions belonged to no member in rebalances; of each rebalance the longest 1,000.",
			Buckets: prometheus.ExponentialBuckets(0.01, 3, 10),
		}),
	}
	reg.MustRegister(m.loads, m.lost, m.commits, m.expired, m.rebalances, m.rebalance, m.moved, m.pause)
	return m
}

func (m *Metrics) groupsLoaded(took time.Duration) {
	if m != nil {
		m.groups.loads.Observe(took.Seconds())
	}
}

func (m *Metrics) groupsLost() {
	if m != nil {
		m.groups.lost.Inc()
	}
}

// groupRecords counts what groups emit.
func (m *Metrics) groupRecords(records []group.Record) {
	if m == nil {
		return
	}
	for _, r := range records {
		if r.Value != nil && group.IsOffset(r.Key) {
			m.groups.commits.Inc()
		} else if rebalance, ok := group.DecodeRebalance(r); ok {
			m.groups.rebalances.WithLabelValues(string(rebalance.Trigger)).Inc()
			m.groups.rebalance.Observe(rebalance.Took.Seconds())
			m.groups.moved.Add(float64(rebalance.Moved))
			for _, p := range rebalance.Pauses {
				m.groups.pause.Observe(p.Pause.Seconds())
			}
		}
	}
}

// offsetsExpired counts the tombstones among what a tick has emitted.
func (m *Metrics) offsetsExpired(records []group.Record) {
	if m == nil {
		return
	}
	for _, r := range records {
		if r.Value == nil && group.IsOffset(r.Key) {
			m.groups.expired.Inc()
		}
	}
}

var groupsDesc = prometheus.NewDesc("troupe_groups", "Groups that this broker coordinates, by state.", []string{"state"}, nil)

// collectGroups counts the groups by state.
func (b *Broker) collectGroups(metrics chan<- prometheus.Metric) {
	states := map[wire.GroupState]int{ // told also while there are none
		wire.GroupEmpty: 0, wire.GroupStable: 0, wire.GroupPreparingRebalance: 0, wire.GroupCompletingRebalance: 0,
		wire.GroupAssigning: 0, wire.GroupReconciling: 0,
	}
	if table := b.groups.shards.Load(); table != nil {
		for _, shard := range table.runs {
			if shard != nil {
				shard.each(func(run *groupRun) {
					if state := run.listed.Load().State; state != wire.GroupDead {
						states[state]++
					}
				})
			}
		}
	}
	for state, count := range states {
		metrics <- prometheus.MustNewConstMetric(groupsDesc, prometheus.GaugeValue, float64(count), string(state))
	}
}
