// Package node assembles one broker out of the parts and starts and stops it. It is the only
// place that knows all of them.
//
//	config*.go       what a broker is told: flags, environment, file
//	node.go          start upwards, floor by floor; node_stop.go: stop downwards
//	identity.go      who this broker is: meta.json in every log directory
//	bootstrap.go     how a broker without a cluster comes to one; the rules are cluster/bootstrap's
//	hello.go         what brokers say to each other before they have links
//	recover.go       a cluster goes on from one broker; left_behind.go: the others find out
//	cluster.go       links and gossip, once the cluster is known
//	address_book.go  where the other brokers are, by all that anybody says
//	mux.go           two protocols on the clients' port
//	cluster_port.go  three protocols on the port for other brokers
//
// Start opens the log directories, comes to a cluster, connects to its brokers, recovers the metadata
// log, registers, opens its partitions, and only then lets clients in. Stop has others take over
// what this broker leads, closes the door to clients, and closes the directories last.
package node

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/troupe-mq/troupe/actors"
	"github.com/troupe-mq/troupe/cluster/gossip"
	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/console"
	"github.com/troupe-mq/troupe/wire/kafka"
	"github.com/troupe-mq/troupe/wire/native"
	"github.com/troupe-mq/troupe/wire/peer"
)

// Options are what a test replaces; the zero value is the real thing.
type Options struct {
	FS      storage.FS       // the operating system's
	Now     func() time.Time // the clock
	Logger  *slog.Logger     // silent
	Version string           // of Troupe, for people
	BootID  string           // of the machine: its kernel's

	// Cluster and ClusterPackets are the cluster port, bound already: a list of addresses to join
	// can be written before the brokers on it have started. Both or none.
	Cluster        net.Listener
	ClusterPackets net.PacketConn
}

// Ready is what a started broker tells the world.
type Ready struct {
	Kafka, Cluster, Admin string // host:port; Admin is "off" without an admin server
	Data                  string // the directories, with commas between them
	ClusterID             string
	BrokerID              wire.BrokerID
}

// Node is a running broker.
type Node struct {
	cfg         Config
	opts        Options
	log         *slog.Logger
	incarnation wire.Incarnation // of this process
	ready       Ready

	life     context.Context // over when Stop begins to disconnect
	end      context.CancelFunc
	registry *prometheus.Registry
	dirs     []*storage.Dir
	clients  net.Listener
	cluster  net.Listener
	packets  net.PacketConn // of the cluster port
	admin    net.Listener

	clusterTLS     *tls.Config
	gossipKeys     *keyRing
	clusterAddress string                  // as other brokers are told
	registration   metadata.RegisterBroker // how this broker makes itself known
	port           *clusterPort
	caller         caller
	book           *addressBook
	identity       atomic.Pointer[storage.Identity] // nil before there is a cluster
	links          *peer.Links
	gossip         *gossip.Gossip
	actors         atomic.Pointer[actors.Broker] // from when links are attached to it
	broker         *actors.Broker                // from when it has started

	mux     *mux
	kafka   *kafka.Server
	native  *native.Server
	console *console.Console

	status   atomic.Pointer[string] // what a broker that starts waits for
	contest  contest
	yielded  atomic.Pointer[YieldedError]
	left     leftBehind
	serving  atomic.Bool
	tasks    sync.WaitGroup
	ended    chan error // why the broker ended by itself; capacity 1
	stopOnce sync.Once
	stopErr  error
}

