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
	began       time.Duration     // when it told of that first
	present     *coordinator

	state    wire.GroupState // and since when
	since    time.Duration
	slow     time.Duration     // when a phase of a rebalance ended last that took as long as it may
	emptied  time.Duration     // when the last member was seen to go
	dead     bool              // it was forgotten
	lives    int               // how often it came again after that: then it counts from the beginning
	deleting wire.GroupRequest // that is handled, and deletes offsets on purpose; nil: it does not
}

// generation is what is known of one of a classic group: all are told the same.
type generation struct {
	leader   wire.MemberID
	intended []intention // of its leader, each time that it assigned, as far as nobody was told otherwise
	told     map[wire.MemberID][]place
}

// intention is what a leader wants everybody to have.
type intention struct {
	members map[wire.MemberID][]place
	static  map[string][]place // by instance
}

// of is what a member is to have. What a leader wants for a static member is also for whoever comes in its place.
func (i *intention) of(m wire.MemberID, instance string) []place {
	if places, ok := i.members[m]; ok {
		return places
	}
	return i.static[instance]
}

// holder is who was given a partition last.
type holder struct {
	member wire.MemberID
	epoch  wire.GenerationID
	topic  wire.TopicID
}

func newTruth(w *World, id wire.GroupID) *truth {
	return &truth{
		w: w, id: id, members: make(map[wire.MemberID]*standing),
		generations: make(map[wire.GenerationID]*generation), holders: make(map[place]holder),
	}
}

func (t *truth) violate(format string, args ...any) {
	t.w.Violate("%s: %s", t.id, fmt.Sprintf(format, args...))
}

func (t *truth) generation(g wire.GenerationID) *generation {
	known := t.generations[g]
	if known == nil {
		known = &generation{told: make(map[wire.MemberID][]place)}
		t.generations[g] = known
	}
	return known
}

// assigned notes what a leader wants for a generation.
func (t *truth) assigned(joined *wire.JoinedGroup, assignments []wire.MemberAssignment) {
	wants := intention{members: make(map[wire.MemberID][]place), static: make(map[string][]place)}
	for _, a := range assignments {
		places, _ := decodeAssignment(a.Assignment)
		wants.members[a.Member] = places
		for _, m := range joined.Members {
			if m.Member == a.Member && m.Instance != "" {
				wants.static[m.Instance] = places
			}
		}
	}
	g := t.generation(joined.Generation)
	g.intended = append(g.intended, wants)
}

// loaded is a new coordinator: all begins anew that is not committed.
func (t *truth) loaded(c *coordinator) {
	t.present, t.joined, t.state, t.since = c, 0, "", t.w.Now()
	for _, r := range t.registers {
		r.latest, r.pending = r.inLog, nil
	}
	for _, id := range t.order {
		m := t.members[id]
		m.assigned, m.least = m.given, m.epoch
		if m.doubted == 0 || !t.waitedFor(m.doubted) { // else the coordinator before may have taken it out
			m.doubted = t.w.Now()
		}
	}
}

// asked is a request that the rules are about to see.
func (t *truth) asked(c *coordinator, q *call) {
	t.w.open[q.handle] = q
	switch q := q.request.(type) {
	case *wire.LeaveGroup:
		t.leaves(q)
	case *wire.JoinGroup:
		t.comesBack(q)
	case *wire.DeleteOffsets, *wire.DeleteGroup:
		t.deleting = q
	}
	if t.present != c && c.s.epoch == t.w.log.epoch {
		t.loaded(c)
	}
}

// emitted is what the rules want to be in the log.
func (t *truth) emitted(c *coordinator, records []group.Record) { t.removes(c, records) }

// turned is the end of an event at a coordinator.
func (t *truth) turned(c *coordinator) {
	t.deleting = nil
	if t.present != c || c.s.epoch != t.w.log.epoch {
		return
	}
	state := c.rules.Listed().State
	if state == t.state {
		return
	}
	if t.rebalancing() {
		t.w.stats.Rebalances++
		if t.w.Now()-t.since >= t.w.profile.RebalanceTimeout-slack {
			t.w.stats.SlowRebalances++
			t.slow = t.w.Now()
		}
	}
	if state == wire.GroupEmpty && t.state != "" && t.state != wire.GroupDead {
		t.emptied = t.w.Now()
	}
	t.w.Note(c.s.b.name(), "%s is %s", t.id, state)
	if t.dead && state != wire.GroupDead {
		t.lives++
	}
	t.dead = state == wire.GroupDead
	t.state, t.since = state, t.w.Now()
	if state == wire.GroupEmpty || state == wire.GroupDead {
		t.ends()
	}
}

// ends is a group that nobody is in any more: the next one of the name may count from the beginning, since those that were
// members are known no longer.
func (t *truth) ends() {
	if m := t.active(); m != nil {
		t.violate("nobody is in it, and %s should be, which was heard %v ago", m.id, t.w.Now()-m.heard)
	}
	clear(t.generations)
	clear(t.holders)
	t.newest, t.joined = 0, 0
	for _, id := range t.order {
		m := t.members[id]
		m.over, m.established, m.epoch, m.decided, m.least = true, false, 0, 0, 0
	}
}

// decided is an answer that the rules have given, and that is not out yet.
func (t *truth) decided(c *coordinator, of *call, reply wire.GroupReply) {
	of.shared = c.rules.Listed().Type != wire.ClassicGroup
	if c.s.epoch != t.w.log.epoch {
		return
	}
	switch q := of.request.(type) {
	case *wire.JoinGroup:
		t.decideJoin(q, reply.(*wire.JoinedGroup))
	case *wire.SyncGroup:
		t.heard(q.Member, reply.Failure(), 0)
		t.syncs(t.members[q.Member], reply.Failure())
	case *wire.GroupHeartbeat:
		t.heard(q.Member, reply.Failure(), 0)
		if m := t.members[q.Member]; m != nil && errors.Is(reply.Failure(), wire.RebalanceInProgress) {
			m.heard = t.w.Now() // no other request that is refused keeps it alive
		}
	case *wire.CommitOffsets:
		t.decideCommit(q, reply.(*wire.CommittedOffsets))
	case *wire.ConsumerHeartbeat:
		t.decideBeat(q, reply.(*wire.ConsumerHeartbeatReply))
	}
}

