package group

import (
	"hash/fnv"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// leave takes a member out that says so, or lets a static one pause: it keeps what it has until its session ends, for the
// next member with its instance.
func (c *consumer) leave(t *turn, q *wire.ConsumerHeartbeat) (*wire.ConsumerHeartbeatReply, error) {
	m, err := c.find(q.Member, q.Instance)
	if err != nil {
		return nil, err
	}
	if q.MemberEpoch == wire.StaticMemberPauses {
		s := m.standing
		s.epoch, s.revoking = wire.StaticMemberPauses, nil
		if s.state == memberUnrevokedPartitions {
			s.state = memberStable // what it was to give up it uses no more
		}
		m.revokeBy = time.Time{}
		c.place(t, m, s)
	} else {
		c.fence(t, rebalanceCause{trigger: wire.MemberLeft, member: m.id}, m)
	}
	return &wire.ConsumerHeartbeatReply{Member: q.Member, MemberEpoch: q.MemberEpoch}, nil
}

// fence takes members out. The targets of the others are computed with the next heartbeat: more may go until then. A group of
// which only members of the classic protocol are left becomes a classic one.
func (c *consumer) fence(t *turn, because rebalanceCause, gone ...*consumerMember) {
	if c.group.downgrade(t, because, gone) {
		return
	}
	for _, m := range gone {
		c.waited(t, m)
		c.remove(t, m, m.lastHeard(t, because))
	}
	c.bump(t, because)
	c.recordPatterns(t)
	if len(c.members) == 0 {
		c.group.planExpiry(t)
		c.finished(t)
	}
}

// lastHeard is until when a member that goes used what it had.
func (m *consumerMember) lastHeard(t *turn, because rebalanceCause) time.Time {
	if because.trigger == wire.MemberExpired {
		return m.heard
	}
	return t.now
}

// tick goes on matching names, and fences the members whose time is up.
func (c *consumer) tick(t *turn) {
	if c.subs.unfinished {
		c.subs.look(t.view)
	}
	if c.due.IsZero() || t.now.Before(c.due) {
		return
	}
	c.due = time.Time{}
	var gone []*consumerMember
	var because rebalanceCause
	for _, m := range c.members {
		late, trigger := m.late(t.now)
		if !late {
			c.wake(m.deadline())
			continue
		}
		gone = append(gone, m)
		if because.trigger == "" {
			because = rebalanceCause{trigger: trigger, member: m.id, detail: "it was not heard of"}
			if trigger == wire.MemberTooSlow {
				because.detail = "it did not do in time what it was asked to"
			}
		}
	}
	if len(gone) > 0 {
		c.fence(t, because, gone...)
	}
}

// late says that a member's time is up, and for what it was too slow.
func (m *consumerMember) late(now time.Time) (bool, wire.RebalanceTrigger) {
	switch {
	case !m.expires.IsZero() && !now.Before(m.expires):
		return true, wire.MemberExpired
	case !m.revokeBy.IsZero() && !now.Before(m.revokeBy),
		!m.joinBy.IsZero() && !now.Before(m.joinBy),
		!m.syncBy.IsZero() && !now.Before(m.syncBy):
		return true, wire.MemberTooSlow
	default:
		return false, ""
	}
}

// deadline returns when a member's time is up.
func (m *consumerMember) deadline() time.Time {
	return earlier(earlier(m.expires, m.revokeBy), earlier(m.joinBy, m.syncBy))
}

// hears begins a member's session anew.
func (c *consumer) hears(t *turn, m *consumerMember) {
	m.heard = t.now
	m.expires = t.now.Add(c.sessionTimeout(m))
	c.wake(m.expires)
}

// nextHeartbeat tells a member when to come again. One that waits for partitions comes more often than usual; and when
// somebody's time is about to be up, the others come just after that, each at another time, so that what becomes free is
// nobody's for a moment only.
//
// Kafka: the interval is always as configured.
func (c *consumer) nextHeartbeat(t *turn, m *consumerMember) time.Duration {
	const hurry = 5 // times as often as usual
	usual := c.group.config.ConsumerHeartbeatInterval
	next := usual
	if m.state == memberUnreleasedPartitions {
		next = usual / hurry
	}
	if c.due.Sub(t.now) < next {
		c.lookForDue() // it may be later than was known
	}
	if left := max(c.due.Sub(t.now), 0); left < next {
		spread := fnv.New32a()
		_, _ = spread.Write([]byte(m.id)) // never fails
		later := time.Duration(spread.Sum32()%1000) * usual / hurry / 1000
		next = min(next, left+later+time.Millisecond)
	}
	return next
}

// lookForDue finds the first deadline of any member.
func (c *consumer) lookForDue() {
	c.due = time.Time{}
	for _, m := range c.members {
		c.wake(m.deadline())
	}
}

// wake makes sure that Tick looks at the members by then.
func (c *consumer) wake(at time.Time) { c.due = earlier(c.due, at) }

// deadline returns when Tick is due. There may be nothing to do then but to find out when it is due next.
func (c *consumer) deadline() time.Time {
	if len(c.members) == 0 {
		return time.Time{}
	}
	return c.due
}

// topicsChanged looks at the cluster as it is now. The next heartbeat finds out whether what is subscribed has changed.
func (c *consumer) topicsChanged(t *turn) { c.subs.look(t.view) }

// cancel has nothing to forget: no call is parked.
func (c *consumer) cancel(_ *turn, _ Call) {}
