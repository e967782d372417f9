package actors

import (
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/scheduler"
	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// controller drives the metadata log on this broker. It is a voter of a raft group, or a learner, or
// neither: then it observes, and is told of the committed log by those who have it. While its raft
// node leads, it is the controller of the cluster: it decides what enters the log.
//
//	propose ─> Decide(next) ─> raft ─> metadataLog (write, sync) ─> raft ─> Apply(image) ─> imageApplied
//	             next += records             pending                             replies to the broker actor
//
// It keeps two images: the one that the committed log gives, and next, which has its own
// uncommitted entries too. Each command is decided on next, so that its entry meets exactly the state it was
// computed for. It decides nothing before the first entry of its own term is applied: until then
// an earlier leader's entries may be on their way. Commands that come earlier are held.
//
//	controller.go            commands: held and decided
//	controller_answers.go    who waits for an entry, or for this broker to have caught up
//	controller_restore.go    from what the log holds to a raft node
//	controller_raft.go       what the raft node wants done, and what is committed
//	controller_reads.go      answers that change nothing, and wait until it is sure that this one leads
//	controller_peers.go      raft messages from and to other brokers
//	controller_quorum.go     who votes, and who votes in a hurry
//	controller_liveness.go   heartbeats, hints, leases
//	controller_chores.go     what it does by itself, now and then
//	controller_serving.go    the committed log for those who observe
//	controller_observing.go  observing
//
// The disk is the metadataLog's, the bytes of snapshots are the snapshotEncoder's; both are
// children, and stop with it. It tells the broker actor why it ends, and ends with a panic only where
// there is a bug; who watches it starts the next one, which finds all that was answered in the log.
type controller struct {
	cfg    controllerConfig
	logger *slog.Logger

	log        *actor.PID
	encoder    *actor.PID
	timers     *scheduler.TimerScheduler
	cancelTick scheduler.CancelFunc

	node      *raft.RawNode // nil until the log is open
	storage   *raftStorage  // what the log holds durably since its snapshot; only this actor touches it
	confState *raftpb.ConfState
	pumping   bool // a pumpRaft is in the mailbox

	image    *metadata.Image // as committed
	applied  uint64          // index of the last entry that raft has had applied
	restored uint64          // index of the last entry that was known to be committed when the log was opened
	seen     uint64          // index that image stands for: applied, or beyond when it was observed
	// regrouped is the index of a change of the voters that was just applied, and is to be kept; or 0.
	regrouped uint64

	leading      bool
	lead         uint64        // the raft id that leads, as far as raft knows
	quiet        int           // ticks since something was heard of lead
	controllerID wire.BrokerID // who leads, as far as is known in any way; the broker has been told
	term         uint64        // that it leads in
	current      bool          // the first entry of term is applied: it may decide
	next         *metadata.Image
	proposedUpTo uint64    // index of the last entry in next
	pending      []pending // own entries between image and next
	pendingBytes int
	held         []*propose // in the order they came
	reads        reads
	awaiting     []*awaitIndex // in no order

	quorum    quorum
	overseer  overseer
	chores    chores
	serving   serving
	observing observing

	unsnapshotted int  // bytes of entries applied since the last snapshot
	snapshotting  bool // one is under way
	ended         bool
}

// controllerConfig is what a controller is given.
type controllerConfig struct {
	raftID    uint64
	self      wire.BrokerID
	broker    *actor.PID // told of every new image
	fs        storage.FS
	dir       string // of the metadata log
	wal       storage.WALConfig
	found     bool   // a blank log may become that of a new cluster
	join      bool   // a blank log waits to be filled by others
	cluster   string // whose log it is, if it may be neither
	static    map[string]string
	transport raftTransport                                    // to other voters; nil for a broker that is alone
	admits    func(raftID uint64, from wire.BrokerID) bool     // whether a broker may speak for a voter
	peers     *peers                                           // other brokers; nil for a broker that is alone
	post      func(to wire.BrokerID, m wire.PeerMessage) error // to another broker's controller
	quorum    *atomic.Pointer[wire.Quorum]                     // who keeps the log, for all to see; nil: nobody looks
	known     *metadata.Image                                  // what the run before has brought the broker to; nil if there was none

	snapshotBytes int // a snapshot is taken after so many bytes of entries
	keepBytes     int // of entries that a snapshot stands for, and which are kept for those who are a little behind
	now           func() time.Time
	newTopicID    func() wire.TopicID
	logger        *slog.Logger
	full          bool // the one before ended because the disk is full
}

// raftTransport carries raft messages to other voters, to whom they are stepRaft. It may lose them,
// and never blocks. False says that this one is lost.
type raftTransport interface {
	Send(m *raftpb.Message) bool
}

// Limits and times of the metadata log.
const (
	metadataLogDir = "__cluster_metadata"

	raftTickInterval   = 50 * time.Millisecond
	raftHeartbeatTicks = 1
	raftElectionTicks  = 10 // where a process is gone, nobody waits for it: see onPeerRefused

	defaultSnapshotBytes = 20 << 20
	defaultKeepBytes     = 4 << 20
	maxEntryBytes        = 16 << 20
	maxPendingBytes      = 32 << 20 // of entries not yet committed; more commands are held
	maxHeldCommands      = 10_000
	entryOverheadBytes   = 64 // what an entry costs besides its data, roughly
)

// controllerProps returns how to spawn a controller from the root, under the name "controller".
func controllerProps(cfg controllerConfig) *actor.Props {
	return propsOf(func() actor.Actor { return newController(cfg) })
}

func newController(cfg controllerConfig) actor.Actor {
	c := &controller{cfg: cfg, logger: cfg.logger, image: metadata.NewImage(), controllerID: wire.NoBroker}
	c.observing.leader = wire.NoBroker
	if cfg.known != nil {
		c.image, c.seen = cfg.known, cfg.known.Index()
	}
	return c
}

// Receive implements actor.Actor.
func (c *controller) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		c.onStarted(ctx)
	case *walOpened:
		c.onWALOpened(ctx, msg)
	case *propose:
		c.onPropose(ctx, msg)
	case *pumpRaft:
		c.onPump(ctx)
	case *walAppended:
		c.onWALAppended(ctx, msg)
	case *stepRaft:
		c.onStep(msg.message)
	case *raftTick:
		c.onTick(ctx)
	case *snapshotSaved:
		c.onSnapshotSaved(ctx, msg)
	case *awaitIndex:
		c.onAwaitIndex(ctx, msg)
	case *walFailed:
		c.fail(ctx, &metadataDiskError{fmt.Errorf("write the metadata log: %w", msg.err)})
	case *actor.Terminated:
		c.fail(ctx, fmt.Errorf("actor %s stopped", msg.Who.GetId()))
	case *actor.Stopping:
		c.end(ctx)
	case *killActor:
		panic("killed")
	default:
		c.receiveFromPeers(ctx)
	}
	c.pump(ctx)
}

