package actors

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// Collector tells Prometheus of the partitions on this broker. It looks at them when it is asked: a
// partition has no metrics of its own to keep.
func (b *Broker) Collector() prometheus.Collector { return partitionMetrics{b} }

type partitionMetrics struct{ broker *Broker }

var (
	partitionsDesc = prometheus.NewDesc("troupe_partitions", "Partitions on this broker.", nil, nil)
	offlineDesc    = prometheus.NewDesc("troupe_partitions_offline",
		"Partitions on this broker that have no leader, or whose log this broker should lead and cannot use.", nil, nil)

	ofPartition       = []string{"topic", "partition"}
	logEndDesc        = prometheus.NewDesc("troupe_partition_log_end_offset", "Offset of the next record.", ofPartition, nil)
	highWatermarkDesc = prometheus.NewDesc("troupe_partition_high_watermark", "Offset up to which consumers can read.", ofPartition, nil)
	logStartDesc      = prometheus.NewDesc("troupe_partition_log_start_offset", "Offset of the first record.", ofPartition, nil)
	sizeDesc          = prometheus.NewDesc("troupe_partition_size_bytes", "Bytes of the log.", ofPartition, nil)

	ofTopic       = []string{"topic"}
	bytesInDesc   = prometheus.NewDesc("troupe_topic_bytes_in_total", "Bytes appended since the broker began.", ofTopic, nil)
	recordsInDesc = prometheus.NewDesc("troupe_topic_records_in_total", "Records appended since the broker began.", ofTopic, nil)
)

// Describe implements prometheus.Collector.
func (m partitionMetrics) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		partitionsDesc, offlineDesc, logEndDesc, highWatermarkDesc, logStartDesc, sizeDesc, bytesInDesc, recordsInDesc, groupsDesc,
	} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (m partitionMetrics) Collect(metrics chan<- prometheus.Metric) {
	type appended struct{ bytes, records int64 }
	image := m.broker.image.Load()
	partitions, offline := 0, 0
	topics := make(map[string]appended)
	m.broker.routes.each(func(p *partition) bool {
		partitions++
		if p.offline(image) {
			offline++
		}
		p.collect(metrics)
		sum := topics[p.topic]
		topics[p.topic] = appended{sum.bytes + p.bytesIn.Load(), sum.records + p.recordsIn.Load()}
		return true
	})
	metrics <- prometheus.MustNewConstMetric(partitionsDesc, prometheus.GaugeValue, float64(partitions))
	metrics <- prometheus.MustNewConstMetric(offlineDesc, prometheus.GaugeValue, float64(offline))
	m.broker.collectGroups(metrics)
	for topic, sum := range topics {
		metrics <- prometheus.MustNewConstMetric(bytesInDesc, prometheus.CounterValue, float64(sum.bytes), topic)
		metrics <- prometheus.MustNewConstMetric(recordsInDesc, prometheus.CounterValue, float64(sum.records), topic)
	}
}

// offline says that nobody leads the partition, or that this broker should and does not.
func (p *partition) offline(image *metadata.Local) bool {
	state, ok := image.Partition(p.tp.Topic, p.tp.Partition)
	switch {
	case !ok:
		return false // deleted meanwhile
	case state.Leader == wire.NoBroker:
		return true
	default:
		return state.Leader == image.Self && p.view.Load() == nil
	}
}

func (p *partition) collect(metrics chan<- prometheus.Metric) {
	view := p.view.Load()
	if view == nil {
		return
	}
	number := strconv.Itoa(int(p.tp.Partition))
	for _, of := range []struct {
		desc  *prometheus.Desc
		value int64
	}{
		{logEndDesc, int64(view.log.EndOffset())},
		{highWatermarkDesc, int64(view.highWatermark)},
		{logStartDesc, int64(view.start)},
		{sizeDesc, view.log.Size()},
	} {
		metrics <- prometheus.MustNewConstMetric(of.desc, prometheus.GaugeValue, float64(of.value), p.topic, number)
	}
}
