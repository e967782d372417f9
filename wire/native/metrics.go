package native

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/troupe-mq/troupe/wire"
)

// Metrics are what the listener counts. A nil field is counted where nobody sees it.
type Metrics struct {
	Connections   prometheus.Gauge       // troupe_native_connections
	Requests      *prometheus.CounterVec // troupe_native_requests_total, by api
	Refused       *prometheus.CounterVec // troupe_native_refused_total, by error: requests answered with it at the door
	Broken        prometheus.Counter     // troupe_native_broken_connections_total: closed for what came over them
	ReceivedBytes prometheus.Counter     // troupe_native_received_bytes_total
	SentBytes     prometheus.Counter     // troupe_native_sent_bytes_total

	byKind [wire.MaxClientKind + 2]prometheus.Counter // of Requests; the last is for unknown kinds
}

func (m Metrics) complete() Metrics {
	if m.Connections == nil {
		m.Connections = prometheus.NewGauge(prometheus.GaugeOpts{Name: "connections"})
	}
	if m.Requests == nil {
		m.Requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests"}, []string{"api"})
	}
	if m.Refused == nil {
		m.Refused = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "refused"}, []string{"error"})
	}
	for _, c := range []*prometheus.Counter{&m.Broken, &m.ReceivedBytes, &m.SentBytes} {
		if *c == nil {
			*c = prometheus.NewCounter(prometheus.CounterOpts{Name: "nobody"})
		}
	}
	for k := range m.byKind {
		m.byKind[k] = m.Requests.WithLabelValues(wire.Kind(k).String())
	}
	return m
}

func (m *Metrics) request(k wire.Kind) { m.byKind[min(k, wire.MaxClientKind+1)].Inc() }
