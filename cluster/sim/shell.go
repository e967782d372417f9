package sim

import (
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/cluster/replica"
	"github.com/troupe-mq/troupe/wire"
)

// replicaShell does for the rules of one replica what its actor does in a broker: it hands them
// what comes, and performs their effects. Where a mutant drops a rule, it is dropped here: the rules
// are the same for all.
type replicaShell struct {
	w         *World
	process   *process
	partition int
	run       uint64
	log       *log

	epoch     wire.LeaderEpoch // the highest that was obeyed
	leaderID  wire.BrokerID
	watermark wire.Offset
	leader    *replica.Leader // one of both, or none
	follower  *replica.Follower
	led       bool // an actor before this one led in this epoch
	confirmed bool // the image has reached the epoch

	applyLater bool // the image changed during a cut
	ticksAt    time.Duration
	announces  bool

	producers *replica.Producers
	parked    replica.Parked[*request]
	mutated   mutation
}

func (r *replicaShell) machine() *machine { return r.process.machine }

func (r *replicaShell) note(format string, args ...any) {
	if r.w.Traced() {
		r.w.note(r.machine(), "p%d: "+format, append([]any{r.partition}, args...)...)
	}
}

// running says that this replica has not ended: late completions are for nobody then.
func (r *replicaShell) running() bool {
	return !r.process.Dead && r.process.replicas[r.partition] == r
}

func (r *replicaShell) gone() {
	r.log.checkpoint = r.w.oldWatermark(r.log.checkpoint, r.watermark)
	r.leader, r.follower = nil, nil
}

// lead begins a leader epoch.
func (r *replicaShell) lead(leadership replica.Leadership) {
	r.note("leads in epoch %d, ISR %v", leadership.LeaderEpoch, leadership.ISR)
	r.epoch, r.leaderID, r.led = leadership.LeaderEpoch, r.machine().id, false
	r.follower, r.mutated = nil, mutation{}
	r.w.truths[r.partition].leads(r)
	r.foldProducers()
	c := &r.log.cache
	state := replica.LogState{Start: c.start, End: c.end, Flushed: r.log.flushed, HighWatermark: r.watermark}
	var effects replica.Effects
	if r.w.mutant == NoEpochStartCheck {
		from := replica.LogState{Start: c.start, End: r.watermark, Flushed: min(r.log.flushed, r.watermark), HighWatermark: r.watermark}
		r.leader, effects = replica.NewLeader(r.mutateLeadership(leadership), from, r.machine().clock())
		r.perform(effects)
		effects = r.leader.Appended(c.end, r.machine().clock())
		r.perform(r.leader.Synced(r.log.flushed))
	} else {
		r.leader, effects = replica.NewLeader(r.mutateLeadership(leadership), state, r.machine().clock())
	}
	r.watermark = r.leader.HighWatermark()
	for _, other := range r.w.machines {
		if other != r.machine() && r.process.linked[other.id] == 0 {
			r.leader.LinkDown(other.id)
		}
	}
	r.perform(effects)
}

// follow begins an epoch under another leader, or under nobody.
func (r *replicaShell) follow(leader wire.BrokerID, epoch wire.LeaderEpoch, confirmed bool) {
	r.note("follows %d in epoch %d", leader, epoch)
	r.failParked()
	r.epoch, r.leaderID, r.led, r.leader, r.confirmed = epoch, leader, false, nil, confirmed
	if r.w.mutant == TruncateToHighWatermark {
		r.log.cutAtOnce(r.watermark)
	}
	r.followAnew()
}

// followAnew makes rules that know nothing of the epoch yet.
func (r *replicaShell) followAnew() {
	var effects replica.FollowerEffects
	r.follower, effects = replica.NewFollower(r.self(), r.leaderID, r.epoch, r.followerLog(), !r.w.profile.Replicated, r.confirmed || r.w.mutant == JoinBeforeImage)
	r.watermark = r.follower.HighWatermark()
	r.performFollowing(effects)
}

