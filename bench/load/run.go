package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-mq/troupe/bench/measure"
)

// result is one measured run.
type result struct {
	System   string             `json:"system"`
	Client   string             `json:"client"`
	Mode     string             `json:"mode"`
	Durable  bool               `json:"durable"`
	Load     workload           `json:"load"`
	Records  int64              `json:"records"`
	Batches  int64              `json:"batches,omitempty"`
	Cost     measure.Cost       `json:"cost"`
	Ack      *measure.Quantiles `json:"ack,omitempty"`        // from the intended send time to the acknowledgement
	EndToEnd *measure.Quantiles `json:"end_to_end,omitempty"` // from the intended send time to the consumer
}

func (r *result) perSecond() float64 { return float64(r.Records) / r.Cost.Elapsed.Seconds() }
func (r *result) megabytes() float64 { return float64(r.Records) * float64(r.Load.Size) / 1e6 }
func (r *result) mbPerSecond() float64 {
	return r.megabytes() / r.Cost.Elapsed.Seconds()
}

// The broker's CPU in microseconds per unit; 0 when its process is not known.
func (r *result) cpuPerRecord() float64 { return micros(r.Cost.Broker) / float64(max(r.Records, 1)) }
func (r *result) cpuPerMB() float64     { return micros(r.Cost.Broker) / max(r.megabytes(), 1e-6) }
func (r *result) cpuPerBatch() float64 {
	if r.Batches == 0 {
		return 0
	}
	return micros(r.Cost.Broker) / float64(r.Batches)
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// produce measures w.Records records, sent as fast as the broker takes them, after a warm-up of
// a twentieth more, which grows the heaps of both sides to their size.
func produce(ctx context.Context, d driver, t *target, w workload) (*result, error) {
	if err := d.createTopic(ctx, t, w); err != nil {
		return nil, err
	}
	var producers []producer
	for range w.Clients {
		p, err := d.newProducer(ctx, t, w)
		if err != nil {
			return nil, err
		}
		defer p.close()
		producers = append(producers, p)
	}
	value := make([]byte, w.Size)
	if _, err := rand.Read(value); err != nil {
		return nil, err
	}
	if err := produceAll(ctx, producers, warmUp(w), value); err != nil {
		return nil, fmt.Errorf("warm up: %w", err)
	}
	before := batches(producers)
	meter, err := measure.Start(t.pids...)
	if err != nil {
		return nil, err
	}
	if err := produceAll(ctx, producers, w.Records, value); err != nil {
		return nil, err
	}
	cost, err := meter.Stop()
	return &result{
		System: t.name, Client: d.name(), Mode: "produce", Durable: t.durable, Load: w,
		Records: w.Records, Batches: batches(producers) - before, Cost: cost,
	}, err
}

func warmUp(w workload) int64 { return w.Records/20 + 1 }

func batches(producers []producer) (n int64) {
	for _, p := range producers {
		n += p.batches()
	}
	return n
}

// produceAll returns when all n records are acknowledged, or with the first error.
func produceAll(ctx context.Context, producers []producer, n int64, value []byte) error {
	var first atomic.Pointer[error]
	done := func(err error) {
		if err != nil {
			first.CompareAndSwap(nil, &err)
		}
	}
	var group sync.WaitGroup
	for i, p := range producers {
		share := n / int64(len(producers))
		if i == 0 {
			share += n % int64(len(producers))
		}
		group.Go(func() {
			for range share {
				p.produce(ctx, value, done)
			}
			done(p.flush(ctx))
		})
	}
	group.Wait()
	if err := first.Load(); err != nil {
		return fmt.Errorf("a record was not acknowledged: %w", *err)
	}
	return nil
}

// consumePasses is how often consume reads all, so that connecting and the first touch of each
// segment weigh no more than they would in a run of some seconds.
const consumePasses = 4

// consume measures the reading of all that produce wrote, again and again, each time by a new
// consumer, connecting included.
func consume(ctx context.Context, d driver, t *target, w workload) (*result, error) {
	meter, err := measure.Start(t.pids...)
	if err != nil {
		return nil, err
	}
	var read int64
	for range consumePasses {
		n, err := consumeOnce(ctx, d, t, w)
		if err != nil {
			return nil, err
		}
		read += n
	}
	cost, err := meter.Stop()
	return &result{
		System: t.name, Client: d.name(), Mode: "consume", Durable: t.durable, Load: w, Records: read, Cost: cost,
	}, err
}

func consumeOnce(ctx context.Context, d driver, t *target, w workload) (read int64, err error) {
	c, err := d.newConsumer(ctx, t, w, fromStart)
	if err != nil {
		return 0, err
	}
	defer c.close()
	total := w.Records + warmUp(w)
	var wrong int64
	for read < total {
		err := c.poll(ctx, func(value []byte) {
			read++
			if len(value) != w.Size {
				wrong++
			}
		})
		if err != nil {
			return read, fmt.Errorf("after %d of %d records: %w", read, total, err)
		}
	}
	if wrong > 0 {
		return read, fmt.Errorf("%d records are not of %d bytes", wrong, w.Size)
	}
	return read, nil
}

// counted marks the records of a latency run that are measured; those of the warm-up have 0 there.
const (
	counted      = 1
	atSentTime   = 0
	atCounted    = 8
	latencyBytes = 9
)

// latency offers w.Rate records a second, come what may, and counts each from the time at which
// it ought to have been sent: a broker that stalls pays for all that had to wait.
func latency(ctx context.Context, d driver, t *target, w workload) (*result, error) {
	if w.Size < latencyBytes {
		return nil, fmt.Errorf("a latency run needs records of at least %d bytes", latencyBytes)
	}
	if err := d.createTopic(ctx, t, w); err != nil {
		return nil, err
	}
	begun := time.Now()
	p, err := d.newProducer(ctx, t, w)
	if err != nil {
		return nil, err
	}
	defer p.close()
	total := int(float64(w.Rate) * w.Duration.Seconds())
	reader, err := startReader(ctx, d, t, w, total, begun)
	if err != nil {
		return nil, err
	}
	defer reader.stop()
	if err := offer(ctx, p, w, min(w.Rate, total), begun, 0, func(time.Duration, error) {}); err != nil {
		return nil, fmt.Errorf("warm up: %w", err)
	}

	meter, err := measure.Start(t.pids...)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var failed error
	acks := make([]time.Duration, 0, total)
	err = offer(ctx, p, w, total, begun, counted, func(took time.Duration, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed = err
			return
		}
		acks = append(acks, took)
	})
	endToEnd, late := reader.wait(5 * time.Second)
	cost, stopErr := meter.Stop()
	if err := errors.Join(err, failed, late, stopErr); err != nil {
		return nil, err
	}
	ack, e2e := measure.NewQuantiles(acks), measure.NewQuantiles(endToEnd)
	return &result{
		System: t.name, Client: d.name(), Mode: "latency", Durable: t.durable, Load: w,
		Records: int64(total), Cost: cost, Ack: &ack, EndToEnd: &e2e,
	}, nil
}

