package kafka

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the counters that the listener moves. All label values come from small fixed sets.
type Metrics struct {
	connections prometheus.Gauge
	accepted    prometheus.Counter
	clients     *prometheus.CounterVec // software
	received    prometheus.Counter
	sent        prometheus.Counter
	inFlight    prometheus.Gauge
	refused     *prometheus.CounterVec // kind
	errors      *prometheus.CounterVec // api, error
	perAPI      []apiMetrics           // by the API's place in the table
	fetch       fetchMetrics
}

// apiMetrics are one API's, looked up once.
type apiMetrics struct {
	requests prometheus.Counter
	duration prometheus.Observer
}

// NewMetrics makes the metrics and registers them; registry may be nil.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	const subsystem = "kafka"
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "troupe", Subsystem: subsystem, Name: name, Help: help,
		}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "troupe", Subsystem: subsystem, Name: name, Help: help})
	}
	accepted := counter("connections_accepted_total", "Connections accepted from Kafka clients.")
	received := counter("received_bytes_total", "Bytes of requests received.")
	sent := counter("sent_bytes_total", "Bytes of answers sent.")
	requests := counter("requests_total", "Requests received, by API.", "api")
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "troupe", Subsystem: subsystem, Name: "request_duration_seconds",
		Help:    "Time from the arrival of a whole request to its answer, by API; the waiting of Fetch, JoinGroup and SyncGroup included.",
		Buckets: prometheus.ExponentialBuckets(0.000_05, 2.5, 14), // 50 us to 7.4 s
	}, []string{"api"})
	m := &Metrics{
		connections: gauge("connections", "Open connections of Kafka clients."),
		accepted:    accepted.WithLabelValues(),
		clients:     counter("clients_total", "Connections by client software, as announced in ApiVersions.", "software"),
		received:    received.WithLabelValues(),
		sent:        sent.WithLabelValues(),
		inFlight:    gauge("in_flight_bytes", "Bytes of Produce requests that are not completed."),
		refused:     counter("refused_total", "Input refused at the door, by kind.", "kind"),
		errors:      counter("errors_total", "Errors answered, by API and Kafka's name of the error.", "api", "error"),
		fetch:       newFetchMetrics(),
	}
	for i := range apis {
		m.perAPI = append(m.perAPI, apiMetrics{
			requests: requests.WithLabelValues(apis[i].name),
			duration: duration.WithLabelValues(apis[i].name),
		})
	}
	if registry != nil {
		m.fetch.register(registry)
		registry.MustRegister(m.connections, accepted, m.clients, received, sent, m.inFlight, m.refused, m.errors,
			requests, duration)
	}
	return m
}
