package node

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/troupe-mq/troupe/wire/native"
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
