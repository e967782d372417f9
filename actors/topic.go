package actors

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/replica"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// topicActor supervises the replicas of one topic on this broker: it spawns them, tells them
// what the image says, and when one stops it answers whoever waited for it, closes its log and
// spawns the next one, at once the first time and after a growing pause from then on.
//
// A replica that is spawned again never leads in an epoch that one before it has led in: the
// topic actor asks the metadata log for a new one and holds becomeLeader back until it comes.
type topicActor struct {
	topicConfig
	slots    map[int32]*slot
	stopping bool
	deleting bool
}

// topicConfig is what a topic actor is made with.
type topicConfig struct {
	name          string
	id            wire.TopicID
	broker        *actor.PID
	proposals     *actor.PID
	remotes       *remotes
	leased        func() bool
	linked        func(*actor.PID) bool
	reassignments *throttle
	self          wire.BrokerID
	incarnation   wire.Incarnation
	spawn         func(r replicaConfig, name string) (*actor.PID, error)
	background    func(func()) // runs blocking work outside of all actors
	// newEpoch asks the metadata log to let the partition be led in an epoch after the given one,
	// and is told the outcome on another goroutine. The epoch itself comes with the image.
	newEpoch func(partition int32, after wire.LeaderEpoch, done func(error))
	send     func(to *actor.PID, message any)
	metrics  *Metrics
	now      func() time.Time
	logger   *slog.Logger
}

// slot is one partition of the topic on this broker.
type slot struct {
	assignment assignment
	run        uint64
	pid        *actor.PID       // nil between two runs
	told       wire.LeaderEpoch // the highest epoch that a replica was told to lead in
	led        wire.LeaderEpoch // the highest that a replica before the present one was told
	restarts   int              // in a row
	since      time.Time        // of the present run
	offline    bool             // its directory or its log is unusable
	closing    bool             // the log of a run that is over is still in use
	gone       bool             // the partition is not on this broker any more
	next       *assignment      // it has come back since; the old log goes first
}

// assignment is what the broker actor tells of one partition.
type assignment struct {
	partition  *partition
	dir        *storage.Dir
	leadership replica.Leadership
	leader     wire.BrokerID
	leads      bool            // this broker's replica is to lead
	replicas   []*actor.PID    // parallel to leadership.Replicas; nil where there is none to send to
	adding     []wire.BrokerID // those that a reassignment brings in
	log        storage.LogConfig
}

// leaderPID is the replica that leads, on another broker; or nil.
func (a *assignment) leaderPID() *actor.PID {
	for i, id := range a.leadership.Replicas {
		if id == a.leader {
			return a.replicas[i]
		}
	}
	return nil
}

// topicChanged carries the partitions of which something has changed, or that are new, and those
// that this broker has no replica of any more.
type topicChanged struct {
	assignments []assignment
	gone        []int32
}

// topicStop ends the topic on this broker, and with Delete its logs.
type topicStop struct{ delete bool }

// dirOffline says that a directory failed: its partitions are lost to this broker.
type dirOffline struct{ dir *storage.Dir }

// replicaRuns numbers the replica actors of this process: what is meant for one of them must not
// reach the next.
var replicaRuns atomic.Uint64

const (
	epochPause        = 100 * time.Millisecond
	firstRespawnPause = 50 * time.Millisecond
	maxRespawnPause   = 10 * time.Second
	// A run that lasted this long is not counted among the failures in a row.
	stableRun = time.Minute
)

// Receive implements actor.Actor.
func (t *topicActor) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *topicChanged:
		for _, a := range msg.assignments {
			t.onAssignment(ctx, a)
		}
		for _, number := range msg.gone {
			t.onGone(ctx, number)
		}
	case *replicaReady:
		t.onReplicaReady(ctx, msg)
	case *actor.Terminated:
		t.onTerminated(ctx, msg.Who)
	case *logClosed:
		t.onLogClosed(ctx, msg)
	case *respawnTick:
		t.onRespawnTick(ctx, msg)
	case *dirOffline:
		t.onDirOffline(ctx, msg.dir)
	case *epochAsked:
		t.onEpochAsked(ctx, msg)
	case *topicStop:
		t.onStop(ctx, msg)
	}
}

