package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/bench/measure"
	"github.com/troupe-mq/troupe/bench/testbed"
)

// killReport is what was left after a broker was killed again and again under load.
type killReport struct {
	Seed         uint64            `json:"seed"`
	Kills        int               `json:"kills"`
	Acknowledged int64             `json:"acknowledged"`
	Consumed     int64             `json:"consumed"`    // read back at the end
	InFlight     measure.Spread    `json:"in_flight"`   // records sent and not acknowledged at a kill
	StartAgain   measure.Quantiles `json:"start_again"` // from the start of the binary to an answered request
	Unanswered   measure.Quantiles `json:"unanswered"`  // from a kill to the next acknowledgement
	Problems     []string          `json:"problems"`    // the first few; none is the only good answer
}

// killFlags are the flags of the kill scenario.
type killFlags struct {
	target     targetFlags
	kills      int
	partitions int32
	seed       uint64
	atLeast    time.Duration
	atMost     time.Duration
}

func killCommand() *cobra.Command {
	f := killFlags{kills: 10, partitions: 4, atLeast: 50 * time.Millisecond, atMost: 500 * time.Millisecond}
	cmd := &cobra.Command{
		Use:   "kill",
		Short: "Kill the broker in the middle of a load, and look for what was acknowledged",
		Long: `Idempotent producers write numbered records with acks=all while the broker is killed with
SIGKILL and started again on the same directory. They go on by themselves. At the end every
partition is read: each record that was acknowledged must be there, at the offset that the
acknowledgement named, in order, once. It fails if one is not.`,
		Example: "  go run ./bench/load kill --kills 100",
		Args:    cobra.NoArgs,
	}
	f.target.registerBinary(cmd.Flags())
	cmd.Flags().IntVar(&f.kills, "kills", f.kills, "how often")
	cmd.Flags().Int32Var(&f.partitions, "partitions", f.partitions, "partitions, each with a producer of its own")
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "of the times of the kills (default: a new one)")
	cmd.Flags().DurationVar(&f.atLeast, "at-least", f.atLeast, "shortest time from an acknowledgement to the next kill")
	cmd.Flags().DurationVar(&f.atMost, "at-most", f.atMost, "longest time")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if f.atMost < f.atLeast {
			return fmt.Errorf("--at-most %s is less than --at-least %s", f.atMost, f.atLeast)
		}
		if f.seed == 0 {
			f.seed = rand.Uint64()
		}
		r, err := f.run(cmd.Context())
		if err != nil {
			return fmt.Errorf("seed %d: %w", f.seed, err)
		}
		if err := report(cmd, r, r.write); err != nil {
			return err
		}
		if len(r.Problems) > 0 {
			return fmt.Errorf("seed %d: acknowledged records were harmed: %s", f.seed, r.Problems[0])
		}
		return nil
	}
	return cmd
}

func (r *killReport) write(w io.Writer) {
	fmt.Fprintf(w, "kill -9 under load\t%d times, seed %d\n", r.Kills, r.Seed)
	fmt.Fprintf(w, "acknowledged\t%d records\n", r.Acknowledged)
	fmt.Fprintf(w, "read back\t%d records\n", r.Consumed)
	fmt.Fprintf(w, "in flight at a kill\t%.0f (%.0f-%.0f) records\n", r.InFlight.Median, r.InFlight.Min, r.InFlight.Max)
	fmt.Fprintf(w, "start to answered request\tp50 %s, largest %s\n", short(r.StartAgain.P50), short(r.StartAgain.Max))
	fmt.Fprintf(w, "kill to next acknowledgement\tp50 %s, largest %s\n", short(r.Unanswered.P50), short(r.Unanswered.Max))
	fmt.Fprintf(w, "lost, doubled, out of order, misplaced\t%d\n", len(r.Problems))
	for _, problem := range r.Problems {
		fmt.Fprintf(w, "\t%s\n", problem)
	}
}

// killRun is a kill scenario under way.
type killRun struct {
	flags   *killFlags
	binary  string
	data    string
	addr    string // kept over restarts, since the clients know no other
	process *testbed.Process
	writers *numberedWriters

	inFlight               []float64
	startAgain, unanswered []time.Duration
}

func (f *killFlags) run(ctx context.Context) (*killReport, error) {
	work, err := os.MkdirTemp("", "load-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work) //nolint:errcheck // a temporary directory
	k := &killRun{flags: f, data: filepath.Join(work, "data")}
	if k.binary, err = f.target.troupe(ctx, work); err != nil {
		return nil, err
	}
	if k.process, err = testbed.StartProcess(ctx, k.binary, testbed.BrokerArgs(k.data)...); err != nil {
		return nil, err
	}
	defer func() { k.process.Kill() }()
	k.addr = k.process.Kafka()
	if k.writers, err = startNumberedWriters(ctx, k.addr, f.partitions); err != nil {
		return nil, err
	}
	defer k.writers.close()

	random := rand.New(rand.NewPCG(f.seed, 0))
	for i := range f.kills {
		span := time.Duration(random.Int64N(int64(f.atMost-f.atLeast) + 1))
		if err := k.killOnce(ctx, f.atLeast+span); err != nil {
			return nil, fmt.Errorf("kill %d: %w\n%s", i+1, err, k.process.Log())
		}
	}
	acknowledged, err := k.writers.finish(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, k.process.Log())
	}
	consumed, problems, err := k.writers.verify(ctx, k.addr)
	if err != nil {
		return nil, err
	}
	return &killReport{
		Seed: f.seed, Kills: f.kills, Acknowledged: acknowledged, Consumed: consumed,
		InFlight: measure.NewSpread(k.inFlight), StartAgain: measure.NewQuantiles(k.startAgain),
		Unanswered: measure.NewQuantiles(k.unanswered), Problems: problems,
	}, nil
}

// killOnce lets the writers write for a while, kills the broker, starts it again, and returns
// once it has acknowledged something.
func (k *killRun) killOnce(ctx context.Context, after time.Duration) error {
	if err := sleep(ctx, after); err != nil {
		return err
	}
	k.inFlight = append(k.inFlight, float64(k.writers.inFlight()))
	killed := time.Now()
	k.process.Kill()
	acknowledged := k.writers.nextAcknowledgement() // from now on only the new process can give one

	args := testbed.BrokerArgs(k.data)
	args[testbed.ListenArg] = k.addr
	p, err := testbed.StartProcess(ctx, k.binary, args...)
	if err != nil {
		return err
	}
	k.process = p
	if err := askOnce(ctx, k.addr); err != nil {
		return err
	}
	k.startAgain = append(k.startAgain, time.Since(p.Begun()))
	const patience = 30 * time.Second
	select {
	case at := <-acknowledged:
		k.unanswered = append(k.unanswered, at.Sub(killed))
		return nil
	case <-time.After(patience):
		return fmt.Errorf("nothing was acknowledged within %s of the restart", patience)
	case <-ctx.Done():
		return ctx.Err()
	}
}
