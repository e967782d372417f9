package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/bench/chaos"
	"github.com/troupe-mq/troupe/bench/history"
	"github.com/troupe-mq/troupe/bench/measure"
	"github.com/troupe-mq/troupe/bench/testbed"
)

const costTopic = "cost"

// measureElection kills a broker that leads many partitions, and takes the time until another broker
// says that each has a new leader.
func (f *costFlags) measureElection(ctx context.Context, b *costBench) (rows []costRow, err error) {
	err = b.with(ctx, 3, func(c *testbed.Cluster) error {
		victim, witness := c.Members[2], c.Members[0]
		if err := createLedBy(ctx, c, victim.ID(), f.elect); err != nil {
			return err
		}
		led := func() (int, error) {
			view, err := witness.View(ctx, costTopic)
			if err != nil {
				return 0, err
			}
			n := 0
			for _, p := range view.Partitions {
				if p.Leader == victim.ID() || p.Leader < 0 {
					n++
				}
			}
			return n, nil
		}
		if err := awaitWhole(ctx, c, costTopic); err != nil {
			return err
		}
		if n, err := led(); err != nil || n != int(f.elect) {
			return fmt.Errorf("broker %d leads %d partitions before it is killed, want %d: %w", victim.ID(), n, f.elect, err)
		}
		begun := time.Now()
		victim.Process().Kill()
		for {
			n, err := led()
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			if err := sleep(ctx, 5*time.Millisecond); err != nil {
				return err
			}
		}
		rows = append(rows, costRow{What: fmt.Sprintf("%d leaders elected after a kill", f.elect), Value: since(begun), Unit: "ms"})
		return nil
	})
	return rows, err
}

// createLedBy creates a topic of three replicas whose partitions all have one broker first.
func createLedBy(ctx context.Context, c *testbed.Cluster, first int32, partitions int32) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Addresses()...))
	if err != nil {
		return err
	}
	defer client.Close()
	replicas := []int32{first}
	for _, m := range c.Members {
		if m.ID() != first {
			replicas = append(replicas, m.ID())
		}
	}
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = costTopic, -1, -1
	for partition := range partitions {
		assignment := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		assignment.Partition, assignment.Replicas = partition, replicas
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, assignment)
	}
	request := kmsg.NewPtrCreateTopicsRequest()
	request.TimeoutMillis = 60_000
	request.Topics = append(request.Topics, topic)
	answer, err := request.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(answer.Topics[0].ErrorCode)
}

// awaitWhole waits until every broker says that a topic is whole.
func awaitWhole(ctx context.Context, c *testbed.Cluster, topic string) error {
	const patience = 2 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, m := range c.Members {
		for {
			view, err := m.View(ctx, topic)
			if err == nil && view.Whole(len(c.Members)) {
				break
			}
			if err := sleep(ctx, 20*time.Millisecond); err != nil {
				return fmt.Errorf("%s is not whole after %s, says broker %d", topic, patience, m.ID())
			}
		}
	}
	return nil
}

// measureController kills the controller, and takes the time until a topic can be created.
func (f *costFlags) measureController(ctx context.Context, b *costBench) (rows []costRow, err error) {
	err = b.with(ctx, 3, func(c *testbed.Cluster) error {
		if err := listed(ctx, c.Members); err != nil {
			return err
		}
		var took []time.Duration
		for i := range f.rounds {
			view, err := c.Members[0].View(ctx, "none")
			if err != nil {
				return err
			}
			victim := c.Member(view.Controller)
			if victim == nil {
				return fmt.Errorf("broker %d is the controller, and none of ours", view.Controller)
			}
			client, err := kgo.NewClient(kgo.SeedBrokers(c.Addresses()...), kgo.MetadataMinAge(100*time.Millisecond))
			if err != nil {
				return err
			}
			begun := time.Now()
			victim.Process().Kill()
			err = createSoon(ctx, client, fmt.Sprint("after-", i))
			client.Close()
			if err != nil {
				return err
			}
			took = append(took, time.Since(begun))
			if err := victim.Start(ctx); err != nil {
				return err
			}
			if err := listed(ctx, c.Members); err != nil {
				return err
			}
			if err := sleep(ctx, time.Second); err != nil { // it votes again
				return err
			}
		}
		q := measure.NewQuantiles(took)
		rows = append(rows, costRow{
			What: "kill of the controller, until a topic is created", Value: float64(q.P50.Milliseconds()), Unit: "ms",
			Note: fmt.Sprintf("largest of %d: %s", q.N, short(q.Max)),
		})
		return nil
	})
	return rows, err
}

