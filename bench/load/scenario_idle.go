package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-mq/troupe/bench/measure"
	"github.com/troupe-mq/troupe/bench/testbed"
)

// idleReport is what partitions cost that nobody uses.
type idleReport struct {
	Partitions  int           `json:"partitions"`
	Empty       int64         `json:"empty_resident"` // bytes of memory before there was a topic
	Resident    int64         `json:"resident"`       // with all partitions, some time after the last record
	Restarted   int64         `json:"restarted_resident"`
	OpenFiles   int           `json:"open_files"`
	OpenLimit   int           `json:"open_files_limit"`
	CPU         float64       `json:"cpu_percent"` // of one core, over the idle time
	CleanStart  time.Duration `json:"clean_start_ns"`
	KilledStart time.Duration `json:"killed_start_ns"`
}

// idleFlags are the flags of the idle scenario.
type idleFlags struct {
	target     targetFlags
	topics     int
	partitions int
	watch      time.Duration
	openFiles  int
}

func idleCommand() *cobra.Command {
	f := idleFlags{topics: 10, partitions: 10_000, watch: 20 * time.Second, openFiles: 4096}
	cmd := &cobra.Command{
		Use:     "idle",
		Short:   "Weigh many partitions that nobody uses",
		Long:    "Creates the partitions, writes one record to each, and then watches the broker do nothing.",
		Example: "  go run ./bench/load idle --partitions 10000",
		Args:    cobra.NoArgs,
	}
	f.target.registerBinary(cmd.Flags())
	cmd.Flags().IntVar(&f.partitions, "partitions", f.partitions, "partitions in all")
	cmd.Flags().IntVar(&f.topics, "topics", f.topics, "topics that they belong to")
	cmd.Flags().DurationVar(&f.watch, "watch", f.watch, "how long to watch")
	cmd.Flags().IntVar(&f.openFiles, "open-files", f.openFiles, "limit of open files of the broker (ulimit -n)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := f.measure(cmd.Context())
		if err != nil {
			return err
		}
		return report(cmd, r, r.write)
	}
	return cmd
}

func (r *idleReport) write(w io.Writer) {
	const mib = 1 << 20
	fmt.Fprintf(w, "%d idle partitions\t\n", r.Partitions)
	fmt.Fprintf(w, "resident memory\t%.1f MiB (%.1f MiB without a topic, %.1f MiB after a restart)\n",
		float64(r.Resident)/mib, float64(r.Empty)/mib, float64(r.Restarted)/mib)
	fmt.Fprintf(w, "CPU\t%.2f %% of a core\n", r.CPU)
	fmt.Fprintf(w, "open files\t%d of at most %d\n", r.OpenFiles, r.OpenLimit)
	fmt.Fprintf(w, "start after a clean stop\t%s\n", short(r.CleanStart))
	fmt.Fprintf(w, "start after kill -9\t%s\n", short(r.KilledStart))
}

func (f *idleFlags) measure(ctx context.Context) (*idleReport, error) {
	work, err := os.MkdirTemp("", "load-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work) //nolint:errcheck // a temporary directory
	binary, err := f.target.troupe(ctx, work)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(work, "data")
	r := &idleReport{Partitions: f.partitions, OpenLimit: f.openFiles}
	p, err := f.start(ctx, binary, data)
	if err != nil {
		return nil, err
	}
	defer func() { p.Kill() }()
	if r.Empty, err = measure.ResidentBytes(p.PID()); err != nil {
		return nil, err
	}
	if err := f.fill(ctx, p.Kafka()); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, p.Log())
	}
	if err := f.watchIdle(ctx, p, r); err != nil {
		return nil, err
	}

	if err := p.Stop(); err != nil {
		return nil, err
	}
	if p, err = f.restart(ctx, binary, data, &r.CleanStart); err != nil {
		return nil, err
	}
	if r.Restarted, err = measure.ResidentBytes(p.PID()); err != nil {
		return nil, err
	}
	p.Kill()
	p, err = f.restart(ctx, binary, data, &r.KilledStart)
	return r, err
}

// start runs the broker under the limit of open files, which the shell sets before it becomes
// the broker.
func (f *idleFlags) start(ctx context.Context, binary, data string) (*testbed.Process, error) {
	limited := fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, f.openFiles)
	return testbed.StartProcess(ctx, "/bin/sh", append([]string{"-c", limited, binary}, testbed.BrokerArgs(data)...)...)
}

func (f *idleFlags) restart(ctx context.Context, binary, data string, took *time.Duration) (*testbed.Process, error) {
	p, err := f.start(ctx, binary, data)
	if err != nil {
		return nil, err
	}
	if err := askOnce(ctx, p.Kafka()); err != nil {
		p.Kill()
		return nil, err
	}
	*took = time.Since(p.Begun())
	return p, nil
}

// fill creates the topics and writes a record to every partition.
func (f *idleFlags) fill(ctx context.Context, addr string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	admin.SetTimeoutMillis(60_000)
	var records []*kgo.Record
	for i := range f.topics {
		topic := fmt.Sprint("idle-", i)
		share := f.partitions / f.topics
		if i == 0 {
			share += f.partitions % f.topics
		}
		if _, err := admin.CreateTopic(ctx, int32(share), 1, nil, topic); err != nil {
			return fmt.Errorf("create topic %s: %w", topic, err)
		}
		for partition := range share {
			records = append(records, &kgo.Record{Topic: topic, Partition: int32(partition), Value: []byte("one")})
		}
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

func (f *idleFlags) watchIdle(ctx context.Context, p *testbed.Process, r *idleReport) error {
	if err := sleep(ctx, 5*time.Second); err != nil { // what follows a record ends first
		return err
	}
	meter, err := measure.Start(p.PID())
	if err != nil {
		return err
	}
	if err := sleep(ctx, f.watch); err != nil {
		return err
	}
	cost, err := meter.Stop()
	if err != nil {
		return err
	}
	r.CPU = 100 * cost.Broker.Seconds() / cost.Elapsed.Seconds()
	if r.Resident, err = measure.ResidentBytes(p.PID()); err != nil {
		return err
	}
	r.OpenFiles, err = measure.OpenFiles(p.PID())
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
