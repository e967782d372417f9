package actors

import (
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
)

// gathered returns the values of all metrics, by name and labels.
func gathered(t *testing.T, registry prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var labels string
			for _, label := range metric.GetLabel() {
				labels += " " + label.GetName() + "=" + label.GetValue()
			}
			if h := metric.GetHistogram(); h != nil {
				values[family.GetName()+"_count"+labels] = float64(h.GetSampleCount())
				values[family.GetName()+"_sum"+labels] = h.GetSampleSum()
				continue
			}
			values[family.GetName()+labels] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return values
}

func expectValues(t *testing.T, got, want map[string]float64) {
	t.Helper()
	for key, value := range want {
		if v, there := got[key]; !there || v != value {
			t.Errorf("%s is %v (%v), want %v", key, v, there, value)
		}
	}
}

// scrape returns what a collector tells of a broker.
func (c *company) scrape() map[string]float64 {
	c.t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c.Collector())
	return gathered(c.t, registry)
}

func (c *company) expectScraped(want map[string]float64) {
	c.t.Helper()
	expectValues(c.t, c.scrape(), want)
}

func TestMetricsTellWhatTheLogsHoldAndWhichPartitionsAreOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		c := start(t, disk)
		topic := c.topic("rotten", 1)
		c.topic("sound", 2)
		var r replies
		batch := recordsOf(3, wire.NoProducer, 0)
		bytes := float64(len(batch))
		c.produce(&r, 1, topic, wire.AcksAll, batch)
		r.one(t, 1)
		if _, err := c.DeleteRecords(t.Context(), &wire.DeleteRecords{Topic: topic, Before: 2}); err != nil {
			t.Fatal(err)
		}
		c.expectScraped(map[string]float64{
			"troupe_partitions": 3, "troupe_partitions_offline": 0,
			"troupe_partition_log_start_offset partition=0 topic=rotten": 2,
			"troupe_partition_high_watermark partition=0 topic=rotten":   3,
			"troupe_partition_log_end_offset partition=0 topic=rotten":   3,
			"troupe_partition_size_bytes partition=0 topic=rotten":       bytes,
			"troupe_partition_log_end_offset partition=1 topic=sound":    0,
			"troupe_topic_bytes_in_total topic=rotten":                   bytes,
			"troupe_topic_records_in_total topic=rotten":                 3,
			"troupe_topic_records_in_total topic=sound":                  0,
		})
		c.end()
		damage(t, disk, "rotten")
		c = start(t, disk)
		defer c.end()
		c.expectScraped(map[string]float64{"troupe_partitions": 3, "troupe_partitions_offline": 1})
		if size, there := c.scrape()["troupe_partition_size_bytes partition=0 topic=rotten"]; there {
			t.Errorf("a log that is not open has %v bytes", size)
		}
	})
}
