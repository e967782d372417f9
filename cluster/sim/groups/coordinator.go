package groups

import (
	"slices"
	"time"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/wire"
)

// coordinator is the shell around the rules of one group. Nothing it was told by them leaves it before all that they had
// emitted until then is committed.
type coordinator struct {
	s     *shard
	id    wire.GroupID
	rules *group.Group
	gone  bool
	ended bool

	emitted, committed int // records
	held               []held
	calls              map[group.Call]*call
	order              []group.Call // of calls, so that a run can be had again

	fromLog bool // loaded, and nothing has happened since
	mutated mutation

	alarm    uint64 // the last one set; others are void
	deadline time.Time
	idleFor  int // ticks in a row that changed nothing
}

// held is an answer that waits until so many records are committed.
type held struct {
	after  int
	call   *call
	answer group.Answer
}

func newCoordinator(s *shard, id wire.GroupID) *coordinator {
	return &coordinator{
		s: s, id: id, rules: group.New(id, s.b.w.rules), calls: make(map[group.Call]*call),
	}
}

func (c *coordinator) world() *World { return c.s.b.w }

func (c *coordinator) handle(arrived *call) {
	w := c.world()
	w.stats.Handled++
	request := c.mutateRequest(arrived.request)
	arrived.at = c
	w.calls++
	arrived.handle = group.Call(w.calls)
	c.calls[arrived.handle] = arrived
	c.order = append(c.order, arrived.handle)
	c.fromLog = false
	w.truth(c.id).asked(c, arrived)
	c.perform(c.rules.Handle(request, arrived.handle, c.s.b.view, c.s.b.clock()))
}

// cancel is the end of the connection that a call came by.
func (c *coordinator) cancel(gone *call) {
	if c.ended || c.calls[gone.handle] != gone {
		return
	}
	c.world().stats.Cancelled++
	c.settle(gone)
	delete(c.world().open, gone.handle)
	c.world().cancelled[gone.handle] = true
	c.perform(c.rules.Cancel(gone.handle, c.s.b.clock()))
}

func (c *coordinator) settle(done *call) {
	delete(c.calls, done.handle)
	c.order = slices.DeleteFunc(c.order, func(h group.Call) bool { return h == done.handle })
}

func (c *coordinator) perform(e group.Effects) {
	w := c.world()
	e = c.mutateEffects(e)
	if len(e.Records) > 0 {
		c.emitted += len(e.Records)
		w.truth(c.id).emitted(c, e.Records)
		c.s.queue = append(c.s.queue, emission{c, e.Records})
	}
	for _, a := range e.Answers {
		answered := c.calls[a.Call]
		if answered == nil {
			if !w.cancelled[a.Call] {
				w.Violate("%s: call %d is answered, and was not made or answered before: %s", c.id, a.Call, show(a.Reply))
			}
			continue
		}
		c.settle(answered)
		a.Reply = c.mutateReply(answered, a.Reply)
		w.truth(c.id).decided(c, answered, a.Reply)
		c.held = append(c.held, held{c.emitted, answered, a})
	}
	w.truth(c.id).turned(c)
	c.gone = e.Gone
	c.setAlarm(e.Deadline)
	c.release()
	c.s.flush()
	c.s.forget()
}

// release lets answers out.
func (c *coordinator) release() {
	for len(c.held) > 0 && !c.ended {
		next := c.held[0]
		if next.after > c.committed && !c.mutantAnswersAtOnce() {
			return
		}
		c.held = c.held[1:]
		c.world().truth(c.id).released(c, next.call, next.answer.Reply)
		next.call.answer(c.s.b, next.answer.Reply)
	}
}

func (c *coordinator) idle() bool {
	return len(c.calls) == 0 && len(c.held) == 0 && c.emitted == c.committed
}

// setAlarm keeps the promise that Tick is called when it is due.
func (c *coordinator) setAlarm(at time.Time) {
	if at.Equal(c.deadline) && !at.IsZero() {
		return
	}
	c.deadline = at
	c.alarm++
	if at.IsZero() || c.mutantForgetsAlarm() {
		return
	}
	mine, w := c.alarm, c.world()
	// A timer never rings early, and never at once.
	after := max(at.Sub(c.s.b.clock()), 0) + w.Between(0, 2*time.Millisecond)
	w.At(after, c.s.b.run, func() {
		if c.ended || c.alarm != mine {
			return
		}
		c.deadline = time.Time{}
		c.tick()
	})
}

func (c *coordinator) tick() {
	w := c.world()
	w.stats.Ticks++
	now := c.s.b.clock()
	e := c.rules.Tick(c.s.b.view, now)
	if e.Deadline.IsZero() || e.Deadline.After(now) {
		c.idleFor = 0
	} else if c.idleFor++; c.idleFor > 3 && len(e.Records)+len(e.Answers) == 0 {
		w.Violate("%s: Tick is due %s ago, again and again, and does nothing", c.id, now.Sub(e.Deadline))
	}
	c.perform(e)
}

// restart is what becomes of a coordinator that panicked: it is folded from the log again, once what it emitted is
// committed.
func (c *coordinator) restart() {
	w := c.world()
	w.stats.Restarts++
	w.Note(c.s.b.name(), "%s: the coordinator is killed", c.id)
	c.end(wire.CoordinatorNotAvailable)
	c.s.fail()
}

func (c *coordinator) stop() {
	c.ended = true
	c.alarm++
}

// end answers all that were not answered yet.
func (c *coordinator) end(err error) {
	if c.ended {
		return
	}
	c.stop()
	if c.world().mutant == ParkedForgotten && err != nil {
		return
	}
	for _, handle := range c.order {
		c.calls[handle].fail(c.s.b, err)
	}
	for _, h := range c.held {
		h.call.fail(c.s.b, err)
	}
	c.calls, c.held, c.order = nil, nil, nil
}
