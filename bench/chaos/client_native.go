package chaos

import (
	"context"
	"errors"
	"time"

	"github.com/troupe-mq/troupe/wire/client"
)

// NativeSettings says what is not the default of Troupe's own client.
const NativeSettings = "Linger 0, DeliveryTimeout 30 min; idempotent, acks=all, pings each second as by default"

type nativeProducer struct {
	topic    string
	client   *client.Client
	producer *client.Producer
}

func newNativeProducer(cfg *LoadConfig) (*nativeProducer, error) {
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

func (p *nativeProducer) produce(partition int32, value []byte, done func(int64, error)) {
	record := client.Record{Topic: p.topic, Partition: partition, Value: value}
	err := p.producer.Produce(context.Background(), record, func(r client.Record, err error) { done(int64(r.Offset), err) })
	if err != nil {
		done(-1, err)
	}
}

func (p *nativeProducer) flush(ctx context.Context) error { return p.producer.Flush(ctx) }

func (p *nativeProducer) close() {
	_ = p.client.Close() // what was not flushed has an unknown outcome, which its callbacks say
}

type nativeReader struct {
	client   *client.Client
	consumer *client.Consumer
}

func newNativeReader(cfg *LoadConfig) (*nativeReader, error) {
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

func (r *nativeReader) poll(ctx context.Context, each func(int32, int64, []byte)) error {
	records, err := r.consumer.Poll(ctx)
	for _, record := range records {
		each(record.Partition, int64(record.Offset), record.Value)
	}
	return err
}

func (r *nativeReader) close() {
	_ = r.client.Close() // nothing is lost with what was read ahead
}