func (t *topicActor) onAssignment(ctx actor.Context, a assignment) {
	if t.stopping {
		return
	}
	number := a.partition.tp.Partition
	s := t.slots[number]
	if s != nil && s.gone {
		s.next = &a
		return
	}
	if s == nil {
		if t.slots == nil {
			t.slots = make(map[int32]*slot)
		}
		s = &slot{assignment: a, told: wire.NoEpoch, led: wire.NoEpoch}
		t.slots[number] = s
		t.spawnReplica(ctx, s)
		return
	}
	s.assignment = a
	if s.pid != nil {
		ctx.Send(s.pid, &configure{log: a.log, minISR: a.leadership.MinISR})
		t.tell(ctx, s)
	}
}

// tell passes on who leads. A replica never leads in an epoch that one before it has led in.
func (t *topicActor) tell(ctx actor.Context, s *slot) {
	a := &s.assignment
	switch {
	case s.pid == nil:
	case !a.leads:
		a.partition.door.shut(wire.NotLeaderOrFollower, wire.LeaderHint{Broker: a.leader, LeaderEpoch: a.leadership.LeaderEpoch})
		ctx.Send(s.pid, &becomeFollower{leadership: a.leadership, leader: a.leader, pid: a.leaderPID()})
	case a.leadership.LeaderEpoch > s.led:
		s.told = max(s.told, a.leadership.LeaderEpoch)
		ctx.Send(s.pid, &becomeLeader{leadership: a.leadership, replicas: a.replicas, adding: a.adding})
	}
}

func (t *topicActor) onRespawnTick(ctx actor.Context, msg *respawnTick) {
	s := t.slots[msg.partition]
	switch {
	case s == nil || s.run != msg.run || s.closing || s.gone || t.stopping:
	case s.pid == nil:
		t.spawnReplica(ctx, s)
	default:
		t.askEpoch(ctx, s)
	}
}

func (t *topicActor) spawnReplica(ctx actor.Context, s *slot) {
	if t.stopping || s.offline || s.pid != nil {
		return
	}
	s.run++
	s.since, s.led = t.now(), s.told
	a := s.assignment
	a.partition.begin(s.run)
	self, send, run := ctx.Self(), t.send, s.run
	logger := t.logger.With("partition", a.partition.tp.Partition)
	pid, err := t.spawn(replicaConfig{
		partition: a.partition, run: s.run, owner: self, send: send,
		open: func(hooks logHooks, opened func(*logOpened)) {
			openLog(a, run, t.now().UnixMilli(), hooks, logger, opened, func(closed *logClosed) { send(self, closed) })
		},
		proposals: t.proposals, remotes: t.remotes, leased: t.leased, linked: t.linked, reassignments: t.reassignments, background: t.background,
		broker: t.self, incarnation: t.incarnation, identity: replicaRuns.Add(1),
		metrics: t.metrics, now: t.now, logger: logger,
	}, replicaName(a.partition.tp))
	if err != nil {
		logger.Error("replica cannot be spawned", "err", err)
		a.partition.adopt(s.run, nil)
		a.partition.disown()
		t.lose(ctx, s, wire.Errorf(wire.KafkaStorageError, "the replica cannot be started"))
		return
	}
	s.pid = pid
	a.partition.actor.Store(pid)
	ctx.Watch(pid)
	t.tell(ctx, s)
	t.askEpoch(ctx, s)
}

// askEpoch asks for a leader epoch above the one that an earlier run was told, if there is none yet.
func (t *topicActor) askEpoch(ctx actor.Context, s *slot) {
	if s.led == wire.NoEpoch || !s.assignment.leads || s.assignment.leadership.LeaderEpoch > s.led {
		return
	}
	self, send, asked := ctx.Self(), t.send, &epochAsked{partition: s.assignment.partition.tp.Partition, run: s.run}
	t.newEpoch(asked.partition, s.told, func(err error) {
		asked.err = err
		send(self, asked)
	})
}