// createSoon asks for a topic until it is there.
func createSoon(ctx context.Context, client *kgo.Client, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var told error // the last that was not our own impatience
	for {
		asked, stop := context.WithTimeout(ctx, 2*time.Second)
		_, err := kadm.NewClient(client).CreateTopic(asked, 1, 2, nil, topic)
		stop()
		if err == nil || errors.Is(err, kerr.TopicAlreadyExists) {
			return nil
		}
		if told == nil || !errors.Is(err, context.DeadlineExceeded) {
			told = err
		}
		if sleepErr := sleep(ctx, 10*time.Millisecond); sleepErr != nil {
			return fmt.Errorf("create a topic: %w", told)
		}
	}
}

// measureCatchUp empties a follower, lets it be filled again, and compares the latency of others
// meanwhile with that of a calm cluster.
func (f *costFlags) measureCatchUp(ctx context.Context, b *costBench) (rows []costRow, err error) {
	err = b.with(ctx, 3, func(c *testbed.Cluster) error {
		w := defaultWorkload()
		w.Topic, w.Replicas, w.Partitions, w.Size, w.Idempotent = "filled", 3, 6, 1000, true
		w.Records = int64(f.megabytes) * 1000
		if _, err := produce(ctx, kafkaDriver{}, targetOf(c, true), w); err != nil {
			return err
		}
		if err := chaos.CreateTopic(ctx, c.Addresses(), costTopic, 6, 3, ""); err != nil {
			return err
		}
		if err := awaitWhole(ctx, c, costTopic); err != nil {
			return err
		}
		calm, err := ackLatency(ctx, c, func() error { return sleep(ctx, 10*time.Second) })
		if err != nil {
			return err
		}
		last := c.Members[2]
		if err := last.Process().Stop(); err != nil {
			return err
		}
		if err := last.Wipe(); err != nil {
			return err
		}
		var took time.Duration
		busy, err := ackLatency(ctx, c, func() error {
			begun := time.Now()
			if err := last.Start(ctx); err != nil {
				return err
			}
			err := awaitWhole(ctx, c, "filled")
			took = time.Since(begun)
			return err
		})
		if err != nil {
			return err
		}
		bytes, err := bytesBelow(last.Data())
		rows = append(rows,
			costRow{What: "an empty follower catches up", Value: float64(bytes) / 1e6 / took.Seconds(), Unit: "MB/s", Note: fmt.Sprintf("%d MB in %s", bytes/1e6, short(took))},
			costRow{What: "p99 of acknowledgements, calm", Value: float64(calm.P99.Microseconds()) / 1000, Unit: "ms"},
			costRow{What: "p99 of acknowledgements, meanwhile", Value: float64(busy.P99.Microseconds()) / 1000, Unit: "ms"})
		return err
	})
	return rows, err
}

// ackLatency offers records to the small topic while something goes on.
func ackLatency(ctx context.Context, c *testbed.Cluster, meanwhile func() error) (measure.Quantiles, error) {
	load, err := chaos.StartLoad(ctx, chaos.LoadConfig{
		Addresses: c.Addresses(), Topic: costTopic, Partitions: 6, Libraries: []chaos.Library{chaos.Native{}}, Rate: 500, Size: 100,
	}, time.Now())
	if err != nil {
		return measure.Quantiles{}, err
	}
	err = meanwhile()
	stop, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if stopErr := load.Stop(stop); err == nil {
		err = stopErr
	}
	var took []time.Duration
	for _, w := range load.History.Writers {
		for _, s := range w.Sends() {
			if s.Outcome == history.Acknowledged {
				took = append(took, s.Done-s.Sent)
			}
		}
	}
	return measure.NewQuantiles(slices.Clone(took)), err
}

// bytesBelow sums the segments below a directory.
func bytesBelow(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".log" {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}
