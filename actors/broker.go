package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sync/semaphore"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// Broker is the actor system of one broker, seen from outside: what cmd/node starts and stops,
// and what the listeners ask (backend.go).
type Broker struct {
	cfg    Config
	dirs   []*storage.Dir
	now    func() time.Time
	logger *slog.Logger
	raftID atomic.Uint64 // what the metadata log here is called among the voters

	system       *actor.ActorSystem
	root         *actor.RootContext
	actor        *actor.PID // the broker actor
	producerIDs  *actor.PID
	coordinators *actor.PID // the groups actor
	groups       groupTable
	loads        *semaphore.Weighted // partitions of the offsets topic that are being read at once
	commands     *actor.PID          // nil, as all that follows, for a broker that is alone
	membership   *actor.PID
	controller   controllerRef
	opened       chan struct{} // closed when the metadata log is open
	remotes      *remotes      // the actors of other brokers
	// reassignments limits what is sent to replicas that reassignments bring in.
	reassignments throttle
	forwards      *forwards
	peers         *peers // those that are linked
	disks         *diskProbes
	gossipKeys    GossipKeys    // nil: gossip is not encrypted
	rotating      sync.Mutex    // held by who conducts a rotation of the gossip key
	proposals     atomic.Uint64 // made to other brokers: their ids
	standing      atomic.Pointer[standing]
	quorum        atomic.Pointer[wire.Quorum]

	image  atomic.Pointer[metadata.Local] // as this broker sees it
	routes routes
	// recovered says that the logs found at the start are open: the broker may be elected.
	recovered atomic.Bool

	work   sync.WaitGroup      // background work, and the janitor
	slots  *semaphore.Weighted // how much of it at once
	ending chan struct{}       // closed when Stop begins
	ended  chan struct{}       // closed when it is over
	once   sync.Once
	lost   context.Context // ends, with the cause, when the broker cannot go on
	lose   context.CancelCauseFunc
}

// Config is what a broker is made with, besides what it is given to own.
type Config struct {
	ID               wire.BrokerID
	Incarnation      wire.Incarnation
	Registration     metadata.RegisterBroker // how it makes itself known
	ClusterID        string                  // to found a cluster with, or "": the metadata log has one
	Join             bool                    // a blank metadata log waits to be filled by others
	Alone            bool                    // no other broker is known: a damaged metadata log cannot be filled by any
	AutoCreateTopics bool
	// PartitionBytesInFlight bounds what is produced to one partition and not answered yet.
	PartitionBytesInFlight int64
	// RetentionInterval is how often logs are looked at for what they need no longer keep.
	RetentionInterval time.Duration
	// MaxLag is how long a follower may be behind and stay in sync (replica.lag.time.max.ms).
	MaxLag time.Duration
	// ReadFromRack has leaders send consumers to an in-sync replica in their rack (replica.selector.class).
	ReadFromRack bool
	// Static is the broker's own configuration: flags, environment, file.
	Static map[string]string
}

// DefaultConfig is a broker's configuration but for its identity.
func DefaultConfig() Config {
	return Config{AutoCreateTopics: true, PartitionBytesInFlight: 64 << 20, RetentionInterval: 30 * time.Second, MaxLag: 10 * time.Second}
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	switch {
	case c.ID < 0:
		return fmt.Errorf("broker id %d is negative", c.ID)
	case c.PartitionBytesInFlight <= 0:
		return errors.New("the bytes in flight per partition must be positive")
	case c.RetentionInterval <= 0:
		return errors.New("the retention interval must be positive")
	}
	return nil
}

// Dependencies is what a broker uses and does not own, but for the directories' contents.
type Dependencies struct {
	Dirs       []*storage.Dir // the metadata log lies in the first
	FS         storage.FS
	RaftID     uint64
	Links      Links      // to other brokers; nil for one that is alone
	GossipKeys GossipKeys // nil: gossip is not encrypted
	Metrics    *Metrics
	Now        func() time.Time
	Logger     *slog.Logger
}

// backgroundJobs is how many logs are closed or deleted at once.
const backgroundJobs = 16

