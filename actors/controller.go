package actors

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/scheduler"
	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// controller drives the metadata log: it is one voter of a raft group (so far the only one), and
// while it leads, it decides what enters the log.
//
//	propose ─> Decide(next) ─> raft ─> metadataLog (write, sync) ─> raft ─> Apply(image) ─> imageApplied
//	             next += records             pending                             replies to the broker actor
//
// It keeps two images: the one that the committed log gives, and next, which has its own
// uncommitted entries too. Each command is decided on next, so that its entry meets exactly the state it was
// computed for. It decides nothing before the first entry of its own term is applied: until then
// an earlier leader's entries may be on their way. Commands that come earlier are held.
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

	node      *raft.RawNode       // nil until the log is open
	storage   *raft.MemoryStorage // what the log holds durably since its snapshot; only this actor touches it
	confState *raftpb.ConfState
	pumping   bool // a pumpRaft is in the mailbox

	image   *metadata.Image // as committed
	applied uint64          // index of the last entry in image

	leading      bool
	term         uint64 // that it leads in
	current      bool   // the first entry of term is applied: it may decide
	next         *metadata.Image
	proposedUpTo uint64    // index of the last entry in next
	pending      []pending // own entries between image and next
	pendingBytes int
	held         []*propose // in the order they came

	unsnapshotted int  // bytes of entries applied since the last snapshot
	snapshotting  bool // one is under way
	ended         bool
}

// pending is an entry in the log, and who gets an answer when it is applied: whoever proposed it, and
// those whose commands saw it and had nothing to add.
type pending struct {
	index   uint64
	bytes   int
	answers []answer
}

type answer struct {
	to    chan<- proposed
	reply any
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
	cluster   string // whose log it is, if it may not
	static    map[string]string
	transport raftTransport // to other voters; nil while there are none

	snapshotBytes int // a snapshot is taken after so many bytes of entries
	now           func() time.Time
	newTopicID    func() wire.TopicID
	logger        *slog.Logger
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
	raftElectionTicks  = 5

	defaultSnapshotBytes = 20 << 20
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
	return &controller{cfg: cfg, logger: cfg.logger, image: metadata.NewImage()}
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
		c.onStep(msg)
	case *raftTick:
		c.onTick(ctx)
	case *snapshotSaved:
		c.onSnapshotSaved(ctx, msg)
	case *walFailed:
		c.fail(ctx, &metadataDiskError{fmt.Errorf("write the metadata log: %w", msg.err)})
	case *actor.Terminated:
		c.fail(ctx, fmt.Errorf("actor %s stopped", msg.Who.GetId()))
	case *actor.Stopping:
		c.end()
	}
	c.pump(ctx)
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
	c.armTick(ctx)
}

func (c *controller) armTick(ctx actor.Context) {
	c.cancelTick = c.timers.SendOnce(raftTickInterval, ctx.Self(), &raftTick{})
}

// onPropose decides a command now, or later if it cannot yet, or refuses it.
func (c *controller) onPropose(ctx actor.Context, msg *propose) {
	switch {
	case c.ended || !c.leading && !c.alone():
		msg.reply <- proposed{err: wire.NotController}
	case len(c.held) >= maxHeldCommands:
		msg.reply <- proposed{err: wire.Errorf(wire.ThrottlingQuotaExceeded, "%d changes of metadata are waiting", len(c.held))}
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
	d := msg.command.Decide(c.next, metadata.Env{
		Now: c.cfg.now(), Self: c.cfg.self, NewTopicID: c.cfg.newTopicID, Static: c.cfg.static,
	})
	a := answer{to: msg.reply, reply: d.Reply}
	if len(d.Records) == 0 {
		// What it saw may not be committed yet. While there is one voter, what is committed is the
		// latest there is; with more it takes a round among them first.
		if n := len(c.pending); n > 0 {
			c.pending[n-1].answers = append(c.pending[n-1].answers, a)
		} else {
			ctx.Send(c.cfg.broker, &imageApplied{image: c.image, index: c.applied, replies: []func(){a.give}})
		}
		return
	}
	data := metadata.EncodeRecords(d.Records)
	if len(data) > maxEntryBytes {
		a.refuse(wire.Errorf(wire.InvalidRequest, "the change takes %d bytes of the metadata log, more than %d", len(data), maxEntryBytes))
		return
	}
	next, _, err := c.next.Apply(c.proposedUpTo+1, d.Records)
	if err != nil {
		a.refuse(wire.NotController)
		c.fail(ctx, fmt.Errorf("decide %T: %w", msg.command, err))
		return
	}
	if err := c.node.Propose(data); err != nil {
		a.refuse(wire.NotController) // raft does not lead any more, and the next Ready says so
		return
	}
	c.next = next
	c.proposedUpTo++
	c.pendingBytes += len(data)
	c.pending = append(c.pending, pending{index: c.proposedUpTo, bytes: len(data), answers: []answer{a}})
}

func (a answer) give()            { a.to <- proposed{reply: a.reply} }
func (a answer) refuse(err error) { a.to <- proposed{err: err} }

// abandon answers everyone who waits. What is in the log may still be committed.
func (c *controller) abandon() {
	for _, p := range c.pending {
		for _, a := range p.answers {
			a.refuse(wire.NotController)
		}
	}
	for _, msg := range c.held {
		msg.reply <- proposed{err: wire.NotController}
	}
	c.pending, c.pendingBytes, c.held, c.next, c.current = nil, 0, nil, nil, false
}

// fail ends the controller for a reason that another start may or may not cure; the broker decides.
// It is also the broker that stops the actor then: the word that an actor has stopped overtakes what
// that actor has said before.
func (c *controller) fail(ctx actor.Context, err error) {
	if c.ended {
		return
	}
	c.logger.Error("controller failed", "err", err)
	c.end()
	ctx.Send(c.cfg.broker, &controllerFailed{err: err})
}

func (c *controller) end() {
	c.ended = true
	if c.cancelTick != nil {
		c.cancelTick()
	}
	c.abandon()
}
