// Sarama is the driver of github.com/IBM/sarama.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/troupe-mq/troupe/bench/clients/gomod/driver"
)

func main() {
	driver.Run("sarama", "github.com/IBM/sarama", &client{bootstrap: strings.Split(os.Args[1], ",")})
}

type client struct {
	bootstrap []string
	member    *member // nil before it joins a group
}

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.ClientID = "sarama"
	c.Producer.Return.Successes = true
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.Timeout = driver.Timeout
	return c
}

func (c *client) Produce(r driver.Request) error {
	cfg := config()
	cfg.Producer.Compression = map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
		"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
	}[r.Codec]
	cfg.Producer.RequiredAcks = map[string]sarama.RequiredAcks{
		"0": sarama.NoResponse, "1": sarama.WaitForLocal, "all": sarama.WaitForAll,
	}[r.Acks]
	if r.Idempotent {
		cfg.Producer.Idempotent, cfg.Net.MaxOpenRequests = true, 1
	}
	producer, err := sarama.NewSyncProducer(c.bootstrap, cfg)
	if err != nil {
		return err
	}
	var messages []*sarama.ProducerMessage
	for _, record := range r.Records {
		m := &sarama.ProducerMessage{Topic: r.Topic, Partition: record.Partition, Timestamp: time.UnixMilli(record.Timestamp)}
		if record.Key != nil {
			m.Key = sarama.ByteEncoder(driver.Bytes(record.Key))
		}
		if record.Value != nil {
			m.Value = sarama.ByteEncoder(driver.Bytes(record.Value))
		}
		for _, h := range record.Headers {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: driver.Bytes(h.Value)})
		}
		messages = append(messages, m)
	}
	return errors.Join(producer.SendMessages(messages), producer.Close())
}

func (c *client) Consume(r driver.Request) ([]driver.Record, error) {
	cfg := config()
	cfg.Consumer.MaxWaitTime = 50 * time.Millisecond // a consumer that is closed waits for its last fetch
	sc, err := sarama.NewClient(c.bootstrap, cfg)
	if err != nil {
		return nil, err
	}
	defer sc.Close()
	from := r.At
	switch r.From {
	case "beginning":
		from = sarama.OffsetOldest
	case "end":
		from = sarama.OffsetNewest
	case "timestamp":
		if from, err = sc.GetOffset(r.Topic, r.Partition, r.At); err != nil {
			return nil, err
		}
	}
	consumer, err := sarama.NewConsumerFromClient(sc)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(r.Topic, r.Partition, from)
	if err != nil {
		return nil, err
	}
	defer partition.Close()
	timeout := time.After(driver.Timeout)
	var records []driver.Record
	for len(records) < r.Count {
		select {
		case m := <-partition.Messages():
			records = append(records, fromMessage(m))
		case <-timeout:
			return nil, fmt.Errorf("timed out after %d of %d records", len(records), r.Count)
		}
	}
	return records, nil
}

func fromMessage(m *sarama.ConsumerMessage) driver.Record {
	record := driver.Record{
		Partition: m.Partition, Offset: m.Offset, Timestamp: m.Timestamp.UnixMilli(),
		Key: driver.Null(m.Key), Value: driver.Null(m.Value),
	}
	for _, h := range m.Headers {
		record.Headers = append(record.Headers, driver.Header{Key: string(h.Key), Value: driver.Null(h.Value)})
	}
	return record
}

func (c *client) admin(do func(sarama.ClusterAdmin) error) error {
	admin, err := sarama.NewClusterAdmin(c.bootstrap, config())
	if err != nil {
		return err
	}
	defer admin.Close()
	return do(admin)
}

func (c *client) Create(r driver.Request) error {
	detail := &sarama.TopicDetail{NumPartitions: r.Partitions, ReplicationFactor: 1, ConfigEntries: map[string]*string{}}
	for key, value := range r.Configs {
		detail.ConfigEntries[key] = &value
	}
	return c.admin(func(a sarama.ClusterAdmin) error { return a.CreateTopic(r.Topic, detail, false) })
}

func (c *client) Describe(r driver.Request) (partitions int32, configs map[string]string, err error) {
	configs = map[string]string{}
	err = c.admin(func(a sarama.ClusterAdmin) error {
		topics, err := a.DescribeTopics([]string{r.Topic})
		if err != nil {
			return err
		}
		if topics[0].Err != sarama.ErrNoError {
			return topics[0].Err
		}
		partitions = int32(len(topics[0].Partitions))
		described, err := a.DescribeConfigs([]*sarama.ConfigResource{{Type: sarama.TopicResource, Name: r.Topic}}, sarama.DescribeConfigsOptions{})
		for _, resource := range described {
			for _, e := range resource.Configs {
				configs[e.Name] = e.Value
			}
		}
		return err
	})
	return partitions, configs, err
}

func (c *client) Alter(r driver.Request) error {
	entries := map[string]sarama.IncrementalAlterConfigsEntry{}
	for key, value := range r.Configs {
		entries[key] = sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}
	}
	return c.admin(func(a sarama.ClusterAdmin) error {
		return a.IncrementalAlterConfig(sarama.TopicResource, r.Topic, entries, false)
	})
}

func (c *client) Grow(r driver.Request) error {
	return c.admin(func(a sarama.ClusterAdmin) error { return a.CreatePartitions(r.Topic, r.Partitions, nil, false) })
}

func (c *client) Delete(r driver.Request) error {
	return c.admin(func(a sarama.ClusterAdmin) error { return a.DeleteTopic(r.Topic) })
}
