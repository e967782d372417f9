package actors

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/replica"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// replicaActor owns one partition's log for as long as it lives. It is born opening its log, waits
// until it hears who leads, and then leads or follows until it is stopped. One function each
// leads into leading and following, and the leader epoch decides: what is of an older one is void.
//
//	opening ──logOpened──> waiting ──becomeLeader──> leading
//	                          │                       │  ^   a higher epoch, from the image or
//	                          └─becomeFollower, ──> following  from another leader
//	                            Probe, Append         │  ^
//	                                       Truncate   v  │ log cut, producers known
//	                                               cutting
//
// While the log is being opened or cut, the last that was heard of the role is remembered.
//
// What it owns: the log's writing side, the rules, the producers' state, and those who are
// parked. What others read is published as a replicaView.
type replicaActor struct {
	replicaConfig
	behavior actor.Behavior
	self     *actor.PID

	log        *storage.Log
	generation uint64
	producers  *replica.Producers
	accounted  wire.Offset      // producers knows of every batch below
	refuses    bool             // what the leader sent last could not be appended
	epoch      wire.LeaderEpoch // the highest that it has led or followed in
	configured *configure       // what came while the log was being opened
	next       any              // a becomeLeader or becomeFollower that came while the log was being opened or cut

	leader   *replica.Leader // nil unless leading
	follower *replica.Follower
	streams  streams           // while leading
	proposed *replica.Proposal // the last one, while leading
	upstream *actor.PID        // the leader that is followed, if it is known

	parked   replica.Parked[*produceMsg]
	deadline *time.Timer // set while a parked producer may run out of time
	due      time.Time   // when it fires
}

// replicaConfig is what a replica actor is made with.
type replicaConfig struct {
	partition     *partition
	run           uint64
	owner         *actor.PID // the topic actor
	proposals     *actor.PID // who asks the controller for another ISR
	remotes       *remotes
	leased        func() bool // whether the controller counts this broker among the living
	reassignments *throttle
	linked        func(*actor.PID) bool // whether there is a link to that run of a broker
	open          func(hooks logHooks, opened func(*logOpened))
	background    func(func())
	send          func(to *actor.PID, message any) // from outside of any actor
	metrics       *Metrics
	now           func() time.Time
	logger        *slog.Logger
	broker        wire.BrokerID
	incarnation   wire.Incarnation
	identity      uint64 // of this actor, among all that this process has spawned
}

// logHooks is what a log calls back. synced and cut are called by the directory's syncer; producers
// by whoever appends to or closes the log, for the snapshot that it then writes.
type logHooks struct {
	synced    func(storage.Synced)
	cut       func(storage.Cut)
	producers func() []wire.ProducerBatch
}

func newReplica(cfg replicaConfig) *replicaActor {
	r := &replicaActor{replicaConfig: cfg, behavior: actor.NewBehavior(), epoch: wire.NoEpoch}
	r.behavior.Become(r.opening)
	return r
}

// Receive implements actor.Actor.
func (r *replicaActor) Receive(ctx actor.Context) { r.behavior.Receive(ctx) }

func (r *replicaActor) opening(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		r.onStarted(ctx)
	case *logOpened:
		r.onLogOpened(ctx, msg)
	case *becomeLeader, *becomeFollower:
		r.next = msg
	case *configure:
		r.configured = msg
	default:
		r.any(ctx)
	}
}

func (r *replicaActor) waiting(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *becomeLeader:
		r.onBecomeLeader(ctx, msg)
	case *becomeFollower:
		r.onBecomeFollower(msg)
	case *wire.Probe:
		r.onProbe(ctx, msg)
	case *wire.Append:
		r.onAppend(ctx, msg)
	default:
		r.any(ctx)
	}
}

// any handles what means the same in every state.
func (r *replicaActor) any(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Stopping:
		r.leave(wire.NoHint)
	case *actor.Stopped, *actor.Restarting:
	case *produceMsg:
		msg.Buffer.Release()
		reply := refused(wire.NotLeaderOrFollower)
		reply.Leader = r.hint()
		msg.answer(reply)
	case *deleteRecords:
		msg.reply <- deletedRecords{start: wire.NoOffset, err: wire.NotLeaderOrFollower}
	case *describeProducers:
		msg.reply <- nil
	case *configure:
		r.onConfigure(msg)
	case *expireProducers:
		r.onExpireProducers()
	case *killActor:
		panic("killed on request")
	case *wire.Append: // the leader asks again where this log ends
		msg.Buffer.Release()
	case *catchUpRead: // for a follower in an epoch that is over
		msg.buffer.Release()
	case *logSynced, *applyRetention, *deadlineTick, *leaderTick, *announceTick,
		*linkUp, *linkDown, *linkRoom, *producersRecovered,
		*wire.Probe, *wire.Truncate, *wire.Position, *wire.Appended: // of an epoch or a role that is over
	default:
		r.metrics.unknownMessage()
		r.logger.Warn("unknown message", "type", fmt.Sprintf("%T", msg))
	}
}

