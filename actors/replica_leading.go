package actors

import (
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/replica"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

func (r *replicaActor) leading(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *produceMsg:
		r.onProduce(msg)
	case *wire.Appended:
		r.onAppended(msg)
	case *logSynced:
		r.onLogSynced(msg)
	case *wire.Position:
		r.onPosition(msg)
	case *catchUpRead:
		r.onCatchUpRead(msg)
	case *announceTick:
		r.onAnnounceTick(msg)
	case *leaderTick:
		r.onLeaderTick(msg)
	case *linkUp:
		r.onLinkUp(msg)
	case *linkDown:
		r.onLinkDown(msg)
	case *linkRoom:
		r.onLinkRoom(msg)
	case *deadlineTick:
		r.onDeadline()
	case *applyRetention:
		r.onApplyRetention()
	case *deleteRecords:
		r.onDeleteRecords(msg)
	case *describeProducers:
		msg.reply <- r.producers.States()
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

// onBecomeLeader begins a leader epoch, the only way into leading, or takes what has changed within
// the one that is led in.
func (r *replicaActor) onBecomeLeader(ctx actor.Context, msg *becomeLeader) {
	r.noteISR(msg.leadership.ISR)
	epoch := msg.leadership.LeaderEpoch
	if r.leader != nil && epoch == r.epoch {
		begun := r.streams.follow(msg)
		r.perform(r.leader.Changed(msg.leadership, r.now()))
		r.meet(begun)
		return
	}
	if epoch <= r.epoch {
		return
	}
	r.leave(wire.NoHint)
	r.epoch = epoch
	var effects replica.Effects
	r.leader, effects = replica.NewLeader(msg.leadership, replica.LogState{
		Start: r.log.StartOffset(), End: r.log.EndOffset(), Flushed: r.log.FlushedOffset(),
		HighWatermark: r.log.CheckpointedHighWatermark(),
	}, r.now())
	r.behavior.Become(r.leading)
	_ = r.streams.follow(msg) // all of them are probed, which shows who is linked
	r.publish()
	r.perform(effects)
	r.logger.Info("became leader", "leader_epoch", epoch, "leo", r.log.EndOffset(), "hw", r.leader.HighWatermark(), "isr", msg.leadership.ISR)
	ctx.Send(r.owner, &replicaReady{partition: r.partition.tp.Partition, run: r.run, epoch: epoch})
}

// publish shows readers what the replica is now, and wakes those who wait for it.
func (r *replicaActor) publish() {
	view := &replicaView{
		log: r.log, leaderEpoch: r.leader.LeaderEpoch(),
		start: r.leader.LogStartOffset(), highWatermark: r.leader.HighWatermark(), caughtUp: r.leader.CaughtUp(),
		lacking: r.leader.Lacking(),
	}
	r.partition.view.Store(view)
	r.partition.parking.Passed(view.highWatermark)
}

func (r *replicaActor) onPosition(m *wire.Position) {
	r.perform(r.leader.Positioned(m, r.log, r.now()))
	if view := r.partition.view.Load(); !slices.Equal(view.lacking, r.leader.Lacking()) {
		r.publish()
	}
}

// onProduce appends, or says why not. With acks=all the answer waits for the high watermark; a
// duplicate of an idempotent batch waits like its original.
func (r *replicaActor) onProduce(m *produceMsg) {
	err := r.admit(m)
	var head record.Header
	if err == nil {
		head, err = record.ParseHeader(m.Batches)
	}
	if err == nil && head.HasProducer() {
		duplicate, isDuplicate, refusal := r.producers.Check(batchOf(head))
		if isDuplicate {
			m.Buffer.Release()
			r.metrics.duplicate()
			m.base = duplicate.LastOffset - wire.Offset(duplicate.OffsetDelta)
			r.settle(m, duplicate.LastOffset+1)
			return
		}
		err = refusal
	}
	var end wire.Offset
	if err == nil {
		m.base, end, err = r.log.Append(m.Batches, r.leader.LeaderEpoch())
	}
	if err != nil {
		m.Buffer.Release()
		r.metrics.refuse(wire.Code(err))
		m.answer(refused(err))
		return
	}
	if head.HasProducer() {
		r.producers.Appended(batchOf(head), m.base, r.now().UnixMilli())
	}
	r.accounted = end
	r.partition.bytesIn.Add(m.bytes)
	r.partition.recordsIn.Add(int64(end - m.base))
	effects := r.leader.Appended(end, r.now())
	r.pushTail(m, end)
	m.Buffer.Release()
	r.settle(m, end)
	r.perform(effects)
}

// admit says whether a batch may be appended. A broker that the controller may have given up does
// not take what nobody else will have: an acks=all would not be answered anyway.
func (r *replicaActor) admit(m *produceMsg) error {
	if m.fenced && m.epoch != r.leader.LeaderEpoch() {
		return wire.Errorf(wire.FencedLeaderEpoch, "meant for leader epoch %d, this is %d", m.epoch, r.leader.LeaderEpoch())
	}
	if m.Acks != wire.AcksAll && len(r.streams.all) > 0 && !r.leased() {
		return wire.Errorf(wire.NotLeaderOrFollower, "this broker has lost touch with the controller")
	}
	return r.leader.Admit(m.Acks)
}

// settle answers a batch that is in the log up to end, or parks it until it may be answered.
func (r *replicaActor) settle(m *produceMsg, end wire.Offset) {
	if m.Acks != wire.AcksAll || ackBeforeISR || end <= r.leader.HighWatermark() {
		r.acknowledge(m)
		return
	}
	r.parked.Add(end, m.Deadline, m)
	if !m.Deadline.IsZero() && (r.deadline == nil || m.Deadline.Before(r.due)) {
		r.remind(m.Deadline)
	}
}

func (r *replicaActor) acknowledge(m *produceMsg) {
	m.answer(wire.ProduceReply{BaseOffset: m.base, LogStartOffset: r.leader.LogStartOffset(), Leader: wire.NoHint})
}

// perform carries out what the rules decided: persist, publish and answer, send, ask, and see to
// the next tick.
func (r *replicaActor) perform(effects replica.Effects) {
	if effects.Sync {
		r.log.RequestSync()
	}
	if effects.Advanced {
		r.advanced(effects.HighWatermark)
	}
	for _, m := range effects.Send {
		r.sendTo(m)
	}
	if effects.Stream {
		r.streamAll()
	}
	if effects.Propose != nil {
		r.propose(effects.Propose)
	}
	r.streams.arm(r, effects.Announce)
}

// advanced wakes and answers those who waited for the high watermark.
func (r *replicaActor) advanced(highWatermark wire.Offset) {
	r.log.SetHighWatermark(highWatermark)
	r.publish()
	for {
		m, ok := r.parked.Next(highWatermark)
		if !ok {
			break
		}
		r.acknowledge(m)
	}
}

func (r *replicaActor) propose(p *replica.Proposal) {
	if p != r.proposed { // else it is repeated
		r.proposed = p
		r.logger.Info("proposes another ISR", "leader_epoch", p.LeaderEpoch, "joining", p.Joining, "leaving", p.Leaving)
	}
	r.send(r.proposals, &proposeISR{tp: r.partition.tp, proposal: p})
}

// onLogSynced hears from the directory's syncer. A failed fsync has taken the directory offline:
// nothing that was not acknowledged ever will be.
func (r *replicaActor) onLogSynced(msg *logSynced) {
	if msg.generation != r.generation {
		return
	}
	if msg.err != nil {
		r.failParked(wire.Errorf(wire.KafkaStorageError, "the log directory is offline"), wire.NoHint)
		return
	}
	r.perform(r.leader.Synced(msg.upTo))
}

func (r *replicaActor) remind(at time.Time) {
	r.forgetDeadline()
	self, send := r.self, r.send
	r.due = at
	r.deadline = time.AfterFunc(at.Sub(r.now()), func() { send(self, &deadlineTick{}) })
}

func (r *replicaActor) forgetDeadline() {
	if r.deadline != nil {
		r.deadline.Stop()
		r.deadline = nil
	}
}

func (r *replicaActor) onDeadline() {
	r.forgetDeadline()
	expired, next := r.parked.Expire(r.now())
	for _, m := range expired {
		m.answer(refused(wire.RequestTimedOut))
	}
	if !next.IsZero() {
		r.remind(next)
	}
}

func (r *replicaActor) onApplyRetention() {
	start, _, err := r.log.ApplyRetention(r.now(), r.leader.HighWatermark())
	if err != nil {
		r.logger.Error("retention failed", "err", err)
		return
	}
	r.startMoved(start)
}

func (r *replicaActor) onDeleteRecords(msg *deleteRecords) {
	before, err := r.leader.CheckDelete(msg.before)
	if err == nil {
		err = r.log.AdvanceStart(before)
	}
	if err != nil {
		msg.reply <- deletedRecords{start: wire.NoOffset, err: err}
		return
	}
	r.startMoved(before)
	msg.reply <- deletedRecords{start: before}
}

func (r *replicaActor) startMoved(start wire.Offset) {
	if start > r.leader.LogStartOffset() {
		r.perform(r.leader.StartMoved(start))
		r.publish()
	}
}
