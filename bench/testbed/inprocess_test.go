package testbed_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-mq/troupe/bench/chaos"
	"github.com/troupe-mq/troupe/bench/testbed"
)

// produce writes one record with acks=all.
func produce(t *testing.T, bed *testbed.Bed, value string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(bed.Kafka()...), kgo.MetadataMinAge(100*time.Millisecond), kgo.DefaultProduceTopic("orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := client.ProduceSync(ctx, &kgo.Record{Value: []byte(value)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// consume reads the topic's only partition from its beginning until it has n values.
func consume(t *testing.T, bed *testbed.Bed, n int) (values []string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(bed.Kafka()...), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for len(values) < n {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d of %d records were read: %v", len(values), n, fetches.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

// three starts three brokers with a topic of one partition, on all of them.
func three(t *testing.T) *testbed.Bed {
	t.Helper()
	bed := testbed.Start(t, 3)
	if err := chaos.CreateTopic(t.Context(), bed.Kafka(), "orders", 1, 3, ""); err != nil {
		t.Fatal(err)
	}
	return bed
}

// leader is who leads the topic's only partition, in the eyes of every broker that is up.
func leader(bed *testbed.Bed) *testbed.Broker {
	var leader *testbed.Broker
	for _, b := range bed.Brokers {
		if b.Node() == nil {
			continue
		}
		view := b.Node().Broker().View()
		topic, ok := view.Topic("orders")
		if !ok {
			return nil
		}
		partition, _ := view.Partition(topic.ID, 0)
		i := slices.IndexFunc(bed.Brokers, func(b *testbed.Broker) bool {
			return b.Node() != nil && b.ID() == int32(partition.Leader)
		})
		if i < 0 || leader != nil && leader != bed.Brokers[i] {
			return nil
		}
		leader = bed.Brokers[i]
	}
	return leader
}

func TestATopicSurvivesItsLeader(t *testing.T) {
	bed := three(t)
	produce(t, bed, "before")
	var dead *testbed.Broker
	bed.Eventually("a leader", func() bool { dead = leader(bed); return dead != nil })
	dead.Kill()
	produce(t, bed, "meanwhile")
	dead.Start()
	produce(t, bed, "after")
	if got := consume(t, bed, 3); !slices.Equal(got, []string{"before", "meanwhile", "after"}) {
		t.Fatalf("read %q", got)
	}
}

func TestWhatWasAcknowledgedSurvivesThePowerOfAllBrokers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	bed := three(t)
	produce(t, bed, "before")
	bed.CutPower(rand.New(rand.NewPCG(seed, 0)))
	bed.StartAll()
	produce(t, bed, "after")
	if got := consume(t, bed, 2); !slices.Equal(got, []string{"before", "after"}) {
		t.Fatalf("read %q", got)
	}
}