func (r *replicaActor) onStarted(ctx actor.Context) {
	r.self = ctx.Self()
	self, send := r.self, r.send
	hooks := logHooks{
		synced: func(s storage.Synced) {
			send(self, &logSynced{generation: s.Generation, upTo: s.UpTo, err: s.Err})
		},
		cut:       func(c storage.Cut) { send(self, &logCut{c}) },
		producers: r.snapshotProducers,
	}
	r.open(hooks, func(opened *logOpened) { send(self, opened) })
}

// snapshotProducers returns the producers' state for the log's present end, or nil when the two
// may differ: an actor that panicked between an append and taking note of it must not leave a
// snapshot that has forgotten a batch. It is called while the actor appends, and when the log is
// closed after the actor has ended.
func (r *replicaActor) snapshotProducers() []wire.ProducerBatch {
	if r.producers == nil || r.accounted != r.log.EndOffset() {
		return nil
	}
	return append([]wire.ProducerBatch{}, r.producers.Snapshot()...)
}

func (r *replicaActor) onLogOpened(ctx actor.Context, msg *logOpened) {
	if msg.err != nil {
		r.logger.Error("log cannot be opened", "err", msg.err)
		ctx.Send(r.owner, &replicaReady{partition: r.partition.tp.Partition, run: r.run, err: msg.err})
		return
	}
	r.log, r.producers, r.generation = msg.log, msg.producers, msg.log.Generation()
	r.accounted = msg.log.EndOffset()
	r.behavior.Become(r.waiting)
	if r.configured != nil {
		r.onConfigure(r.configured)
		r.configured = nil
	}
	ctx.Send(r.owner, &replicaReady{
		partition: r.partition.tp.Partition, run: r.run, epoch: wire.NoEpoch, lost: r.log.LostDurable(),
	})
	r.takeRole(ctx)
}

// takeRole takes up what was heard of the role while the log was not to be used.
func (r *replicaActor) takeRole(ctx actor.Context) {
	next := r.next
	r.next = nil
	switch msg := next.(type) {
	case *becomeLeader:
		r.onBecomeLeader(ctx, msg)
	case *becomeFollower:
		r.onBecomeFollower(msg)
	}
}

// noteISR forgets what the log had lost once this replica is in sync again: it has been filled. The
// image has not counted it since the broker registered.
func (r *replicaActor) noteISR(isr []wire.BrokerID) {
	if !r.log.LostDurable() || !slices.Contains(isr, r.broker) {
		return
	}
	log, logger := r.log, r.logger
	r.background(func() {
		if err := log.LossRepaired(); err != nil {
			logger.Warn("a loss that was made good is still noted", "err", err)
		}
	})
}

// hint is who leads instead of this replica, as far as it knows.
func (r *replicaActor) hint() wire.LeaderHint {
	if r.follower == nil || r.follower.Leader() == wire.NoBroker {
		return wire.NoHint
	}
	return wire.LeaderHint{Broker: r.follower.Leader(), LeaderEpoch: r.epoch}
}

// leave ends the present role: whoever waits for it is told, and who leads next if that is known.
func (r *replicaActor) leave(next wire.LeaderHint) {
	if r.leader != nil {
		r.streams.end()
		r.leader, r.proposed = nil, nil
		r.failParked(wire.NotLeaderOrFollower, next)
		r.forgetDeadline()
	}
	r.partition.withdraw()
	r.follower, r.upstream = nil, nil
}

func (r *replicaActor) onConfigure(msg *configure) {
	if r.log != nil {
		cfg, hooks := msg.log, r.log.Config()
		cfg.Synced, cfg.Producers, cfg.Cut = hooks.Synced, hooks.Producers, hooks.Cut
		r.log.SetConfig(cfg)
	}
	if r.leader != nil {
		r.perform(r.leader.Configure(msg.minISR))
	}
}

func (r *replicaActor) failParked(why error, leader wire.LeaderHint) {
	reply := refused(why)
	reply.Leader = leader
	for _, m := range r.parked.Drain() {
		m.answer(reply)
	}
}

// producerExpiry is how long an idempotent producer may be silent before it is forgotten
// (producer.id.expiration.ms).
const producerExpiry = 24 * time.Hour

func (r *replicaActor) onExpireProducers() {
	if r.producers == nil {
		return
	}
	if expired := r.producers.Expire(r.now().Add(-producerExpiry).UnixMilli()); expired > 0 {
		r.logger.Debug("producers expired", "count", expired)
	}
}

func refused(why error) wire.ProduceReply {
	return wire.ProduceReply{Err: why, BaseOffset: wire.NoOffset, LogStartOffset: wire.NoOffset, Leader: wire.NoHint}
}

// recoverProducers folds a log into the state of its producers. It reads the disk, and runs on
// the directory's pool, not in an actor.
func recoverProducers(log *storage.Log, now int64) (*replica.Producers, error) {
	producers := replica.NewProducers()
	err := log.RecoverProducers(func(batches []wire.ProducerBatch) { producers.Load(batches, now) }, func(h record.Header) {
		producers.Appended(batchOf(h), h.BaseOffset, now)
	})
	return producers, err
}

func batchOf(h record.Header) replica.Batch {
	return replica.Batch{
		Producer: h.Producer, Epoch: h.ProducerEpoch, Sequence: h.BaseSequence,
		Count: h.LastOffsetDelta + 1, Timestamp: h.MaxTimestamp,
	}
}
