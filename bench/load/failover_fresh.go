package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-mq/troupe/bench/chaos"
	"github.com/troupe-mq/troupe/bench/testbed"
)

// freshName is what the report calls a Kafka client that connects after the strike. When a broker
// stalls without a reset, a client that was connected waits for its own time-out, which says little
// of the brokers; one that connects anew says when the partitions could be written again.
const freshName = "franz-go, connected afterwards"

// freshTopic is written by nobody else.
const freshTopic = "fresh"

// freshSettings says how a fresh client gets by a broker that accepts and never answers.
const freshSettings = "a new client for each attempt, which is given up after 500 ms; seeds are all brokers but the victim"

// openFresh creates the topic of the fresh clients.
func (f *failover) openFresh(ctx context.Context) error {
	return chaos.CreateTopic(ctx, f.Cluster.Addresses(), freshTopic, f.flags.partitions, 3, f.flags.durability)
}

// freshProbe writes to every partition that the victim led, each time by a new client, from the
// moment of the strike until it is acknowledged.
type freshProbe struct {
	probing sync.WaitGroup
	mu      sync.Mutex
	gaps    []time.Duration
	errs    []error
}

// startFresh begins to probe; the victim has not been struck yet.
func (f *failover) startFresh(ctx context.Context, victim *testbed.Member) (*freshProbe, error) {
	i := slices.IndexFunc(f.Cluster.Members, func(m *testbed.Member) bool { return m != victim })
	view, err := f.Cluster.Members[i].View(ctx, freshTopic)
	if err != nil {
		return nil, err
	}
	var seeds []string
	for _, m := range f.Cluster.Members {
		if m != victim {
			seeds = append(seeds, m.Kafka())
		}
	}
	p := &freshProbe{}
	begun := time.Now()
	for _, partition := range view.Led(victim.ID()) {
		p.probing.Go(func() {
			err := writeSoon(ctx, seeds, partition, f.flags.patience)
			p.mu.Lock()
			defer p.mu.Unlock()
			p.gaps, p.errs = append(p.gaps, time.Since(begun)), append(p.errs, err)
		})
	}
	return p, nil
}

// writeSoon tries until a record is acknowledged.
func writeSoon(ctx context.Context, seeds []string, partition int32, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := writeOnce(ctx, seeds, partition)
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

func writeOnce(ctx context.Context, seeds []string, partition int32) error {
	const patience = 500 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		return err
	}
	// Neither Close nor a record that was sent can be hurried: both wait for who does not answer.
	defer func() { go client.Close() }()
	answered := make(chan error, 1)
	client.Produce(ctx, &kgo.Record{Topic: freshTopic, Partition: partition, Value: []byte("fresh")}, func(_ *kgo.Record, err error) { answered <- err })
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait returns the times, once every partition was written.
func (p *freshProbe) wait() ([]time.Duration, error) {
	p.probing.Wait()
	for _, err := range p.errs {
		if err != nil {
			return nil, fmt.Errorf("a fresh client: %w", err)
		}
	}
	return p.gaps, nil
}
