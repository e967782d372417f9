package group

import "time"

// maxLate is how long after its time Tick may come, and still be believed about who was not heard of.
const maxLate = time.Second

// overslept says that the coordinator looks at its members much later than it meant to: the process was stopped, or had
// no time. Then it could not hear them either, and what they sent waits to be read.
//
// Kafka: takes them all out, and the whole group rebalances.
func (g *Group) overslept(now time.Time) bool {
	due := g.membersDue()
	return !due.IsZero() && now.Sub(due) > maxLate
}

// listenAgain gives the members another chance to be heard, as after a load.
func (g *Group) listenAgain(t *turn) {
	if g.classic != nil {
		g.classic.listenAgain(t)
	}
	if g.consumer != nil {
		g.consumer.listenAgain(t)
	}
}

func (c *classic) listenAgain(t *turn) {
	again := func(due, next time.Time) time.Time {
		if reached(due, t.now) {
			return next
		}
		return due
	}
	for i := range c.expected {
		c.expected[i].due = again(c.expected[i].due, t.now.Add(c.group.config.MinSessionTimeout))
	}
	for _, m := range c.members {
		m.session = again(m.session, t.now.Add(m.sessionTimeout))
	}
	if !c.initial { // then nobody is given up when it is over
		c.joinDue = again(c.joinDue, t.now.Add(c.rebalanceTimeout()))
	}
	c.syncDue = again(c.syncDue, t.now.Add(c.rebalanceTimeout()))
}

func (c *consumer) listenAgain(t *turn) {
	for _, m := range c.members {
		if late, _ := m.late(t.now); !late {
			continue
		}
		m.expires = t.now.Add(c.sessionTimeout(m))
		for _, due := range []*time.Time{&m.revokeBy, &m.joinBy, &m.syncBy} {
			if !due.IsZero() {
				*due = t.now.Add(m.rebalanceTimeout())
			}
		}
	}
	c.lookForDue()
}
