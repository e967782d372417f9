package node_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
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

// logTo returns the logger of a broker in a test: silent, unless one wants to see.
func logTo(t *testing.T, name string) *slog.Logger {
	t.Helper()
	if os.Getenv("TROUPE_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil)).With("broker", name)
}

// options are what every broker here is started with: a disk in memory.
func options(t *testing.T, disk *crashfs.FS) node.Options {
	t.Helper()
	return node.Options{FS: disk, Logger: logTo(t, fmt.Sprintf("%p", disk))}
}

// startBroker starts a broker that joins.
func startBroker(t *testing.T, disk *crashfs.FS, join ...string) *node.Node {
	t.Helper()
	n, err := node.Start(t.Context(), joining(join...), options(t, disk))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopBroker(t, n) })
	return n
}

func joining(join ...string) node.Config {
	cfg := localConfig("/a")
	cfg.Join = join
	return cfg
}

func stopBroker(t *testing.T, n *node.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Errorf("broker %d: %v", n.Ready().BrokerID, err)
	}
}

// startAll starts brokers at one moment and waits for all.
func startAll(t *testing.T, configs []node.Config, opts []node.Options) []*node.Node {
	t.Helper()
	nodes, errs := make([]*node.Node, len(configs)), make([]error, len(configs))
	var starting sync.WaitGroup
	for i := range configs {
		starting.Go(func() { nodes[i], errs[i] = node.Start(t.Context(), configs[i], opts[i]) })
	}
	starting.Wait()
	t.Cleanup(func() {
		var stopping sync.WaitGroup // at once: the last one alone would look for somebody to hand over to
		for _, n := range nodes {
			if n != nil {
				stopping.Go(func() { stopBroker(t, n) })
			}
		}
		stopping.Wait()
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return nodes
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

// expectOneCluster waits until each of the brokers lists all, and nobody else.
func expectOneCluster(t *testing.T, nodes ...*node.Node) {
	t.Helper()
	var all []wire.BrokerID
	for _, n := range nodes {
		all = append(all, n.Ready().BrokerID)
	}
	slices.Sort(all)
	for _, n := range nodes {
		eventually(t, fmt.Sprintf("broker %d lists %v", n.Ready().BrokerID, all), func() bool { return slices.Equal(brokersOf(n), all) })
		if n.Ready().ClusterID != nodes[0].Ready().ClusterID {
			t.Errorf("broker %d is of cluster %s", n.Ready().BrokerID, n.Ready().ClusterID)
		}
	}
}

func TestBrokersThatJoinAreListedByAll(t *testing.T) {
	t.Parallel()
	first := startBroker(t, crashfs.New())
	second := startBroker(t, crashfs.New(), first.Ready().Cluster)
	third := startBroker(t, crashfs.New(), second.Ready().Cluster) // learns of the first from the second
	expectOneCluster(t, first, second, third)
}

// bindCluster takes a cluster port before there is a broker, so that its address can be on a list.
func bindCluster(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if packets, err := net.ListenPacket("udp", l.Addr().String()); err == nil {
			return l, packets
		}
		_ = l.Close()
	}
	t.Fatal("no number is free for both connections and packets")
	return nil, nil
}

func TestBrokersThatStartAtOnceWithOneListFormOneCluster(t *testing.T) {
	t.Parallel()
	for round := range 5 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Parallel()
			opts := make([]node.Options, 3)
			var list []string
			for i := range opts {
				opts[i] = options(t, crashfs.New())
				opts[i].Cluster, opts[i].ClusterPackets = bindCluster(t)
				list = append(list, opts[i].Cluster.Addr().String())
			}
			configs := []node.Config{joining(list...), joining(list[2], list[0], list[1]), joining(list[1], list[2], list[0])}
			expectOneCluster(t, startAll(t, configs, opts)...)
		})
	}
}

func TestABrokerThatRestartsOnAnotherPortIsFound(t *testing.T) {
	t.Parallel()
	disks := []*crashfs.FS{crashfs.New(), crashfs.New(), crashfs.New()}
	first := startBroker(t, disks[0])
	second := startBroker(t, disks[1], first.Ready().Cluster)
	third := startBroker(t, disks[2], first.Ready().Cluster)
	expectOneCluster(t, first, second, third)
	for i, n := range []*node.Node{third, second} {
		stopBroker(t, n)
		again := startBroker(t, disks[2-i]) // no flag: it remembers where the others were
		if again.Ready().BrokerID != n.Ready().BrokerID || again.Ready().Cluster == n.Ready().Cluster {
			t.Errorf("broker %d at %s came back as %d at %s", n.Ready().BrokerID, n.Ready().Cluster, again.Ready().BrokerID, again.Ready().Cluster)
		}
		if i == 0 {
			third = again
		} else {
			second = again
		}
		expectOneCluster(t, first, second, third)
	}
}

func TestAllBrokersRestartAtOnceOnOtherPorts(t *testing.T) {
	t.Parallel()
	disks := []*crashfs.FS{crashfs.New(), crashfs.New(), crashfs.New()}
	nodes := []*node.Node{startBroker(t, disks[0])}
	for _, disk := range disks[1:] {
		nodes = append(nodes, startBroker(t, disk, nodes[0].Ready().Cluster))
	}
	expectOneCluster(t, nodes...)
	cluster := nodes[0].Ready().ClusterID
	for _, n := range nodes {
		stopBroker(t, n)
	}
	// One address is enough for all to find each other: where the first is now.
	opts, configs := make([]node.Options, 3), make([]node.Config, 3)
	for i := range opts {
		opts[i], configs[i] = options(t, disks[i]), joining()
	}
	opts[0].Cluster, opts[0].ClusterPackets = bindCluster(t)
	configs[1].Join = []string{opts[0].Cluster.Addr().String()}
	configs[2].Join = configs[1].Join
	again := startAll(t, configs, opts)
	expectOneCluster(t, again...)
	if again[0].Ready().ClusterID != cluster {
		t.Errorf("cluster %s came back as %s", cluster, again[0].Ready().ClusterID)
	}
}

