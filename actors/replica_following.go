package actors

import (
	"errors"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/replica"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

func (r *replicaActor) following(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *wire.Append:
		r.onAppend(ctx, msg)
	case *logSynced:
		r.onFollowerSynced(msg)
	case *wire.Probe:
		r.onProbe(ctx, msg)
	case *wire.Truncate:
		r.onTruncate(ctx, msg)
	case *becomeLeader:
		r.onBecomeLeader(ctx, msg)
	case *becomeFollower:
		r.onBecomeFollower(msg)
	default:
		r.any(ctx)
	}
}

// cutting is following while the syncer cuts the log: nothing can be appended meanwhile, and what
// the leader says is for the log as it was.
func (r *replicaActor) cutting(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *logCut:
		r.onLogCut(ctx, msg)
	case *producersRecovered:
		r.onProducersRecovered(ctx, msg)
	case *becomeLeader, *becomeFollower:
		r.next = msg
	case *wire.Probe:
		r.onProbeWhileCutting(ctx, msg)
	default:
		r.any(ctx)
	}
}

// onProbeWhileCutting remembers a leader of a higher epoch: it would only ask again after a while.
func (r *replicaActor) onProbeWhileCutting(ctx actor.Context, m *wire.Probe) {
	if !replica.Outranks(max(r.epoch, epochOf(r.next)), m.LeaderEpoch) {
		return
	}
	r.next = &becomeFollower{
		leadership: replica.Leadership{LeaderEpoch: m.LeaderEpoch, Fsync: r.log.Config().Fsync},
		leader:     m.Sender, pid: ctx.Sender(), unconfirmed: true,
	}
}

// epochOf is the leader epoch of a becomeLeader or becomeFollower, or NoEpoch.
func epochOf(role any) wire.LeaderEpoch {
	switch m := role.(type) {
	case *becomeLeader:
		return m.leadership.LeaderEpoch
	case *becomeFollower:
		return m.leadership.LeaderEpoch
	}
	return wire.NoEpoch
}

// onBecomeFollower begins to follow in a leader epoch, as the image says.
func (r *replicaActor) onBecomeFollower(msg *becomeFollower) {
	r.noteISR(msg.leadership.ISR)
	epoch := msg.leadership.LeaderEpoch
	switch {
	case epoch < r.epoch, epoch == r.epoch && r.leader != nil:
	case epoch == r.epoch && r.follower != nil && r.follower.Leader() == msg.leader:
		if !msg.unconfirmed {
			r.obey(r.follower.Confirm())
		}
	default:
		r.follow(epoch, msg.leader, msg.pid, msg.leadership.Fsync, !msg.unconfirmed)
	}
}

// follow is the one way into following.
func (r *replicaActor) follow(epoch wire.LeaderEpoch, leader wire.BrokerID, pid *actor.PID, fsync, confirmed bool) {
	next := wire.NoHint
	if leader != wire.NoBroker {
		next = wire.LeaderHint{Broker: leader, LeaderEpoch: epoch}
	}
	r.leave(next)
	r.epoch, r.upstream = epoch, pid
	self := replica.Self{
		Topic: r.partition.tp.Topic, Partition: r.partition.tp.Partition,
		Broker: r.broker, Incarnation: r.incarnation, Run: r.identity,
	}
	var effects replica.FollowerEffects
	r.follower, effects = replica.NewFollower(self, leader, epoch, r.followerLog(), fsync, confirmed)
	r.behavior.Become(r.following)
	r.logger.Info("follows", "leader_epoch", epoch, "peer", leader, "leo", r.log.EndOffset(), "hw", r.follower.HighWatermark())
	r.obey(effects)
}

// show lets consumers in this broker's rack read what is known to be committed, and wakes those who wait
// for it. Nothing below the high watermark is ever cut, but by an unclean election.
func (r *replicaActor) show() {
	view := followedView{
		log: r.log, leader: wire.LeaderHint{Broker: r.follower.Leader(), LeaderEpoch: r.follower.LeaderEpoch()},
		start: r.follower.LogStartOffset(), highWatermark: r.follower.HighWatermark(), gone: r.follower.Gone(),
	}
	if shown := r.partition.followed.Load(); shown != nil && *shown == view {
		return
	}
	r.partition.followed.Store(&view)
	r.partition.parking.Passed(view.highWatermark)
}

func (r *replicaActor) followerLog() replica.FollowerLog {
	return replica.FollowerLog{
		Start: r.log.StartOffset(), End: r.log.EndOffset(), Flushed: r.log.FlushedOffset(),
		HighWatermark: r.log.CheckpointedHighWatermark(), LastEpoch: r.log.LastEpoch(),
	}
}

// obeys says whether a leader's message is to be obeyed. One of a higher epoch makes any replica
// follow its sender, a leader too, before its own image says so.
func (r *replicaActor) obeys(ctx actor.Context, sender wire.BrokerID, epoch wire.LeaderEpoch) bool {
	if replica.Outranks(r.epoch, epoch) {
		r.follow(epoch, sender, ctx.Sender(), r.log.Config().Fsync, false)
	}
	if r.follower == nil || epoch != r.epoch || r.follower.Leader() != sender {
		return false
	}
	r.upstream = ctx.Sender()
	return true
}

func (r *replicaActor) onProbe(ctx actor.Context, m *wire.Probe) {
	if r.obeys(ctx, m.Sender, m.LeaderEpoch) {
		r.obey(r.follower.Probe(m))
	}
}