// Start starts the actors and returns when every partition on this broker can be used, or has
// been found unusable. The directories stay the caller's, to be closed after Stop.
func Start(ctx context.Context, cfg Config, deps Dependencies) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b := &Broker{
		cfg: cfg, dirs: deps.Dirs, now: deps.Now, logger: deps.Logger, gossipKeys: deps.GossipKeys, opened: make(chan struct{}),
		slots: semaphore.NewWeighted(backgroundJobs), loads: semaphore.NewWeighted(concurrentLoads), ending: make(chan struct{}), ended: make(chan struct{}),
	}
	b.raftID.Store(deps.RaftID)
	b.lost, b.lose = context.WithCancelCause(context.Background())
	b.image.Store(metadata.NewImage().Local(cfg.ID, cfg.Static))
	b.groups.config.Store(groupConfig(b.image.Load()))
	b.system = newSystem(cfg.ID, cfg.Incarnation, deps.Metrics, deps.Logger, b.panicked)
	b.root = b.system.Root
	b.remotes = newRemotes(b.system, deps.Links, deps.Metrics)
	b.forwards = newForwards(b)
	if deps.Links != nil {
		b.peers = newPeers()
	}
	var err error
	b.coordinators, err = b.root.SpawnNamed(propsOf(func() actor.Actor {
		return &groupsActor{Broker: b, metrics: deps.Metrics, slots: make(map[int32]*shardSlot)}
	}), groupsName)
	if err != nil {
		return nil, fmt.Errorf("spawn the groups actor: %w", err)
	}
	b.actor, err = b.root.SpawnNamed(propsOf(func() actor.Actor { return newBrokerActor(b, deps) }), "broker")
	if err != nil {
		return nil, fmt.Errorf("spawn the broker actor: %w", err)
	}
	b.producerIDs, err = b.root.SpawnNamed(propsOf(func() actor.Actor {
		return &producerIDs{request: b.request, send: b.send, self: cfg.ID}
	}), "producer-ids")
	if err != nil {
		return nil, fmt.Errorf("spawn the producer id actor: %w", err)
	}
	if err := b.forwards.start(); err != nil {
		return nil, err
	}
	if deps.Links != nil {
		if err := b.meetOthers(deps); err != nil {
			return nil, err
		}
	}
	if err := b.join(ctx); err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpTimeout)
		defer cancel()
		return nil, errors.Join(err, b.Stop(stopCtx))
	}
	b.tellNamed(membershipName, &memberNow{})
	b.work.Add(1)
	go b.janitor()
	return b, nil
}

// meetOthers starts what a broker needs in order to be one of several, and lets the links speak.
func (b *Broker) meetOthers(deps Dependencies) (err error) {
	b.commands, err = b.root.SpawnNamed(propsOf(func() actor.Actor { return newCommands(b) }), commandsName)
	if err != nil {
		return fmt.Errorf("spawn the commands actor: %w", err)
	}
	b.disks = newDiskProbes(deps.FS, deps.Dirs, b.now())
	for i := range deps.Dirs {
		b.work.Go(func() { b.disks.run(i, b.now, b.ending) })
	}
	b.membership, err = b.root.SpawnNamed(propsOf(func() actor.Actor {
		return &membership{Broker: b, hints: make(map[wire.BrokerID]*wire.Hint)}
	}), membershipName)
	if err != nil {
		return fmt.Errorf("spawn the membership actor: %w", err)
	}
	deps.Links.Attach(b)
	return nil
}

// join founds the cluster if there is none yet, and registers this broker in it. The answer to
// the registration comes when all partitions of this broker are there.
func (b *Broker) join(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.lost, cancel)()
	var err error
	select {
	case <-b.opened:
		err = b.found(ctx)
	case <-ctx.Done():
		err = fmt.Errorf("wait for the metadata log: %w", ctx.Err())
	}
	if cause := context.Cause(b.lost); err != nil && cause != nil {
		return cause
	}
	return err
}

func (b *Broker) found(ctx context.Context) error {
	if b.cfg.ClusterID != "" {
		// A cluster that was founded just before a crash keeps the id that it was founded with.
		err := b.askForError(ctx, metadata.FoundCluster{ClusterID: b.cfg.ClusterID})
		if err != nil && !errors.Is(err, wire.InconsistentClusterID) {
			return fmt.Errorf("found the cluster: %w", err)
		}
	}
	registration := b.cfg.Registration
	registration.RaftID = b.raftID.Load()
	reply, err := b.ask(ctx, registration)
	if registered, ok := reply.(metadata.RegisteredBroker); ok && err == nil {
		err = registered.Err
	}
	if err != nil {
		return fmt.Errorf("register broker %d: %w", b.cfg.ID, err)
	}
	return nil
}

// askForError asks the controller a command whose reply is an error or nothing.
func (b *Broker) askForError(ctx context.Context, command metadata.Command) error {
	reply, err := b.ask(ctx, command)
	if err != nil {
		return err
	}
	refusal, _ := reply.(error)
	return refusal
}

// giveUpTimeout is how long a broker that could not start may take to stop.
const giveUpTimeout = 10 * time.Second