func (r *replicaShell) self() replica.Self {
	return replica.Self{
		Topic: r.w.topic, Partition: int32(r.partition),
		Broker: r.machine().id, Incarnation: r.process.incarnation, Run: r.run,
	}
}

func (r *replicaShell) followerLog() replica.FollowerLog {
	c := &r.log.cache
	return replica.FollowerLog{
		Start: c.start, End: c.end, Flushed: r.log.flushed, HighWatermark: r.watermark, LastEpoch: c.lastEpoch(),
	}
}

func (r *replicaShell) changed(leadership replica.Leadership) {
	r.perform(r.leader.Changed(r.mutateLeadership(leadership), r.machine().clock()))
}

// askForEpoch tells the controller, until it is done, that what this replica led in an epoch ended.
func (r *replicaShell) askForEpoch(ledIn wire.LeaderEpoch) {
	if !r.running() || r.epoch != ledIn {
		return
	}
	r.process.command(metadata.ReplicaRestarted{
		Topic: r.w.topic, Partition: int32(r.partition), Broker: r.machine().id,
		Incarnation: r.process.incarnation, LeaderEpoch: ledIn,
	}, func(any) {})
	r.w.At(300*time.Millisecond, &r.process.Process, func() { r.askForEpoch(ledIn) })
}

func (r *replicaShell) receive(m wire.PeerMessage, batches []batch) {
	now := r.machine().clock()
	switch m := m.(type) {
	case *wire.Position:
		if r.leader != nil {
			r.perform(r.leader.Positioned(r.mutatePosition(m), &r.log.cache, now))
		}
		return
	case *wire.Appended:
		if r.leader != nil {
			r.perform(r.leader.Acknowledged(r.mutateAcknowledgement(m), now))
		}
		return
	}
	m = r.mutateOrder(m)
	sender, epoch := senderOf(m)
	if replica.Outranks(r.epoch, epoch) {
		if r.log.cutting {
			return // asked again, when the cut has ended
		}
		r.follow(sender, epoch, false)
	}
	if r.follower == nil {
		return
	}
	switch m := m.(type) {
	case *wire.Probe:
		r.performFollowing(r.follower.Probe(m))
	case *wire.Truncate:
		r.performFollowing(r.follower.Truncate(m, &r.log.cache))
	case *wire.Append:
		r.onAppend(m, batches)
	}
}

func senderOf(m wire.PeerMessage) (wire.BrokerID, wire.LeaderEpoch) {
	switch m := m.(type) {
	case *wire.Probe:
		return m.Sender, m.LeaderEpoch
	case *wire.Truncate:
		return m.Sender, m.LeaderEpoch
	case *wire.Append:
		return m.Sender, m.LeaderEpoch
	}
	return wire.NoBroker, wire.NoEpoch
}

func (r *replicaShell) onAppend(m *wire.Append, batches []batch) {
	if r.w.mutant == AcknowledgeOwnEnd && r.acknowledgeOwnEnd(m, batches) {
		return
	}
	apply, effects := r.follower.Append(m)
	r.performFollowing(effects)
	if !apply || len(batches) == 0 {
		return
	}
	c := &r.log.cache
	for _, b := range batches {
		if b.base < c.end && len(c.batches) > 0 || b.next() <= c.end {
			r.w.Violate("p%d: broker %d appends %+v to a log that ends at %d", r.partition, r.machine().id, b, c.end)
			return
		}
		c.append(b)
	}
	r.performFollowing(r.follower.Written(m, c.end, c.lastEpoch()))
}

// onSynced hears that a sync has ended. One that began before a cut says nothing about the log.
func (r *replicaShell) onSynced(generation int, upTo wire.Offset) {
	if !r.running() || generation != r.log.generation && r.w.mutant != SyncWithoutGeneration {
		return
	}
	r.log.flushed = max(r.log.flushed, min(upTo, r.log.cache.end))
	switch {
	case r.leader != nil:
		r.perform(r.leader.Synced(upTo))
	case r.follower != nil:
		r.performFollowing(r.follower.Synced(upTo))
	}
}