// receiveFromPeers dispatches what other brokers say, and what is said of them.
func (c *controller) receiveFromPeers(ctx actor.Context) {
	if c.ended {
		return // they ask again, or have seen the link go down
	}
	switch msg := ctx.Message().(type) {
	case *wire.RaftStep:
		c.onRaftStep(msg)
	case *wire.Propose:
		c.onRemotePropose(ctx, msg)
	case *wire.FetchMetadata:
		c.onFetch(ctx, msg)
	case *wire.MetadataFetched:
		c.onFetched(ctx, msg)
	case *wire.Heartbeat:
		c.onHeartbeat(ctx, msg)
	case *wire.Hint:
		c.onHint(ctx, msg)
	case *linkUp:
		c.onLinkUp(ctx, msg)
	case *linkDown:
		c.onLinkDown(ctx, msg)
	case *peerRefused:
		c.onPeerRefused(msg)
	case *handOver:
		c.onHandOver()
	}
}

func (c *controller) onStarted(ctx actor.Context) {
	// Children go by the strategy of the parent: stopOnPanic.
	c.log = ctx.SpawnPrefix(actor.PropsFromProducer(func() actor.Actor { return newMetadataLog(c.cfg) }), "log")
	c.encoder = ctx.SpawnPrefix(actor.PropsFromProducer(func() actor.Actor { return &snapshotEncoder{log: c.log} }), "snapshots")
	ctx.Watch(c.log)
	ctx.Watch(c.encoder)
	c.timers = scheduler.NewTimerScheduler(ctx.ActorSystem().Root)
}

func (c *controller) onTick(ctx actor.Context) {
	if c.ended {
		return
	}
	c.node.Tick()
	c.quiet++
	c.watchSnapshots()
	c.stepAsideIfStalled(c.cfg.now())
	c.campaignIfUrgent()
	c.tellController(ctx) // a leader may have fallen silent
	c.releasePolls(ctx)
	c.observe(ctx)
	c.oversee(ctx)
	c.publishQuorum()
	c.armTick(ctx)
}

