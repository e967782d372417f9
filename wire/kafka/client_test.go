package kafka

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func franz(t *testing.T, h *harness, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(h.addr), kgo.RetryTimeout(5 * time.Second), kgo.RequestRetries(2), kgo.AllowAutoTopicCreation(),
		kgo.MetadataMinAge(10 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func TestFranzGoReadsBackWhatItProduced(t *testing.T) {
	for _, files := range []bool{false, true} {
		for _, size := range []int{100, 200_000} {
			t.Run(fmt.Sprintf("files=%v/size=%d", files, size), func(t *testing.T) {
				backend := newFakeBackend()
				backend.async = true
				if files {
					backend.directory = t.TempDir()
				}
				h := start(t, backend)
				backend.create("orders", 3)
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()

				producer := franz(t, h, kgo.DefaultProduceTopic("orders"), kgo.ProducerBatchMaxBytes(1<<20))
				want := map[string][]byte{}
				for i := range 60 {
					key := fmt.Sprintf("key-%d", i)
					want[key] = bytes.Repeat([]byte{byte(i)}, size)
					producer.Produce(ctx, kgo.KeyStringRecord(key, string(want[key])), func(_ *kgo.Record, err error) {
						if err != nil {
							t.Errorf("produce %s: %v", key, err)
						}
					})
				}
				if err := producer.Flush(ctx); err != nil {
					t.Fatal(err)
				}

				consumer := franz(t, h, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
				for len(want) > 0 {
					fetches := consumer.PollFetches(ctx)
					if err := fetches.Err(); err != nil {
						t.Fatal(err)
					}
					fetches.EachRecord(func(r *kgo.Record) {
						if !bytes.Equal(want[string(r.Key)], r.Value) {
							t.Errorf("%s has another value", r.Key)
						}
						delete(want, string(r.Key))
					})
				}
			})
		}
	}
}
