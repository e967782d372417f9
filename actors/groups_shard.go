package actors

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// groupsShard is the groups whose records lie in one partition of the offsets topic, for as long as this broker leads
// that partition in one epoch. It begins by reading the log up to where that ended; then it has a child, the coordinator,
// for each group that somebody asks for.
//
//	coordinator --groupEmitted--> queue of batches --one at a time--> leader of the partition
//	                                                                         |
//	waiting callers <-- answers <------------ offsetsAppended <--------------'
//
// What groups emit is appended in batches, one of which is on its way: so a commit costs its share of an fsync.
// The answers that may only go out then wait with the batch. When an append fails, nobody knows what of it will be in
// the log: the shard stops, with all coordinators, and the next one reads what there is.
//
// A coordinator that ends by itself, by a panic, takes nothing with it: what it emitted and has arrived here is
// appended, what has not is dropped as if it had not happened, since nobody was told of it. Then its group is folded from the
// log anew.
type groupsShard struct {
	*Broker
	run     *shardRun
	log     *storage.Log
	before  *appending // the last append of the shard before, or nil
	metrics *Metrics
	logger  *slog.Logger

	children map[string]*groupRun // by actor id
	asleep   map[wire.GroupID]sleeper
	folds    []*groupRun // that wait for what they emitted to be appended
	pauses   map[*groupRun]*time.Timer
	end      wire.Offset // of what is committed, as far as groups are concerned
	appends  offsetsAppends
	sweep    *time.Timer
}

// sleeper is a group that was found in the log and has no actor yet.
type sleeper struct {
	group   *group.Group
	effects group.Effects // of having been loaded
}

// openGroup asks for the coordinator of a group.
type openGroup struct {
	id    wire.GroupID
	reply chan<- openedGroup // of capacity 1
}

type openedGroup struct {
	run *groupRun
	err error
}

// sweepTick has the shard look which of the sleepers have something to do.
type sweepTick struct{}

const (
	// maxGroups is how many groups a shard has, so that no one can fill the memory with names.
	maxGroups = 500_000
	// sweepInterval is how often the sleepers are looked at. They have no members, so that minutes do not matter.
	sweepInterval = time.Minute
)

func newGroupsShard(b *Broker, run *shardRun, log *storage.Log, before *appending, metrics *Metrics) *groupsShard {
	return &groupsShard{
		Broker: b, run: run, log: log, before: before, metrics: metrics,
		logger:   b.logger.With("topic", wire.OffsetsTopic, "partition", run.part.tp.Partition, "leader_epoch", run.epoch),
		children: make(map[string]*groupRun), asleep: make(map[wire.GroupID]sleeper), pauses: make(map[*groupRun]*time.Timer),
	}
}

// Receive implements actor.Actor.
func (s *groupsShard) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		s.onStarted(ctx)
	case *groupsLoaded:
		s.onLoaded(ctx, msg)
	case *openGroup:
		s.onOpen(ctx, msg)
	case *groupEmitted:
		s.onEmitted(ctx, msg)
	case *offsetsAppended:
		s.onAppended(ctx, msg)
	case *appendTick:
		s.onAppendTick(ctx, msg)
	case *actor.Terminated:
		s.onTerminated(ctx, msg.Who)
	case *refoldTick:
		delete(s.pauses, msg.run)
		s.refold(ctx, msg.run)
	case *groupRefolded:
		s.onRefolded(ctx, msg)
	case *topicsChanged:
		s.onTopicsChanged(ctx, msg)
	case *groupsConfigured:
		for _, run := range s.children {
			ctx.Send(run.pid, msg)
		}
	case *sweepTick:
		s.onSweep(ctx)
	case *actor.Stopping:
		s.onStopping()
	case *actor.Stopped:
	default:
		s.metrics.unknownMessage()
		s.logger.Warn("unknown message", "type", fmt.Sprintf("%T", msg))
	}
}

func (s *groupsShard) onStarted(ctx actor.Context) {
	self := ctx.Self()
	load := &offsetsLoad{broker: s.Broker, run: s.run, log: s.log}
	before := s.before
	s.before = nil
	s.work.Go(func() { s.send(self, load.all(before)) })
}

func (s *groupsShard) onLoaded(ctx actor.Context, msg *groupsLoaded) {
	if msg.err != nil {
		s.fail(ctx, fmt.Errorf("load groups: %w", msg.err))
		return
	}
	s.end = msg.end
	s.metrics.groupsLoaded(msg.took)
	for id, loaded := range msg.groups {
		s.asleep[id] = sleeper(loaded)
	}
	s.run.mu.Lock()
	for id, loaded := range msg.groups {
		s.run.groups[id] = newGroupRun(id, groupAsleep, loaded.group.Listed())
	}
	s.run.mu.Unlock()
	s.wake(ctx)
	s.run.loaded.Store(true)
	level := slog.LevelInfo
	if msg.records+msg.skipped == 0 {
		level = slog.LevelDebug // most partitions of a young cluster
	}
	s.logger.Log(context.Background(), level, "groups loaded", "groups", len(msg.groups), "records", msg.records, "skipped", msg.skipped, "offset", msg.end, "took", msg.took)
}

// wake gives an actor to those who have something to do soon, and looks again later.
func (s *groupsShard) wake(ctx actor.Context) {
	soon := s.now().Add(2 * sweepInterval)
	for id, sleeping := range s.asleep {
		due := sleeping.effects.Deadline
		if len(sleeping.effects.Records) > 0 || !due.IsZero() && due.Before(soon) {
			s.spawn(ctx, id, sleeping, 0)
		}
	}
	if len(s.asleep) > 0 {
		self := ctx.Self()
		s.sweep = time.AfterFunc(sweepInterval, func() { s.send(self, &sweepTick{}) })
	}
}

