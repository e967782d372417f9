// Kafkago is the driver of github.com/segmentio/kafka-go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/troupe-mq/troupe/bench/clients/gomod/driver"
)

func main() {
	driver.Run("kafka-go", "github.com/segmentio/kafka-go", &client{bootstrap: strings.Split(os.Args[1], ",")})
}

type client struct {
	bootstrap []string
	reader    *kafka.Reader // in a group; nil before it joins one
}

// admin is new for each request: a transport answers metadata from its memory for some seconds.
func (c *client) admin() *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(c.bootstrap...), Timeout: driver.Timeout, Transport: &kafka.Transport{}}
}

// toPartition is a balancer that keeps what the test chose: a Writer's message names no partition.
type toPartition int

func (p toPartition) Balance(kafka.Message, ...int) int { return int(p) }

func (c *client) Produce(r driver.Request) error {
	byPartition := map[int32][]kafka.Message{}
	for _, record := range r.Records {
		m := kafka.Message{Key: driver.Bytes(record.Key), Value: driver.Bytes(record.Value), Time: time.UnixMilli(record.Timestamp)}
		for _, h := range record.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: driver.Bytes(h.Value)})
		}
		byPartition[record.Partition] = append(byPartition[record.Partition], m)
	}
	var all error
	transport := &kafka.Transport{} // a new one, which has no metadata in its memory
	defer transport.CloseIdleConnections()
	for partition, messages := range byPartition {
		w := &kafka.Writer{
			Addr: kafka.TCP(c.bootstrap...), Transport: transport, Topic: r.Topic, Balancer: toPartition(partition), BatchTimeout: 10 * time.Millisecond,
			Compression:  map[string]kafka.Compression{"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}[r.Codec],
			RequiredAcks: map[string]kafka.RequiredAcks{"0": kafka.RequireNone, "1": kafka.RequireOne, "all": kafka.RequireAll}[r.Acks],
		}
		ctx, cancel := context.WithTimeout(context.Background(), driver.Timeout)
		all = errors.Join(all, w.WriteMessages(ctx, messages...), w.Close())
		cancel()
	}
	return all
}

func (c *client) Consume(r driver.Request) ([]driver.Record, error) {
	ctx, cancel := context.WithTimeout(context.Background(), driver.Timeout)
	defer cancel()
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: c.bootstrap, Topic: r.Topic, Partition: int(r.Partition),
		MinBytes: 1, MaxBytes: 16 << 20, MaxWait: 200 * time.Millisecond,
	})
	defer reader.Close()
	var err error
	switch r.From {
	case "beginning":
		err = reader.SetOffset(kafka.FirstOffset)
	case "end":
		err = reader.SetOffset(kafka.LastOffset)
	case "offset":
		err = reader.SetOffset(r.At)
	case "timestamp":
		err = reader.SetOffsetAt(ctx, time.UnixMilli(r.At))
	}
	if err != nil {
		return nil, err
	}
	var records []driver.Record
	for len(records) < r.Count {
		m, err := reader.ReadMessage(ctx)
		if err != nil {
			return nil, fmt.Errorf("after %d of %d records: %w", len(records), r.Count, err)
		}
		records = append(records, fromMessage(m))
	}
	return records, nil
}

func fromMessage(m kafka.Message) driver.Record {
	record := driver.Record{
		Partition: int32(m.Partition), Offset: m.Offset, Timestamp: m.Time.UnixMilli(),
		Key: driver.Null(m.Key), Value: driver.Null(m.Value),
	}
	for _, h := range m.Headers {
		record.Headers = append(record.Headers, driver.Header{Key: h.Key, Value: driver.Null(h.Value)})
	}
	return record
}

func (c *client) Create(r driver.Request) error {
	topic := kafka.TopicConfig{Topic: r.Topic, NumPartitions: int(r.Partitions), ReplicationFactor: 1}
	for key, value := range r.Configs {
		topic.ConfigEntries = append(topic.ConfigEntries, kafka.ConfigEntry{ConfigName: key, ConfigValue: value})
	}
	answer, err := c.admin().CreateTopics(context.Background(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{topic}})
	if err != nil {
		return err
	}
	return answer.Errors[r.Topic]
}

func (c *client) Describe(r driver.Request) (int32, map[string]string, error) {
	ctx := context.Background()
	metadata, err := c.admin().Metadata(ctx, &kafka.MetadataRequest{Topics: []string{r.Topic}})
	if err != nil {
		return 0, nil, err
	}
	if len(metadata.Topics) != 1 || metadata.Topics[0].Error != nil {
		return 0, nil, fmt.Errorf("topic %s: %v", r.Topic, metadata.Topics)
	}
	described, err := c.admin().DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: r.Topic}},
	})
	if err != nil {
		return 0, nil, err
	}
	configs := map[string]string{}
	for _, resource := range described.Resources {
		err = errors.Join(err, resource.Error)
		for _, e := range resource.ConfigEntries {
			configs[e.ConfigName] = e.ConfigValue
		}
	}
	return int32(len(metadata.Topics[0].Partitions)), configs, err
}

func (c *client) Alter(r driver.Request) error {
	resource := kafka.IncrementalAlterConfigsRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: r.Topic}
	for key, value := range r.Configs {
		resource.Configs = append(resource.Configs, kafka.IncrementalAlterConfigsRequestConfig{
			Name: key, Value: value, ConfigOperation: kafka.ConfigOperationSet,
		})
	}
	answer, err := c.admin().IncrementalAlterConfigs(context.Background(), &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{resource},
	})
	if err != nil {
		return err
	}
	for _, resource := range answer.Resources {
		err = errors.Join(err, resource.Error)
	}
	return err
}

func (c *client) Grow(r driver.Request) error {
	answer, err := c.admin().CreatePartitions(context.Background(), &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: r.Topic, Count: r.Partitions}},
	})
	if err != nil {
		return err
	}
	return answer.Errors[r.Topic]
}

func (c *client) Delete(r driver.Request) error {
	answer, err := c.admin().DeleteTopics(context.Background(), &kafka.DeleteTopicsRequest{Topics: []string{r.Topic}})
	if err != nil {
		return err
	}
	return answer.Errors[r.Topic]
}
