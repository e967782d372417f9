package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-mq/troupe/bench/history"
	"github.com/troupe-mq/troupe/bench/testbed"
)

// StageConfig says what a cluster under load is made of.
type StageConfig struct {
	Cluster    testbed.ClusterConfig
	Load       LoadConfig // but for Addresses
	Durability string     // of the topic: fsync or replicated
}

const (
	// wholeWithin is how long a cluster may take to become whole at the start and after the last fault.
	wholeWithin = 60 * time.Second
	// readWithin is how long it may take to answer the last records, and to read all.
	readWithin = 60 * time.Second
)

// Stage is a cluster under load, watched.
type Stage struct {
	Cluster  *testbed.Cluster
	Observer *Observer
	Load     *Load
	Found    history.Findings // what is wrong, complete after Finish
	ReadBack int              // how many partitions Finish has read to their end

	cfg   StageConfig
	begun time.Time
}

// Open starts the cluster, creates the topic, waits until it is whole, and begins the load.
func Open(ctx context.Context, cfg StageConfig) (*Stage, error) {
	s := &Stage{cfg: cfg, begun: time.Now()}
	var err error
	if s.Cluster, err = testbed.StartCluster(ctx, cfg.Cluster); err != nil {
		return nil, err
	}
	if err := s.open(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stage) open(ctx context.Context) error {
	load := &s.cfg.Load
	load.Addresses = s.Cluster.Addresses()
	if err := CreateTopic(ctx, load.Addresses, load.Topic, load.Partitions, min(3, s.cfg.Cluster.Brokers), s.cfg.Durability); err != nil {
		return err
	}
	s.Observer = Observe(ctx, s.Cluster, load.Topic, s.begun)
	if err := s.Observer.AwaitWhole(ctx, wholeWithin); err != nil {
		return fmt.Errorf("the new cluster is %w", err)
	}
	voting, cancel := context.WithTimeout(ctx, wholeWithin)
	err := s.Cluster.AwaitVoters(voting)
	cancel()
	if err != nil {
		return err
	}
	s.Load, err = StartLoad(ctx, *load, s.begun)
	return err
}

// Close ends everything at once.
func (s *Stage) Close() {
	if s.Observer != nil {
		s.Observer.Stop()
	}
	s.Cluster.Close()
	if s.Load != nil {
		s.Load.close()
	}
}

// Now is the time since the stage was opened, by which all times here are told.
func (s *Stage) Now() time.Duration { return time.Since(s.begun) }

// AwaitClients waits until every writer of some partitions, or of all with nil, has got on since a
// time.
func (s *Stage) AwaitClients(ctx context.Context, partitions []int32, since, limit time.Duration) error {
	behind := func(w *history.Writer) bool {
		return (partitions == nil || slices.Contains(partitions, w.Place.Partition)) && w.LastAcknowledged() <= since
	}
	for begun := s.Now(); ; {
		i := slices.IndexFunc(s.Load.History.Writers, behind)
		if i < 0 {
			return nil
		}
		if s.Now()-begun >= limit {
			w := s.Load.History.Writers[i]
			return fmt.Errorf("%s has had nothing acknowledged in %s for %s", w.Client, w.Place, s.Now()-w.LastAcknowledged())
		}
		if err := sleep(ctx, observeEvery/4); err != nil {
			return err
		}
	}
}

// Finish waits until the cluster is whole, ends the load, reads everything back, stops the brokers
// and compares their copies. What is wrong is in Found; the error is of what keeps it from looking.
func (s *Stage) Finish(ctx context.Context, progress func(format string, args ...any)) error {
	everywhere := history.Place{Topic: s.cfg.Load.Topic, Partition: -1}
	progress("no more faults: the cluster has %s to become whole", wholeWithin)
	if err := s.Observer.AwaitWhole(ctx, wholeWithin); err != nil {
		s.Found.Add(history.Unhealed, everywhere, "%v", err)
	}
	answered, cancel := context.WithTimeout(ctx, readWithin)
	err := s.Load.Stop(answered)
	cancel()
	if err != nil {
		sent, acked, failed := s.Load.History.Counts()
		s.Found.Add(history.Unhealed, everywhere, "%d of %d records are not answered: %v", sent-acked-failed, sent, err)
	}
	progress("reading everything back")
	reading, cancel := context.WithTimeout(ctx, readWithin)
	ends, err := readAll(reading, &s.cfg.Load, s.Load.History)
	cancel()
	if err != nil {
		s.Found.Add(history.Unhealed, everywhere, "reading back: %v", err)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.Load.History.Check(&s.Found)
	progress("comparing the copies")
	if err := s.Cluster.Stop(); err != nil {
		s.Found.Add(history.Unhealed, everywhere, "%v", err)
		s.Cluster.Close()
	}
	if err != nil {
		return nil //nolint:nilerr // it is found; how far the copies must be equal nobody knows
	}
	s.ReadBack = len(ends)
	return compareCopies(s.Cluster, &s.cfg.Load, s.Observer.Replicas, ends, &s.Found)
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
