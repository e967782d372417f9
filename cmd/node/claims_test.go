package node_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-mq/troupe/cmd/node"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
)

// lostDisk is a cluster of which broker 2 has died, and the cluster port that it had.
func lostDisk(t *testing.T) (first *node.Node, address string) {
	t.Helper()
	opts := options(t, crashfs.New())
	opts.Cluster, opts.ClusterPackets = bindCluster(t)
	first = startBroker(t, crashfs.New())
	lost, err := node.Start(t.Context(), joining(first.Ready().Cluster), opts)
	if err != nil {
		t.Fatal(err)
	}
	expectOneCluster(t, first, lost)
	stopBroker(t, lost)
	return first, lost.Ready().Cluster
}

// startAt starts a broker without telling it of any other: on a blank disk it founds a cluster.
func startAt(t *testing.T, address string, disk *crashfs.FS) *node.Node {
	t.Helper()
	cfg := joining()
	cfg.Cluster = address
	n, err := node.Start(t.Context(), cfg, options(t, disk))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopBroker(t, n) })
	return n
}

func TestAFounderThatNobodyHasUsedJoinsTheClusterThatKnowsIt(t *testing.T) {
	t.Parallel()
	first, address := lostDisk(t)
	disk := crashfs.New()
	founder := startAt(t, address, disk)
	var yielded *node.YieldedError
	if err := <-founder.Ended(); !errors.As(err, &yielded) || yielded.ClusterID != first.Ready().ClusterID {
		t.Fatalf("it ended with %v", err)
	}
	stopBroker(t, founder)
	again := startAt(t, address, disk)
	expectOneCluster(t, first, again)
	if again.Ready().BrokerID != 2 {
		t.Errorf("it came back as broker %d", again.Ready().BrokerID)
	}
}

func TestAFounderThatHasATopicKeepsItsCluster(t *testing.T) {
	t.Parallel()
	first, address := lostDisk(t)
	disk := crashfs.New()
	elsewhere := startAt(t, "127.0.0.1:0", disk)
	c, err := kgo.NewClient(kgo.SeedBrokers(elsewhere.Ready().Kafka))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := kadm.NewClient(c).CreateTopic(t.Context(), 1, 1, nil, "used"); err != nil {
		t.Fatal(err)
	}
	stopBroker(t, elsewhere)

	founder := startAt(t, address, disk)
	eventually(t, "it is not ready, and says why", func() bool {
		err := founder.CheckReady()
		return err != nil && strings.Contains(err.Error(), "cluster "+first.Ready().ClusterID+" knows this broker as its broker 2")
	})
	select {
	case err := <-founder.Ended():
		t.Errorf("it ended: %v", err)
	default:
	}
	eventually(t, "the other cluster goes on without it", func() bool { return slices.Equal(brokersOf(first), []wire.BrokerID{1}) })
	if founder.Ready().ClusterID != elsewhere.Ready().ClusterID {
		t.Errorf("it is of cluster %s now", founder.Ready().ClusterID)
	}
}