// panicked hears of every actor that panicked. Most are watched by another one; if those at the
// top stop, the broker has.
func (b *Broker) panicked(actor string, reason any) {
	switch actor {
	case "broker", "producer-ids", groupsName, proposalsName, commandsName, membershipName:
		b.fail(fmt.Errorf("the %s actor panicked: %v", actor, reason))
	}
}

// send delivers a message from outside of any actor.
func (b *Broker) send(to *actor.PID, message any) { b.root.Send(to, message) }

// background runs f, which may block, on a goroutine of its own. Stop waits for it.
func (b *Broker) background(f func()) {
	b.work.Go(func() {
		if b.slots.Acquire(context.Background(), 1) == nil {
			defer b.slots.Release(1)
			f()
		}
	})
}

// request asks the controller from within an actor: the answer comes later, on another goroutine.
func (b *Broker) request(command metadata.Command, answered func(any, error)) {
	b.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), controllerTimeout)
		defer cancel()
		answered(b.ask(ctx, command))
	})
}

// controllerTimeout is how long a broker waits for the controller on its own account.
const controllerTimeout = 30 * time.Second

// Failed is closed when the broker cannot go on; Err tells why.
func (b *Broker) Failed() <-chan struct{} { return b.lost.Done() }

// Err is why the broker cannot go on, or nil.
func (b *Broker) Err() error { return context.Cause(b.lost) }

// Stopped is closed when Stop is over.
func (b *Broker) Stopped() <-chan struct{} { return b.ended }

// Offsets are the ends of the readable log of a partition that is led here.
func (b *Broker) Offsets(topic wire.TopicID, partition int32) (start, highWatermark wire.Offset, ok bool) {
	view := b.viewOf(topic, partition)
	if view == nil {
		return 0, 0, false
	}
	return view.start, view.highWatermark, true
}

// LogBytes is the size of the log of a partition that is led here.
func (b *Broker) LogBytes(topic wire.TopicID, partition int32) int64 {
	view := b.viewOf(topic, partition)
	if view == nil {
		return 0
	}
	return view.log.Size()
}

func (b *Broker) viewOf(topic wire.TopicID, partition int32) *replicaView {
	part := b.routes.find(topic, partition)
	if part == nil {
		return nil
	}
	return part.view.Load()
}

func (b *Broker) fail(err error) { b.lose(err) }

// producerExpiryInterval is how often replicas are asked to forget silent producers
// (producer.id.expiration.check.interval.ms).
const producerExpiryInterval = 10 * time.Minute

// janitor looks for logs that keep more than they need, from the start on, and now and then has
// every replica forget its silent producers. It only looks: the replica decides.
func (b *Broker) janitor() {
	defer b.work.Done()
	ticker := time.NewTicker(b.cfg.RetentionInterval)
	defer ticker.Stop()
	expired := b.now()
	for {
		now := b.now()
		expire := now.Sub(expired) >= producerExpiryInterval
		if expire {
			expired = now
		}
		b.routes.each(func(p *partition) bool {
			if pid := p.actor.Load(); expire && pid != nil {
				b.root.Send(pid, &expireProducers{})
			}
			view, pid := p.view.Load(), p.door.address()
			if view != nil && pid != nil && view.log.RetentionDue(now, view.highWatermark) {
				b.root.Send(pid, &applyRetention{})
			}
			return true
		})
		select {
		case <-ticker.C:
		case <-b.ending:
			return
		}
	}
}

// Stop stops the actors and closes the logs. The listeners must have been stopped before: what
// is still on its way is answered NOT_LEADER_OR_FOLLOWER.
func (b *Broker) Stop(ctx context.Context) error {
	var err error
	b.once.Do(func() {
		close(b.ending)
		err = b.stop(ctx)
		close(b.ended)
	})
	return err
}

func (b *Broker) stop(ctx context.Context) error {
	stopped := make(chan struct{})
	if b.membership != nil {
		b.root.Stop(b.membership)
		b.root.Stop(b.commands)
	}
	b.root.Send(b.coordinators, &stopGroups{})
	b.root.Send(b.actor, &stopBroker{done: func() { close(stopped) }})
	select {
	case <-stopped:
	case <-ctx.Done():
		return fmt.Errorf("stop the replicas: %w", ctx.Err())
	}
	b.root.Stop(b.producerIDs)
	b.root.Stop(b.coordinators)
	b.forwards.close()
	finished := make(chan struct{})
	go func() {
		b.work.Wait()
		b.system.Shutdown()
		close(finished)
	}()
	select {
	case <-finished:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close the logs: %w", ctx.Err())
	}
}
