package main

import (
	"bytes"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestWhatAClientProducesItConsumesInOrder(t *testing.T) {
	for _, groupCommit := range []bool{false, true} {
		t.Run(fmt.Sprintf("groupCommit=%v", groupCommit), func(t *testing.T) {
			ctx := t.Context()
			client := newClient(t, startFloor(t, groupCommit),
				kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()),
				kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			createTopic(t, client, "t", 3)
			const records = 5000
			for i := range records {
				client.Produce(ctx, &kgo.Record{Partition: int32(i % 3), Value: fmt.Append(nil, i)}, func(_ *kgo.Record, err error) {
					if err != nil {
						t.Error(err)
					}
				})
			}
			if err := client.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			next := [3]int{0, 1, 2}
			for n := 0; n < records; {
				fetches := client.PollFetches(ctx)
				if err := fetches.Err(); err != nil {
					t.Fatal(err)
				}
				fetches.EachRecord(func(r *kgo.Record) {
					if want := fmt.Append(nil, next[r.Partition]); !bytes.Equal(r.Value, want) {
						t.Fatalf("partition %d offset %d: value %q, want %q", r.Partition, r.Offset, r.Value, want)
					}
					next[r.Partition] += 3
					n++
				})
			}
		})
	}
}

func TestAFetchFromTheMiddleOfABatchFindsThatBatch(t *testing.T) {
	client := newClient(t, startFloor(t, false), kgo.DefaultProduceTopic("t"), kgo.ProducerLinger(time.Second))
	createTopic(t, client, "t", 1)
	var batch []*kgo.Record
	for i := range 100 {
		batch = append(batch, &kgo.Record{Value: fmt.Append(nil, i)})
	}
	if err := client.ProduceSync(t.Context(), batch...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().At(57)}})
	fetches := client.PollFetches(t.Context())
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	if first := fetches.Records()[0]; first.Offset != 57 || string(first.Value) != "57" {
		t.Fatalf("first record has offset %d, value %q", first.Offset, first.Value)
	}
}

func TestABatchWithAWrongChecksumIsRefused(t *testing.T) {
	p := &partition{}
	batch := make([]byte, headerBytes)
	batch[atMagic] = 2
	if _, err := p.append(batch); err != kerr.CorruptMessage {
		t.Fatalf("got %v", err)
	}
}

func startFloor(t *testing.T, groupCommit bool) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := newBroker(t.TempDir(), groupCommit, listener.Addr().(*net.TCPAddr))
	go b.serve(listener)
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}

func newClient(t *testing.T, addr string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(addr), kgo.DisableIdempotentWrite())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func createTopic(t *testing.T, client *kgo.Client, name string, partitions int32) {
	t.Helper()
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), partitions, 1, nil, name); err != nil {
		t.Fatal(err)
	}
}
