package actors

import (
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// groupsActor has a shard for each partition of the offsets topic that this broker leads. A shard lives as long as the
// leader epoch: when that ends, or when the shard fails, it is stopped with all its coordinators, and the next
// one begins by reading the log.
//
//	groups                 this actor: which shards there are
//	  groups/7             a shard: loads its partition, appends what its groups emit (groups_shard.go)
//	    group/billing      a coordinator: one group (group_coordinator.go)
type groupsActor struct {
	*Broker
	metrics  *Metrics
	slots    map[int32]*shardSlot
	stopping bool
}

// shardSlot is the place of a shard.
type shardSlot struct {
	part     *partition
	run      *shardRun  // nil between two
	last     *appending // of the run before; it may still be on its way
	ended    bool       // run was told to stop
	pausing  bool       // before the next one
	pause    *time.Timer
	failures int       // runs in a row that ended by themselves
	since    time.Time // when the present run began
}

// offsetsDoor tells that the door of a partition of the offsets topic was opened or shut.
type offsetsDoor struct{ part *partition }

// shardPause ends the pause before a shard is spawned again.
type shardPause struct{ partition int32 }

// topicsChanged tells that topics were created or deleted, or have got partitions.
type topicsChanged struct{ deleted bool }

// groupsConfigured tells that the configuration of groups has changed.
type groupsConfigured struct{}

// stopGroups ends all shards.
type stopGroups struct{}

const groupsName = "groups"

// Receive implements actor.Actor.
func (g *groupsActor) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *offsetsDoor:
		g.onDoor(ctx, msg.part)
	case *shardPause:
		g.onPause(ctx, msg)
	case *actor.Terminated:
		g.onTerminated(ctx, msg.Who)
	case *topicsChanged, *groupsConfigured:
		for _, s := range g.slots {
			if s.run != nil && !s.ended {
				ctx.Send(s.run.pid, msg)
			}
		}
	case *stopGroups:
		g.stopping = true
		for _, s := range g.slots {
			g.end(ctx, s)
			if s.pause != nil {
				s.pause.Stop()
			}
		}
	}
}

func (g *groupsActor) onDoor(ctx actor.Context, part *partition) {
	s := g.slots[part.tp.Partition]
	if s == nil {
		s = new(shardSlot)
		g.slots[part.tp.Partition] = s
	}
	if s.part != part {
		// The topic was created anew; the old one's doors are shut for good.
		g.end(ctx, s)
		s.part, s.failures = part, 0
	}
	g.look(ctx, s)
}

// look compares a slot with what its partition's replica is now.
func (g *groupsActor) look(ctx actor.Context, s *shardSlot) {
	view := s.part.view.Load()
	if s.part.door.address() == nil {
		view = nil // it is to follow, or to stop, and may not know yet
	}
	switch {
	case s.run != nil && (view == nil || view.leaderEpoch != s.run.epoch):
		g.end(ctx, s)
	case s.run == nil && view != nil && !s.pausing && !g.stopping:
		g.begin(ctx, s, view)
	}
}

// end stops a shard. Its callers are told at once.
func (g *groupsActor) end(ctx actor.Context, s *shardSlot) {
	if s.run == nil || s.ended {
		return
	}
	s.ended = true
	s.run.end(wire.NotCoordinator)
	ctx.Stop(s.run.pid)
	g.publish()
}

func (g *groupsActor) begin(ctx actor.Context, s *shardSlot, view *replicaView) {
	run := &shardRun{ending: newEnding(), part: s.part, epoch: view.leaderEpoch, groups: make(map[wire.GroupID]*groupRun)}
	pid, err := ctx.SpawnNamed(childProps(func() actor.Actor {
		return newGroupsShard(g.Broker, run, view.log, s.last, g.metrics)
	}), strconv.Itoa(int(s.part.tp.Partition)))
	if err != nil {
		panic("actors: a shard of groups is there twice: " + err.Error())
	}
	run.pid = pid
	s.run, s.ended, s.since = run, false, g.now()
	g.publish()
}

func (g *groupsActor) onTerminated(ctx actor.Context, who *actor.PID) {
	for number, s := range g.slots {
		if s.run == nil || s.run.pid.Id != who.Id {
			continue
		}
		s.run.end(wire.NotCoordinator)
		failed := !s.ended
		s.last = s.run.flight.Load()
		s.run, s.ended = nil, false
		g.publish()
		if !failed {
			s.failures = 0
		} else if g.mustPause(s) {
			self, send := ctx.Self(), g.send
			s.pause = time.AfterFunc(shardPauseAfter(s.failures), func() { send(self, &shardPause{partition: number}) })
		}
		g.look(ctx, s)
		return
	}
}

// mustPause notes that a shard has failed and says if the next one has to wait.
func (g *groupsActor) mustPause(s *shardSlot) bool {
	if g.now().Sub(s.since) > stableRun {
		s.failures = 0
	}
	s.failures++
	s.pausing = s.failures > 1
	return s.pausing
}

func shardPauseAfter(failures int) time.Duration {
	return min(firstRespawnPause<<min(failures-2, 16), maxRespawnPause)
}

func (g *groupsActor) onPause(ctx actor.Context, msg *shardPause) {
	if s := g.slots[msg.partition]; s != nil {
		s.pausing = false
		g.look(ctx, s)
	}
}

// publish shows callers the shards there are.
func (g *groupsActor) publish() {
	var table *shardTable
	for number, s := range g.slots {
		if s.run == nil || s.ended {
			continue
		}
		if table == nil {
			table = &shardTable{runs: make([]*shardRun, g.routes.size(s.part.tp.Topic))}
		}
		if int(number) < len(table.runs) { // else the topic is gone
			table.runs[number] = s.run
		}
	}
	g.groups.shards.Store(table)
}

// tellGroups tells of what concerns groups in a new image, which everybody can see by now.
func (b *brokerActor) tellGroups(before, after *metadata.Local, delta *metadata.Delta) {
	if len(delta.Configs) > 0 {
		b.groups.config.Store(groupConfig(after))
		b.send(b.coordinators, &groupsConfigured{})
	}
	if changed, deleted := topicsDiffer(before, after, delta); changed {
		b.send(b.coordinators, &topicsChanged{deleted: deleted})
	}
}

// topicsDiffer says whether there are other topics or partitions than before, and whether some are gone.
func topicsDiffer(before, after *metadata.Local, delta *metadata.Delta) (changed, deleted bool) {
	for _, t := range delta.Topics {
		switch {
		case t.Deleted:
			return true, true
		case t.Created:
			changed = true
		case len(t.Partitions) > 0 && !changed:
			was, _ := before.TopicByID(t.ID)
			is, _ := after.TopicByID(t.ID)
			changed = was.Partitions != is.Partitions
		}
	}
	return changed, false
}
