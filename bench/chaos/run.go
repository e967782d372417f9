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

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

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
	Clients     []string
	Rate        int // records a second of each client
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
		Brokers: 3, Partitions: 6, Durability: "fsync", Clients: []string{Kafka, Native}, Rate: 300, Size: 100,
		Duration: time.Minute, Faults: slices.Clone(Faults),
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
	case len(c.Clients) == 0, len(c.Faults) == 0:
		return errors.New("there is no client, or no fault to choose")
	}
	return nil
}

const (
	topic = "chaos"
	// warmUp is how long the load goes undisturbed first.
	warmUp = 2 * time.Second
	// A cluster has healWithin to become whole after a fault before the next one comes anyway, and
	// healAtLast after the last before it counts as broken.
	healWithin = 10 * time.Second
	healAtLast = 60 * time.Second
	// readWithin is how long it may take to answer the last records, and to read all.
	readWithin = 60 * time.Second
	// gapCounts is the time without an acknowledgement that shows a fault to have bitten.
	gapCounts = 250 * time.Millisecond
)

// run is a run under way.
type run struct {
	cfg      *Config
	begun    time.Time
	cluster  *testbed.Cluster
	load     *Load
	loadCfg  LoadConfig
	observer *Observer
	nemesis  *nemesis
	found    history.Findings
	faults   []*Fault
}

// Run breaks a cluster for a while and says what became of the records. The error is of what keeps
// a run from being made at all; what the cluster does wrong is in the result.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.OnEvent == nil {
		cfg.OnEvent = func(time.Duration, string) {}
	}
	r := &run{cfg: &cfg, begun: time.Now()}
	token, err := r.startCluster(ctx)
	if err != nil {
		return nil, err
	}
	defer r.cluster.Close()
	r.loadCfg = LoadConfig{
		Addresses: r.cluster.Addresses(), Topic: topic, Partitions: cfg.Partitions, Clients: cfg.Clients,
		Rate: cfg.Rate, Size: cfg.Size, Tail: true,
	}
	if err := CreateTopic(ctx, r.loadCfg.Addresses, topic, cfg.Partitions, min(3, cfg.Brokers), cfg.Durability); err != nil {
		return nil, err
	}
	r.observer = Observe(ctx, r.cluster, topic, r.begun)
	defer r.observer.Stop()
	if err := r.observer.AwaitWhole(ctx, healAtLast); err != nil {
		return nil, fmt.Errorf("the new cluster is %w", err)
	}
	r.nemesis = &nemesis{
		cluster: r.cluster, observer: r.observer, topic: topic, token: token,
		random: mathrand.New(mathrand.NewPCG(cfg.Seed, 0)), kinds: cfg.Faults,
	}
	if r.load, err = StartLoad(ctx, r.loadCfg, r.begun); err != nil {
		return nil, err
	}
	r.event("%d brokers serve, the load begins; seed %d", cfg.Brokers, cfg.Seed)
	started := r.now()
	if err := r.storm(ctx, started+cfg.Duration); err != nil {
		r.load.close()
		return nil, err
	}
	loaded := r.now() - started
	ends, err := r.heal(ctx)
	if err != nil {
		return nil, err
	}
	return r.result(loaded, ends), nil
}

func (r *run) startCluster(ctx context.Context) (token string, err error) {
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return "", err
	}
	token = hex.EncodeToString(secret)
	file := filepath.Join(r.cfg.Dir, "chaos-token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		return "", err
	}
	cfg := testbed.ClusterConfig{Binary: r.cfg.Binary, Dir: r.cfg.Dir, Brokers: r.cfg.Brokers, Environment: r.cfg.Environment}
	if slices.Contains(r.cfg.Faults, FaultReplica) || slices.Contains(r.cfg.Faults, FaultController) {
		cfg.Flags = []string{"--chaos-token-file", file}
	}
	r.cluster, err = testbed.StartCluster(ctx, cfg)
	return token, err
}

// CreateTopic creates a topic whose records survive one broker.
func CreateTopic(ctx context.Context, addresses []string, name string, partitions int32, replicas int, durability string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(addresses...))
	if err != nil {
		return err
	}
	defer client.Close()
	configs := map[string]*string{"min.insync.replicas": kadm.StringPtr(fmt.Sprint(max(1, replicas-1)))}
	if durability != "" && durability != "fsync" {
		configs["durability"] = &durability
	}
	_, err = kadm.NewClient(client).CreateTopic(ctx, partitions, int16(replicas), configs, name)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	return nil
}

