package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// kafkaDriver is franz-go.
type kafkaDriver struct{}

func (kafkaDriver) name() string { return "kafka" }

// createTopic creates the topic, unless it is there, and waits until it has leaders.
func (kafkaDriver) createTopic(ctx context.Context, t *target, w workload) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(t.addr))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	admin.SetTimeoutMillis(120_000) // thousands of partitions, on a machine that has other things to do
	if _, err := admin.CreateTopic(ctx, w.Partitions, max(1, w.Replicas), t.topicConfigs(), w.Topic); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", w.Topic, err)
	}
	for {
		if listed, err := admin.ListTopics(ctx, w.Topic); err == nil && led(listed[w.Topic]) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("topic %s has no leaders: %w", w.Topic, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func led(topic kadm.TopicDetail) bool {
	for _, p := range topic.Partitions {
		if p.Err != nil || p.Leader < 0 {
			return false
		}
	}
	return topic.Err == nil && len(topic.Partitions) > 0
}

func (kafkaDriver) newProducer(ctx context.Context, t *target, w workload) (producer, error) {
	p := &kafkaProducer{}
	options := []kgo.Opt{
		kgo.SeedBrokers(t.addr),
		kgo.DefaultProduceTopic(w.Topic),
		kgo.ProducerBatchMaxBytes(w.BatchBytes),
		kgo.ProducerLinger(w.Linger),
		kgo.MaxBufferedRecords(200_000),
		kgo.WithHooks(&p.written),
	}
	switch w.Codec {
	case "none":
		options = append(options, kgo.ProducerBatchCompression(kgo.NoCompression()))
	case "gzip":
		options = append(options, kgo.ProducerBatchCompression(kgo.GzipCompression()))
	case "snappy":
		options = append(options, kgo.ProducerBatchCompression(kgo.SnappyCompression()))
	case "lz4":
		options = append(options, kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	case "zstd":
		options = append(options, kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	default:
		return nil, fmt.Errorf("unknown compression %q", w.Codec)
	}
	switch w.Acks {
	case "0":
		options = append(options, kgo.RequiredAcks(kgo.NoAck()))
	case "1":
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()))
	}
	if !w.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(5))
	}
	var err error
	if p.client, err = kgo.NewClient(options...); err != nil {
		return nil, err
	}
	if err := p.client.Ping(ctx); err != nil {
		p.client.Close()
		return nil, err
	}
	return p, nil
}

type kafkaProducer struct {
	client  *kgo.Client
	written batchCounter
}

// batchCounter counts what franz-go writes.
type batchCounter struct{ n atomic.Int64 }

// OnProduceBatchWritten implements kgo.HookProduceBatchWritten.
func (c *batchCounter) OnProduceBatchWritten(kgo.BrokerMetadata, string, int32, kgo.ProduceBatchMetrics) {
	c.n.Add(1)
}

func (p *kafkaProducer) produce(ctx context.Context, value []byte, done func(error)) {
	p.client.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) { done(err) })
}

func (p *kafkaProducer) flush(ctx context.Context) error { return p.client.Flush(ctx) }
func (p *kafkaProducer) batches() int64                  { return p.written.n.Load() }
func (p *kafkaProducer) close()                          { p.client.Close() }

func (kafkaDriver) newConsumer(_ context.Context, t *target, w workload, from position) (consumer, error) {
	begin := kgo.NewOffset().AtStart()
	if from == fromEnd {
		begin = kgo.NewOffset().AtEnd()
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(t.addr),
		kgo.ConsumeTopics(w.Topic),
		kgo.ConsumeResetOffset(begin),
		kgo.FetchMaxBytes(50<<20),
		kgo.FetchMaxPartitionBytes(4<<20),
		kgo.FetchMinBytes(1),
	)
	if err != nil {
		return nil, err
	}
	return &kafkaConsumer{client}, nil
}

type kafkaConsumer struct{ client *kgo.Client }

func (c *kafkaConsumer) poll(ctx context.Context, each func(value []byte)) error {
	fetches := c.client.PollFetches(ctx)
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		for _, r := range p.Records {
			each(r.Value)
		}
	})
	return fetches.Err()
}

func (c *kafkaConsumer) close() { c.client.Close() }
