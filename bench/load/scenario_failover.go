package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/bench/chaos"
	"github.com/troupe-mq/troupe/bench/history"
	"github.com/troupe-mq/troupe/bench/measure"
	"github.com/troupe-mq/troupe/bench/testbed"
)

// Who is struck.
const (
	victimLeader     = "leader"     // whoever leads most partitions, and is not the controller
	victimController = "controller" // the controller, be it a leader or not
	victimBoth       = "both"       // the controller, once it leads partitions
)

// What is done to it.
const (
	strikeKill = "kill"
	strikeStop = "stop"
	strikeTerm = "term"
	strikeAll  = "all"
)

// failoverFlags are the flags of the failover scenario.
type failoverFlags struct {
	target     targetFlags
	kills      int
	victim     string
	fault      string
	clients    []string
	partitions int32
	rate       int
	durability string
	seed       uint64
	backoff    time.Duration
	limit      time.Duration
	patience   time.Duration
	keep       bool
}

func failoverCommand() *cobra.Command {
	f := failoverFlags{
		kills: 10, victim: victimLeader, fault: strikeKill, clients: []string{"franz-go", "wire/client"},
		partitions: 12, rate: 600, durability: "fsync", limit: 10 * time.Second, patience: 75 * time.Second,
	}
	cmd := &cobra.Command{
		Use:   "failover",
		Short: "Kill a leader under load, and time how long its partitions are silent",
		Long: `Three brokers, and an open loop of idempotent acks=all producers. Again and again a broker is
struck, and for each partition that it led the time is taken without an acknowledged record, for each
client library apart. The broker comes back once every client got on, and the next strike waits until
all replicas are in sync and led by the preferred replica. At the end all is read back and the copies
on the disks are compared.

  --fault kill   SIGKILL                       --victim leader      leads partitions, is not the controller
  --fault stop   SIGSTOP, so no reset is seen  --victim controller  is the controller
  --fault term   SIGTERM: leadership is        --victim both        is the controller and leads
                 handed over; each broker in turn
  --fault all    SIGKILL to all three at once, which start again at once`,
		Example: `  go run ./bench/load failover --kills 100
  go run ./bench/load failover --kills 30 --victim both
  go run ./bench/load failover --fault term --kills 9 --retry-backoff 50ms --max-gap 300ms`,
		Args: cobra.NoArgs,
	}
	set := cmd.Flags()
	f.target.registerBinary(set)
	set.IntVar(&f.kills, "kills", f.kills, "how often")
	set.StringVar(&f.victim, "victim", f.victim, "leader, controller or both")
	set.StringVar(&f.fault, "fault", f.fault, "kill, stop, term or all")
	set.StringSliceVar(&f.clients, "clients", f.clients, "franz-go, wire/client, librdkafka")
	set.Int32Var(&f.partitions, "partitions", f.partitions, "partitions of the topic")
	set.IntVar(&f.rate, "rate", f.rate, "records a second of each client")
	set.StringVar(&f.durability, "durability", f.durability, "of the topic: fsync or replicated")
	set.Uint64Var(&f.seed, "seed", 0, "of the times of the strikes (default: a new one)")
	set.DurationVar(&f.backoff, "retry-backoff", 0, "of franz-go (default: its own, 250 ms and more)")
	set.DurationVar(&f.limit, "max-gap", f.limit, "fail when a partition is silent for longer; Kafka clients that were connected to a stopped broker are let off")
	set.BoolVar(&f.keep, "keep", false, "keep the directories and logs of the brokers")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(); err != nil {
			return err
		}
		if f.seed == 0 {
			f.seed = uint64(rand.Uint32())
		}
		r, err := f.run(cmd.Context(), cmd.ErrOrStderr())
		if err != nil {
			return fmt.Errorf("seed %d: %w", f.seed, err)
		}
		if err := report(cmd, r, r.write); err != nil {
			return err
		}
		return r.judge(f.limit)
	}
	return cmd
}

func (f *failoverFlags) check() error {
	switch {
	case !slices.Contains([]string{victimLeader, victimController, victimBoth}, f.victim):
		return fmt.Errorf("--victim %q: want leader, controller or both", f.victim)
	case !slices.Contains([]string{strikeKill, strikeStop, strikeTerm, strikeAll}, f.fault):
		return fmt.Errorf("--fault %q: want kill, stop, term or all", f.fault)
	}
	_, err := f.libraries()
	return err
}

