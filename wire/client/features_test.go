package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

func TestRecordsSurviveEveryCompression(t *testing.T) {
	b := nativetest.New()
	c := connect(t, serve(t, b))
	for _, name := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(name, func(t *testing.T) {
			codec, err := client.ParseCompression(name)
			if err != nil {
				t.Fatal(err)
			}
			topic := "t-" + name
			b.CreateTopic(topic, 1)
			p, err := c.NewProducer(client.WithCompression(codec))
			if err != nil {
				t.Fatal(err)
			}
			want := []client.Record{
				{Key: []byte("k"), Value: []byte(strings.Repeat("value ", 1000)), Timestamp: time.UnixMilli(1700000000123)},
				{Key: nil, Value: []byte{}, Headers: []client.Header{{Key: "a", Value: []byte("1")}, {Key: "a", Value: nil}}},
				{Key: []byte{}, Value: nil},
			}
			for i := range want {
				want[i].Topic = topic
			}
			written, err := p.ProduceSync(t.Context(), want...)
			if err != nil {
				t.Fatal(err)
			}
			if b.Batches(topic, 0) != 1 {
				t.Errorf("three records became %d batches", b.Batches(topic, 0))
			}
			got := read(t, consumer(t, c, client.Topics(topic)), 3)
			for i := range want {
				g, w := got[i], written[i]
				if g.Offset != w.Offset || !slices.Equal(g.Key, w.Key) || !slices.Equal(g.Value, w.Value) ||
					(g.Key == nil) != (w.Key == nil) || (g.Value == nil) != (w.Value == nil) ||
					!g.Timestamp.Equal(w.Timestamp.Truncate(time.Millisecond)) || len(g.Headers) != len(w.Headers) {
					t.Errorf("record %d came back as %+v, was %+v", i, g, w)
				}
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestProduceSyncDoesNotLinger(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		c := n.client()
		p := newProducer(t, c, client.WithLinger(time.Minute))
		began := time.Now()
		if _, err := p.ProduceSync(t.Context(), client.Record{Topic: "t", Value: []byte("v")}); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %s", took)
		}
		o := produce(t, p, "lingers")
		time.Sleep(30 * time.Second)
		if b.Batches("t", 0) != 1 {
			t.Error("a record did not linger")
		}
		closeAll(t, p, c) // which ends the lingering
		if o.err() != nil || b.Batches("t", 0) != 2 {
			t.Errorf("%d batches, %v", b.Batches("t", 0), o.err())
		}
	})
}

func TestALingeringBatchGoesWhenItsTimeIsOver(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		c := n.client()
		p := newProducer(t, c, client.WithLinger(20*time.Millisecond))
		if _, err := p.ProduceSync(t.Context(), client.Record{Topic: "t", Value: []byte("first")}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		done := make(chan time.Duration, 1)
		if err := p.Produce(t.Context(), client.Record{Topic: "t"}, func(client.Record, error) { done <- time.Since(began) }); err != nil {
			t.Fatal(err)
		}
		if took := <-done; took != 20*time.Millisecond {
			t.Errorf("it lingered for %s", took)
		}
		closeAll(t, p, c)
	})
}

func TestARecordLargerThanAFrameFailsAlone(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		cfg := native.DefaultConfig()
		cfg.MaxFrameBytes = 5000
		n.addWith("b1", b, cfg)
		b.CreateTopic("t", 1)
		c := n.client()
		p := newProducer(t, c, client.WithBatchBytes(1000))
		o := produce(t, p, "before", strings.Repeat("x", 6000), "after")
		closeAll(t, p, c)
		if o.errs[0] != nil || !errors.Is(o.errs[1], client.ErrMessageTooLarge) || o.errs[2] != nil {
			t.Errorf("told %v", o.errs)
		}
		if got := b.Values("t", 0); !slices.Equal(got, []string{"before", "after"}) {
			t.Errorf("the log has %q", got)
		}
	})
}

func TestARecordLargerThanTheBufferIsNotTaken(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	p, err := c.NewProducer(client.WithMaxBufferedBytes(1000))
	if err != nil {
		t.Fatal(err)
	}
	err = p.Produce(t.Context(), client.Record{Topic: "t", Value: make([]byte, 2000)}, nil)
	if !errors.Is(err, client.ErrMessageTooLarge) {
		t.Errorf("Produce = %v", err)
	}
}

