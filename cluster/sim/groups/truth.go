package groups

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/wire"
)

// truth is what coordinators have promised in a group, all of them together. None of them can see it: it is made of what
// they answered.
type truth struct {
	w         *World
	id        wire.GroupID
	registers []*register

	members     map[wire.MemberID]*standing
	order       []wire.MemberID // of members
	generations map[wire.GenerationID]*generation
	holders     map[place]holder
	newest      wire.GenerationID // that an assignment was told of
	joined      wire.GenerationID // that the present coordinator has told of
	present     *coordinator

	state    wire.GroupState // and since when
	since    time.Duration
	slow     time.Duration // when a phase of a rebalance ended last that took as long as it may
	deleting bool          // the event that is handled deletes offsets on purpose
}

// generation is what is known of one of a classic group: all are told the same.
type generation struct {
	leader   wire.MemberID
	intended map[wire.MemberID][]place // as the leader sent them
	static   map[string][]place        // by instance
	told     map[wire.MemberID][]place
}

// holder is who was given a partition last.
type holder struct {
	member wire.MemberID
	epoch  wire.GenerationID
	topic  wire.TopicID
}

// standing is a member, as it may take itself for one.
type standing struct {
	id          wire.MemberID
	instance    string
	classic     bool
	established bool                 // it was told an assignment
	over        bool                 // it left, or another one took its instance
	robbed      bool                 // of the classic protocol: something that it had was given to another
	epoch       wire.GenerationID    // it was told
	decided     wire.GenerationID    // and what was decided last, which it may not have been told
	assigned    []wire.AssignedTopic // of KIP-848, as was decided
	given       []wire.AssignedTopic // and as it was told
	doubted     time.Duration        // when it came to a coordinator that may want something of it; 0: it was heard there
	heard       time.Duration        // when it was last heard with success
	joined      time.Duration
	told        time.Duration // since when it is to join, to sync, or to give up partitions; 0: it is not
}

func newTruth(w *World, id wire.GroupID) *truth {
	return &truth{
		w: w, id: id, members: make(map[wire.MemberID]*standing),
		generations: make(map[wire.GenerationID]*generation), holders: make(map[place]holder),
	}
}

func (t *truth) violate(format string, args ...any) {
	t.w.violate("%s: %s", t.id, fmt.Sprintf(format, args...))
}

func (t *truth) standing(id wire.MemberID) *standing {
	s := t.members[id]
	if s == nil {
		s = &standing{id: id}
		t.members[id] = s
		t.order = append(t.order, id)
	}
	return s
}

func (t *truth) generation(g wire.GenerationID) *generation {
	known := t.generations[g]
	if known == nil {
		known = &generation{
			intended: make(map[wire.MemberID][]place), static: make(map[string][]place), told: make(map[wire.MemberID][]place),
		}
		t.generations[g] = known
	}
	return known
}

// assigned notes what a leader wants for a generation. What it wants for a static member is also for whoever comes in its
// place.
func (t *truth) assigned(joined *wire.JoinedGroup, assignments []wire.MemberAssignment) {
	g := t.generation(joined.Generation)
	for _, a := range assignments {
		places, _ := decodeAssignment(a.Assignment)
		g.intended[a.Member] = append(g.intended[a.Member], places...)
		for _, m := range joined.Members {
			if m.Member == a.Member && m.Instance != "" {
				g.static[m.Instance] = append(g.static[m.Instance], places...)
			}
		}
	}
}

// loaded is a new coordinator: all begins anew that is not committed.
func (t *truth) loaded(c *coordinator) {
	t.present, t.joined, t.state, t.since = c, 0, "", t.w.now
	for _, r := range t.registers {
		r.latest = r.inLog
	}
	for _, id := range t.order {
		m := t.members[id]
		m.assigned, m.doubted = m.given, t.w.now
	}
}

// asked is a request that the rules are about to see.
func (t *truth) asked(c *coordinator, q *call) {
	t.w.open[q.handle] = q
	switch q := q.request.(type) {
	case *wire.LeaveGroup:
		t.leaves(q)
	case *wire.DeleteOffsets, *wire.DeleteGroup:
		t.deleting = true
	default:
		t.deleting = false
	}
	if t.present != c && c.s.epoch == t.w.log.epoch {
		t.loaded(c)
	}
}

// emitted is what the rules want to be in the log.
func (t *truth) emitted(c *coordinator, records []group.Record) { t.removes(c, records) }

