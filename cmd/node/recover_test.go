package node_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-mq/troupe/cmd/node"
	"github.com/troupe-mq/troupe/storage/crashfs"
)

// restart starts a broker on the disk and at the cluster address of one that was stopped. One that finds out
// that it was left behind starts again, as troupe broker does.
func restart(t *testing.T, disk *crashfs.FS, address string, join ...string) *node.Node {
	t.Helper()
	cfg := joining(join...)
	cfg.Cluster = address
	for {
		n, err := node.Start(t.Context(), cfg, options(t, disk))
		var left *node.LeftBehindError
		switch {
		case err == nil:
			t.Cleanup(func() { stopBroker(t, n) })
			return n
		case errors.As(err, &left):
			cfg.Join = append(cfg.Join, left.Join)
		default:
			t.Fatal(err)
		}
	}
}

// threeWithRecords is a cluster of three brokers that was stopped, with acknowledged records in every
// partition of a topic.
func threeWithRecords(t *testing.T) (disks []*crashfs.FS, addresses []string) {
	t.Helper()
	disks = []*crashfs.FS{crashfs.New(), crashfs.New(), crashfs.New()}
	nodes := []*node.Node{startBroker(t, disks[0])}
	for _, disk := range disks[1:] {
		nodes = append(nodes, startBroker(t, disk, nodes[0].Ready().Cluster))
	}
	expectOneCluster(t, nodes...)
	eventually(t, "three brokers vote", func() bool { return len(nodes[0].Broker().Quorum().Voters) == 3 })
	c := clientOf(t, nodes[0])
	if _, err := kadm.NewClient(c).CreateTopic(t.Context(), recoveredPartitions, 3, nil, recoveredTopic); err != nil {
		t.Fatal(err)
	}
	produceEach(t, c, "before")
	c.Close()
	for _, n := range nodes {
		addresses = append(addresses, n.Ready().Cluster)
		stopBroker(t, n)
	}
	return disks, addresses
}

const (
	recoveredTopic      = "orders"
	recoveredPartitions = 3
	recordsOfEach       = 5
)

func clientOf(t *testing.T, n *node.Node) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(n.Ready().Kafka), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ConsumeTopics(recoveredTopic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// produceEach has some records acknowledged by every partition.
func produceEach(t *testing.T, c *kgo.Client, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for partition := range int32(recoveredPartitions) {
		for i := range recordsOfEach {
			record := &kgo.Record{Topic: recoveredTopic, Partition: partition, Value: fmt.Appendf(nil, "%s %d", what, i)}
			if err := c.ProduceSync(ctx, record).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// expectRecords reads the topic from its beginning: all that was produced, in order.
func expectRecords(t *testing.T, n *node.Node, whats ...string) {
	t.Helper()
	c := clientOf(t, n)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	next := make(map[int32]int)
	for left := recoveredPartitions * recordsOfEach * len(whats); left > 0; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("%d records are missing: %v", left, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			i := next[r.Partition]
			if want := fmt.Sprintf("%s %d", whats[i/recordsOfEach], i%recordsOfEach); string(r.Value) != want {
				t.Fatalf("%q at offset %d of partition %d, want %q", r.Value, r.Offset, r.Partition, want)
			}
			next[r.Partition]++
			left--
		})
	}
}

// recoverDisk does what troupe cluster recover does.
func recoverDisk(t *testing.T, disk *crashfs.FS) {
	t.Helper()
	r, err := node.PrepareRecovery([]string{"/a"}, options(t, disk))
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Run()
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
}

// expectFilled waits until all replicas of the topic are in sync again.
func expectFilled(t *testing.T, n *node.Node) {
	t.Helper()
	eventually(t, "every replica is in sync", func() bool {
		topic, _ := n.Broker().View().Topic(recoveredTopic)
		for i := range topic.Partitions {
			if p, _ := n.Broker().View().Partition(topic.ID, i); len(p.ISR) < 3 {
				return false
			}
		}
		return topic.Partitions == recoveredPartitions
	})
}

func TestAClusterGoesOnFromTheOneBrokerThatIsLeft(t *testing.T) {
	t.Parallel()
	disks, addresses := threeWithRecords(t)
	recoverDisk(t, disks[2])
	survivor := restart(t, disks[2], addresses[2])
	first := restart(t, crashfs.New(), addresses[0], addresses[2])
	second := restart(t, crashfs.New(), addresses[1], addresses[2])
	expectOneCluster(t, survivor, first, second)
	expectRecords(t, survivor, "before")
	expectFilled(t, survivor)
	produceEach(t, clientOf(t, second), "after")
	expectRecords(t, first, "before", "after")
	eventually(t, "three brokers vote again", func() bool { return len(survivor.Broker().Quorum().Voters) == 3 })
}

func TestTheOldMajorityDoesNotBringTheOldClusterBack(t *testing.T) {
	t.Parallel()
	for name, join := range map[string]bool{"met at the start": true, "met by gossip": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disks, addresses := threeWithRecords(t)
			recoverDisk(t, disks[2])
			survivor := restart(t, disks[2], addresses[2])
			var list []string
			if join {
				list = addresses[2:]
			}
			first := restart(t, disks[0], addresses[0], list...)
			second := restart(t, disks[1], addresses[1], list...)
			expectOneCluster(t, survivor, first, second)
			expectFilled(t, survivor)
			produceEach(t, clientOf(t, second), "after")
			expectRecords(t, first, "before", "after")
		})
	}
}

// The old majority was well after all and serves, when the one broker comes back that was recovered.
func TestBrokersThatServeStartOverWhenTheirClusterWasRecovered(t *testing.T) {
	t.Parallel()
	disks, addresses := threeWithRecords(t)
	recoverDisk(t, disks[2])
	configs, opts := make([]node.Config, 2), make([]node.Options, 2)
	for i := range configs {
		configs[i], opts[i] = joining(), options(t, disks[i])
		configs[i].Cluster = addresses[i]
	}
	old := startAll(t, configs, opts)
	expectOneCluster(t, old...)

	survivor := restart(t, disks[2], addresses[2])
	var again []*node.Node
	for i, n := range old {
		var left *node.LeftBehindError
		select {
		case err := <-n.Ended():
			if !errors.As(err, &left) || left.RecoveryEpoch != 1 || left.Join != addresses[2] {
				t.Fatalf("broker %d ended with %v", i+1, err)
			}
		case <-time.After(patience):
			t.Fatalf("broker %d goes on in the old cluster", i+1)
		}
		stopBroker(t, n)
		again = append(again, restart(t, disks[i], addresses[i]))
	}
	expectOneCluster(t, survivor, again[0], again[1])
	expectFilled(t, survivor)
	expectRecords(t, again[0], "before")
}