func TestRecordsWithoutAKeyFillOneBatchAfterTheOther(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 4)
	c := connect(t, serve(t, b))
	p, err := c.NewProducer(client.WithBatchBytes(1000), client.WithLinger(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	for range 400 {
		if err := p.Produce(t.Context(), client.Record{Topic: "t", Value: make([]byte, 90)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	batches := 0
	for i := range int32(4) {
		n := b.Batches("t", i)
		if batches += n; n == 0 {
			t.Errorf("partition %d got nothing", i)
		}
	}
	if batches < 40 || batches > 50 {
		t.Errorf("400 records of 100 bytes became %d batches of 1000", batches)
	}
}

func TestAPartitionThatDoesNotExistIsNotProducedTo(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 2)
	c := connect(t, serve(t, b))
	p, err := c.NewProducer(client.WithPartitioner(client.Explicit))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Produce(t.Context(), client.Record{Topic: "t", Partition: 2}, nil); !errors.Is(err, client.ErrUnknownTopic) {
		t.Errorf("Produce = %v", err)
	}
	if err := p.Produce(t.Context(), client.Record{Topic: "not there"}, nil); !errors.Is(err, client.ErrUnknownTopic) {
		t.Errorf("a topic that may not be created: %v", err)
	}
	if _, err := p.ProduceSync(t.Context(), client.Record{Topic: "made on the way"}); err != nil {
		t.Errorf("a topic that may be created: %v", err)
	}
}

func TestACallbackMayProduce(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	p, err := c.NewProducer(client.WithLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	left := 10
	var again func(client.Record, error)
	again = func(client.Record, error) {
		if left--; left > 0 {
			if err := p.Produce(context.Background(), client.Record{Topic: "t"}, again); err != nil {
				t.Error(err)
			}
		}
	}
	if err := p.Produce(t.Context(), client.Record{Topic: "t"}, again); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(b.Values("t", 0)); n != 10 {
		t.Errorf("%d records", n)
	}
}

func TestTopicsAreAdministered(t *testing.T) {
	b := nativetest.New()
	c := connect(t, serve(t, b))
	ctx := t.Context()
	if err := c.CreateTopic(ctx, client.NewTopic{Name: "t", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopic(ctx, client.NewTopic{Name: "t"}); !errors.Is(err, client.ErrTopicExists) {
		t.Errorf("creating it again: %v", err)
	}
	if err := c.CreatePartitions(ctx, "t", 3); err != nil {
		t.Error(err)
	}
	if err := c.CreatePartitions(ctx, "t", 3); !errors.Is(err, wire.InvalidPartitions) {
		t.Errorf("the same number of partitions: %v", err)
	}
	topics, err := c.DescribeTopics(ctx)
	if err != nil || len(topics) != 1 || len(topics[0].Partitions) != 3 || topics[0].Partitions[2].Leader != 1 || len(topics[0].ID) != 22 {
		t.Errorf("DescribeTopics = %+v, %v", topics, err)
	}
	if _, err := c.DescribeTopics(ctx, "t", "u"); !errors.Is(err, client.ErrUnknownTopic) {
		t.Errorf("a topic that is not there: %v", err)
	}
	if err := c.AlterConfigs(ctx, client.TopicConfigs("t"), client.Set("retention.ms", "1"), client.Set("x", "y"), client.Unset("x")); err != nil {
		t.Error(err)
	}
	entries, err := c.DescribeConfigs(ctx, client.TopicConfigs("t"))
	if err != nil || len(entries) != 1 || entries[0].Name != "retention.ms" || *entries[0].Value != "1" {
		t.Errorf("DescribeConfigs = %+v, %v", entries, err)
	}
	fill(t, c, "t", 0, numbered(5)...)
	if start, err := c.DeleteRecords(ctx, "t", 0, -1); err != nil || start != 5 {
		t.Errorf("DeleteRecords = %d, %v", start, err)
	}
	if _, err := c.DeleteRecords(ctx, "t", 0, 99); !errors.Is(err, client.ErrOffsetOutOfRange) {
		t.Errorf("deleting what is not there: %v", err)
	}
	cluster, err := c.DescribeCluster(ctx)
	if err != nil || len(cluster.Brokers) != 1 || cluster.ID == "" {
		t.Errorf("DescribeCluster = %+v, %v", cluster, err)
	}
	if err := c.DeleteTopic(ctx, "t"); err != nil {
		t.Error(err)
	}
	if err := c.DeleteTopic(ctx, "t"); !errors.Is(err, client.ErrUnknownTopic) {
		t.Errorf("deleting it again: %v", err)
	}
}

func TestNewPartitionsAreProducedToAndReadFromTheirBeginning(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		c := n.client()
		r, err := c.NewConsumer(client.Topics("t"), client.From(client.End()))
		if err != nil {
			t.Fatal(err)
		}
		p := newProducer(t, c, client.WithPartitioner(client.RoundRobin()))
		produce(t, p, "one", "two")
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.CreatePartitions(t.Context(), "t", 3); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // until the metadata is asked for again
		produce(t, p, "a", "b", "c")
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		seen := make(map[int32]bool)
		for len(seen) < 3 {
			records, err := r.Poll(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, record := range records {
				seen[record.Partition] = true
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		closeAll(t, p, c)
	})
}

func TestATopicThatIsCreatedAnewIsAnotherLog(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		c := n.client()
		p := newProducer(t, c)
		o := produce(t, p, "old", "old")
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := c.NewConsumer(client.Topics("t"), client.WhenOutOfRange(client.OutOfRangeEarliest))
		if err != nil {
			t.Fatal(err)
		}
		read(t, r, 2)
		if err := c.DeleteTopic(t.Context(), "t"); err != nil {
			t.Fatal(err)
		}
		b.CreateTopic("t", 1)
		o2 := produce(t, p, "new")
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := read(t, r, 1); string(got[0].Value) != "new" || got[0].Offset != 0 {
			t.Errorf("read %q at %d", got[0].Value, got[0].Offset)
		}
		if err := errors.Join(o.err(), o2.err(), r.Close()); err != nil {
			t.Error(err)
		}
		closeAll(t, p, c)
	})
}

func TestAConsumerHoldsNoMoreThanItMay(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 4)
		c := n.client()
		value := strings.Repeat("x", 500)
		for p := range int32(4) {
			fill(t, c, "t", p, slices.Repeat([]string{value}, 100)...)
		}
		var asked atomic.Int32
		b.FailFetch(func(*wire.Fetch) error { asked.Add(1); return nil })
		r, err := c.NewConsumer(client.WithConsumerConfig(smallFetches())) // 4000 bytes in all
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // nobody polls
		if n := asked.Load(); n == 0 || n > 8 {
			t.Errorf("partitions were asked %d times although nobody takes the records", n)
		}
		if got := len(read(t, r, 400)); got != 400 {
			t.Errorf("read %d records", got)
		}
		if err := errors.Join(r.Close(), c.Close()); err != nil {
			t.Error(err)
		}
	})
}

func TestConfigurationsThatMakeNoSenseAreRefused(t *testing.T) {
	if _, err := client.New(); err == nil {
		t.Error("a client without addresses")
	}
	if _, err := client.New("no port"); err == nil {
		t.Error("a client with an address without a port")
	}
	c := connect(t, "127.0.0.1:1")
	for i, option := range []client.ProducerOption{
		client.WithAcks(7), client.WithLinger(-1), client.WithLinger(time.Hour), client.WithBatchBytes(0), client.WithMaxBufferedBytes(0),
		client.WithCompression(9), client.WithPartitioner(nil), client.WithDeliveryTimeout(0),
	} {
		if _, err := c.NewProducer(option); err == nil {
			t.Errorf("producer option %d is accepted", i)
		}
	}
	for i, options := range [][]client.ConsumerOption{
		nil,
		{client.Topics("t"), client.WithMaxPollRecords(0)},
		{client.Partition("t", -1, client.Beginning())},
		{client.Partition("t", 0, client.AtOffset(-5))},
		{client.Topics("t"), client.From(client.AtOffset(-5))},
	} {
		if _, err := c.NewConsumer(options...); err == nil {
			t.Errorf("consumer options %d are accepted", i)
		}
	}
}

func TestWhoCannotBeReachedIsNamed(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, _ *nativetest.Broker) {
		n.setDown(true)
		c := n.client()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := c.DescribeCluster(ctx)
		if err == nil || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "b1:9092") || !strings.Contains(err.Error(), "refused") {
			t.Errorf("DescribeCluster = %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkProduce(b *testing.B) {
	for _, size := range []int{100, 1000} {
		b.Run(fmt.Sprintf("record=%dB", size), func(b *testing.B) {
			broker := nativetest.New()
			broker.Intercept(func(p *wire.Produce) bool { // costs nothing
				p.Buffer.Release()
				p.Done.ProduceDone(p.Slot, wire.ProduceReply{Leader: wire.NoHint})
				return true
			})
			broker.CreateTopic("t", 1)
			c := connect(b, serve(b, broker))
			p, err := c.NewProducer()
			if err != nil {
				b.Fatal(err)
			}
			r := client.Record{Topic: "t", Value: make([]byte, size)}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Produce(context.Background(), r, nil); err != nil {
					b.Fatal(err)
				}
			}
			if err := p.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
