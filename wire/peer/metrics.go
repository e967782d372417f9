package peer

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/troupe-mq/troupe/wire"
)

// Metrics are what the links count. A nil field is counted where nobody sees it.
type Metrics struct {
	Up            prometheus.Gauge       // troupe_peer_links: brokers to which both links stand
	SentBytes     *prometheus.CounterVec // troupe_peer_sent_bytes_total, by link: bulk or control
	ReceivedBytes *prometheus.CounterVec // troupe_peer_received_bytes_total, by link
	Sent          *prometheus.CounterVec // troupe_peer_sent_messages_total, by kind: taken by a queue
	Received      *prometheus.CounterVec // troupe_peer_received_messages_total, by kind; "unknown" are passed over
	Full          *prometheus.CounterVec // troupe_peer_full_total, by link: messages for which a queue had no room
	Refused       *prometheus.CounterVec // troupe_peer_refused_total, by reason: attempts to link that either end refused
	Broken        *prometheus.CounterVec // troupe_peer_broken_frames_total, by fault: malformed or panic; each ends its links

	sent, received [unknownKind + 1]prometheus.Counter
}

// unknownKind is a kind that no version uses: all that are not known are counted under it.
const unknownKind = math.MaxUint8

// complete returns a copy in which nothing is nil.
func (m *Metrics) complete() *Metrics {
	var c Metrics
	if m != nil {
		c = *m
	}
	if c.Up == nil {
		c.Up = prometheus.NewGauge(prometheus.GaugeOpts{Name: "nobody"})
	}
	for vec, label := range map[**prometheus.CounterVec]string{
		&c.SentBytes: "link", &c.ReceivedBytes: "link", &c.Sent: "kind", &c.Received: "kind",
		&c.Full: "link", &c.Refused: "reason", &c.Broken: "fault",
	} {
		if *vec == nil {
			*vec = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "nobody"}, []string{label})
		}
	}
	for k := range c.sent {
		name := wire.Kind(k).String()
		c.sent[k], c.received[k] = c.Sent.WithLabelValues(name), c.Received.WithLabelValues(name)
	}
	return &c
}
