// Package node assembles one broker out of the parts and starts and stops it. It is the only
// place that knows all of them.
//
//	config*.go       what a broker is told: flags, environment, file
//	node.go          start upwards, floor by floor; stop downwards
//	identity.go      who this broker is: meta.json in every log directory
//	bootstrap.go     how a broker without a cluster comes to one; the rules are cluster/bootstrap's
//	hello.go         what brokers say to each other before they have links
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
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
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
	gossipKeys     [][]byte
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
	for _, step := range []func(context.Context) error{
		n.listen, n.openDirectories, n.startConsole, n.openClusterPort, n.joinCluster, n.connect, n.startActors, n.serveClients,
	} {
		if err := step(ctx); err != nil {
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

// listen takes the ports first: a port that is taken is found out before anything is touched.
func (n *Node) listen(ctx context.Context) error {
	n.cluster, n.packets = n.opts.Cluster, n.opts.ClusterPackets
	for _, l := range []struct {
		at      *net.Listener
		key     string
		address string
	}{{&n.clients, KeyListen, n.cfg.Listen}, {&n.admin, KeyAdmin, n.cfg.Admin}} {
		if l.key == KeyAdmin && l.address == AdminOff {
			continue
		}
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", l.address)
		if err != nil {
			return taken(l.key, err)
		}
		*l.at = listener
	}
	if n.cluster != nil {
		return nil
	}
	var err error
	n.cluster, n.packets, err = listenCluster(ctx, n.cfg.Cluster)
	return err
}

func taken(key string, err error) error {
	return fmt.Errorf("%s: %w; choose another address or stop the process that has it", key, err)
}

// clusterPortAttempts is how often a free port is asked for whose number is free for UDP too.
const clusterPortAttempts = 20

// listenCluster takes the cluster port: one number, for connections and for packets.
func listenCluster(ctx context.Context, address string) (l net.Listener, packets net.PacketConn, err error) {
	var lc net.ListenConfig
	for range clusterPortAttempts {
		l, err = lc.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, nil, taken(KeyCluster, err)
		}
		packets, err = lc.ListenPacket(ctx, "udp", l.Addr().String())
		if err == nil {
			return l, packets, nil
		}
		_ = l.Close()
		if !strings.HasSuffix(address, ":0") {
			break
		}
	}
	return nil, nil, taken(KeyCluster, err)
}

func (n *Node) openDirectories(context.Context) error {
	metrics := storage.NewMetrics(n.registry)
	cfg := storage.DefaultDirConfig()
	cfg.Now, cfg.BootID, cfg.Metrics = n.opts.Now, n.opts.BootID, metrics
	cfg.ReserveBytes = n.cfg.number("log.dir.reserve.bytes")
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
	cfg.Version = n.opts.Version
	var err error
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
	cfg.Registration.Fenced = cfg.Join || len(n.book.members()) > 0 // alone, nobody has to be asked
	cfg.Static = maps.Clone(n.cfg.Static)
	cfg.Static[keyNodeID] = strconv.Itoa(int(cfg.ID)) // for Kafka's tools to see
	cfg.AutoCreateTopics = n.cfg.staticBool("auto.create.topics.enable", true)
	cfg.RetentionInterval = time.Duration(n.cfg.number("log.retention.check.interval.ms")) * time.Millisecond
	broker, err := actors.Start(ctx, cfg, actors.Dependencies{
		Dirs: n.dirs, FS: n.opts.FS, RaftID: identity.RaftID, Links: linkTable{n.links, n},
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
	n.native = native.New(nativeConfig, n.broker, n.log, nativeMetrics(n.registry), n.opts.Now)
	n.mux = newMux(n.clients, func(c net.Conn) { n.kafka.ServeConn(c, nil) }, n.native.ServeConn, n.log)
	n.run("client listener", n.mux.serve)
	n.serving.Store(true)
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

// Ended delivers the reason when the broker ends by itself. It is still to be stopped.
func (n *Node) Ended() <-chan error { return n.ended }

// Broker is the actor system, for tests that reach into it.
func (n *Node) Broker() *actors.Broker { return n.broker }

// Stop lets what is in flight be answered and closes everything, clients first and disks last.
// It returns when nothing is left, or when ctx ends.
func (n *Node) Stop(ctx context.Context) error {
	n.stopOnce.Do(func() { n.stopErr = n.stop(ctx) })
	return n.stopErr
}

// handOverTimeout bounds how long other brokers may take to take over: clients are served meanwhile.
const handOverTimeout = 5 * time.Second

func (n *Node) stop(ctx context.Context) error {
	var errs []error
	if n.broker != nil && n.serving.Load() {
		n.handOver(ctx)
	}
	n.serving.Store(false)
	if n.mux != nil {
		n.stopClients(ctx)
	}
	n.end()
	errs = append(errs, n.leaveCluster(ctx))
	if n.broker != nil {
		errs = append(errs, n.broker.Stop(ctx))
	}
	errs = append(errs, n.disconnect(ctx))
	errs = append(errs, within(ctx, "close the log directories", n.closeDirectories))
	if n.console != nil {
		errs = append(errs, n.console.Shutdown(ctx))
	}
	for _, l := range []io.Closer{n.clients, n.cluster, n.packets, n.admin} {
		if l != nil {
			_ = l.Close()
		}
	}
	errs = append(errs, within(ctx, "stop", func() error {
		n.tasks.Wait()
		return nil
	}))
	return errors.Join(errs...)
}

// handOver has other brokers take over what this one leads, while it still serves. Half of the time
// there is must be left for the rest.
func (n *Node) handOver(ctx context.Context) {
	patience := handOverTimeout
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := n.broker.HandOver(ctx); err != nil {
		n.log.Warn("stopping although others have not taken over all", "err", err)
	}
}

// disconnect ends what connects this broker to others.
func (n *Node) disconnect(ctx context.Context) error {
	var errs []error
	if n.links != nil {
		if err := n.links.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close the links: %w", err))
		}
	}
	if n.port != nil {
		n.port.close()
		if err := n.port.wait(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close the cluster port: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (n *Node) closeDirectories() error {
	var errs []error
	for _, d := range n.dirs {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}

// within runs f, and leaves it behind when ctx ends: a disk that hangs must not keep the process.
func within(ctx context.Context, what string, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
}

// stopClients has the clients answered and gone. One that does not read its answers is cut off after
// half of the time there is: it must not keep the logs from being closed in the other half.
func (n *Node) stopClients(ctx context.Context) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	n.mux.close()
	var servers sync.WaitGroup
	errs := make([]error, 2)
	servers.Go(func() { errs[0] = n.kafka.Shutdown(ctx) })
	servers.Go(func() { errs[1] = n.native.Shutdown(ctx) })
	servers.Wait()
	if err := errors.Join(errs[0], errs[1], n.mux.wait(ctx)); err != nil {
		n.log.Warn("clients that did not take their answers were cut off", "err", err)
	}
}

// source is what the console shows.
type source struct{ n *Node }

func (s source) Ready() error {
	if s.n.serving.Load() {
		return s.n.broker.Ready()
	}
	if waiting := s.n.status.Load(); waiting != nil {
		return errors.New("the broker is starting or stopping: " + *waiting)
	}
	return errors.New("the broker is starting or stopping")
}

func (s source) BrokerID() wire.BrokerID {
	if identity := s.n.identity.Load(); identity != nil {
		return identity.BrokerID
	}
	return wire.NoBroker
}

func (s source) View() wire.View {
	if !s.n.serving.Load() {
		return nil
	}
	return s.n.broker.View()
}

func (s source) Offsets(id wire.TopicID, partition int32) (console.Offsets, bool) {
	if !s.n.serving.Load() {
		return console.Offsets{}, false
	}
	start, highWatermark, ok := s.n.broker.Offsets(id, partition)
	return console.Offsets{LogStart: start, HighWatermark: highWatermark, Bytes: s.n.broker.LogBytes(id, partition)}, ok
}

func (s source) TopicConfigs(name string) []wire.ConfigEntry {
	if !s.n.serving.Load() {
		return nil
	}
	entries, _ := s.n.broker.DescribeConfigs(wire.ConfigResource{Type: wire.ConfigTopic, Name: name})
	return entries
}