// turned is the end of an event at a coordinator.
func (t *truth) turned(c *coordinator) {
	t.deleting = false
	if t.present != c || c.s.epoch != t.w.log.epoch {
		return
	}
	state := c.rules.Listed().State
	if state == t.state {
		return
	}
	if t.rebalancing() {
		t.w.stats.Rebalances++
		if t.w.now-t.since >= t.w.profile.RebalanceTimeout-slack {
			t.w.stats.SlowRebalances++
			t.slow = t.w.now
		}
	}
	t.w.note(c.s.b.name(), "%s is %s", t.id, state)
	t.state, t.since = state, t.w.now
	if state == wire.GroupEmpty || state == wire.GroupDead {
		t.ends()
	}
}

// ends is a group that nobody is in any more: the next one of the name may count from the beginning, since those that were
// members are known no longer.
func (t *truth) ends() {
	if m := t.active(); m != nil {
		t.violate("nobody is in it, and %s should be, which was heard %v ago", m.id, t.w.now-m.heard)
	}
	clear(t.generations)
	clear(t.holders)
	t.newest, t.joined = 0, 0
	for _, id := range t.order {
		t.members[id].over = true
	}
}

// slack is what timers may be late by.
const slack = 10 * time.Millisecond

// active is a member that no coordinator has had a reason to take out.
func (t *truth) active() *standing {
	for _, id := range t.order {
		if m := t.members[id]; m.established && !m.over && !t.mayBeOut(m) {
			return m
		}
	}
	return nil
}

// mayBeOut says that a member may have been taken out: it was silent for too long, or slow, or it may go on with what is
// another's by now.
func (t *truth) mayBeOut(m *standing) bool {
	w := t.w
	return w.now-m.heard >= w.profile.Session-slack ||
		m.told != 0 && w.now-m.told >= w.profile.RebalanceTimeout-slack ||
		m.doubted != 0 && w.now-m.doubted >= w.profile.RebalanceTimeout-slack ||
		m.classic && (m.robbed || t.slow >= m.joined || t.rebalancing() && w.now-t.since >= w.profile.RebalanceTimeout-slack)
}

// rebalancing says that a classic group waits for its members.
func (t *truth) rebalancing() bool {
	return t.state == wire.GroupPreparingRebalance || t.state == wire.GroupCompletingRebalance
}

// decided is an answer that the rules have given, and that is not out yet.
func (t *truth) decided(c *coordinator, q *call, reply wire.GroupReply) {
	if c.s.epoch != t.w.log.epoch {
		return
	}
	switch q := q.request.(type) {
	case *wire.JoinGroup:
		t.decideJoin(c, q, reply.(*wire.JoinedGroup))
	case *wire.SyncGroup:
		t.heard(q.Member, reply.Failure(), 0)
		if m := t.members[q.Member]; m != nil && reply.Failure() == nil && m.told == m.joined {
			m.told = 0 // but for a rebalance since
		}
	case *wire.GroupHeartbeat:
		t.heard(q.Member, reply.Failure(), 0)
		if m := t.members[q.Member]; m != nil && errors.Is(reply.Failure(), wire.RebalanceInProgress) {
			m.heard = t.w.now // no other request that is refused keeps it alive
		}
	case *wire.CommitOffsets:
		t.decideCommit(q, reply.(*wire.CommittedOffsets))
	case *wire.ConsumerHeartbeat:
		t.decideBeat(q, reply.(*wire.ConsumerHeartbeatReply))
	}
}

func (t *truth) decideJoin(c *coordinator, q *wire.JoinGroup, reply *wire.JoinedGroup) {
	if reply.Err != nil {
		if s, err := decodeSubscription(q.Protocols[0].Metadata); err == nil && t.members[q.Member] != nil {
			t.members[q.Member].robbed = t.othersHave(q.Member, s.owned)
		}
		t.heard(q.Member, reply.Err, 0)
		return
	}
	if reply.Generation < t.joined && t.classic() {
		t.violate("%s joins generation %d after %d", reply.Member, reply.Generation, t.joined)
	}
	t.joined = reply.Generation
	m := t.standing(reply.Member)
	m.over = false
	m.classic, m.instance, m.heard, m.joined = true, q.Instance, t.w.now, t.w.now
	m.told, m.robbed = t.w.now, false // it is to ask for its assignment
	t.replace(m)
}

// leads is a member that is told who leads its generation, by whichever coordinator.
func (t *truth) leads(reply *wire.JoinedGroup) {
	g := t.generation(reply.Generation)
	if g.leader != "" && g.leader != reply.Leader && t.classic() && t.standing(g.leader).instance == "" {
		t.violate("generation %d is led by %s and by %s", reply.Generation, g.leader, reply.Leader)
	}
	g.leader = reply.Leader
}

