package chaos

import (
	"context"
	"errors"
	"time"

	"github.com/troupe-mq/troupe/wire/client"
)

// Native is Troupe's own client.
type Native struct{}

// Name implements Library.
func (Native) Name() string { return "wire/client" }

// Settings implements Library.
func (Native) Settings() string {
	return "Linger 0, DeliveryTimeout 30 min; idempotent and acks=all by default"
}

// NewProducer implements Library.
func (Native) NewProducer(cfg *LoadConfig) (Producer, error) {
	c, err := client.New(cfg.Addresses...)
	if err != nil {
		return nil, err
	}
	settings := client.DefaultProducerConfig()
	settings.Linger, settings.DeliveryTimeout = 0, 30*time.Minute
	settings.MaxBufferedBytes = 1 << 30 // an open loop must not wait
	settings.Partitioner = client.Explicit
	p, err := c.NewProducer(client.WithProducerConfig(settings))
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &nativeProducer{cfg.Topic, c, p}, nil
}

// NewReader implements Library.
func (Native) NewReader(cfg *LoadConfig) (Reader, error) {
	c, err := client.New(cfg.Addresses...)
	if err != nil {
		return nil, err
	}
	consumer, err := c.NewConsumer(client.Topics(cfg.Topic), client.From(client.Beginning()), client.WhenOutOfRange(client.OutOfRangeFails))
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &nativeReader{c, consumer}, nil
}

type nativeProducer struct {
	topic    string
	client   *client.Client
	producer *client.Producer
}

// Produce implements Producer.
func (p *nativeProducer) Produce(partition int32, value []byte, done func(int64, error)) {
	record := client.Record{Topic: p.topic, Partition: partition, Value: value}
	err := p.producer.Produce(context.Background(), record, func(r client.Record, err error) { done(int64(r.Offset), err) })
	if err != nil {
		done(-1, err)
	}
}

// Flush implements Producer.
func (p *nativeProducer) Flush(ctx context.Context) error { return p.producer.Flush(ctx) }

// Close implements Producer.
func (p *nativeProducer) Close() {
	_ = p.client.Close() // what was not flushed has an unknown outcome, which its callbacks say
}

type nativeReader struct {
	client   *client.Client
	consumer *client.Consumer
}

// Poll implements Reader.
func (r *nativeReader) Poll(ctx context.Context, each func(int32, int64, []byte)) error {
	records, err := r.consumer.Poll(ctx)
	for _, record := range records {
		each(record.Partition, int64(record.Offset), record.Value)
	}
	return err
}

// Close implements Reader.
func (r *nativeReader) Close() {
	_ = r.client.Close() // nothing is lost with what was read ahead
}