func TestABrokerOfAnotherClusterIsRefusedAndNeitherChanges(t *testing.T) {
	t.Parallel()
	ours, theirs := crashfs.New(), crashfs.New()
	home := startBroker(t, crashfs.New())
	member := startBroker(t, ours, home.Ready().Cluster)
	other := startBroker(t, theirs)
	expectOneCluster(t, home, member)
	stopBroker(t, member)

	_, err := node.Start(t.Context(), joining(other.Ready().Cluster), options(t, ours))
	if err == nil || !strings.Contains(err.Error(), "belongs to cluster "+home.Ready().ClusterID) || !strings.Contains(err.Error(), other.Ready().ClusterID) {
		t.Fatalf("it was not refused: %v", err)
	}
	expectOneCluster(t, other)
	// With one right address on the list the wrong one does no harm.
	member = startBroker(t, ours, other.Ready().Cluster, home.Ready().Cluster)
	expectOneCluster(t, home, member)
	expectOneCluster(t, other)

	_, err = node.Start(t.Context(), joining(other.Ready().Cluster, home.Ready().Cluster), options(t, crashfs.New()))
	if err == nil || !strings.Contains(err.Error(), "a broker joins one cluster") {
		t.Fatalf("a blank broker between two clusters: %v", err)
	}
}

func TestClustersThatAreGivenEachOthersAddressesNeverMerge(t *testing.T) {
	t.Parallel()
	disks := []*crashfs.FS{crashfs.New(), crashfs.New()}
	homes, members := make([]*node.Node, 2), make([]*node.Node, 2)
	for i, disk := range disks {
		homes[i] = startBroker(t, crashfs.New())
		members[i] = startBroker(t, disk, homes[i].Ready().Cluster)
		expectOneCluster(t, homes[i], members[i])
	}
	var everybody []string
	for _, n := range slices.Concat(homes, members) {
		everybody = append(everybody, n.Ready().Cluster)
	}
	for i, disk := range disks {
		stopBroker(t, members[i])
		members[i] = startBroker(t, disk, everybody...)
	}
	for i := range disks {
		expectOneCluster(t, homes[i], members[i])
		if homes[i].Ready().ClusterID == homes[1-i].Ready().ClusterID {
			t.Error("there is one cluster")
		}
	}
}

func TestAWipedBrokerTakesItsPlaceAgain(t *testing.T) {
	t.Parallel()
	opts := options(t, crashfs.New())
	opts.Cluster, opts.ClusterPackets = bindCluster(t)
	address := opts.Cluster.Addr().String()
	first := startBroker(t, crashfs.New())
	second := startBroker(t, crashfs.New(), first.Ready().Cluster)
	lost, err := node.Start(t.Context(), joining(first.Ready().Cluster), opts)
	if err != nil {
		t.Fatal(err)
	}
	expectOneCluster(t, first, second, lost)
	stopBroker(t, lost)

	t.Run("at its address", func(t *testing.T) {
		cfg := joining(first.Ready().Cluster)
		cfg.Cluster = address
		again, err := node.Start(t.Context(), cfg, options(t, crashfs.New()))
		if err != nil {
			t.Fatal(err)
		}
		expectOneCluster(t, first, second, again)
		stopBroker(t, again)
		if again.Ready().BrokerID != lost.Ready().BrokerID {
			t.Errorf("broker %d came back as %d", lost.Ready().BrokerID, again.Ready().BrokerID)
		}
	})
	t.Run("by its id", func(t *testing.T) {
		cfg := joining(first.Ready().Cluster)
		cfg.Static = map[string]string{"node.id": fmt.Sprint(lost.Ready().BrokerID)}
		again, err := node.Start(t.Context(), cfg, options(t, crashfs.New()))
		if err != nil {
			t.Fatal(err)
		}
		expectOneCluster(t, first, second, again)
		stopBroker(t, again)
	})
}

func TestABlankBrokerWaitsForWhomItIsToJoin(t *testing.T) {
	t.Parallel()
	opts := options(t, crashfs.New())
	opts.Cluster, opts.ClusterPackets = bindCluster(t)
	address := opts.Cluster.Addr().String()
	waiting := make(chan *node.Node, 1)
	go func() {
		n, err := node.Start(t.Context(), joining(address), options(t, crashfs.New()))
		if err != nil {
			t.Error(err)
		}
		waiting <- n
	}()
	// Somebody is there, and answers nothing.
	c, err := opts.Cluster.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	select {
	case n := <-waiting:
		t.Fatalf("it did not wait: %+v", n.Ready())
	default:
	}
	first, err := node.Start(t.Context(), joining(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopBroker(t, first) })
	late := <-waiting
	t.Cleanup(func() { stopBroker(t, late) })
	expectOneCluster(t, first, late)
}

// untilWaiting is a logger that calls f when a broker says that it waits for a cluster.
func untilWaiting(f func()) *slog.Logger { return slog.New(&waitingHandler{f: f}) }

type waitingHandler struct{ f func() }

func (*waitingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *waitingHandler) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "waiting for a cluster") {
		h.f()
	}
	return nil
}

func (h *waitingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h *waitingHandler) WithGroup(string) slog.Handler { return h }