func (f *failoverFlags) libraries() (libraries []chaos.Library, err error) {
	for _, name := range f.clients {
		switch name {
		case chaos.Kafka{}.Name():
			libraries = append(libraries, chaos.Kafka{RetryBackoff: f.backoff})
		case chaos.Native{}.Name():
			libraries = append(libraries, chaos.Native{})
		case librdkafkaName:
			library, err := newLibrdkafka()
			if err != nil {
				return nil, err
			}
			libraries = append(libraries, library)
		default:
			return nil, fmt.Errorf("--clients %q: want franz-go, wire/client or librdkafka", name)
		}
	}
	return libraries, nil
}

// everybody is no broker's id.
const everybody = -1

// failover is a failover scenario under way.
type failover struct {
	*chaos.Stage
	flags     *failoverFlags
	libraries []chaos.Library
	random    *rand.Rand
	out       io.Writer
	turn      int                        // of the brokers, when each is stopped in turn
	gaps      map[string][]time.Duration // by library
}

func (f *failoverFlags) run(ctx context.Context, out io.Writer) (*failoverReport, error) {
	work, err := os.MkdirTemp("", "load-")
	if err != nil {
		return nil, err
	}
	if f.keep {
		fmt.Fprintf(out, "directories and logs of the brokers are kept in %s\n", work)
	} else {
		defer os.RemoveAll(work) //nolint:errcheck // a temporary directory
	}
	binary, err := f.target.troupe(ctx, work)
	if err != nil {
		return nil, err
	}
	libraries, err := f.libraries()
	if err != nil {
		return nil, err
	}
	run := &failover{
		flags: f, libraries: libraries, random: rand.New(rand.NewPCG(f.seed, 0)), out: out,
		gaps: make(map[string][]time.Duration),
	}
	run.Stage, err = chaos.Open(ctx, chaos.StageConfig{
		Cluster:    testbed.ClusterConfig{Binary: binary, Dir: work, Brokers: 3},
		Load:       chaos.LoadConfig{Topic: "failover", Partitions: f.partitions, Libraries: libraries, Rate: f.rate, Size: 100},
		Durability: f.durability,
	})
	if err != nil {
		return nil, err
	}
	defer run.Close()
	if f.fault == strikeStop {
		if err := run.openFresh(ctx); err != nil {
			return nil, err
		}
	}
	if err := run.AwaitClients(ctx, nil, run.Now(), f.patience); err != nil {
		return nil, fmt.Errorf("before any strike: %w", err)
	}
	for i := range f.kills {
		if err := run.strike(ctx, i+1); err != nil {
			return nil, fmt.Errorf("strike %d: %w", i+1, err)
		}
	}
	if err := run.Finish(ctx, func(string, ...any) {}); err != nil {
		return nil, err
	}
	return run.report(), nil
}

// strike waits for a calm cluster, strikes, and times what follows.
func (f *failover) strike(ctx context.Context, number int) error {
	if err := f.Observer.AwaitWhole(ctx, f.flags.patience); err != nil {
		return err
	}
	f.balance(ctx)
	if err := sleep(ctx, time.Duration(200+f.random.IntN(600))*time.Millisecond); err != nil {
		return err
	}
	victim, err := f.victim(ctx)
	if err != nil {
		return err
	}
	led := f.Observer.Led(victim.ID())
	if f.flags.fault == strikeAll {
		led = f.Observer.Led(everybody)
	}
	begun := f.Now()
	if err := f.perform(ctx, victim, led, begun); err != nil {
		return fmt.Errorf("%s of broker %d: %w", f.flags.fault, victim.ID(), err)
	}
	if f.flags.fault == strikeTerm { // coming back may disturb as much as leaving
		if err := f.Observer.AwaitWhole(ctx, f.flags.patience); err != nil {
			return err
		}
		f.balance(ctx)
		if err := f.AwaitClients(ctx, nil, f.Now(), f.flags.patience); err != nil {
			return err
		}
	}
	f.measure(number, victim, led, begun, f.Now())
	return nil
}

// stall stops a broker without anybody hearing of it, and lets it go on once every client got on.
func (f *failover) stall(ctx context.Context, victim *testbed.Member, led []int32, begun time.Duration) error {
	if err := victim.Process().Pause(); err != nil {
		return err
	}
	probe, err := f.startFresh(ctx, victim)
	if err != nil {
		return err
	}
	gaps, err := probe.wait()
	if err != nil {
		return err
	}
	f.gaps[freshName] = append(f.gaps[freshName], gaps...)
	if err := f.AwaitClients(ctx, led, begun+time.Second, f.flags.patience); err != nil {
		return err
	}
	return victim.Process().Resume()
}

