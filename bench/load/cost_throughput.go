package main

import (
	"context"
	"fmt"
	"time"

	"github.com/troupe-mq/troupe/bench/measure"
	"github.com/troupe-mq/troupe/bench/testbed"
)

// measureReplicas is the throughput of acks=all on three brokers, by the number of replicas.
func (f *costFlags) measureReplicas(ctx context.Context, b *costBench) (rows []costRow, err error) {
	for _, replicas := range []int16{1, 2, 3} {
		for _, durable := range []bool{true, false} {
			err := b.with(ctx, 3, func(c *testbed.Cluster) error {
				r, err := produceOn(ctx, c, durable, func(w *workload) {
					w.Replicas, w.Partitions, w.Records = replicas, 6, f.records
				})
				if err == nil {
					rows = append(rows, rateRow(fmt.Sprintf("%d replicas, %s", replicas, durabilityWord(durable)), r))
				}
				return err
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return rows, nil
}

// measurePartitions compares ten partitions with many, on three brokers with three replicas. The
// client fills a batch for one partition after the other, so the bytes of a batch, and of a round of
// group commit, are the same.
func (f *costFlags) measurePartitions(ctx context.Context, b *costBench) (rows []costRow, err error) {
	for _, durable := range []bool{false, true} {
		least := 0.8
		if durable {
			least = 0.4
		}
		var few float64
		for _, partitions := range []int32{10, f.partitions} {
			err := b.with(ctx, 3, func(c *testbed.Cluster) error {
				r, err := produceOn(ctx, c, durable, func(w *workload) {
					w.Replicas, w.Partitions, w.Records = 3, partitions, f.records
				})
				if err != nil {
					return err
				}
				row := rateRow(fmt.Sprintf("%d partitions, %s", partitions, durabilityWord(durable)), r)
				if few == 0 {
					few = row.Value
				} else {
					row = row.against(fmt.Sprintf("at least %.0f %% of 10", 100*least), row.Value >= least*few)
				}
				rows = append(rows, row)
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return rows, nil
}

// measureIdle is the CPU of three brokers that have many partitions and nothing to do.
func (f *costFlags) measureIdle(ctx context.Context, b *costBench) (rows []costRow, err error) {
	err = b.with(ctx, 3, func(c *testbed.Cluster) error {
		w := defaultWorkload()
		w.Replicas, w.Partitions = 3, f.partitions
		if err := (kafkaDriver{}).createTopic(ctx, targetOf(c, true), w); err != nil {
			return err
		}
		if err := sleep(ctx, 10*time.Second); err != nil { // what follows the creation ends first
			return err
		}
		idle, err := idleCPU(ctx, c, 20*time.Second)
		for i, percent := range idle {
			row := costRow{What: fmt.Sprintf("broker %d with %d idle partitions", i+1, f.partitions), Value: percent, Unit: "% of a core"}
			rows = append(rows, row.against("under 5", percent < 5))
		}
		return err
	})
	return rows, err
}

// idleCPU watches each broker for a while.
func idleCPU(ctx context.Context, c *testbed.Cluster, watch time.Duration) (percent []float64, err error) {
	var meters []*measure.Meter
	for _, m := range c.Members {
		meter, err := measure.Start(m.Process().PID())
		if err != nil {
			return nil, err
		}
		meters = append(meters, meter)
	}
	if err := sleep(ctx, watch); err != nil {
		return nil, err
	}
	for _, meter := range meters {
		cost, err := meter.Stop()
		if err != nil {
			return nil, err
		}
		percent = append(percent, 100*cost.Broker.Seconds()/cost.Elapsed.Seconds())
	}
	return percent, nil
}

// measureBrokers adds brokers to one machine.
func (f *costFlags) measureBrokers(ctx context.Context, b *costBench) (rows []costRow, err error) {
	for brokers := 3; brokers <= f.brokers; brokers += 6 {
		begun := time.Now()
		err := b.with(ctx, brokers, func(c *testbed.Cluster) error {
			if err := listed(ctx, c.Members); err != nil {
				return err
			}
			rows = append(rows, costRow{What: fmt.Sprintf("%d brokers, one after the other, until all list all", brokers), Value: since(begun), Unit: "ms"})
			r, err := produceOn(ctx, c, true, func(w *workload) { w.Replicas, w.Partitions, w.Records = 3, 30, f.records/2 })
			if err != nil {
				return err
			}
			rows = append(rows, rateRow(fmt.Sprintf("%d brokers, 30 partitions of 3 replicas, %s", brokers, durabilityWord(true)), r))
			if err := sleep(ctx, 5*time.Second); err != nil {
				return err
			}
			idle, err := idleCPU(ctx, c, 5*time.Second)
			if err != nil {
				return err
			}
			rows = append(rows, costRow{What: fmt.Sprintf("%d brokers, a broker when idle", brokers), Value: measure.NewSpread(idle).Median, Unit: "% of a core"})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}
