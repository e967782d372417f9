package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-mq/troupe/bench/testbed"
)

// costFlags are the flags of the cost scenario.
type costFlags struct {
	figureFlags
	partitions int32 // many
	records    int64
	elect      int32
	brokers    int
	megabytes  int
	rounds     int
}

// figures are what the cost scenario measures.
func (f *costFlags) figures() []costFigure {
	return []costFigure{
		{"replicas", f.measureReplicas},
		{"partitions", f.measurePartitions},
		{"idle", f.measureIdle},
		{"brokers", f.measureBrokers},
		{"elect", f.measureElection},
		{"controller", f.measureController},
		{"catch-up", f.measureCatchUp},
	}
}

func costCommand() *cobra.Command {
	f := costFlags{partitions: 10_000, records: 1_000_000, elect: 3000, brokers: 15, megabytes: 1000, rounds: 5}
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "What a cluster costs as it grows",
		Long: `Each figure is taken on a new cluster on this machine, so brokers and client share its cores:
  replicas    throughput of acks=all with 1, 2 and 3 replicas
  partitions  throughput with 10 and with many partitions, of both durabilities
  idle        CPU of each of three brokers with many idle partitions
  brokers     3 to 15 brokers: start, throughput, CPU when idle
  elect       leaders elected after one kill
  controller  kill of the controller, until the next change of metadata is answered
  catch-up    an empty follower is filled: how fast, and what it does to the latency of others`,
		Example: "  go run ./bench/load cost\n  go run ./bench/load cost --only 'elect|controller'",
		Args:    cobra.NoArgs,
	}
	set := cmd.Flags()
	f.register(set)
	set.Int32Var(&f.partitions, "partitions", f.partitions, "many partitions")
	set.Int64Var(&f.records, "records", f.records, "records of 100 bytes in a run")
	set.Int32Var(&f.elect, "elect", f.elect, "partitions that the killed broker leads")
	set.IntVar(&f.brokers, "brokers", f.brokers, "most brokers")
	set.IntVar(&f.megabytes, "megabytes", f.megabytes, "what an empty follower has to catch up")
	set.IntVar(&f.rounds, "rounds", f.rounds, "kills of the controller")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.take(cmd, f.figures()) }
	return cmd
}

// targetOf is a cluster as a target of the drivers.
func targetOf(c *testbed.Cluster, durable bool) *target {
	t := &target{name: "troupe", addr: c.Members[0].Kafka(), durable: durable}
	for _, m := range c.Members {
		t.pids = append(t.pids, m.Process().PID())
	}
	return t
}

// produceOn produces on a new topic and returns the rate.
func produceOn(ctx context.Context, c *testbed.Cluster, durable bool, change func(w *workload)) (*result, error) {
	w := defaultWorkload()
	w.Idempotent = true
	change(&w)
	t := targetOf(c, durable)
	if err := (kafkaDriver{}).createTopic(ctx, t, w); err != nil {
		return nil, err
	}
	if err := touch(ctx, t, w); err != nil {
		return nil, fmt.Errorf("write to each partition: %w", err)
	}
	return produce(ctx, kafkaDriver{}, t, w)
}

// touch writes one record to each partition, whose files are made with the first: what is measured then is
// what they cost from there on.
func touch(ctx context.Context, t *target, w workload) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(t.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	records := make([]*kgo.Record, w.Partitions)
	for n := range records {
		records[n] = &kgo.Record{Topic: w.Topic, Partition: int32(n), Value: []byte("first")}
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

// rateRow is the row of a throughput.
func rateRow(what string, r *result) costRow {
	row := costRow{What: what, Value: r.perSecond(), Unit: "records/s", Note: fmt.Sprintf("%.1f us of broker CPU per record", r.cpuPerRecord())}
	if r.Cost.Disturbed() {
		row.Note += "; disturbed"
	}
	return row
}

// since is a time in the unit of a row.
func since(begun time.Time) float64 { return float64(time.Since(begun).Microseconds()) / 1000 }
