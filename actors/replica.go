package actors

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/replica"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// replica owns one partition's log for as long as it lives. It is born opening its log, waits
// until the metadata image makes it a leader, and leads until it is stopped.
//
//	opening --logOpened--> waiting --becomeLeader--> leading
//	   |                                             | becomeLeader, with a higher epoch
//	   +--becomeLeader is remembered                 +--> leading
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
	accounted  wire.Offset     // producers knows of every batch below
	leader     *replica.Leader // nil unless leading
	next       *becomeLeader   // came while the log was being opened

	parked   replica.Parked[*produceMsg]
	waiters  map[*wire.Waiter]wire.Offset
	deadline *time.Timer // set while a parked producer may run out of time
}

// replicaConfig is what a replica actor is made with.
type replicaConfig struct {
	partition *partition
	run       uint64
	owner     *actor.PID // the topic actor
	open      func(hooks logHooks, opened func(*logOpened))
	send      func(to *actor.PID, message any) // from outside of any actor
	metrics   *Metrics
	now       func() time.Time
	logger    *slog.Logger
}

// logHooks is what a log calls back. synced is called by the directory's syncer; producers by
// whoever appends to or closes the log, for the snapshot that it then writes.
type logHooks struct {
	synced    func(storage.Synced)
	producers func() []wire.ProducerBatch
}

func newReplica(cfg replicaConfig) *replicaActor {
	r := &replicaActor{replicaConfig: cfg, behavior: actor.NewBehavior()}
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
	case *becomeLeader:
		r.next = msg
	default:
		r.any(ctx)
	}
}

func (r *replicaActor) waiting(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *becomeLeader:
		r.onBecomeLeader(ctx, msg)
	case *logSynced: // of an earlier epoch's append; the next leader is told by the log itself
	default:
		r.any(ctx)
	}
}

// any handles what means the same in every state.
func (r *replicaActor) any(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Stopping:
		r.onStopping()
	case *actor.Stopped, *actor.Restarting:
	case *produceMsg:
		msg.Buffer.Release()
		msg.answer(refused(wire.NotLeaderOrFollower))
	case *park:
		msg.w.Wake()
	case *unpark:
		delete(r.waiters, msg.w)
	case *deleteRecords:
		msg.reply <- deletedRecords{start: wire.NoOffset, err: wire.NotLeaderOrFollower}
	case *describeProducers:
		msg.reply <- nil
	case *configure:
		r.onConfigure(msg)
	case *applyRetention, *expireProducers, *deadlineTick:
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
	if next := r.next; next != nil {
		r.next = nil
		r.onBecomeLeader(ctx, next)
	}
}

// onBecomeLeader begins a leader epoch: the only way into leading.
func (r *replicaActor) onBecomeLeader(ctx actor.Context, msg *becomeLeader) {
	epoch := msg.leadership.LeaderEpoch
	if r.leader != nil && epoch <= r.leader.LeaderEpoch() {
		return
	}
	r.failParked(wire.NotLeaderOrFollower)
	var effects replica.Effects
	r.leader, effects = replica.NewLeader(msg.leadership, replica.LogState{
		Start: r.log.StartOffset(), End: r.log.EndOffset(), Flushed: r.log.FlushedOffset(),
		HighWatermark: r.log.CheckpointedHighWatermark(),
	}, r.now())
	r.behavior.Become(r.leading)
	r.publish()
	r.perform(effects)
	r.logger.Info("became leader", "leader_epoch", epoch, "leo", r.log.EndOffset(), "hw", r.leader.HighWatermark())
	ctx.Send(r.owner, &replicaReady{partition: r.partition.tp.Partition, run: r.run, epoch: epoch})
}

func (r *replicaActor) onConfigure(msg *configure) {
	if r.log != nil {
		cfg, hooks := msg.log, r.log.Config()
		cfg.Synced, cfg.Producers = hooks.Synced, hooks.Producers
		r.log.SetConfig(cfg)
	}
	if r.leader != nil {
		r.perform(r.leader.Configure(msg.minISR))
	}
}

func (r *replicaActor) onStopping() {
	if r.deadline != nil {
		r.deadline.Stop()
	}
	r.partition.view.Store(nil)
	r.failParked(wire.NotLeaderOrFollower)
	for w := range r.waiters {
		w.Wake()
	}
	r.waiters = nil
}

func (r *replicaActor) failParked(why error) {
	for _, m := range r.parked.Drain() {
		m.answer(refused(why))
	}
}

// publish shows readers what the replica is now.
func (r *replicaActor) publish() {
	r.partition.view.Store(&replicaView{
		log: r.log, leaderEpoch: r.leader.LeaderEpoch(),
		start: r.leader.LogStartOffset(), highWatermark: r.leader.HighWatermark(), caughtUp: r.leader.CaughtUp(),
	})
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