func (r *replicaActor) onTruncate(ctx actor.Context, m *wire.Truncate) {
	if r.obeys(ctx, m.Sender, m.LeaderEpoch) {
		r.obey(r.follower.Truncate(m, r.log))
	}
}

// onAppend writes what the leader sends, if it fits exactly to the end of the log.
func (r *replicaActor) onAppend(ctx actor.Context, m *wire.Append) {
	if !r.obeys(ctx, m.Sender, m.LeaderEpoch) {
		m.Buffer.Release()
		return
	}
	defer m.Buffer.Release()
	applies, effects := r.follower.Append(m)
	if applies && len(m.Batches) > 0 {
		var written bool
		if effects, written = r.write(m); !written {
			return
		}
	}
	r.obey(effects)
}

// write appends batches as they are. What cannot be written is not acknowledged: the leader goes on
// without this replica. Of batches that go into several segments, the first ones may have been written.
func (r *replicaActor) write(m *wire.Append) (effects replica.FollowerEffects, written bool) {
	_, err := r.log.AppendReplicated(m.Batches)
	if err != nil {
		r.metrics.refuse(wire.Code(err))
		if !r.refuses { // the leader sends them again and again
			r.logger.Error("batches of the leader cannot be appended", "leader_epoch", r.epoch, "offset", m.PrevOffset, "err", err)
		}
	}
	r.refuses = err != nil
	end := r.log.EndOffset()
	if end == m.PrevOffset {
		return effects, false
	}
	now := r.now().UnixMilli()
	for rest := m.Batches; len(rest) > 0; {
		head, batch, after, err := record.Next(rest)
		if err != nil {
			panic("actors: a batch that was appended cannot be read: " + err.Error())
		}
		if head.BaseOffset >= end {
			break
		}
		if head.HasProducer() {
			r.producers.Appended(batchOf(head), head.BaseOffset, now)
		}
		r.partition.recordsIn.Add(int64(head.LastOffsetDelta) + 1)
		r.partition.bytesIn.Add(int64(len(batch)))
		rest = after
	}
	r.accounted = end
	return r.follower.Written(m, end, r.log.LastEpoch()), true
}

// obey carries out what the rules of a follower decided: persist, cut, take over, show, answer.
func (r *replicaActor) obey(effects replica.FollowerEffects) {
	if effects.Sync {
		r.log.RequestSync()
	}
	if effects.Cut != nil {
		r.cut(effects.Cut)
	}
	if effects.Advanced {
		r.log.SetHighWatermark(effects.HighWatermark)
	}
	if start := effects.LogStart; start != wire.NoOffset && start > r.log.StartOffset() {
		if err := r.log.AdvanceStart(start); err != nil {
			r.logger.Error("log start cannot be advanced", "offset", start, "err", err)
		}
	}
	r.show()
	if effects.Reply != nil && r.upstream != nil {
		_ = r.remotes.post(r.upstream, r.self.Id, effects.Reply) // the leader asks again when the link is back
	}
}

func (r *replicaActor) onFollowerSynced(msg *logSynced) {
	if msg.generation == r.generation && msg.err == nil {
		r.obey(r.follower.Synced(msg.upTo))
	}
}

func (r *replicaActor) cut(c *replica.Cut) {
	from := r.log.EndOffset()
	if c.Below > c.To {
		r.logger.Error("records below the high watermark are lost by an unclean election",
			"leader_epoch", r.epoch, "offset", c.To, "hw", c.Below)
	}
	r.logger.Info("cuts its log", "leader_epoch", r.epoch, "offset", c.To, "leo", from, "reset", c.Reset)
	r.producers = nil
	r.behavior.Become(r.cutting)
	r.log.RequestCut(c.To, c.Reset)
}

// onLogCut has the state of the producers read anew from what is left. Where the disk is full, or files are
// scarce, nothing was cut: the replica begins anew, again and again with growing pauses, and asks
// what to cut.
func (r *replicaActor) onLogCut(ctx actor.Context, msg *logCut) {
	switch {
	case msg.Err == nil:
	case errors.Is(msg.Err, wire.KafkaStorageError):
		r.logger.Warn("log cannot be cut now", "err", msg.Err)
		ctx.Stop(ctx.Self())
		return
	default:
		r.logger.Error("log cannot be cut", "err", msg.Err)
		ctx.Send(r.owner, &replicaReady{partition: r.partition.tp.Partition, run: r.run, err: msg.Err})
		return
	}
	r.generation = msg.Generation
	log, self, send, now := r.log, r.self, r.send, r.now().UnixMilli()
	recovered := &producersRecovered{generation: msg.Generation}
	r.background(func() {
		recovered.producers, recovered.err = recoverProducers(log, now)
		send(self, recovered)
	})
}

func (r *replicaActor) onProducersRecovered(ctx actor.Context, msg *producersRecovered) {
	if msg.generation != r.generation {
		return
	}
	if msg.err != nil {
		r.logger.Error("producers cannot be read from the log", "err", msg.err)
		ctx.Send(r.owner, &replicaReady{partition: r.partition.tp.Partition, run: r.run, err: msg.err})
		return
	}
	r.producers, r.accounted = msg.producers, r.log.EndOffset()
	r.behavior.Become(r.following)
	r.obey(r.follower.Cut(r.followerLog()))
	r.takeRole(ctx)
}
