package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// metadataMinAge is how soon franz-go asks again who leads. Its default of 5 s would be all that a
// failover takes.
const metadataMinAge = 100 * time.Millisecond

// Kafka is franz-go.
type Kafka struct {
	// RetryBackoff is the pause after a failed request, instead of franz-go's 250 ms and more. It finds
	// out that a broker was restarted only by writing to the old connection, and pauses then.
	RetryBackoff time.Duration
}

// Name implements Library.
func (Kafka) Name() string { return "franz-go" }

// Settings implements Library.
func (k Kafka) Settings() string {
	settings := "MetadataMinAge 100 ms, ProducerLinger 0, no compression"
	if k.RetryBackoff > 0 {
		settings += fmt.Sprintf(", RetryBackoffFn %s", k.RetryBackoff)
	}
	return settings + "; idempotent, acks=all and unlimited retries by default"
}

// NewProducer implements Library.
func (k Kafka) NewProducer(cfg *LoadConfig) (Producer, error) {
	options := []kgo.Opt{
		kgo.SeedBrokers(cfg.Addresses...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(1 << 22), // an open loop must not wait
		kgo.MetadataMinAge(metadataMinAge),
	}
	if k.RetryBackoff > 0 {
		options = append(options, kgo.RetryBackoffFn(func(int) time.Duration { return k.RetryBackoff }))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	return &kafkaProducer{cfg.Topic, client}, nil
}

// NewReader implements Library.
func (Kafka) NewReader(cfg *LoadConfig) (Reader, error) {
	partitions := make(map[int32]kgo.Offset)
	for partition := range cfg.Partitions {
		partitions[partition] = kgo.NewOffset().AtStart()
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(cfg.Addresses...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{cfg.Topic: partitions}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), // a log that is too short must show
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.MetadataMinAge(metadataMinAge),
	)
	if err != nil {
		return nil, err
	}
	return &kafkaReader{client}, nil
}

type kafkaProducer struct {
	topic  string
	client *kgo.Client
}

// Produce implements Producer.
func (p *kafkaProducer) Produce(partition int32, value []byte, done func(int64, error)) {
	record := &kgo.Record{Topic: p.topic, Partition: partition, Value: value}
	p.client.Produce(context.Background(), record, func(r *kgo.Record, err error) { done(r.Offset, err) })
}

// Flush implements Producer.
func (p *kafkaProducer) Flush(ctx context.Context) error { return p.client.Flush(ctx) }

// Close implements Producer.
func (p *kafkaProducer) Close() { p.client.Close() }

type kafkaReader struct{ client *kgo.Client }

// Poll implements Reader.
func (r *kafkaReader) Poll(ctx context.Context, each func(int32, int64, []byte)) error {
	fetches := r.client.PollFetches(ctx)
	fetches.EachRecord(func(r *kgo.Record) { each(r.Partition, r.Offset, r.Value) })
	var errs []error
	fetches.EachError(func(_ string, _ int32, err error) { errs = append(errs, err) })
	return errors.Join(errs...)
}

// Close implements Reader.
func (r *kafkaReader) Close() { r.client.Close() }
