package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// Acks is how safe a record must be before it counts as delivered.
type Acks = wire.Acks

// The three grades of safety. With less than AcksAll a producer is not idempotent: a retry may
// write a record twice.
const (
	AcksAll    = wire.AcksAll    // on every in-sync replica, and on disk if the topic is durable
	AcksLeader = wire.AcksLeader // appended by the leader
	AcksNone   = wire.AcksNone   // sent; the offset is not known
)

// Compression is how batches are compressed.
type Compression = record.Codec

// The compressions that every Kafka client reads.
const (
	NoCompression = record.None
	Gzip          = record.Gzip
	Snappy        = record.Snappy
	LZ4           = record.LZ4
	Zstd          = record.Zstd
)

// ParseCompression reads a name such as "zstd".
func ParseCompression(name string) (Compression, error) { return record.ParseCodec(name) }

// ProducerConfig configures a Producer. Begin with DefaultProducerConfig, or give options to
// NewProducer.
type ProducerConfig struct {
	// Acks is AcksAll unless told otherwise.
	Acks Acks
	// NotIdempotent gives up sequence numbers, and so order and uniqueness when there are retries.
	NotIdempotent bool
	// Linger is how long a record waits for others to share its batch. A batch that is full, or
	// that Flush or ProduceSync waits for, goes at once. 5 ms, as Kafka's.
	Linger time.Duration
	// BatchBytes is when a batch is full, before compression. Topics refuse batches over their
	// max.message.bytes. 512 KiB.
	BatchBytes int
	// MaxBufferedBytes bounds the records that are not acknowledged yet: then Produce waits. 64 MiB.
	MaxBufferedBytes int
	// MaxInFlight is how many batches of a partition are on their way at once. Brokers recognise
	// duplicates among the last five. 5.
	MaxInFlight int
	// Compression and CompressionLevel; level 0 is the codec's own default.
	Compression      Compression
	CompressionLevel int
	// Partitioner chooses partitions. ByKey.
	Partitioner Partitioner
	// DeliveryTimeout is how long a record may take from Produce to its acknowledgement, retries
	// included. A batch that is under way is waited for even beyond. 2 min.
	DeliveryTimeout time.Duration
}

// DefaultProducerConfig returns the configuration of a producer made without options.
func DefaultProducerConfig() ProducerConfig {
	return ProducerConfig{
		Acks: AcksAll, Linger: 5 * time.Millisecond, BatchBytes: 512 << 10, MaxBufferedBytes: 64 << 20,
		MaxInFlight: 5, Partitioner: ByKey, DeliveryTimeout: 2 * time.Minute,
	}
}

// Validate says what is wrong with the configuration.
func (c *ProducerConfig) Validate() error {
	switch {
	case c.Acks != AcksAll && c.Acks != AcksLeader && c.Acks != AcksNone:
		return fmt.Errorf("producer: acks %d: want -1, 0 or 1", c.Acks)
	case c.Linger < 0:
		return errors.New("producer: Linger is negative")
	case c.BatchBytes <= 0 || c.BatchBytes > maxBatchBytes:
		return fmt.Errorf("producer: BatchBytes is %d: want 1 to %d", c.BatchBytes, maxBatchBytes)
	case c.MaxBufferedBytes <= 0:
		return errors.New("producer: MaxBufferedBytes must be positive")
	case c.MaxInFlight < 1 || c.MaxInFlight > 5:
		return fmt.Errorf("producer: MaxInFlight is %d: want 1 to 5", c.MaxInFlight)
	case c.DeliveryTimeout <= c.Linger:
		return fmt.Errorf("producer: DeliveryTimeout is %s and must be longer than Linger, %s", c.DeliveryTimeout, c.Linger)
	case !c.Compression.Known():
		return fmt.Errorf("producer: there is no compression %d", c.Compression)
	case c.Partitioner == nil:
		return errors.New("producer: there is no Partitioner")
	}
	return nil
}

// maxBatchBytes is beyond what any topic takes, and far from where lengths overflow.
const maxBatchBytes = 512 << 20

// ProducerOption changes a ProducerConfig.
type ProducerOption func(*ProducerConfig)

// WithProducerConfig replaces the whole configuration.
func WithProducerConfig(cfg ProducerConfig) ProducerOption {
	return func(c *ProducerConfig) { *c = cfg }
}

// WithAcks sets how safe a record must be.
func WithAcks(acks Acks) ProducerOption { return func(c *ProducerConfig) { c.Acks = acks } }

// WithLinger sets how long a record waits for company.
func WithLinger(d time.Duration) ProducerOption { return func(c *ProducerConfig) { c.Linger = d } }

// WithBatchBytes sets when a batch is full.
func WithBatchBytes(n int) ProducerOption { return func(c *ProducerConfig) { c.BatchBytes = n } }

// WithMaxBufferedBytes bounds the records that are not acknowledged yet.
func WithMaxBufferedBytes(n int) ProducerOption {
	return func(c *ProducerConfig) { c.MaxBufferedBytes = n }
}

// WithCompression sets the compression of batches.
func WithCompression(codec Compression) ProducerOption {
	return func(c *ProducerConfig) { c.Compression = codec }
}

// WithPartitioner sets who chooses partitions.
func WithPartitioner(p Partitioner) ProducerOption {
	return func(c *ProducerConfig) { c.Partitioner = p }
}

// WithDeliveryTimeout sets how long a record may take.
func WithDeliveryTimeout(d time.Duration) ProducerOption {
	return func(c *ProducerConfig) { c.DeliveryTimeout = d }
}