func (c *controller) armTick(ctx actor.Context) {
	c.cancelTick = c.timers.SendOnce(raftTickInterval, ctx.Self(), &raftTick{})
}

// onPropose decides a command now, or later if it cannot yet, or refuses it.
func (c *controller) onPropose(ctx actor.Context, msg *propose) {
	switch {
	case c.ended || !c.leading && !c.alone():
		msg.refuse(ctx, wire.NotController)
	case len(c.held) >= maxHeldCommands:
		msg.refuse(ctx, wire.Errorf(wire.ThrottlingQuotaExceeded, "%d changes of metadata are waiting", len(c.held)))
	default:
		c.held = append(c.held, msg)
		c.decideHeld(ctx)
	}
}

// alone says that no other voter could be the leader instead. Before the log is open it may be so.
func (c *controller) alone() bool {
	return c.node == nil || len(c.confState.GetVoters()) == 1 && c.confState.GetVoters()[0] == c.cfg.raftID
}

// decideHeld decides what is held, as far as there is room for entries.
func (c *controller) decideHeld(ctx actor.Context) {
	for c.current && !c.ended && len(c.held) > 0 && c.pendingBytes < maxPendingBytes {
		msg := c.held[0]
		c.held[0] = nil
		if c.held = c.held[1:]; len(c.held) == 0 {
			c.held = nil
		}
		c.decide(ctx, msg)
	}
}

func (c *controller) decide(ctx actor.Context, msg *propose) {
	c.fenceIfOneOfSeveral(msg)
	d := msg.command.Decide(c.next, metadata.Env{
		Now: c.cfg.now(), Self: c.cfg.self, NewTopicID: c.cfg.newTopicID, Static: c.cfg.static,
	})
	a := answer{propose: msg, reply: d.Reply}
	if len(d.Records) == 0 {
		if msg.reply == nil && msg.remote == nil {
			return
		}
		// What it saw may not be committed yet, and is the latest there is only if this one still leads.
		if n := len(c.pending); n > 0 {
			c.pending[n-1].answers = append(c.pending[n-1].answers, a)
		} else {
			c.read(ctx, a)
		}
		return
	}
	data := metadata.EncodeRecords(d.Records)
	if len(data) > maxEntryBytes {
		msg.refuse(ctx, wire.Errorf(wire.InvalidRequest, "the change takes %d bytes of the metadata log, more than %d", len(data), maxEntryBytes))
		return
	}
	next, _, err := c.next.Apply(c.proposedUpTo+1, d.Records)
	if err != nil {
		msg.refuse(ctx, wire.NotController)
		c.fail(ctx, fmt.Errorf("decide %T: %w", msg.command, err))
		return
	}
	if err := c.node.Propose(data); err != nil {
		msg.refuse(ctx, wire.NotController) // raft does not lead any more, and the next Ready says so
		return
	}
	c.next = next
	c.proposedUpTo++
	c.pendingBytes += len(data)
	c.pending = append(c.pending, pending{index: c.proposedUpTo, bytes: len(data), answers: []answer{a}})
}

// fenceIfOneOfSeveral has a broker that registers begin fenced, unless there is no other: its heartbeats tell
// when its image and its logs are as they should be. The only one there is would be waited for in vain.
func (c *controller) fenceIfOneOfSeveral(msg *propose) {
	registration, ok := msg.command.(metadata.RegisterBroker)
	if ok && slices.ContainsFunc(c.next.Brokers(), func(b wire.Broker) bool { return b.ID != registration.ID }) {
		registration.Fenced = true
		msg.command = registration
	}
}

// fail ends the controller for a reason that another start may or may not cure; the broker decides.
// It is also the broker that stops the actor then: the word that an actor has stopped overtakes what
// that actor has said before.
func (c *controller) fail(ctx actor.Context, err error) {
	if c.ended {
		return
	}
	if !c.cfg.full || !storage.IsFull(err) { // it has been said already
		c.logger.Error("controller failed", "err", err)
	}
	c.end(ctx)
	ctx.Send(c.cfg.broker, &controllerFailed{err: err})
}

func (c *controller) end(ctx actor.Context) {
	if c.ended {
		return
	}
	c.ended = true
	if c.cancelTick != nil {
		c.cancelTick()
	}
	c.abandon(ctx)
	for _, a := range c.awaiting {
		a.reached() // it was decided; that it cannot be seen here yet is the lesser evil
	}
	c.awaiting = nil
}