// onEpochAsked asks again when the controller could not be reached, after a pause. Any other
// refusal means that the image has moved on, or will.
func (t *topicActor) onEpochAsked(ctx actor.Context, msg *epochAsked) {
	s := t.slots[msg.partition]
	if msg.err == nil || s == nil || s.run != msg.run || s.pid == nil || t.stopping {
		return
	}
	t.logger.Warn("no new leader epoch yet", "partition", msg.partition, "leader_epoch", s.told, "err", msg.err)
	if !wire.Code(msg.err).Retriable() || errors.Is(msg.err, wire.FencedLeaderEpoch) {
		return
	}
	self, send, tick := ctx.Self(), t.send, &respawnTick{partition: msg.partition, run: s.run}
	time.AfterFunc(epochPause, func() { send(self, tick) })
}

// openLog opens the log on the directory's pool. The producers' state is recovered there too, so
// that the actor never reads a whole log. When the replica has ended meanwhile, closed is called
// instead of opened: a log is never opened twice at a time.
func openLog(a assignment, run uint64, now int64, hooks logHooks, logger *slog.Logger, opened func(*logOpened), closed func(*logClosed)) {
	cfg := a.log
	cfg.Synced, cfg.Producers, cfg.Cut = hooks.synced, hooks.producers, hooks.cut
	a.dir.OpenLogAsync(a.ref(), cfg, func(log *storage.Log, err error) {
		var producers *replica.Producers
		if err == nil {
			if producers, err = recoverProducers(log, now); err != nil {
				closeLog(log, logger)
				log = nil
			}
		}
		if a.partition.adopt(run, log) {
			opened(&logOpened{log: log, producers: producers, err: err})
			return
		}
		removed := log != nil && giveUp(a, log, logger)
		closed(&logClosed{partition: a.partition.tp.Partition, run: run, removed: removed})
	})
}

func (a assignment) ref() storage.LogRef {
	return storage.LogRef{Topic: a.partition.topic, Partition: a.partition.tp.Partition, ID: a.partition.tp.Topic}
}

func closeLog(log *storage.Log, logger *slog.Logger) {
	if err := log.Close(); err != nil {
		logger.Warn("log was not closed cleanly", "err", err)
	}
}

func (t *topicActor) onReplicaReady(ctx actor.Context, msg *replicaReady) {
	s := t.slots[msg.partition]
	if s == nil || s.run != msg.run || s.pid == nil || s.offline || t.stopping {
		return // the door is shut for good, whatever the replica said before
	}
	if msg.err != nil {
		t.lose(ctx, s, wire.Errorf(wire.KafkaStorageError, "the log of the partition cannot be opened"))
		return
	}
	if s.assignment.leads {
		if msg.epoch < s.assignment.leadership.LeaderEpoch {
			return // its log is open; that it leads is still to come
		}
		s.assignment.partition.door.open(s.pid)
	}
	if msg.lost {
		ctx.Send(t.broker, &tailLost{tp: s.assignment.partition.tp})
		return
	}
	ctx.Send(t.broker, &partitionReady{tp: s.assignment.partition.tp})
}

// lose takes a partition offline of which only this replica is the cause, so that somebody else has
// to be told.
func (t *topicActor) lose(ctx actor.Context, s *slot, why error) {
	t.takeOffline(ctx, s, why)
	ctx.Send(t.broker, &replicaLost{tp: s.assignment.partition.tp})
}

// takeOffline ends a partition's life on this broker until the next start.
func (t *topicActor) takeOffline(ctx actor.Context, s *slot, why error) {
	s.offline = true
	s.assignment.partition.door.shut(why, wire.NoHint)
	if s.pid != nil {
		ctx.Stop(s.pid)
	}
}

func (t *topicActor) onTerminated(ctx actor.Context, who *actor.PID) {
	for number, s := range t.slots {
		if s.pid == nil || s.pid.Id != who.Id {
			continue
		}
		p, run := s.assignment.partition, s.run
		s.pid = nil
		p.actor.Store(nil)
		if !s.offline {
			p.door.shut(wire.NotLeaderOrFollower, wire.NoHint)
		}
		log, opening := p.disown()
		if !t.stopping && !s.offline {
			t.metrics.replicaStopped()
			t.logger.Warn("replica stopped", "partition", number)
		}
		s.closing = true
		if opening {
			return // whoever opens the log gives it up
		}
		self, assigned := ctx.Self(), s.assignment
		t.background(func() {
			removed := log != nil && giveUp(assigned, log, t.logger)
			t.send(self, &logClosed{partition: number, run: run, removed: removed})
		})
		return
	}
}