// perform carries out what the rules of a leader decided.
func (r *replicaShell) perform(effects replica.Effects) {
	if effects.Sync {
		r.requestSync()
	}
	if effects.Advanced {
		r.watermark = effects.HighWatermark
		r.note("high watermark %d", r.watermark)
		r.w.truths[r.partition].commit(r)
		r.answerParked()
	}
	for _, d := range effects.Send {
		r.process.send(d.To, d.Message, nil)
	}
	if effects.Stream {
		r.stream()
	}
	if effects.Announce && !r.announces {
		r.announces = true
		r.w.At(5*time.Millisecond, &r.process.Process, r.announce)
	}
	if effects.Propose != nil {
		r.propose(effects.Propose)
	}
	r.scheduleTick()
}

func (r *replicaShell) scheduleTick() {
	next := r.leader.NextTick()
	if next.IsZero() {
		return
	}
	after := time.Duration(float64(next.Sub(r.machine().clock()))/r.machine().slow) + time.Millisecond
	at := r.w.Now() + max(after, time.Millisecond)
	if r.ticksAt > r.w.Now() && r.ticksAt <= at {
		return
	}
	r.ticksAt = at
	r.w.At(at-r.w.Now(), &r.process.Process, func() {
		if r.leader != nil && r.running() && r.ticksAt <= r.w.Now() {
			r.ticksAt = 0
			r.perform(r.leader.Tick(r.machine().clock()))
		}
	})
}

// performFollowing carries out what the rules of a follower decided.
func (r *replicaShell) performFollowing(effects replica.FollowerEffects) {
	if effects.Sync {
		r.requestSync()
	}
	if cut := effects.Cut; cut != nil {
		r.note("cuts at %d, reset %v, below %d", cut.To, cut.Reset, cut.Below)
		if cut.Reset {
			r.w.stats.Resets++
		}
		follower := r.follower
		r.requestCut(cut.To, cut.Reset, func() {
			if r.follower == follower && r.running() {
				r.performFollowing(follower.Cut(r.followerLog()))
				r.watermark = follower.HighWatermark()
			}
			if r.applyLater && r.running() {
				r.applyLater = false
				r.process.apply(r.partition)
			}
		})
	}
	if effects.Advanced {
		r.watermark = effects.HighWatermark
	}
	if effects.LogStart != wire.NoOffset {
		r.log.cache.advanceStart(effects.LogStart)
	}
	if effects.Reply != nil {
		r.process.send(r.leaderID, r.mutateReply(effects.Reply), nil)
	}
}

// deleteRecords moves the log start of a leader.
func (r *replicaShell) deleteRecords(before wire.Offset) {
	before, err := r.leader.CheckDelete(before)
	if err != nil {
		return
	}
	r.note("deletes records before %d", before)
	r.log.cache.advanceStart(before)
	t := r.w.truths[r.partition]
	t.start = max(t.start, before)
	r.perform(r.leader.StartMoved(before))
}

// foldProducers folds the log into the state of its producers.
func (r *replicaShell) foldProducers() {
	r.producers = replica.NewProducers()
	for _, b := range r.log.cache.batches {
		r.producers.Appended(producerBatch(b), b.base, 0)
	}
}

func producerBatch(b batch) replica.Batch {
	return replica.Batch{Producer: b.producer, Sequence: b.sequence, Count: b.count}
}

// cutAtOnce is a truncation without a syncer, for mutants.
func (l *log) cutAtOnce(to wire.Offset) {
	if to >= l.cache.end {
		return
	}
	l.cache.cut(to)
	l.generation++
	l.durable = l.cache
	l.flushed = min(l.flushed, l.cache.end)
}

// oldWatermark is what a checkpoint of the high watermark says when a process ends: it was written
// some time ago.
func (w *World) oldWatermark(before, now wire.Offset) wire.Offset {
	if now <= before {
		return now
	}
	return before + wire.Offset(w.Random.Int64N(int64(now-before)+1))
}
