package chaos

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/bench/history"
	"github.com/troupe-mq/troupe/bench/testbed"
)

// Config says what a run does.
type Config struct {
	Binary      string   // troupe
	Dir         string   // data and logs of the brokers go there
	Environment []string // of the brokers
	Brokers     int
	Partitions  int32
	Durability  string // of the topic: fsync or replicated
	Libraries   []Library
	Rate        int // records a second of each library
	Size        int // bytes of a value
	Duration    time.Duration
	Seed        uint64
	Faults      []string // kinds to choose from

	// OnEvent hears of everything as it happens, of a fault once it is over.
	OnEvent func(at time.Duration, text string)
}

// DefaultConfig is three brokers under two clients for a minute.
func DefaultConfig() Config {
	return Config{
		Brokers: 3, Partitions: 6, Durability: "fsync", Libraries: []Library{Kafka{}, Native{}}, Rate: 300, Size: 100,
		Duration: time.Minute, Faults: slices.Clone(Faults), OnEvent: func(time.Duration, string) {},
	}
}

// Validate says what is wrong with the configuration.
func (c *Config) Validate() error {
	for _, kind := range c.Faults {
		if !slices.Contains(Faults, kind) {
			return fmt.Errorf("there is no fault %q", kind)
		}
	}
	switch {
	case c.Brokers < 1, c.Partitions < 1, c.Rate < 1, c.Size < 0:
		return fmt.Errorf("brokers %d, partitions %d, rate %d: want at least 1 of each", c.Brokers, c.Partitions, c.Rate)
	case c.Duration < warmUp:
		return fmt.Errorf("a run of %s is too short: it begins with %s without faults", c.Duration, warmUp)
	case len(c.Libraries) == 0, len(c.Faults) == 0:
		return errors.New("there is no client, or no fault to choose")
	}
	return nil
}

const (
	topic = "chaos"
	// warmUp is how long the load goes undisturbed first.
	warmUp = 2 * time.Second
	// healWithin is how long a cluster has to become whole after a fault before the next one comes
	// anyway.
	healWithin = 10 * time.Second
	// electionWithin is how long another controller may take.
	electionWithin = 3 * time.Second
	// gapCounts is the time without an acknowledgement that shows a fault to have bitten.
	gapCounts = 250 * time.Millisecond
)

// run is a run under way.
type run struct {
	*Stage
	cfg     *Config
	nemesis *nemesis
	faults  []*Fault
}

// Run breaks a cluster for a while and says what became of the records. The error is of what keeps
// a run from being made at all; what the cluster does wrong is in the result.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	stage := StageConfig{
		Cluster: testbed.ClusterConfig{Binary: cfg.Binary, Dir: cfg.Dir, Brokers: cfg.Brokers, Environment: cfg.Environment},
		Load: LoadConfig{
			Topic: topic, Partitions: cfg.Partitions, Libraries: cfg.Libraries, Rate: cfg.Rate, Size: cfg.Size, Tail: true,
		},
		Durability: cfg.Durability,
	}
	n := &nemesis{topic: topic, random: mathrand.New(mathrand.NewPCG(cfg.Seed, 0)), kinds: cfg.Faults}
	if slices.Contains(cfg.Faults, FaultReplica) || slices.Contains(cfg.Faults, FaultController) {
		file := filepath.Join(cfg.Dir, "chaos-token")
		var err error
		if n.token, err = writeToken(file); err != nil {
			return nil, err
		}
		stage.Cluster.Flags = []string{"--chaos-token-file", file}
	}
	r := &run{cfg: &cfg, nemesis: n}
	var err error
	if r.Stage, err = Open(ctx, stage); err != nil {
		return nil, err
	}
	defer r.Close()
	n.cluster, n.observer = r.Cluster, r.Observer
	r.event("%d brokers serve, the load begins; seed %d", cfg.Brokers, cfg.Seed)
	started := r.Now()
	if err := r.storm(ctx, started+cfg.Duration); err != nil {
		return nil, err
	}
	loaded := r.Now() - started
	if err := r.Finish(ctx, r.event); err != nil {
		return nil, err
	}
	return r.result(loaded), nil
}

// writeToken makes the secret that lets us kill actors.
func writeToken(file string) (token string, err error) {
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return "", err
	}
	token = hex.EncodeToString(secret)
	return token, os.WriteFile(file, []byte(token+"\n"), 0o600)
}

func (r *run) event(format string, args ...any) { r.cfg.OnEvent(r.Now(), fmt.Sprintf(format, args...)) }

// storm does one fault after the other until a time. A cluster that cannot be started again ends
// it, as a finding.
func (r *run) storm(ctx context.Context, until time.Duration) error {
	if err := sleep(ctx, warmUp); err != nil {
		return err
	}
	for r.Now() < until {
		f := &Fault{Kind: r.nemesis.next(), Begun: r.Now()}
		r.faults = append(r.faults, f)
		err := r.nemesis.strike(ctx, f)
		f.Ended = r.Now()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.event("%s of %s: %v", f.Kind, f.Text, err)
			r.Found.Add(history.Unhealed, history.Place{Topic: topic, Partition: -1}, "after %s of %s: %v", f.Kind, f.Text, err)
			return nil
		}
		if err := r.settle(ctx, f, until); err != nil {
			return err
		}
		r.judge(f)
		r.cfg.OnEvent(f.Begun, f.String())
	}
	return nil
}

// settle waits until the cluster is whole again and the clients get on; but every third fault or so
// comes while the cluster still mends the one before.
func (r *run) settle(ctx context.Context, f *Fault, until time.Duration) error {
	limit := healWithin
	if r.nemesis.random.IntN(3) == 0 {
		limit = r.nemesis.between(0, time.Second)
	}
	left := func() time.Duration { return max(0, until-r.Now()) }
	if r.Observer.AwaitWhole(ctx, min(limit, left())) == nil {
		f.Healed = r.Now()
	}
	if f.Kind == FaultController { // an election takes longer than the cluster takes to look whole
		for r.Now()-f.Ended < min(electionWithin, left()) && len(r.Observer.Changes(f.Begun, r.Now())) == 0 {
			if err := sleep(ctx, observeEvery/4); err != nil {
				return err
			}
		}
	}
	// A silence shall belong to one fault. Clients that do not get on are seen in the next one's.
	_ = r.AwaitClients(ctx, nil, f.Ended, min(healWithin, left()))
	return sleep(ctx, r.nemesis.between(200*time.Millisecond, time.Second))
}

// judge says what a fault did, as far as it is known now.
func (r *run) judge(f *Fault) {
	until := r.Now()
	for _, change := range r.Observer.Changes(f.Begun, until) {
		if !slices.Contains(f.Effect, change.What) {
			f.Effect = append(f.Effect, change.What)
		}
	}
	f.Gaps = make(map[string]time.Duration)
	for _, library := range r.cfg.Libraries {
		silences := r.Load.History.Silences(f.Begun, func(w *history.Writer) bool { return w.Client == library.Name() })
		longest := time.Duration(0)
		for partition := range r.cfg.Partitions {
			longest = max(longest, silences.Longest(history.Place{Topic: topic, Partition: partition}, f.Begun, until))
		}
		f.Gaps[library.Name()] = longest
	}
	if f.Gap() >= gapCounts {
		f.Effect = append(f.Effect, effectGap)
	}
}

const effectGap = "gap"