// giveUp closes a log that no actor uses any more, or deletes it if its topic is gone. It does
// not run in an actor.
func giveUp(a assignment, log *storage.Log, logger *slog.Logger) (removed bool) {
	if !a.partition.deleted.Load() {
		closeLog(log, logger)
		return false
	}
	if err := a.dir.DeleteLog(log); err != nil {
		logger.Warn("log was not deleted", "err", err)
	}
	return true
}

func (t *topicActor) onLogClosed(ctx actor.Context, msg *logClosed) {
	s := t.slots[msg.partition]
	if s == nil || s.run != msg.run {
		return
	}
	s.closing = false
	if t.stopping || s.gone {
		t.endSlot(ctx, msg.partition, s, msg.removed)
		return
	}
	if s.offline {
		return
	}
	if t.now().Sub(s.since) > stableRun {
		s.restarts = 0
	}
	s.restarts++
	if s.restarts == 1 {
		t.spawnReplica(ctx, s)
		return
	}
	pause := min(firstRespawnPause<<min(s.restarts-2, 16), maxRespawnPause)
	self, send, tick := ctx.Self(), t.send, &respawnTick{partition: msg.partition, run: s.run}
	time.AfterFunc(pause, func() { send(self, tick) })
}

func (t *topicActor) onDirOffline(ctx actor.Context, dir *storage.Dir) {
	for _, s := range t.slots {
		if s.assignment.dir == dir && !s.offline {
			t.takeOffline(ctx, s, wire.Errorf(wire.KafkaStorageError, "the log directory %s is offline", dir.Path()))
			ctx.Send(t.broker, &partitionReady{tp: s.assignment.partition.tp})
		}
	}
}

func (t *topicActor) onStop(ctx actor.Context, msg *topicStop) {
	t.stopping, t.deleting = true, msg.delete
	why := error(wire.NotLeaderOrFollower)
	if msg.delete {
		why = wire.UnknownTopicOrPartition
	}
	for number, s := range t.slots {
		s.forgetNext(why)
		s.assignment.partition.deleted.Store(msg.delete || s.gone)
		s.assignment.partition.door.shut(why, wire.NoHint)
		if s.pid != nil {
			ctx.Stop(s.pid)
		} else if !s.closing {
			t.endSlot(ctx, number, s, false) // it is offline, or between two runs
		}
	}
	t.stopIfDone(ctx)
}

// onGone ends a partition that this broker has no replica of any more, and its log.
func (t *topicActor) onGone(ctx actor.Context, number int32) {
	s := t.slots[number]
	if s == nil || t.stopping {
		return
	}
	s.forgetNext(wire.NotLeaderOrFollower)
	if s.gone {
		return
	}
	s.gone = true
	s.assignment.partition.deleted.Store(true)
	s.assignment.partition.door.shut(wire.NotLeaderOrFollower, wire.NoHint)
	if s.pid != nil {
		ctx.Stop(s.pid)
	} else if !s.closing {
		t.endSlot(ctx, number, s, false)
	}
}

// forgetNext gives up what waits for the slot, and tells whoever has come to its door meanwhile.
func (s *slot) forgetNext(why error) {
	if s.next != nil {
		s.next.partition.door.shut(why, wire.NoHint)
		s.next = nil
	}
}

// endSlot forgets a partition whose log nobody uses any more. A log that was not open when its topic
// was deleted is still on the disk.
func (t *topicActor) endSlot(ctx actor.Context, number int32, s *slot, removed bool) {
	if !t.deleting && !s.gone || removed {
		delete(t.slots, number)
		if s.next != nil {
			t.onAssignment(ctx, *s.next)
		}
		t.stopIfDone(ctx)
		return
	}
	s.closing = true
	self, a, run := ctx.Self(), s.assignment, s.run
	t.background(func() {
		if err := a.dir.RemoveLog(a.ref()); err != nil {
			t.logger.Warn("log was not deleted", "partition", number, "err", err)
		}
		t.send(self, &logClosed{partition: number, run: run, removed: true})
	})
}

func (t *topicActor) stopIfDone(ctx actor.Context) {
	if len(t.slots) == 0 && t.stopping {
		ctx.Stop(ctx.Self())
	}
}
