package clients

import (
	"context"
	"testing"
)

// Codecs, in the order of their numbers in a record batch.
var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// record is what a driver is given and gives back.
type record struct {
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Timestamp int64    `json:"timestamp"` // milliseconds since 1970
	Key       *[]byte  `json:"key"`
	Value     *[]byte  `json:"value"`
	Headers   []header `json:"headers"`
}

type header struct {
	Key   string  `json:"key"`
	Value *[]byte `json:"value"`
}

// request is one line to a driver.
type request struct {
	Op         string            `json:"op"`
	Topic      string            `json:"topic"`
	Codec      string            `json:"codec,omitempty"`
	Acks       string            `json:"acks,omitempty"`
	Idempotent bool              `json:"idempotent,omitempty"`
	Records    []record          `json:"records,omitempty"`
	Partition  int32             `json:"partition"`
	Partitions int32             `json:"partitions,omitempty"`
	From       string            `json:"from,omitempty"`
	At         int64             `json:"at,omitempty"`
	Count      int               `json:"count,omitempty"`
	Configs    map[string]string `json:"configs,omitempty"`
}

// answer is one line from a driver.
type answer struct {
	Error      string            `json:"error"`
	Records    []record          `json:"records"`
	Partitions int32             `json:"partitions"`
	Configs    map[string]string `json:"configs"`
}

// client is a foreign client: a driver, or something that acts as one.
type client interface {
	do(ctx context.Context, r request) (answer, error)
}

// ability is something that not every client has.
type ability string

const (
	consumes    ability = "consume without a group"
	seeksTime   ability = "consume from a timestamp"
	administers ability = "create, describe, alter and delete topics"
	grows       ability = "add partitions"
	idempotent  ability = "produce idempotently"
	stamps      ability = "choose a timestamp"
	nullHeaders ability = "write a header without a value"
	nulls       ability = "write an empty key or value that is not absent"
	tellsNulls  ability = "tell an absent key or value from an empty one"
)

// kind is a client that may be installed.
type kind struct {
	name   string
	open   func(t *testing.T, bootstrap string) client // skips, or fails, when it is not installed
	cannot map[ability]string                          // with the reason
	// leavesOut is a codec that it does not use, though told to. librdkafka takes a broker that
	// has no FindCoordinator for one that is too old for lz4.
	leavesOut string
}

func (k kind) can(a ability) bool {
	_, cannot := k.cannot[a]
	return !cannot
}

// kinds are all clients that the tests know.
var kinds = []kind{
	{name: "franz-go", open: openFranz},
	{name: "sarama", open: openGo("sarama")},
	{
		name: "kafka-go", open: openGo("kafka-go"),
		cannot: map[ability]string{
			idempotent: "it has no idempotent producer",
			tellsNulls: "it reads an empty key or value as an absent one",
		},
	},
	{name: "java", open: openJava},
	{name: "confluent-kafka", open: openPython("confluent"), leavesOut: "lz4"},
	{
		name: "kafka-python", open: openPython("kafkapython"),
		cannot: map[ability]string{
			nullHeaders: "its headers are bytes",
		},
	},
	{
		name: "kafkajs", open: openKafkaJS,
		cannot: map[ability]string{
			consumes:    "it consumes only in a group",
			seeksTime:   "it consumes only in a group",
			nullHeaders: "its headers are bytes",
		},
	},
	{
		name: "kcat", open: openKcat, leavesOut: "lz4",
		cannot: map[ability]string{
			administers: "it has no commands for topics",
			grows:       "it has no commands for topics",
			stamps:      "it has no option for timestamps",
			nullHeaders: "a header on its command line has a value",
			nulls:       "its input is text: -Z makes every empty one absent",
		},
	},
}