// balance gives the brokers their partitions back, so that every victim leads some. Without that the
// next victim is whoever leads.
func (f *failover) balance(ctx context.Context) {
	const shortly = 2 * time.Second
	_ = f.Observer.AwaitPreferred(ctx, f.Cluster.Addresses(), shortly)
}

// perform strikes, waits until every client got on, and undoes it.
func (f *failover) perform(ctx context.Context, victim *testbed.Member, led []int32, begun time.Duration) error {
	switch f.flags.fault {
	case strikeStop:
		return f.stall(ctx, victim, led, begun)
	case strikeTerm:
		if err := victim.Process().Stop(); err != nil {
			return err
		}
		if err := f.AwaitClients(ctx, led, f.Now(), f.flags.patience); err != nil {
			return err
		}
		return victim.Start(ctx)
	case strikeAll:
		testbed.KillAll(f.Cluster.Members...)
		if err := testbed.StartAll(ctx, f.Cluster.Members...); err != nil {
			return err
		}
		return f.AwaitClients(ctx, led, begun, f.flags.patience)
	default:
		victim.Process().Kill()
		if err := f.AwaitClients(ctx, led, f.Now(), f.flags.patience); err != nil {
			return err
		}
		return victim.Start(ctx)
	}
}

// victim chooses who is struck.
func (f *failover) victim(ctx context.Context) (*testbed.Member, error) {
	if f.flags.fault == strikeTerm { // a rolling restart takes each in turn
		f.turn++
		return f.Cluster.Members[f.turn%len(f.Cluster.Members)], nil
	}
	for begun := f.Now(); ; {
		controller := f.Cluster.Member(f.Observer.Controller())
		switch {
		case controller == nil:
		case f.flags.victim == victimLeader:
			return f.leaderBut(controller), nil
		case f.flags.victim == victimController || len(f.Observer.Led(controller.ID())) > 0:
			return controller, nil
		}
		if f.Now()-begun > f.flags.patience {
			return nil, fmt.Errorf("broker %d is the controller, and leads nothing", f.Observer.Controller())
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// leaderBut is any member that leads partitions, other than one; or the first, when only that one leads.
func (f *failover) leaderBut(not *testbed.Member) *testbed.Member {
	others := slices.DeleteFunc(slices.Clone(f.Cluster.Members), func(m *testbed.Member) bool { return m == not })
	f.random.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	i := slices.IndexFunc(others, func(m *testbed.Member) bool { return len(f.Observer.Led(m.ID())) > 0 })
	return others[max(i, 0)]
}

// measure takes the silence of every partition that the victim led.
func (f *failover) measure(number int, victim *testbed.Member, led []int32, begun, until time.Duration) {
	var words []string
	for _, library := range f.libraries {
		silences := f.Load.History.Silences(begun, func(w *history.Writer) bool { return w.Client == library.Name() })
		longest := time.Duration(0)
		for _, partition := range led {
			gap := silences.Longest(history.Place{Topic: "failover", Partition: partition}, begun, until)
			f.gaps[library.Name()] = append(f.gaps[library.Name()], gap)
			longest = max(longest, gap)
		}
		words = append(words, fmt.Sprintf("%s %s", library.Name(), short(longest)))
	}
	struck := fmt.Sprintf("broker %d, which led %d", victim.ID(), len(led))
	if f.flags.fault == strikeAll {
		struck = "all brokers"
	}
	fmt.Fprintf(f.out, "%3d  %s: silent for %s\n", number, struck, strings.Join(words, ", "))
}

// report judges what was read back.
func (f *failover) report() *failoverReport {
	r := &failoverReport{
		Seed: f.flags.seed, Kills: f.flags.kills, Victim: f.flags.victim, Fault: f.flags.fault, Durability: f.flags.durability,
		Gaps: make(map[string]gapReport), Problems: []string{},
	}
	r.Sent, r.Acknowledged, r.Failed = f.Load.History.Counts()
	for _, library := range f.libraries {
		gaps := f.gaps[library.Name()]
		r.Gaps[library.Name()] = gapReport{
			Settings: library.Settings(), Silence: measure.NewQuantiles(gaps), Histogram: newHistogram(gaps),
		}
	}
	if gaps := f.gaps[freshName]; len(gaps) > 0 {
		r.Gaps[freshName] = gapReport{Settings: freshSettings, Silence: measure.NewQuantiles(gaps), Histogram: newHistogram(gaps)}
	}
	for _, finding := range f.Found.Witnesses {
		r.Problems = append(r.Problems, finding.String())
	}
	return r
}
