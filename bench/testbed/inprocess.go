package testbed

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/cmd/node"
	"github.com/troupe-mq/troupe/storage/crashfs"
)

// TB is what Start needs of a test. It is an interface so that no program that uses this package
// has package testing in it.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Cleanup(f func())
	Context() context.Context
	Output() io.Writer
}

// Bed is whole brokers in this process, joined, each on a disk of its own in memory.
type Bed struct {
	Brokers []*Broker

	t   TB
	log *gate
}

// Broker is one of them. It keeps its disk, and its addresses, when it goes down and comes back.
type Broker struct {
	bed   *Bed
	name  int // by which its log is told from the others'
	cfg   node.Config
	disk  *crashfs.FS
	boots int        // of its machine
	node  *node.Node // nil while it is down
}

// Start starts n brokers that join each other, waits until any one of three may die, and stops them
// at the end of the test. With TROUPE_TEST_LOG set, their logs go to the test's.
func Start(t TB, n int) *Bed {
	t.Helper()
	return StartTuned(t, n, func(int, *node.Config) {})
}

// StartTuned is Start with another configuration for each broker, which are numbered from 0.
func StartTuned(t TB, n int, tune func(i int, cfg *node.Config)) *Bed {
	t.Helper()
	b := &Bed{t: t, log: &gate{}}
	if os.Getenv("TROUPE_TEST_LOG") != "" {
		b.log.out = t.Output()
	}
	t.Cleanup(b.close)
	for i := range n {
		const anyPort = "127.0.0.1:0"
		cfg := node.DefaultConfig()
		cfg.Data, cfg.Listen, cfg.Cluster, cfg.Admin = []string{"/data"}, anyPort, anyPort, anyPort
		tune(i, &cfg)
		broker := &Broker{bed: b, name: len(b.Brokers) + 1, cfg: cfg, disk: crashfs.New()}
		b.Brokers = append(b.Brokers, broker)
		broker.Start()
	}
	b.Eventually("enough brokers keep the metadata log", func() bool {
		return len(b.Brokers[0].node.Broker().DescribeCluster(t.Context()).Quorum.Voters) >= votersOf(n)
	})
	return b
}

// Start starts a broker that is down, with the addresses it had. It joins whoever else there is.
func (b *Broker) Start() {
	b.bed.t.Helper()
	if err := b.start(b.bed.t.Context()); err != nil {
		b.bed.t.Fatalf("start a broker: %v", err)
	}
}

// StartAll starts all brokers that are down, at the same time: none may be ready before others are.
func (b *Bed) StartAll() {
	b.t.Helper()
	var starting sync.WaitGroup
	errs := make([]error, len(b.Brokers))
	for i, broker := range b.Brokers {
		if broker.node == nil {
			starting.Go(func() { errs[i] = broker.start(b.t.Context()) })
		}
	}
	starting.Wait()
	for _, err := range errs {
		if err != nil {
			b.t.Fatalf("start all brokers: %v", err)
		}
	}
}

func (b *Broker) start(ctx context.Context) error {
	if b.cfg.Join == nil {
		for _, other := range b.bed.Brokers {
			if other != b && other.node != nil {
				b.cfg.Join = append(b.cfg.Join, other.cfg.Cluster)
			}
		}
	}
	n, err := node.Start(ctx, b.cfg, node.Options{
		FS: b.disk, BootID: "boot-" + strconv.Itoa(b.boots), Logger: slog.New(slog.NewTextHandler(b.bed.log, nil)).With("of", b.name),
	})
	if err != nil {
		return err
	}
	b.node = n
	ready := n.Ready()
	b.cfg.Listen, b.cfg.Cluster, b.cfg.Admin = ready.Kafka, ready.Cluster, ready.Admin
	return nil
}

// Move gives new addresses to all brokers that are down. They take them when they start, and join
// by those of the others.
func (b *Bed) Move() {
	b.t.Helper()
	const each = 3
	addresses, err := FreeAddresses(each * len(b.Brokers))
	if err != nil {
		b.t.Fatalf("move: %v", err)
	}
	for i, broker := range b.Brokers {
		if broker.node == nil {
			broker.cfg.Listen, broker.cfg.Cluster, broker.cfg.Admin = addresses[each*i], addresses[each*i+1], addresses[each*i+2]
		}
	}
	for _, broker := range b.Brokers {
		broker.cfg.Join = nil
		for _, other := range b.Brokers {
			if other != broker {
				broker.cfg.Join = append(broker.cfg.Join, other.cfg.Cluster)
			}
		}
	}
}

