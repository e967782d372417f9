package node_test

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/cmd/node"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
)

// patience is how long a test waits for what must happen. The machine may be busy.
const patience = 30 * time.Second

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		if holds() {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func logTo(t *testing.T) *slog.Logger {
	if os.Getenv("TROUPE_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil)).With("test", t.Name())
}

// startBroker starts a broker on a disk of its own in memory.
func startBroker(t *testing.T, disk *crashfs.FS, join ...string) *node.Node {
	t.Helper()
	cfg := localConfig("/a")
	cfg.Join = join
	n, err := node.Start(t.Context(), cfg, node.Options{FS: disk, Logger: logTo(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopBroker(t, n) })
	return n
}

func stopBroker(t *testing.T, n *node.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Errorf("broker %d: %v", n.Ready().BrokerID, err)
	}
}

// brokersOf lists the ids of the brokers that one of them knows and that may lead.
func brokersOf(n *node.Node) []wire.BrokerID {
	var ids []wire.BrokerID
	for _, b := range n.Broker().View().Brokers() {
		if !b.Fenced {
			ids = append(ids, b.ID)
		}
	}
	return ids
}

func TestBrokersThatJoinAreListedByAll(t *testing.T) {
	first := startBroker(t, crashfs.New())
	second := startBroker(t, crashfs.New(), first.Ready().Cluster)
	third := startBroker(t, crashfs.New(), second.Ready().Cluster) // learns of the first from the second
	for _, n := range []*node.Node{first, second, third} {
		eventually(t, "three brokers", func() bool { return slices.Equal(brokersOf(n), []wire.BrokerID{1, 2, 3}) })
		if n.Ready().ClusterID != first.Ready().ClusterID {
			t.Errorf("broker %d is of cluster %s", n.Ready().BrokerID, n.Ready().ClusterID)
		}
	}
}
