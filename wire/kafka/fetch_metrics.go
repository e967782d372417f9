package kafka

import "github.com/prometheus/client_golang/prometheus"

// fetchMetrics are what fetches move.
type fetchMetrics struct {
	sessionMetrics
	fromFollower prometheus.Counter
}

// sessionMetrics are what the sessions move.
type sessionMetrics struct {
	sessions, partitions prometheus.Gauge
	evictions            prometheus.Counter
}

func newFetchMetrics() fetchMetrics {
	const namespace, subsystem = "troupe", "kafka"
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help})
	}
	return fetchMetrics{
		sessionMetrics: sessionMetrics{
			sessions:   gauge("fetch_sessions", "Fetch sessions that clients may go on with."),
			partitions: gauge("fetch_session_partitions", "Partitions in fetch sessions."),
			evictions:  counter("fetch_session_evictions_total", "Fetch sessions that made room for others."),
		},
		fromFollower: counter("follower_fetched_bytes_total", "Bytes of records sent to consumers by replicas that follow."),
	}
}

func (m *fetchMetrics) register(registry prometheus.Registerer) {
	registry.MustRegister(m.sessions, m.partitions, m.evictions, m.fromFollower)
}
