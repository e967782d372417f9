package actors

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/wire"
)

// groupCoordinator is one consumer group: only its mailbox leads to a change of it. The rules (package cluster/group)
// decide; what they emit goes to the shard, whose child this is, and answers go out once all that the group has emitted
// before is committed.
type groupCoordinator struct {
	*Broker
	run     *groupRun
	shard   *actor.PID
	metrics *Metrics
	logger  *slog.Logger // the shard's

	group    *group.Group
	loaded   group.Effects // of what was found in the log, to be performed first
	calls    map[group.Call]*groupAsk
	emitted  uint64 // emissions of records so far
	gone     bool   // nothing is left of the group
	settling bool   // a groupSettled to itself is on its way

	timer *time.Timer
	due   time.Time // when it fires; zero: never
}

// groupAsk is a request on its way to a coordinator.
type groupAsk struct {
	request wire.GroupRequest
	call    group.Call
	reply   chan wire.GroupReply // of capacity 1
}

// groupCancel says that whoever made a call is gone.
type groupCancel struct{ call group.Call }

// groupTick has the rules look at the clock.
type groupTick struct{}

// lookAtTopics has the rules look at the metadata.
type lookAtTopics struct{}

// groupSettled says that the end of the group may be committed. It comes from the shard, and from the coordinator itself, to
// whom it says that all is done that was in the mailbox.
type groupSettled struct{}

// unaskedFor is how long a new coordinator waits for the request that it was made for.
const unaskedFor = time.Minute

// leastTick keeps a deadline that is in the past from keeping a processor busy.
const leastTick = time.Millisecond

func newGroupCoordinator(s *groupsShard, shard *actor.PID, run *groupRun, what sleeper) *groupCoordinator {
	return &groupCoordinator{
		Broker: s.Broker, run: run, shard: shard, metrics: s.metrics, logger: s.logger,
		group: what.group, loaded: what.effects, calls: make(map[group.Call]*groupAsk),
	}
}

// Receive implements actor.Actor.
func (c *groupCoordinator) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		c.onStarted(ctx)
	case *groupAsk:
		c.calls[msg.call] = msg
		c.perform(ctx, c.group.Handle(msg.request, msg.call, c.View(), c.now()))
	case *groupCancel:
		if _, waits := c.calls[msg.call]; waits {
			delete(c.calls, msg.call)
			c.perform(ctx, c.group.Cancel(msg.call, c.now()))
		}
	case *groupTick:
		c.onTick(ctx)
	case *lookAtTopics:
		c.run.stale.Store(false) // what changes from here on is told again
		c.perform(ctx, c.group.TopicsChanged(c.View(), c.now()))
	case *groupsConfigured:
		c.group.Configure(*c.groups.config.Load())
	case *groupSettled:
		c.settling = false
		c.leaveIfGone(ctx)
	case *killActor:
		panic("killed on request")
	case *actor.Stopping:
		c.disarm()
	case *actor.Stopped:
	default:
		c.metrics.unknownMessage()
		c.logger.Warn("unknown message", "group", c.run.id, "type", fmt.Sprintf("%T", msg))
	}
}

// onStarted goes on from what was found in the log, which may have been a while ago.
func (c *groupCoordinator) onStarted(ctx actor.Context) {
	if c.run.listed.Load().State == wire.GroupDead {
		// Nobody knew of it: the first request is on its way, unless whoever makes it is gone.
		c.arm(ctx, c.now().Add(unaskedFor))
		return
	}
	c.group.Configure(*c.groups.config.Load())
	c.perform(ctx, c.loaded)
	c.loaded = group.Effects{}
	c.perform(ctx, c.group.TopicsChanged(c.View(), c.now()))
}

func (c *groupCoordinator) onTick(ctx actor.Context) {
	c.due = time.Time{}
	effects := c.group.Tick(c.View(), c.now())
	c.metrics.offsetsExpired(effects.Records)
	c.perform(ctx, effects)
}

// perform carries out what the rules decided: persist, answer, and see to the next tick.
func (c *groupCoordinator) perform(ctx actor.Context, effects group.Effects) {
	if len(effects.Records) > 0 {
		c.emitted++
	}
	if len(effects.Records) > 0 || len(effects.Answers) > 0 && c.emitted != c.run.committed.Load() {
		ctx.Send(c.shard, &groupEmitted{
			run: c.run, number: c.emitted, records: effects.Records, answers: c.held(effects.Answers), gone: effects.Gone,
		})
	} else {
		for _, a := range effects.Answers {
			if ask := c.take(a.Call); ask != nil {
				ask.reply <- a.Reply
			}
		}
	}
	if listed := c.group.Listed(); listed != *c.run.listed.Load() {
		c.run.listed.Store(&listed)
	}
	c.arm(ctx, effects.Deadline)
	if c.gone = effects.Gone; c.gone && !c.settling {
		c.settling = true
		ctx.Send(ctx.Self(), &groupSettled{})
	}
}

// take ends a call, so that it has no second answer.
func (c *groupCoordinator) take(call group.Call) *groupAsk {
	ask := c.calls[call]
	delete(c.calls, call)
	return ask
}

// held is answers that have to wait.
func (c *groupCoordinator) held(answers []group.Answer) []heldAnswer {
	if len(answers) == 0 {
		return nil
	}
	list := make([]heldAnswer, 0, len(answers))
	for _, a := range answers {
		if ask := c.take(a.Call); ask != nil {
			list = append(list, heldAnswer{to: ask.reply, answer: a.Reply})
		}
	}
	return list
}

// leaveIfGone ends the actor of a group that nothing is left of, in the log either. What is in the mailbox is not lost: whoever
// sent it asks the next one.
func (c *groupCoordinator) leaveIfGone(ctx actor.Context) {
	if c.gone && len(c.calls) == 0 && c.emitted == c.run.committed.Load() {
		c.run.leaving.Store(true)
		ctx.Stop(ctx.Self())
	}
}

// arm has the timer fire at a deadline, or before. Deadlines move with every heartbeat, nearly always away: so it is left as it
// is, and armed again when it fires too early.
func (c *groupCoordinator) arm(ctx actor.Context, deadline time.Time) {
	switch {
	case deadline.IsZero():
		c.disarm()
	case c.due.IsZero() || deadline.Before(c.due):
		self, send := ctx.Self(), c.send
		c.disarm()
		c.due = deadline
		c.timer = time.AfterFunc(max(deadline.Sub(c.now()), leastTick), func() { send(self, &groupTick{}) })
	}
}

func (c *groupCoordinator) disarm() {
	if c.timer != nil {
		c.timer.Stop()
	}
	c.timer, c.due = nil, time.Time{}
}
