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

// lostDisk is a cluster of which broker 2 has died, and a broker with a blank disk that was started
// at its address without being told of the cluster: it has founded one.
func lostDisk(t *testing.T) (first, founder *node.Node, disk *crashfs.FS) {
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

	disk = crashfs.New()
	cfg := joining()
	cfg.Cluster = lost.Ready().Cluster
	founder, err = node.Start(t.Context(), cfg, options(t, disk))
	if err != nil {
		t.Fatal(err)
	}
	return first, founder, disk
}

func TestAFounderThatNobodyHasUsedJoinsTheClusterThatKnowsIt(t *testing.T) {
	t.Parallel()
	first, founder, disk := lostDisk(t)
	var yielded *node.YieldedError
	if err := <-founder.Ended(); !errors.As(err, &yielded) || yielded.ClusterID != first.Ready().ClusterID {
		t.Fatalf("it ended with %v", err)
	}
	stopBroker(t, founder)
	cfg := joining(yielded.Join)
	cfg.Cluster = founder.Ready().Cluster
	again, err := node.Start(t.Context(), cfg, options(t, disk))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopBroker(t, again) })
	expectOneCluster(t, first, again)
	if again.Ready().BrokerID != 2 {
		t.Errorf("it came back as broker %d", again.Ready().BrokerID)
	}
}

func TestAFounderThatHasATopicKeepsItsCluster(t *testing.T) {
	t.Parallel()
	first, founder, _ := lostDisk(t)
	t.Cleanup(func() { stopBroker(t, founder) })
	c, err := kgo.NewClient(kgo.SeedBrokers(founder.Ready().Kafka))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := kadm.NewClient(c).CreateTopic(t.Context(), 1, 1, nil, "used"); err != nil {
		t.Skipf("it had yielded before the topic was there: %v", err)
	}
	eventually(t, "it is not ready, and says why", func() bool {
		err := founder.CheckReady()
		return err != nil && strings.Contains(err.Error(), "cluster "+first.Ready().ClusterID+" knows this broker as its broker 2")
	})
	select {
	case err := <-founder.Ended():
		t.Errorf("it ended: %v", err)
	default:
	}
	if ids := brokersOf(first); !slices.Equal(ids, []wire.BrokerID{1}) {
		t.Errorf("the other cluster has brokers %v", ids)
	}
}