// ID is the broker's id; it is up.
func (b *Broker) ID() int32 { return int32(b.node.Ready().BrokerID) }

// Node is the broker itself; nil while it is down.
func (b *Broker) Node() *node.Node { return b.node }

// Kafka is the address for clients.
func (b *Broker) Kafka() string { return b.cfg.Listen }

// Admin is the address of the admin server.
func (b *Broker) Admin() string { return b.cfg.Admin }

// Kafka are the addresses for clients of all brokers.
func (b *Bed) Kafka() []string {
	var addresses []string
	for _, broker := range b.Brokers {
		addresses = append(addresses, broker.cfg.Listen)
	}
	return addresses
}

// Stop ends a broker as an operator would: others take over what it leads, clients are answered.
func (b *Broker) Stop() {
	b.bed.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	if err := b.node.Stop(ctx); err != nil {
		b.bed.t.Errorf("stop a broker: %v", err)
	}
	b.node = nil
}

// Kill ends a broker as SIGKILL would: its disk takes nothing more and keeps all that was written,
// and its connections break. In one process that cannot be had in one instant: a goroutine may
// still send what it was about to send. What the disk holds afterwards is exact.
func (b *Broker) Kill() {
	after := b.disk.Kill()
	b.abandon()
	b.disk = after
}

// CutPower is Kill, and the disk forgets what was not synced, or as much of it as rng says.
func (b *Broker) CutPower(rng *rand.Rand) {
	after := b.disk.Crash(rng)
	b.abandon()
	b.disk = after
	b.boots++
}

// CutPower cuts the power of all brokers at once.
func (b *Bed) CutPower(rng *rand.Rand) {
	disks := make([]*crashfs.FS, len(b.Brokers))
	for i, broker := range b.Brokers {
		disks[i] = broker.disk.Crash(rng) // all disks first: none may write on while another forgets
	}
	var dying sync.WaitGroup
	for i, broker := range b.Brokers {
		dying.Go(func() {
			broker.abandon()
			broker.disk = disks[i]
			broker.boots++
		})
	}
	dying.Wait()
}

// abandon ends a broker whose disk is gone: nothing is handed over, nobody is waited for.
func (b *Broker) abandon() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = b.node.Stop(ctx) // what it says without a disk is of no interest
	b.node = nil
}

// close ends what is still up at once: to hand over in turn to brokers that are about to end, too,
// would take its time.
func (b *Bed) close() {
	b.log.close()
	var ending sync.WaitGroup
	for _, broker := range b.Brokers {
		if broker.node != nil {
			ending.Go(broker.abandon)
		}
	}
	ending.Wait()
}

// Eventually waits until something holds, which it asks every few milliseconds: between brokers
// with sockets there is nothing better to wait for.
func (b *Bed) Eventually(what string, holds func() bool) {
	b.t.Helper()
	const patience = 30 * time.Second
	for begun := time.Now(); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > patience {
			b.t.Fatalf("not within %s: %s\n%s", patience, what, b.describe())
		}
	}
}

// describe says which brokers there are.
func (b *Bed) describe() string {
	var lines []string
	for i, broker := range b.Brokers {
		if broker.node == nil {
			lines = append(lines, fmt.Sprintf("broker %d is down", i+1))
			continue
		}
		view := broker.node.Broker().View()
		lines = append(lines, fmt.Sprintf("broker %d knows of %d brokers, controller %d", i+1, len(view.Brokers()), view.Controller()))
	}
	return strings.Join(lines, "\n")
}

// gate passes a log on until it is closed: a broker that was killed may log on when its test has
// ended.
type gate struct {
	mu  sync.Mutex
	out io.Writer // nil for none
}

// Write implements io.Writer.
func (g *gate) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.out == nil {
		return len(b), nil
	}
	return g.out.Write(b)
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.out = nil
}
