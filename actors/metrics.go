package actors

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/troupe-mq/troupe/wire"
)

// Metrics is what the actors count. A nil Metrics counts nothing.
type Metrics struct {
	refused     *prometheus.CounterVec
	duplicates  prometheus.Counter
	unknown     prometheus.Counter
	deadLetters prometheus.Counter
	panics      prometheus.Counter
	respawns    prometheus.Counter
	unsent      prometheus.Counter
	groups      groupMetrics
}

// NewMetrics registers the actors' metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	m := &Metrics{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "troupe_produce_refused_total", Help: "Batches that a replica refused, by error code.",
		}, []string{"error"}),
		duplicates:  counter("troupe_produce_duplicates_total", "Batches of idempotent producers that were in the log already."),
		unknown:     counter("troupe_actor_unknown_messages_total", "Messages that an actor did not understand."),
		deadLetters: counter("troupe_actor_dead_letters_total", "Messages to actors that were gone."),
		panics:      counter("troupe_actor_panics_total", "Actors that were stopped by a panic."),
		respawns:    counter("troupe_replica_stops_total", "Replica actors that stopped and were spawned again."),
		unsent:      counter("troupe_actor_undeliverable_total", "Messages to other brokers that no link took."),
		groups:      newGroupMetrics(reg),
	}
	reg.MustRegister(m.refused)
	return m
}

func (m *Metrics) refuse(code wire.ErrorCode) {
	if m != nil {
		m.refused.WithLabelValues(code.Name()).Inc()
	}
}

func (m *Metrics) duplicate() {
	if m != nil {
		m.duplicates.Inc()
	}
}

func (m *Metrics) unknownMessage() {
	if m != nil {
		m.unknown.Inc()
	}
}

func (m *Metrics) deadLetter() {
	if m != nil {
		m.deadLetters.Inc()
	}
}

func (m *Metrics) panicked() {
	if m != nil {
		m.panics.Inc()
	}
}

func (m *Metrics) replicaStopped() {
	if m != nil {
		m.respawns.Inc()
	}
}

func (m *Metrics) undeliverable() {
	if m != nil {
		m.unsent.Inc()
	}
}