// Start starts a broker and returns when it serves clients. On an error nothing is left running.
func Start(ctx context.Context, cfg Config, opts Options) (*Node, error) {
	n := &Node{
		cfg: cfg, opts: opts.complete(), incarnation: wire.Incarnation(rand.Uint64() | 1),
		ended: make(chan error, 1), registry: prometheus.NewRegistry(), book: newAddressBook(),
	}
	n.log = n.opts.Logger
	n.life, n.end = context.WithCancel(context.WithoutCancel(ctx))
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n.registry.MustRegister(buildInfo(n.opts.Version), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	ctx, n.left.abandon = context.WithCancelCause(ctx)
	defer n.left.abandon(nil)
	for _, step := range []func(context.Context) error{
		n.listen, n.openDirectories, n.settleRecovery, n.finishYielding, n.startConsole, n.openClusterPort,
		n.joinCluster, n.connect, n.startActors, n.serveClients,
	} {
		if err := step(ctx); err != nil {
			err = cmp.Or(n.left.error(), err)
			stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			err = errors.Join(err, n.Stop(stopCtx))
			cancel()
			return nil, err
		}
	}
	return n, nil
}

const stopTimeout = 10 * time.Second

func (o Options) complete() Options {
	if o.FS == nil {
		o.FS = storage.OSFS{}
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the one place where the clock is read
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Version == "" {
		o.Version = "unknown"
	}
	if o.BootID == "" {
		o.BootID = storage.BootID()
	}
	return o
}

func (n *Node) openDirectories(context.Context) error {
	metrics := storage.NewMetrics(n.registry)
	cfg := storage.DefaultDirConfig()
	cfg.Now, cfg.BootID, cfg.Metrics = n.opts.Now, n.opts.BootID, metrics
	cfg.ReserveBytes = n.cfg.number("log.dir.reserve.bytes")
	cfg.CleanInterval = time.Duration(min(n.cfg.number("log.cleaner.backoff.ms"), math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
	cfg.CleanMemory = n.cfg.number("log.cleaner.dedupe.buffer.size") / int64(max(1, len(n.cfg.Data)))
	cfg.CleanBytesPerSecond = n.cfg.rate("log.cleaner.io.max.bytes.per.second")
	for _, path := range n.cfg.Data {
		absolute, err := filepath.Abs(path)
		if err != nil {
			return fmt.Errorf("log directory %s: %w", path, err)
		}
		dir, err := storage.OpenDir(n.opts.FS, absolute, cfg, n.log)
		if err != nil {
			return fmt.Errorf("log directory %s: %w", path, err)
		}
		n.dirs = append(n.dirs, dir)
	}
	return n.identify()
}

func (n *Node) startConsole(context.Context) error {
	if n.admin == nil {
		return nil
	}
	cfg := console.DefaultConfig()
	cfg.Version, cfg.Kill = n.opts.Version, n.kill
	var err error
	if cfg.ChaosToken, err = n.cfg.chaosToken(); err != nil {
		return err
	}
	n.console, err = console.New(source{n}, n.registry, n.log, cfg)
	if err != nil {
		return err
	}
	n.run("admin server", func() error { return n.console.Serve(n.admin) })
	return nil
}

// startActors returns when this broker is registered and its partitions are open. Where the cluster
// has no quorum at the moment, that takes until it has one.
func (n *Node) startActors(ctx context.Context) error {
	waiting := "the cluster's controller has not been found yet"
	n.status.Store(&waiting)
	identity := *n.identity.Load()
	cfg := actors.DefaultConfig()
	cfg.ID, cfg.Incarnation = identity.BrokerID, n.incarnation
	cfg.Registration = n.registration
	cfg.Registration.ID = cfg.ID
	begun := n.beginning()
	if begun.Founding {
		cfg.ClusterID = identity.ClusterID
	}
	cfg.Join = begun.ClusterID != "" && !begun.Founding
	cfg.Alone = !cfg.Join && len(n.cfg.Join) == 0 && len(n.book.members()) == 0
	cfg.Registration.Fenced = !cfg.Alone // alone, nobody has to be asked
	cfg.Static = maps.Clone(n.cfg.Static)
	cfg.Static[keyNodeID] = strconv.Itoa(int(cfg.ID)) // for Kafka's tools to see
	cfg.AutoCreateTopics = n.cfg.staticBool("auto.create.topics.enable", true)
	cfg.ReadFromRack = n.cfg.readsFromRack()
	cfg.RetentionInterval = time.Duration(n.cfg.number("log.retention.check.interval.ms")) * time.Millisecond
	broker, err := actors.Start(ctx, cfg, actors.Dependencies{
		Dirs: n.dirs, FS: n.opts.FS, RaftID: identity.RaftID, Links: linkTable{n.links, n}, GossipKeys: n.gossipKeys,
		Metrics: actors.NewMetrics(n.registry), Now: n.opts.Now, Logger: n.log,
	})
	if err != nil {
		n.actors.Store(nil)
		return err
	}
	n.broker = broker
	n.actors.Store(broker)
	n.registry.MustRegister(n.broker.Collector())
	if err := n.remember(n.broker.View().ClusterID()); err != nil {
		return err
	}
	n.ready = n.whereReached(identity)
	n.run("broker", func() error {
		select {
		case <-n.broker.Failed():
			return n.broker.Err()
		case <-n.broker.Stopped():
			return nil
		}
	})
	return nil
}

func (n *Node) whereReached(identity storage.Identity) Ready {
	paths := make([]string, len(n.dirs))
	for i, d := range n.dirs {
		paths[i] = d.Path()
	}
	r := Ready{
		Kafka: n.clients.Addr().String(), Cluster: n.cluster.Addr().String(), Admin: AdminOff,
		Data: strings.Join(paths, ","), ClusterID: identity.ClusterID, BrokerID: identity.BrokerID,
	}
	if listen, _, err := splitAddress(n.cfg.Listen); err == nil && isWildcard(listen) { // nobody connects to a wildcard
		r.Kafka = net.JoinHostPort(n.registration.Host, strconv.Itoa(int(n.registration.Port)))
	}
	if cluster, _, err := splitAddress(n.cfg.Cluster); err == nil && isWildcard(cluster) {
		r.Cluster = n.clusterAddress
	}
	if n.admin != nil {
		r.Admin = n.admin.Addr().String()
	}
	return r
}

func (n *Node) serveClients(context.Context) error {
	kafkaConfig, err := n.kafkaConfig()
	if err != nil {
		return err
	}
	n.kafka = kafka.New(kafkaConfig, n.broker, n.log, kafka.NewMetrics(n.registry), n.opts.Now)
	nativeConfig := native.DefaultConfig()
	n.native = native.New(nativeConfig, n.broker.Forwarding(), n.log, nativeMetrics(n.registry), n.opts.Now)
	n.mux = newMux(n.clients, func(c net.Conn) { n.kafka.ServeConn(c, nil) }, n.native.ServeConn, n.log)
	n.run("client listener", n.mux.serve)
	n.serving.Store(true)
	n.run("search for missing brokers", n.lookForMissing)
	return nil
}

// run runs a part of the broker. If it fails, the broker has ended.
func (n *Node) run(what string, task func() error) {
	n.tasks.Go(func() {
		if err := task(); err != nil {
			n.log.Error("the broker cannot go on", "part", what, "err", err)
			select {
			case n.ended <- fmt.Errorf("%s: %w", what, err):
			default:
			}
		}
	})
}

// Ready tells where the broker is reached.
func (n *Node) Ready() Ready { return n.ready }

// CheckReady returns nil while the broker may serve clients, and else why it may not.
func (n *Node) CheckReady() error {
	if n.serving.Load() {
		return cmp.Or(n.contest.standing(n.opts.Now()), n.broker.Ready())
	}
	if waiting := n.status.Load(); waiting != nil {
		return errors.New("the broker is starting or stopping: " + *waiting)
	}
	return errors.New("the broker is starting or stopping")
}

// Ended delivers the reason when the broker ends by itself. It is still to be stopped.
func (n *Node) Ended() <-chan error { return n.ended }

// Broker is the actor system, for tests that reach into it.
func (n *Node) Broker() *actors.Broker { return n.broker }
