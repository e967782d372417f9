package client

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// Start is where reading a partition begins. The zero Start is the beginning.
//
// Kafka: its consumers begin at the end, and so skip what was there before they were first run.
type Start struct {
	timestamp int64 // for ListOffsets; 0 stands for Earliest
	offset    Offset
	exact     bool // offset counts, not timestamp
}

// Beginning is the first record that is kept.
func Beginning() Start { return Start{} }

// End is behind the last record: only what comes from now on is read.
func End() Start { return Start{timestamp: wire.LatestTimestamp} }

// AtOffset is the record with that offset.
func AtOffset(offset Offset) Start { return Start{offset: offset, exact: true} }

// AtTime is the first record with that timestamp or a later one, and the end when there is none.
func AtTime(t time.Time) Start { return Start{timestamp: max(t.UnixMilli(), 1)} }

func (s Start) query() int64 {
	if s.timestamp == 0 {
		return wire.EarliestTimestamp
	}
	return s.timestamp
}

// OutOfRange is what a consumer does when its position is not in the log: retention has deleted
// the records, or the topic has been created anew.
type OutOfRange int8

// The ways to go on.
const (
	OutOfRangeFails    OutOfRange = iota // Poll returns the error; Seek goes on
	OutOfRangeEarliest                   // go on with the first record that is kept
	OutOfRangeLatest                     // go on at the end
)

// ConsumerConfig configures a Consumer. Begin with DefaultConsumerConfig, or give options to
// NewConsumer.
type ConsumerConfig struct {
	// Topics are read whole, with partitions that are added later.
	Topics []string
	// Pattern selects further topics by name, also those that are created later. Internal topics
	// are not looked at.
	Pattern *regexp.Regexp
	// Partitions are read besides, each from a start of its own.
	Partitions map[string]map[int32]Start
	// Start is where Topics and Pattern begin: the beginning, unless told otherwise. Partitions and topics that appear while the
	// consumer runs are read from their beginning, lest their first records be missed.
	Start Start
	// OutOfRange is what happens when a position is not in the log. OutOfRangeFails.
	OutOfRange OutOfRange
	// MaxBufferedBytes bounds what is read ahead in all, and MaxPartitionBytes what one fetch asks
	// of a partition; both may be exceeded by one record batch. 64 MiB and 1 MiB.
	MaxBufferedBytes, MaxPartitionBytes int
	// MinBytes is what a broker waits for before it answers, for MaxWait at most. 1 and 500 ms.
	MinBytes int
	MaxWait  time.Duration
	// MaxPollRecords bounds what Poll returns. 1000.
	MaxPollRecords int
}

// DefaultConsumerConfig returns the configuration of a consumer made without options.
func DefaultConsumerConfig() ConsumerConfig {
	return ConsumerConfig{
		MaxBufferedBytes: 64 << 20, MaxPartitionBytes: 1 << 20, MinBytes: 1,
		MaxWait: 500 * time.Millisecond, MaxPollRecords: 1000,
	}
}

// Validate says what is wrong with the configuration.
func (c *ConsumerConfig) Validate() error {
	if len(c.Topics) == 0 && c.Pattern == nil && len(c.Partitions) == 0 {
		return errors.New("consumer: there is nothing to read: give topics, a pattern or partitions")
	}
	for topic, partitions := range c.Partitions {
		for partition, start := range partitions {
			if partition < 0 {
				return fmt.Errorf("consumer: there is no partition %s/%d", topic, partition)
			}
			if start.exact && start.offset < 0 {
				return fmt.Errorf("consumer: %s/%d cannot start at offset %d", topic, partition, start.offset)
			}
		}
	}
	if c.Start.exact && c.Start.offset < 0 {
		return fmt.Errorf("consumer: cannot start at offset %d", c.Start.offset)
	}
	if c.MaxBufferedBytes <= 0 || c.MaxPartitionBytes <= 0 || c.MinBytes <= 0 || c.MaxWait < 0 || c.MaxPollRecords <= 0 {
		return errors.New("consumer: limits must be positive")
	}
	return nil
}

// ConsumerOption changes a ConsumerConfig.
type ConsumerOption func(*ConsumerConfig)

// WithConsumerConfig replaces the whole configuration.
func WithConsumerConfig(cfg ConsumerConfig) ConsumerOption {
	return func(c *ConsumerConfig) { *c = cfg }
}

// Topics reads all partitions of topics.
func Topics(names ...string) ConsumerOption {
	return func(c *ConsumerConfig) { c.Topics = append(c.Topics, names...) }
}

// Pattern reads all topics whose name matches.
func Pattern(pattern *regexp.Regexp) ConsumerOption {
	return func(c *ConsumerConfig) { c.Pattern = pattern }
}

// Partition reads one partition from its own start.
func Partition(topic string, partition int32, start Start) ConsumerOption {
	return func(c *ConsumerConfig) {
		if c.Partitions == nil {
			c.Partitions = make(map[string]map[int32]Start)
		}
		if c.Partitions[topic] == nil {
			c.Partitions[topic] = make(map[int32]Start)
		}
		c.Partitions[topic][partition] = start
	}
}

// From sets where Topics and Pattern begin.
func From(start Start) ConsumerOption { return func(c *ConsumerConfig) { c.Start = start } }

// WhenOutOfRange sets what happens when a position is not in the log.
func WhenOutOfRange(policy OutOfRange) ConsumerOption {
	return func(c *ConsumerConfig) { c.OutOfRange = policy }
}

// WithMaxPollRecords bounds what Poll returns.
func WithMaxPollRecords(n int) ConsumerOption {
	return func(c *ConsumerConfig) { c.MaxPollRecords = n }
}
