package clients

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// franz is franz-go as a client under test, and what the others are compared with.
type franz struct{ bootstrap string }

func openFranz(_ *testing.T, bootstrap string) client { return franz{bootstrap} }

func (f franz) do(ctx context.Context, r request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	switch r.Op {
	case "produce":
		return answer{}, f.produce(ctx, r)
	case "consume":
		records, err := f.consume(ctx, r)
		var a answer
		for _, record := range records {
			a.Records = append(a.Records, fromFranz(record))
		}
		return a, err
	}
	return f.administer(ctx, r)
}

func (f franz) produce(ctx context.Context, r request) error {
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(f.bootstrap, ",")...), kgo.DefaultProduceTopic(r.Topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(map[string]kgo.CompressionCodec{
			"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
			"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
		}[r.Codec]),
		kgo.RequiredAcks(map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()}[r.Acks]),
	}
	if !r.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	c, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer c.Close()
	var records []*kgo.Record
	for _, record := range r.Records {
		records = append(records, toFranz(record))
	}
	return c.ProduceSync(ctx, records...).FirstErr()
}

func (f franz) consume(ctx context.Context, r request) ([]*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	from := kgo.NewOffset()
	switch r.From {
	case "beginning":
		from = from.AtStart()
	case "end":
		from = from.AtEnd()
	case "offset":
		from = from.At(r.At)
	case "timestamp":
		from = from.AfterMilli(r.At)
	default:
		return nil, fmt.Errorf("consume from %q", r.From)
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(f.bootstrap, ",")...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.Topic: {r.Partition: from}}))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var records []*kgo.Record
	for len(records) < r.Count {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("after %d of %d records of %s/%d: %w", len(records), r.Count, r.Topic, r.Partition, err)
		}
		records = append(records, fetches.Records()...)
	}
	return records[:r.Count], nil
}

func (f franz) administer(ctx context.Context, r request) (answer, error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(f.bootstrap, ",")...))
	if err != nil {
		return answer{}, err
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	switch r.Op {
	case "create":
		configs := map[string]*string{}
		for key, value := range r.Configs {
			configs[key] = &value
		}
		_, err = admin.CreateTopic(ctx, r.Partitions, 1, configs, r.Topic)
	case "describe":
		return describeByFranz(ctx, admin, r.Topic)
	case "alter":
		var changes []kadm.AlterConfig
		for key, value := range r.Configs {
			changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: &value})
		}
		var answers kadm.AlterConfigsResponses
		if answers, err = admin.AlterTopicConfigs(ctx, changes, r.Topic); err == nil {
			_, err = answers.On(r.Topic, nil)
		}
		for _, a := range answers {
			if a.Err != nil {
				err = a.Err
			}
		}
	case "grow":
		var answers kadm.CreatePartitionsResponses
		if answers, err = admin.UpdatePartitions(ctx, int(r.Partitions), r.Topic); err == nil {
			err = answers.Error()
		}
	case "delete":
		_, err = admin.DeleteTopic(ctx, r.Topic)
	default:
		err = fmt.Errorf("unknown op %q", r.Op)
	}
	return answer{}, err
}

func describeByFranz(ctx context.Context, admin *kadm.Client, topic string) (answer, error) {
	topics, err := admin.ListTopics(ctx, topic)
	if err != nil {
		return answer{}, err
	}
	if err := topics.Error(); err != nil {
		return answer{}, err
	}
	described, err := admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return answer{}, err
	}
	a := answer{Partitions: int32(len(topics[topic].Partitions)), Configs: map[string]string{}}
	for _, resource := range described {
		if resource.Err != nil {
			return a, resource.Err
		}
		for _, c := range resource.Configs {
			a.Configs[c.Key] = c.MaybeValue()
		}
	}
	return a, nil
}

func toFranz(r record) *kgo.Record {
	out := &kgo.Record{Partition: r.Partition, Timestamp: time.UnixMilli(r.Timestamp)}
	if r.Key != nil {
		out.Key = *r.Key
	}
	if r.Value != nil {
		out.Value = *r.Value
	}
	for _, h := range r.Headers {
		kh := kgo.RecordHeader{Key: h.Key}
		if h.Value != nil {
			kh.Value = *h.Value
		}
		out.Headers = append(out.Headers, kh)
	}
	return out
}

func fromFranz(r *kgo.Record) record {
	out := record{Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: orNull(r.Key), Value: orNull(r.Value)}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, header{Key: h.Key, Value: orNull(h.Value)})
	}
	return out
}

func orNull(b []byte) *[]byte {
	if b == nil {
		return nil
	}
	return &b
}