func (r *run) now() time.Duration { return time.Since(r.begun) }

func (r *run) event(format string, args ...any) { r.cfg.OnEvent(r.now(), fmt.Sprintf(format, args...)) }

// storm does one fault after the other until a time. A cluster that cannot be started again ends
// it, as a finding.
func (r *run) storm(ctx context.Context, until time.Duration) error {
	if err := sleep(ctx, warmUp); err != nil {
		return err
	}
	for r.now() < until {
		f := &Fault{Kind: r.nemesis.next(), Begun: r.now()}
		r.faults = append(r.faults, f)
		err := r.nemesis.strike(ctx, f)
		f.Ended = r.now()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.event("%s of %s: %v", f.Kind, f.Text, err)
			r.found.Add(history.Unhealed, history.Place{Topic: topic, Partition: -1}, "after %s of %s: %v", f.Kind, f.Text, err)
			return nil
		}
		// Every third fault or so comes while the cluster still mends the one before.
		limit := healWithin
		if r.nemesis.random.IntN(3) == 0 {
			limit = r.nemesis.between(0, time.Second)
		}
		if r.observer.AwaitWhole(ctx, min(limit, max(0, until-r.now()))) == nil {
			f.Healed = r.now()
		}
		if err := sleep(ctx, r.nemesis.between(200*time.Millisecond, time.Second)); err != nil {
			return err
		}
		if err := r.awaitClients(ctx, f.Ended, min(healWithin, max(0, until-r.now()))); err != nil {
			return err
		}
		r.judge(f)
		r.cfg.OnEvent(f.Begun, f.String())
	}
	return nil
}

// awaitClients waits until every writer has got on since a time: a silence belongs to one fault.
func (r *run) awaitClients(ctx context.Context, since, limit time.Duration) error {
	for begun := r.now(); r.now()-begun < limit; {
		if !slices.ContainsFunc(r.load.History.Writers, func(w *history.Writer) bool { return w.LastAcknowledged() <= since }) {
			return nil
		}
		if err := sleep(ctx, observeEvery/4); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// judge says what a fault did, as far as it is known now.
func (r *run) judge(f *Fault) {
	until := r.now()
	for _, change := range r.observer.Changes(f.Begun, until) {
		if !slices.Contains(f.Effect, change.What) {
			f.Effect = append(f.Effect, change.What)
		}
	}
	for _, library := range r.cfg.Clients {
		silences := r.load.History.Silences(f.Begun, func(w *history.Writer) bool { return w.Client == library })
		for partition := range r.cfg.Partitions {
			f.Gap = max(f.Gap, silences.Longest(history.Place{Topic: topic, Partition: partition}, f.Begun, until))
		}
	}
	if f.Gap >= gapCounts {
		f.Effect = append(f.Effect, effectGap)
	}
}

const effectGap = "gap"

// heal waits until the cluster is whole, ends the load, and reads everything back.
func (r *run) heal(ctx context.Context) (ends []int64, err error) {
	everywhere := history.Place{Topic: topic, Partition: -1}
	r.event("no more faults: the cluster has %s to become whole", healAtLast)
	if err := r.observer.AwaitWhole(ctx, healAtLast); err != nil {
		r.found.Add(history.Unhealed, everywhere, "%v", err)
	}
	answered, cancel := context.WithTimeout(ctx, readWithin)
	err = r.load.Stop(answered)
	cancel()
	if err != nil {
		sent, acked, failed := r.load.History.Counts()
		r.found.Add(history.Unhealed, everywhere, "%d records are not answered: %v", sent-acked-failed, err)
	}
	r.event("reading everything back")
	reading, cancel := context.WithTimeout(ctx, readWithin)
	ends, err = readAll(reading, &r.loadCfg, r.load.History)
	cancel()
	if err != nil {
		r.found.Add(history.Unhealed, everywhere, "reading back: %v", err)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r.load.History.Check(&r.found)
	r.event("comparing the copies")
	if err := r.cluster.Stop(); err != nil {
		r.found.Add(history.Unhealed, everywhere, "%v", err)
		r.cluster.Close()
	}
	if ends == nil {
		return nil, nil // nobody knows how far the copies must be equal
	}
	return ends, compareCopies(r.cluster, &r.loadCfg, r.observer.Replicas, ends, &r.found)
}
