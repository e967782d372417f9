package main

import (
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/troupe-mq/troupe/bench/clients/gomod/driver"
)

func (c *client) Join(r driver.Request) error {
	c.reader = kafka.NewReader(kafka.ReaderConfig{
		Brokers: c.bootstrap, Topic: r.Topic, GroupID: r.Group, StartOffset: kafka.FirstOffset,
		MinBytes: 1, MaxBytes: 16 << 20, MaxWait: 200 * time.Millisecond,
		SessionTimeout: driver.SessionTimeout, HeartbeatInterval: driver.HeartbeatInterval,
		GroupBalancers: []kafka.GroupBalancer{map[string]kafka.GroupBalancer{
			"range": kafka.RangeGroupBalancer{}, "roundrobin": kafka.RoundRobinGroupBalancer{},
		}[r.Assignor]},
	})
	return nil
}

func (c *client) Poll(r driver.Request) ([]driver.Record, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.Millis)*time.Millisecond)
	defer cancel()
	var records []driver.Record
	var messages []kafka.Message
	for len(records) < r.Count {
		m, err := c.reader.FetchMessage(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			return records, err
		}
		records, messages = append(records, fromMessage(m)), append(messages, m)
	}
	if len(messages) == 0 {
		return nil, nil
	}
	committing, cancelled := context.WithTimeout(context.Background(), driver.Timeout)
	defer cancelled()
	return records, c.reader.CommitMessages(committing, messages...)
}

func (c *client) Leave() error { return c.reader.Close() }