// othersHave says that a member goes on with what was given to another.
func (t *truth) othersHave(m wire.MemberID, owned []place) bool {
	return slices.ContainsFunc(owned, func(p place) bool {
		h, ok := t.holders[p]
		return ok && h.member != m
	})
}

// classic says that the group is one whose members are all of one generation.
func (t *truth) classic() bool { return t.present.rules.Listed().Type == wire.ClassicGroup }

// replace ends the members that had the instance before.
func (t *truth) replace(m *standing) {
	if m.instance == "" {
		return
	}
	for _, id := range t.order {
		if other := t.members[id]; other != m && other.instance == m.instance {
			other.over = true
		}
	}
}

// heard is a member's request that was accepted, or was not: then there has to be a reason for that.
func (t *truth) heard(id wire.MemberID, err error, epoch int32) {
	m := t.members[id]
	if m == nil {
		return
	}
	w := t.w
	switch {
	case err == nil:
		m.heard, m.over = w.now, false // also if it left, or was replaced, at a coordinator that could not commit that
		if m.classic {
			m.doubted = 0
		}
	case errors.Is(err, wire.RebalanceInProgress):
		if m.told == 0 {
			m.told = w.now
		}
	case errors.Is(err, wire.UnknownMemberID), errors.Is(err, wire.FencedMemberEpoch) && m.epoch == m.decided && epoch == int32(m.epoch):
		if m.established && !m.over && !t.mayBeOut(m) {
			t.violate("%s hears %v, and was heard %v ago; it had to rejoin or to give up for %v", id, err, w.now-m.heard, m.told)
		}
		m.established = false
	}
}

// leaves are members that somebody takes out.
func (t *truth) leaves(q *wire.LeaveGroup) {
	for _, leaving := range q.Members {
		for _, id := range t.order {
			m := t.members[id]
			if id == leaving.Member || leaving.Member == "" && leaving.Instance != "" && m.instance == leaving.Instance {
				m.over = true
			}
		}
	}
}

// decideCommit checks who may commit: members of the present, of what nobody else was given since; and strangers as long as
// there are no members.
func (t *truth) decideCommit(q *wire.CommitOffsets, reply *wire.CommittedOffsets) {
	w := t.w
	if reply.Err != nil {
		t.heard(q.Member, reply.Err, int32(q.Generation))
		w.stats.CommitsRefused++
		return
	}
	if q.Generation < 0 {
		if m := t.active(); m != nil {
			t.violate("a commit that no member makes is accepted, and %s is one", m.id)
		}
		return
	}
	m := t.members[q.Member]
	if m == nil {
		t.violate("a commit of %s is accepted, which never joined", q.Member)
		return
	}
	if t.classic() && (q.Generation < t.joined || q.Generation < t.newest) || q.Generation < m.epoch {
		t.violate("a commit of %s in generation %d is accepted; it is at %d, and %d was joined, %d assigned",
			q.Member, q.Generation, m.epoch, t.joined, t.newest)
	}
	for i, err := range reply.Errs {
		p, id := place{q.Offsets[i].Topic, q.Offsets[i].Partition}, w.commits[q.Offsets[i].Metadata].topic
		if h, ok := t.holders[p]; err == nil && ok && h.topic == id && !id.IsZero() && h.member != q.Member && t.members[h.member].instance == "" {
			t.violate("%v: a commit of %s at %d is accepted, and %s was given it at %d", p, q.Member, q.Generation, h.member, h.epoch)
		}
	}
}

func (t *truth) decideBeat(q *wire.ConsumerHeartbeat, reply *wire.ConsumerHeartbeatReply) {
	w := t.w
	m := t.standing(q.Member)
	t.heard(q.Member, reply.Err, q.MemberEpoch)
	if reply.Err != nil {
		return
	}
	if q.MemberEpoch < 0 {
		m.over = true
		return
	}
	if q.MemberEpoch == wire.MemberJoins {
		m.assigned = nil
		m.instance = q.Instance
		t.replace(m)
	}
	m.classic, m.heard, m.decided = false, w.now, wire.GenerationID(reply.MemberEpoch)
	if q.OwnedTold && covered(q.Owned, m.assigned) {
		m.told, m.doubted = 0, 0
	}
	if !reply.Assigned {
		return
	}
	if !covered(m.assigned, reply.Assignment) && m.told == 0 {
		m.told = w.now
	}
	m.assigned = reply.Assignment
}

