package kafka

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// counted returns how often input of that kind was refused.
func counted(t testing.TB, m *Metrics, kind refusal) float64 {
	t.Helper()
	var out dto.Metric
	if err := m.refused.WithLabelValues(string(kind)).Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.GetCounter().GetValue()
}

func TestMetricsAreNamedAsTheHandbookSays(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m := NewMetrics(registry)
	m.refused.WithLabelValues(string(badAPI)).Inc()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range families {
		names[f.GetName()] = true
	}
	for _, want := range []string{
		"troupe_kafka_connections", "troupe_kafka_connections_accepted_total", "troupe_kafka_received_bytes_total",
		"troupe_kafka_sent_bytes_total", "troupe_kafka_in_flight_bytes", "troupe_kafka_refused_total",
		"troupe_kafka_requests_total", "troupe_kafka_request_duration_seconds",
	} {
		if !names[want] {
			t.Errorf("no metric %s", want)
		}
	}
}
