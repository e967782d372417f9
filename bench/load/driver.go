package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"
)

// workload is what clients do to a topic.
type workload struct {
	Topic      string        `json:"topic"`
	Partitions int32         `json:"partitions"`
	Replicas   int16         `json:"replicas,omitempty"` // 0: one
	Records    int64         `json:"records"`
	Size       int           `json:"size"` // bytes of value per record
	BatchBytes int32         `json:"batch_bytes"`
	Linger     time.Duration `json:"linger_ns"`
	Acks       string        `json:"acks"`
	Clients    int           `json:"clients"`
	Idempotent bool          `json:"idempotent"`
	Codec      string        `json:"codec"`
	Rate       int           `json:"rate,omitempty"` // records per second of an open loop
	Duration   time.Duration `json:"duration_ns,omitempty"`
}

func defaultWorkload() workload {
	return workload{
		Topic: "load", Partitions: 1, Records: 1_000_000, Size: 100,
		BatchBytes: 1_000_000, Linger: 5 * time.Millisecond, Acks: "all", Clients: 1, Codec: "none",
		Rate: 2000, Duration: 10 * time.Second,
	}
}

func (w *workload) register(flags *pflag.FlagSet) {
	flags.StringVar(&w.Topic, "topic", w.Topic, "topic, created when it is missing")
	flags.Int32Var(&w.Partitions, "partitions", w.Partitions, "partitions of the topic, when it is created")
	flags.Int64Var(&w.Records, "records", w.Records, "how many records")
	flags.IntVar(&w.Size, "size", w.Size, "bytes of value per record")
	flags.Int32Var(&w.BatchBytes, "batch", w.BatchBytes, "largest batch in bytes")
	flags.DurationVar(&w.Linger, "linger", w.Linger, "how long the producer waits for more records")
	flags.StringVar(&w.Acks, "acks", w.Acks, "all, 1 or 0")
	flags.IntVar(&w.Clients, "clients", w.Clients, "producing clients, one connection each")
	flags.BoolVar(&w.Idempotent, "idempotent", w.Idempotent, "idempotent producers")
	flags.StringVar(&w.Codec, "compression", w.Codec, "none, gzip, snappy, lz4 or zstd")
}

// check finds what a flag cannot.
func (w *workload) check() error {
	switch {
	case w.Partitions < 1, w.Records < 1, w.Clients < 1, w.Size < 0, w.BatchBytes < 1:
		return fmt.Errorf("partitions %d, records %d, clients %d, batch %d: want at least 1 of each", w.Partitions, w.Records, w.Clients, w.BatchBytes)
	case w.Acks != "all" && w.Acks != "1" && w.Acks != "0":
		return fmt.Errorf("acks %q: want all, 1 or 0", w.Acks)
	case w.Idempotent && w.Acks != "all":
		return fmt.Errorf("an idempotent producer needs --acks all")
	}
	return nil
}

// driver is a client library under our flags.
type driver interface {
	name() string
	createTopic(ctx context.Context, t *target, w workload) error
	newProducer(ctx context.Context, t *target, w workload) (producer, error)
	newConsumer(ctx context.Context, t *target, w workload, from position) (consumer, error)
}

// position is where a consumer begins in every partition.
type position int

const (
	fromStart position = iota
	fromEnd
)

type producer interface {
	// produce hands over a record; done is called once, on any goroutine. It blocks while the
	// client's buffer is full.
	produce(ctx context.Context, value []byte, done func(error))
	flush(ctx context.Context) error
	// batches is how many batches were sent so far.
	batches() int64
	close()
}

type consumer interface {
	// poll waits for records and calls each for all that have come.
	poll(ctx context.Context, each func(value []byte)) error
	close()
}

func driverNamed(name string) (driver, error) {
	switch name {
	case "kafka":
		return kafkaDriver{}, nil
	case "native":
		return nativeDriver{}, nil
	}
	return nil, fmt.Errorf("--client %q: want kafka or native", name)
}