// within says that all of some places are among others.
func within(some, others []place) bool {
	for _, p := range some {
		if !slices.Contains(others, p) {
			return false
		}
	}
	return true
}

// covered says the same of partitions in the words of KIP-848.
func covered(some, others []wire.AssignedTopic) bool {
	has := make(map[wire.TopicPartition]bool)
	for _, a := range others {
		for _, p := range a.Partitions {
			has[wire.TopicPartition{Topic: a.Topic, Partition: p}] = true
		}
	}
	for _, a := range some {
		for _, p := range a.Partitions {
			if !has[wire.TopicPartition{Topic: a.Topic, Partition: p}] {
				return false
			}
		}
	}
	return true
}

// released is an answer that leaves the coordinator: all that it rests on is committed.
func (t *truth) released(c *coordinator, q *call, reply wire.GroupReply) {
	delete(t.w.open, q.handle)
	t.w.stats.Answered++
	switch q := q.request.(type) {
	case *wire.CommitOffsets:
		t.acknowledges(q, reply.(*wire.CommittedOffsets))
	case *wire.JoinGroup:
		if reply.Failure() == nil {
			t.leads(reply.(*wire.JoinedGroup))
		}
	case *wire.SyncGroup:
		if reply.Failure() == nil {
			t.shares(c, q, reply.(*wire.SyncedGroup))
		}
	case *wire.ConsumerHeartbeat:
		if r := reply.(*wire.ConsumerHeartbeatReply); r.Err == nil && q.MemberEpoch >= 0 {
			t.stands(c, r)
		}
	}
	if fetched, ok := reply.(*wire.FetchedOffsets); ok {
		t.tells(c, q, fetched)
	}
}

// shares is a classic member that is told its assignment: in a generation everybody has his own, and nobody two.
func (t *truth) shares(c *coordinator, q *wire.SyncGroup, reply *wire.SyncedGroup) {
	places, err := decodeAssignment(reply.Assignment)
	if err != nil {
		t.violate("the assignment of %s is %x", q.Member, reply.Assignment)
		return
	}
	m := t.standing(q.Member)
	m.established = !m.over
	m.epoch = max(m.epoch, q.Generation)
	t.give(c, m, places, q.Generation)
	if c.rules.Listed().Type != wire.ClassicGroup {
		return
	}
	g := t.generation(q.Generation)
	intended := append(slices.Clip(g.intended[q.Member]), g.static[q.Instance]...)
	if !within(places, intended) && len(g.intended) > 0 { // else it was one of KIP-848 before
		t.violate("generation %d: %s is told %v, and the leader wants %v", q.Generation, q.Member, places, intended)
	}
	if before, again := g.told[q.Member]; again && g.leader != "" && !slices.Equal(before, places) {
		t.violate("generation %d: %s is told %v and then %v", q.Generation, q.Member, before, places)
	}
	g.told[q.Member] = places
}

// stands is a member of KIP-848 that is told where it stands.
func (t *truth) stands(c *coordinator, r *wire.ConsumerHeartbeatReply) {
	m := t.standing(r.Member)
	m.established = !m.over
	if c.s.epoch == t.w.log.epoch {
		m.epoch = wire.GenerationID(r.MemberEpoch)
	}
	if r.Assigned {
		m.given = r.Assignment
		t.give(c, m, t.w.placesOf(r.Assignment), wire.GenerationID(r.MemberEpoch))
	}
}

// give notes who has what. What a coordinator says that is none any more counts only if
// nothing else was said since, and who has left since has nothing.
func (t *truth) give(c *coordinator, m *standing, places []place, epoch wire.GenerationID) {
	stale := c.s.epoch != t.w.log.epoch
	if m.over {
		return
	}
	if !stale {
		t.newest = max(t.newest, epoch)
	}
	for _, p := range places {
		topic, _ := c.s.b.view.Topic(p.topic)
		before, ok := t.holders[p]
		if ok && stale && before.epoch >= epoch {
			continue
		}
		if ok && before.member != m.id && before.epoch >= epoch {
			other := t.members[before.member]
			if epoch == before.epoch && !other.over {
				t.violate("%v is given to %s at %d, and %s was given it at %d", p, m.id, epoch, before.member, before.epoch)
			}
			if epoch < before.epoch {
				continue
			}
		}
		if ok && before.member != m.id {
			t.members[before.member].robbed = true
		}
		if !ok || before.member != m.id {
			t.w.stats.Given++
		}
		t.holders[p] = holder{m.id, epoch, topic.ID}
	}
}
