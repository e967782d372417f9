package node

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/troupe-mq/troupe/wire/native"
	"github.com/troupe-mq/troupe/wire/peer"
)

// buildInfo is a metric that only tells what runs here, in its labels.
func buildInfo(version string) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "troupe_build_info", Help: "1, with what this broker was built from.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	info.Set(1)
	return info
}

// nativeMetrics registers what the native listener counts.
func nativeMetrics(reg prometheus.Registerer) native.Metrics {
	m := native.Metrics{
		Connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "troupe_native_connections", Help: "Open connections of native clients.",
		}),
		Requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "troupe_native_requests_total", Help: "Requests of native clients, by kind.",
		}, []string{"api"}),
		Refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "troupe_native_refused_total", Help: "Requests of native clients refused at the door, by error.",
		}, []string{"error"}),
		Broken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "troupe_native_broken_connections_total", Help: "Native connections closed for what came over them.",
		}),
		ReceivedBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "troupe_native_received_bytes_total", Help: "Bytes received from native clients.",
		}),
		SentBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "troupe_native_sent_bytes_total", Help: "Bytes sent to native clients.",
		}),
	}
	reg.MustRegister(m.Connections, m.Requests, m.Refused, m.Broken, m.ReceivedBytes, m.SentBytes)
	return m
}

// peerMetrics registers what the links to other brokers count.
func peerMetrics(reg prometheus.Registerer) *peer.Metrics {
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &peer.Metrics{
		Up:            prometheus.NewGauge(prometheus.GaugeOpts{Name: "troupe_peer_links", Help: "Brokers to which both links stand."}),
		SentBytes:     vec("troupe_peer_sent_bytes_total", "Bytes sent to other brokers, by link.", "link"),
		ReceivedBytes: vec("troupe_peer_received_bytes_total", "Bytes received from other brokers, by link.", "link"),
		Sent:          vec("troupe_peer_sent_messages_total", "Messages for other brokers that a queue took, by kind.", "kind"),
		Received:      vec("troupe_peer_received_messages_total", "Messages from other brokers, by kind; those of kind unknown are passed over.", "kind"),
		Full:          vec("troupe_peer_full_total", "Messages for which the queue of a link had no room.", "link"),
		Refused:       vec("troupe_peer_refused_total", "Attempts to link that either end refused, by reason.", "reason"),
		Broken:        vec("troupe_peer_broken_frames_total", "Frames that ended a link, by fault.", "fault"),
	}
	reg.MustRegister(m.Up, m.SentBytes, m.ReceivedBytes, m.Sent, m.Received, m.Full, m.Refused, m.Broken)
	return m
}