func (t *truth) decideJoin(q *wire.JoinGroup, reply *wire.JoinedGroup) {
	if reply.Err != nil {
		if s, err := decodeSubscription(q.Protocols[0].Metadata); err == nil && t.members[q.Member] != nil {
			t.members[q.Member].robbed = len(s.owned) > 0 && !t.classic() || t.othersHave(q.Member, s.owned)
		}
		t.heard(q.Member, reply.Err, 0)
		return
	}
	if reply.Generation < t.joined && t.classic() {
		t.violate("%s joins generation %d after %d", reply.Member, reply.Generation, t.joined)
	}
	if reply.Generation != t.joined || !t.classic() {
		t.began = t.w.Now()
	}
	t.joined = reply.Generation
	m := t.standing(reply.Member)
	m.over = false
	m.classic, m.instance, m.heard, m.robbed = true, q.Instance, t.w.Now(), false
	// It is to ask for its assignment. Who joins a generation once more since he missed the answer, or late as a static member
	// may, has no more time for that than the others: they do not wait longer because of him.
	m.joined, m.told = t.began, t.began
	t.replace(m)
}

// leads is a member that is told who leads its generation, by whichever coordinator. In a group of KIP-848 nobody does, and this may be
// told when the group has just moved back.
func (t *truth) leads(reply *wire.JoinedGroup) {
	if reply.Leader == "" || t.standing(reply.Member).over {
		return // what is told to somebody who is out may be of a former life of the group, which counted the same generations
	}
	g := t.generation(reply.Generation)
	if g.leader != "" && g.leader != reply.Leader && t.classic() && t.standing(g.leader).instance == "" {
		t.violate("generation %d is led by %s and by %s", reply.Generation, g.leader, reply.Leader)
	}
	g.leader = reply.Leader
}

// othersHave says that a member goes on with what was given to another. In a group of KIP-848 the coordinator may have given
// it away and told nobody yet.
func (t *truth) othersHave(m wire.MemberID, owned []place) bool {
	return slices.ContainsFunc(owned, func(p place) bool {
		h, ok := t.holders[p]
		return ok && h.member != m
	})
}

// classic says that the group is one whose members are all of one generation.
func (t *truth) classic() bool { return t.present.rules.Listed().Type == wire.ClassicGroup }

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
	if t.classic() && (q.Generation < t.joined || q.Generation < t.newest) || q.Generation < m.epoch || q.Generation < m.least {
		t.violate("a commit of %s in generation %d is accepted; it is at %d, or %d, and %d was joined, %d assigned",
			q.Member, q.Generation, m.epoch, m.least, t.joined, t.newest)
	}
	for i, err := range reply.Errs {
		p, id := place{q.Offsets[i].Topic, q.Offsets[i].Partition}, w.commits[q.Offsets[i].Metadata].topic
		if h, ok := t.holders[p]; err == nil && ok && h.topic == id && !id.IsZero() && h.member != q.Member && !m.replaces(t.members[h.member]) {
			t.violate("%v: a commit of %s at %d is accepted, and %s was given it at %d", p, q.Member, q.Generation, h.member, h.epoch)
		}
	}
}

func (t *truth) decideBeat(q *wire.ConsumerHeartbeat, reply *wire.ConsumerHeartbeatReply) {
	w := t.w
	m := t.standing(q.Member)
	mayBeNew := m.over || t.mayBeOut(m)
	t.heard(q.Member, reply.Err, q.MemberEpoch)
	if reply.Err != nil {
		return
	}
	if mayBeNew && q.MemberEpoch == wire.MemberJoins {
		m.established = false // it begins anew, and is in once it is told so
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
	m.classic, m.heard, m.decided = false, w.Now(), wire.GenerationID(reply.MemberEpoch)
	m.least = m.decided
	since := w.Now()
	if m.doubted != 0 {
		since = m.doubted // the coordinator found in the log that it has to give something up, and has waited since it loaded that
	}
	if q.OwnedTold && covered(q.Owned, m.assigned) {
		m.told, m.doubted = 0, 0
	}
	if !reply.Assigned {
		return
	}
	if !covered(m.assigned, reply.Assignment) && m.told == 0 {
		m.told = since
	}
	m.assigned = reply.Assignment
}

// released is an answer that leaves the coordinator: all that it rests on is committed.
func (t *truth) released(c *coordinator, of *call, reply wire.GroupReply) {
	delete(t.w.open, of.handle)
	t.w.stats.Answered++
	switch q := of.request.(type) {
	case *wire.CommitOffsets:
		t.acknowledges(q, reply.(*wire.CommittedOffsets))
	case *wire.JoinGroup:
		if reply.Failure() == nil {
			t.leads(reply.(*wire.JoinedGroup))
		}
	case *wire.SyncGroup:
		if reply.Failure() == nil {
			t.shares(c, of, q, reply.(*wire.SyncedGroup))
		}
	case *wire.ConsumerHeartbeat:
		if r := reply.(*wire.ConsumerHeartbeatReply); r.Err == nil && q.MemberEpoch >= 0 {
			t.stands(c, r)
		}
	}
	if fetched, ok := reply.(*wire.FetchedOffsets); ok {
		t.tells(c, of, fetched)
	}
}
