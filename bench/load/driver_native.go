package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupe-mq/troupe/wire/client"
)

// nativeDriver is Troupe's own client.
type nativeDriver struct{}

func (nativeDriver) name() string { return "native" }

// createTopic creates the topic, unless it is there, as any client would.
func (nativeDriver) createTopic(ctx context.Context, t *target, w workload) error {
	return kafkaDriver{}.createTopic(ctx, t, w)
}

func (nativeDriver) newProducer(ctx context.Context, t *target, w workload) (producer, error) {
	cfg := client.DefaultProducerConfig()
	cfg.NotIdempotent = !w.Idempotent
	cfg.Linger, cfg.BatchBytes = w.Linger, int(w.BatchBytes)
	switch w.Acks {
	case "0":
		cfg.Acks = client.AcksNone
	case "1":
		cfg.Acks = client.AcksLeader
	}
	var err error
	if cfg.Compression, err = client.ParseCompression(w.Codec); err != nil {
		return nil, err
	}
	p := &nativeProducer{topic: w.Topic}
	if p.client, err = client.New(t.addr); err != nil {
		return nil, err
	}
	if _, err := p.client.DescribeTopics(ctx, w.Topic); err != nil { // connect before time is taken
		return nil, errors.Join(err, p.client.Close())
	}
	if p.producer, err = p.client.NewProducer(client.WithProducerConfig(cfg)); err != nil {
		return nil, errors.Join(err, p.client.Close())
	}
	return p, nil
}

type nativeProducer struct {
	topic    string
	client   *client.Client
	producer *client.Producer
}

func (p *nativeProducer) produce(ctx context.Context, value []byte, done func(error)) {
	err := p.producer.Produce(ctx, client.Record{Topic: p.topic, Value: value}, func(_ client.Record, err error) { done(err) })
	if err != nil {
		done(err)
	}
}

func (p *nativeProducer) flush(ctx context.Context) error { return p.producer.Flush(ctx) }

// batches is not told by the client.
func (p *nativeProducer) batches() int64 { return 0 }

func (p *nativeProducer) close() {
	_ = p.client.Close() // all was flushed, or the run has failed
}

func (nativeDriver) newConsumer(_ context.Context, t *target, w workload, from position) (consumer, error) {
	cfg := client.DefaultConsumerConfig()
	cfg.Topics = []string{w.Topic}
	cfg.MaxPartitionBytes = 4 << 20 // as the other driver
	cfg.MaxPollRecords = 100_000
	if from == fromEnd {
		cfg.Start = client.End()
	}
	c := &nativeConsumer{}
	var err error
	if c.client, err = client.New(t.addr); err != nil {
		return nil, err
	}
	if c.consumer, err = c.client.NewConsumer(client.WithConsumerConfig(cfg)); err != nil {
		return nil, errors.Join(err, c.client.Close())
	}
	return c, nil
}

type nativeConsumer struct {
	client   *client.Client
	consumer *client.Consumer
}

func (c *nativeConsumer) poll(ctx context.Context, each func(value []byte)) error {
	records, err := c.consumer.Poll(ctx)
	for _, r := range records {
		each(r.Value)
	}
	if err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	return nil
}

func (c *nativeConsumer) close() {
	_ = c.client.Close() // nothing is lost with what was read ahead
}
