package group

import (
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// classic is the members of a group of the classic protocol: they share out its partitions among themselves, in
// generations, and the coordinator sees to it that all agree on one.
//
//	            first member joins                     all have joined, or the time is up
//	Empty ------------------------> PreparingRebalance -----------------------> CompletingRebalance
//	  ^                              |      ^       ^                              |          |
//	  |      nobody is left          |      |       |  a member comes or goes      |          | the leader brought
//	  +------------------------------+      |       +------------------------------+          | the assignments
//	                                        |                                                 v
//	                                        |    a member comes, goes, changes; the        Stable
//	                                        +----- leader asks for another round --------------+
//
// A generation is in the log before anybody is told of it, at first without a leader, and again when its assignments have
// come. So its number is never told of another one, by whichever coordinator, and what is late or repeated from one does
// not pass for the other's. A coordinator that takes over finds the last one: stable, or without assignments, and then all
// are to join again. Kafka: logs it with its assignments only.
type classic struct {
	group *Group

	state        wire.GroupState
	since        time.Time // the state; kept to the millisecond with the generation
	generation   wire.GenerationID
	protocolType string
	protocol     string // that the generation chose; "" while there is none
	leader       wire.MemberID
	members      []*classicMember // in the order they came in
	// expected are new members that were told their id and are to come back with it (KIP-394).
	expected []expectedMember
	logged   bool // the log has a record of the group

	// While PreparingRebalance.
	joinDue time.Time // when the members that have not joined are given up
	initial bool      // the group was empty: it waits for joinDue, though all have joined
	grew    bool      // a member came since the initial delay began: it is extended, while time remains
	delay   time.Duration
	remains time.Duration
	asked   time.Time // when the members were told to join, and from CompletingRebalance on, to sync

	// syncDue is when members of the generation that have not asked for their assignment are given up; zero: none is awaited.
	syncDue time.Time
}

// classicMember is a member of a classic group. Its protocols and its assignment are never changed, only replaced.
type classicMember struct {
	id               wire.MemberID
	instance         string // "": it is dynamic
	clientID         string
	clientHost       string
	sessionTimeout   time.Duration
	rebalanceTimeout time.Duration
	protocols        []wire.GroupProtocol // in the order of its preference; after loading the chosen one alone
	assignment       []byte

	session time.Time // when it is given up unless it is heard before
	fresh   bool      // its first JoinGroup is unanswered: it does not know its id, and sends no heartbeats
	joined  bool      // it has joined the rebalance that is going on
	synced  bool      // it has asked for its assignment of the last generation
	join    Call      // its parked JoinGroup
	sync    Call      // its parked SyncGroup
}

type expectedMember struct {
	id  wire.MemberID
	due time.Time
}

func newClassic(g *Group) *classic { return &classic{group: g, state: wire.GroupEmpty} }

func (c *classic) member(id wire.MemberID) *classicMember {
	for _, m := range c.members {
		if m.id == id {
			return m
		}
	}
	return nil
}

func (c *classic) staticMember(instance string) *classicMember {
	for _, m := range c.members {
		if m.instance == instance && instance != "" {
			return m
		}
	}
	return nil
}

// validate returns the member that a request names. A static member's instance belongs to the last id that it was given:
// whoever comes with an older one is fenced (KIP-345).
func (c *classic) validate(id wire.MemberID, instance string) (*classicMember, error) {
	if instance != "" {
		switch m := c.staticMember(instance); {
		case m == nil:
			return nil, wire.Errorf(wire.UnknownMemberID, "group %q has no member with instance id %q", c.group.id, instance)
		case m.id != id:
			return nil, wire.Errorf(wire.FencedInstanceID, "another member has taken over instance id %q", instance)
		}
	}
	m := c.member(id)
	if m == nil {
		return nil, wire.Errorf(wire.UnknownMemberID, "group %q has no member %q", c.group.id, id)
	}
	return m, nil
}

// leads says that the member leads the generation: it assigns.
func (c *classic) leads(m *classicMember) bool { return m.id == c.leader }

// takeOut removes a member. Its parked calls are answered: it may come again.
func (c *classic) takeOut(t *turn, m *classicMember, code wire.ErrorCode) {
	err := wire.Errorf(code, "member %q is no longer in group %q", m.id, c.group.id)
	t.answer(m.join, &wire.JoinedGroup{Err: err})
	t.answer(m.sync, &wire.SyncedGroup{Err: err})
	m.join, m.sync = 0, 0
	c.members = slices.DeleteFunc(c.members, func(o *classicMember) bool { return o == m })
	if c.leads(m) {
		c.leader = ""
		if len(c.members) > 0 {
			c.leader = c.members[0].id
		}
	}
}

// enter moves to another state.
func (c *classic) enter(t *turn, s wire.GroupState) {
	c.state, c.since = s, t.now.Truncate(time.Millisecond)
	if s == wire.GroupEmpty {
		c.group.planExpiry(t)
	}
}

// rebalanceTimeout is how long members may take to join: as long as the slowest of them wants.
func (c *classic) rebalanceTimeout() (longest time.Duration) {
	for _, m := range c.members {
		longest = max(longest, m.rebalanceTimeout)
	}
	return longest
}

// heard begins a member's session anew.
func (c *classic) heard(t *turn, m *classicMember) { m.session = t.now.Add(m.sessionTimeout) }

// waits says that the member is waiting for an answer: then it need not send heartbeats. A new one is waited for all
// the same, since nobody may be there any more.
func (m *classicMember) waits() bool { return m.join != 0 && !m.fresh || m.sync != 0 }

// deadline returns when tick is due.
func (c *classic) deadline() time.Time {
	due := earlier(c.joinDue, c.syncDue)
	for _, e := range c.expected {
		due = earlier(due, e.due)
	}
	for _, m := range c.members {
		if !m.waits() {
			due = earlier(due, m.session)
		}
	}
	return due
}

// tick gives up who was not heard of, and goes on with what waited long enough.
func (c *classic) tick(t *turn) {
	c.expireExpected(t)
	c.expireSessions(t)
	if reached(c.joinDue, t.now) {
		c.joinTimeIsUp(t)
	}
	if reached(c.syncDue, t.now) {
		c.syncTimeIsUp(t)
	}
}

func reached(due, now time.Time) bool { return !due.IsZero() && !now.Before(due) }

func (c *classic) expireExpected(t *turn) {
	before := len(c.expected)
	c.expected = slices.DeleteFunc(c.expected, func(e expectedMember) bool { return reached(e.due, t.now) })
	if len(c.expected) < before {
		c.completeIfAllJoined(t)
	}
}

// expireSessions takes out the members whose sessions have ended, with one rebalance for all of them.
func (c *classic) expireSessions(t *turn) {
	var first *classicMember
	for _, m := range slices.Clone(c.members) {
		if m.waits() || !reached(m.session, t.now) {
			continue
		}
		if first == nil {
			first = m
		}
		c.gaveUp(m, m.session.Add(-m.sessionTimeout)) // nobody has heard of it since
		c.takeOut(t, m, wire.UnknownMemberID)
	}
	if first != nil {
		c.shrank(t, rebalanceCause{trigger: wire.MemberExpired, member: first.id, detail: "its session ended"})
	}
}

// shrank goes on after members have left or were taken out.
func (c *classic) shrank(t *turn, cause rebalanceCause) {
	switch c.state {
	case wire.GroupStable, wire.GroupCompletingRebalance:
		c.prepare(t, cause)
	case wire.GroupPreparingRebalance:
		c.completeIfAllJoined(t)
	default:
	}
}

// cancel forgets a parked call. Its member is not waiting any more, so that it has a session to be heard in.
func (c *classic) cancel(t *turn, call Call) {
	for _, m := range c.members {
		switch call {
		case m.join:
			m.join = 0
			c.heard(t, m)
		case m.sync:
			m.sync = 0
			c.heard(t, m)
		}
	}
}

// fail answers all parked calls with an error.
func (c *classic) fail(t *turn, err error) {
	for _, m := range c.members {
		t.answer(m.join, &wire.JoinedGroup{Err: err, Member: m.id})
		t.answer(m.sync, &wire.SyncedGroup{Err: err})
		m.join, m.sync = 0, 0
	}
}

// forgotten says that nothing is left of what never was in the log.
func (c *classic) forgotten() bool {
	return !c.logged && c.state == wire.GroupEmpty && len(c.expected) == 0
}

// end emits the tombstone of the group.
func (c *classic) end(t *turn) {
	if c.logged {
		t.emit(tombstone(classicRecord, c.group.id, "", 0))
	}
}

// log emits the group as it is.
func (c *classic) log(t *turn) {
	c.logged = true
	t.emit(newClassicRecord(c.group.id, c.value()))
}

// loaded gives the members that the log knows a session to be heard in.
func (c *classic) loaded(t *turn) {
	for _, m := range c.members {
		c.heard(t, m)
	}
	switch {
	case len(c.members) > c.group.config.MaxSize:
		c.prepare(t, rebalanceCause{trigger: wire.MemberLeft, detail: "the group has more members than it may have"})
	case c.unassigned():
		c.state = wire.GroupStable // what members had until then may still be theirs
		c.prepare(t, rebalanceCause{trigger: wire.NoAssignmentCame, detail: "the coordinator changed before the assignments came"})
	}
}

// unassigned says that the generation has no assignments yet.
func (c *classic) unassigned() bool {
	return c.state == wire.GroupPreparingRebalance || c.state == wire.GroupCompletingRebalance
}
