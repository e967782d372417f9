package storage

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the counters that storage moves. A nil *Metrics counts nothing.
type Metrics struct {
	AppendBytes     prometheus.Counter
	SyncSeconds     prometheus.Histogram
	SyncErrors      prometheus.Counter
	DirsOffline     prometheus.Gauge
	CorruptBatches  prometheus.Counter
	OpenFiles       prometheus.Gauge
	ReserveRefusals prometheus.Counter
	ScrubbedBytes   prometheus.Counter
	CompactedBytes  prometheus.Counter
	KeptBytes       prometheus.Counter
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		AppendBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "troupe_storage_append_bytes_total", Help: "Bytes of record batches appended to logs.",
		}),
		SyncSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "troupe_storage_sync_duration_seconds", Help: "Time of one round of group commit.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		SyncErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "troupe_storage_sync_errors_total", Help: "Rounds of group commit that failed.",
		}),
		DirsOffline: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "troupe_storage_dirs_offline", Help: "Log directories that a failed write or sync took offline.",
		}),
		CorruptBatches: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "troupe_storage_corrupt_batches_total", Help: "Damaged record batches found in recovery, reads and scrubbing.",
		}),
		OpenFiles: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "troupe_storage_open_files", Help: "Open segment and index files.",
		}),
		ReserveRefusals: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "troupe_storage_reserve_refusals_total", Help: "Appends refused because the volume is full up to its reserve.",
		}),
		ScrubbedBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "troupe_storage_scrubbed_bytes_total", Help: "Bytes of sealed segments read and verified in the background.",
		}),
		CompactedBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "troupe_storage_compacted_bytes_total", Help: "Bytes of the segments that compaction has gone through.",
		}),
		KeptBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "troupe_storage_compaction_kept_bytes_total", Help: "Bytes that compaction has left of them.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.AppendBytes, m.SyncSeconds, m.SyncErrors, m.DirsOffline, m.CorruptBatches,
			m.OpenFiles, m.ReserveRefusals, m.ScrubbedBytes, m.CompactedBytes, m.KeptBytes)
	}
	return m
}

func (m *Metrics) appended(n int) {
	if m != nil {
		m.AppendBytes.Add(float64(n))
	}
}

func (m *Metrics) synced(took time.Duration, err error) {
	if m == nil {
		return
	}
	m.SyncSeconds.Observe(took.Seconds())
	if err != nil {
		m.SyncErrors.Inc()
	}
}

func (m *Metrics) dirOffline() {
	if m != nil {
		m.DirsOffline.Inc()
	}
}

func (m *Metrics) corrupt() {
	if m != nil {
		m.CorruptBatches.Inc()
	}
}

func (m *Metrics) openFiles(n int) {
	if m != nil {
		m.OpenFiles.Add(float64(n))
	}
}

func (m *Metrics) refused() {
	if m != nil {
		m.ReserveRefusals.Inc()
	}
}

func (m *Metrics) scrubbed(n int64) {
	if m != nil {
		m.ScrubbedBytes.Add(float64(n))
	}
}

func (m *Metrics) compacted(from, to int64) {
	if m != nil {
		m.CompactedBytes.Add(float64(from))
		m.KeptBytes.Add(float64(to))
	}
}