func (s *groupsShard) onSweep(ctx actor.Context) { s.wake(ctx) }

// onOpen gives out the coordinator of a group: the one there is, or a new one.
func (s *groupsShard) onOpen(ctx actor.Context, msg *openGroup) {
	run := s.run.find(msg.id)
	switch {
	case !s.run.loaded.Load(), run != nil && run.state == groupRefolding:
		msg.reply <- openedGroup{err: wire.CoordinatorLoadInProgress}
	case run == nil && len(s.run.groups) >= maxGroups:
		msg.reply <- openedGroup{err: wire.Errorf(wire.CoordinatorNotAvailable, "there are %d groups already", maxGroups)}
	case run == nil:
		msg.reply <- openedGroup{run: s.spawn(ctx, msg.id, sleeper{group: group.New(msg.id, *s.groups.config.Load())}, 0)}
	case run.state == groupAsleep:
		msg.reply <- openedGroup{run: s.spawn(ctx, msg.id, s.asleep[msg.id], 0)}
	default:
		msg.reply <- openedGroup{run: run}
	}
}

// spawn gives a group its actor, and hands the group over to it.
func (s *groupsShard) spawn(ctx actor.Context, id wire.GroupID, what sleeper, failures int) *groupRun {
	delete(s.asleep, id)
	run := newGroupRun(id, groupAwake, what.group.Listed())
	run.since, run.failures = s.now().UnixMilli(), failures
	self := ctx.Self()
	pid, err := ctx.SpawnNamed(childProps(func() actor.Actor { return newGroupCoordinator(s, self, run, what) }), "group/"+string(id))
	if err != nil {
		panic("actors: the coordinator of a group is there twice: " + err.Error())
	}
	run.pid = pid
	s.children[pid.Id] = run
	s.run.put(id, run)
	return run
}

// onTerminated goes on without a coordinator that nothing was left of, and replaces one that failed.
func (s *groupsShard) onTerminated(ctx actor.Context, who *actor.PID) {
	run := s.children[who.Id]
	delete(s.children, who.Id)
	switch {
	case run == nil || s.run.over():
	case run.leaving.Load():
		s.run.put(run.id, nil)
		run.end(errGroupForgotten)
	default:
		s.logger.Warn("group coordinator stopped", "group", run.id)
		next := newGroupRun(run.id, groupRefolding, *run.listed.Load())
		next.lastBatch, next.failures = run.lastBatch, run.failures+1
		if s.now().UnixMilli()-run.since > stableRun.Milliseconds() {
			next.failures = 1
		}
		s.run.put(run.id, next)
		run.end(wire.Errorf(wire.CoordinatorNotAvailable, "the coordinator of group %.300q has failed", run.id))
		s.folds = append(s.folds, next)
		s.refoldAppended(ctx)
	}
}

// refoldAppended reads those groups anew of which all that they had emitted is committed.
func (s *groupsShard) refoldAppended(ctx actor.Context) {
	waiting := s.folds[:0]
	for _, run := range s.folds {
		switch {
		case run.lastBatch > s.appends.done:
			waiting = append(waiting, run)
		case run.failures == 1:
			s.refold(ctx, run)
		default:
			self := ctx.Self()
			s.pauses[run] = time.AfterFunc(shardPauseAfter(run.failures), func() { s.send(self, &refoldTick{run: run}) })
		}
	}
	clear(s.folds[len(waiting):])
	s.folds = waiting
}

// refoldTick ends the pause before a group is read anew.
type refoldTick struct{ run *groupRun }

// groupRefolded is a group as the log has it.
type groupRefolded struct {
	run    *groupRun // that stands in its place
	loaded loadedGroup
	err    error
}

func (s *groupsShard) refold(ctx actor.Context, run *groupRun) {
	self := ctx.Self()
	load := &offsetsLoad{broker: s.Broker, run: s.run, log: s.log, end: s.end, only: run.id}
	s.work.Go(func() {
		loaded := load.groups()
		refolded := &groupRefolded{run: run, err: loaded.err}
		if found, ok := loaded.groups[run.id]; ok {
			refolded.loaded = found
		} else {
			refolded.loaded.group = group.New(run.id, *s.groups.config.Load())
		}
		s.send(self, refolded)
	})
}

func (s *groupsShard) onRefolded(ctx actor.Context, msg *groupRefolded) {
	if msg.err != nil {
		s.fail(ctx, fmt.Errorf("load group %s anew: %w", msg.run.id, msg.err))
		return
	}
	s.spawn(ctx, msg.run.id, sleeper(msg.loaded), msg.run.failures)
	msg.run.end(errGroupForgotten)
}

// onTopicsChanged tells those whom it may concern, none of them twice before it has looked. Sleepers look when they wake.
func (s *groupsShard) onTopicsChanged(ctx actor.Context, msg *topicsChanged) {
	for _, run := range s.children {
		if msg.deleted || run.listed.Load().Type == wire.ConsumerGroup {
			if !run.stale.Swap(true) {
				ctx.Send(run.pid, &lookAtTopics{})
			}
		}
	}
}

// fail ends a run of the shard by itself. The groups actor begins the next one.
func (s *groupsShard) fail(ctx actor.Context, err error) {
	s.logger.Warn("groups have to be loaded anew", "err", err)
	s.metrics.groupsLost()
	s.run.end(wire.NotCoordinator)
	ctx.Stop(ctx.Self())
}

func (s *groupsShard) onStopping() {
	s.run.end(wire.NotCoordinator)
	s.run.each(func(run *groupRun) { run.end(wire.NotCoordinator) })
	for _, pause := range s.pauses {
		pause.Stop()
	}
	s.appends.stop()
	if s.sweep != nil {
		s.sweep.Stop()
	}
}