// offer sends n records at w.Rate; done hears how long after its intended time each was acknowledged.
func offer(ctx context.Context, p producer, w workload, n int, begun time.Time, mark byte, done func(time.Duration, error)) error {
	start, interval := time.Now(), time.Second/time.Duration(w.Rate)
	for i := range n {
		at := start.Add(time.Duration(i) * interval)
		measure.SleepUntil(at)
		value := make([]byte, w.Size)
		binary.BigEndian.PutUint64(value[atSentTime:], uint64(at.Sub(begun)))
		value[atCounted] = mark
		p.produce(ctx, value, func(err error) { done(time.Since(at), err) })
	}
	return p.flush(ctx)
}

// latencyReader consumes what a latency run produces.
type latencyReader struct {
	cancel context.CancelFunc
	ended  chan struct{}
	want   int
	took   []time.Duration
	err    error
}

func startReader(ctx context.Context, d driver, t *target, w workload, want int, begun time.Time) (*latencyReader, error) {
	c, err := d.newConsumer(ctx, t, w, fromEnd)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &latencyReader{cancel: cancel, ended: make(chan struct{}), want: want, took: make([]time.Duration, 0, want)}
	go func() {
		defer close(r.ended)
		defer c.close()
		for len(r.took) < want && r.err == nil {
			r.err = c.poll(ctx, func(value []byte) {
				if len(value) >= latencyBytes && value[atCounted] == counted {
					r.took = append(r.took, time.Since(begun)-time.Duration(binary.BigEndian.Uint64(value[atSentTime:])))
				}
			})
		}
	}()
	return r, nil
}

// wait returns when all records have come, or with an error when they do not within d.
func (r *latencyReader) wait(d time.Duration) ([]time.Duration, error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-r.ended:
	case <-timer.C:
		r.stop()
		return nil, fmt.Errorf("only %d of %d records were consumed", len(r.took), r.want)
	}
	return r.took, r.err
}

func (r *latencyReader) stop() {
	r.cancel()
	<-r.ended
}
