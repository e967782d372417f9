package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/bench/chaos"
)

func TestLibrdkafkaTellsTheOutcomeOfEveryRecord(t *testing.T) {
	t.Chdir("../..") // where its Python is looked for
	library, err := newLibrdkafka()
	if err != nil {
		t.Skip(err)
	}
	f := targetFlags{durability: durabilityGroup}
	at, err := f.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(at.close)
	cfg := &chaos.LoadConfig{Addresses: []string{at.addr}, Topic: "t", Partitions: 2}
	if err := chaos.CreateTopic(t.Context(), cfg.Addresses, cfg.Topic, cfg.Partitions, 1, ""); err != nil {
		t.Fatal(err)
	}
	p, err := library.NewProducer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	type outcome struct {
		offset int64
		err    error
	}
	outcomes := make(chan outcome, 20)
	for i := range 20 {
		p.Produce(int32(i%2), []byte("value"), func(offset int64, err error) { outcomes <- outcome{offset, err} })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	seen := make(map[int64]int)
	for range 20 {
		o := <-outcomes
		if o.err != nil {
			t.Fatal(o.err)
		}
		seen[o.offset]++
	}
	for offset := range int64(10) {
		if seen[offset] != 2 {
			t.Errorf("offset %d was told %d times, want once for each partition", offset, seen[offset])
		}
	}
	p.Produce(0, []byte("late"), func(_ int64, err error) { outcomes <- outcome{err: err} })
	if o := <-outcomes; o.err == nil || errors.Is(o.err, context.Canceled) {
		t.Errorf("a record after the end: %v", o.err)
	}
}
