package group

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// consumer is the state of a group of KIP-848. All that its members say comes in heartbeats, and all that they are told
// goes out in the replies.
//
//	a member, its subscription, a topic changes -> epoch + 1
//	epoch above assignmentEpoch                 -> the next heartbeat of anybody computes the targets anew (Assigning)
//	a member is not where its target is         -> each of its heartbeats takes it a step further (Reconciling)
//	all members are                             -> Stable
//
// A step never gives a member a partition that another has not given up: consumer_reconcile.go. So each partition has
// one owner at most, and partitions that do not move are never stopped.
type consumer struct {
	group *Group

	// What the records say.
	epoch           int32 // of the group
	assignmentEpoch int32 // of the group when the targets were computed
	members         []*consumerMember
	loggedHash      uint64              // of what was subscribed to at epoch
	recorded        map[string][]string // what patterns matched, as the log has it

	// What follows from that.
	byID      map[wire.MemberID]*consumerMember
	instances map[string]*consumerMember
	owners    map[wire.TopicPartition]*consumerMember
	subs      subscriptions
	votes     map[string]int // for assignors
	used      string         // the assignor that computed the targets
	unsettled int            // members that are not where their targets are
	classics  int            // members that speak the classic protocol
	keyBytes  int            // of one record of each member, but for the group's name

	// due is no later than the first deadline of any member: Tick looks at all of them then, and not before. A heartbeat
	// moves a deadline away and does not touch it.
	due time.Time
}

// consumerMember is a member of a group of KIP-848.
type consumerMember struct {
	id   wire.MemberID
	said memberValue // of itself; its topics are sorted
	// known says that the log has what it said. Without that it is dropped after loading.
	known  bool
	target assignment
	standing
	sub *subscription

	heard    time.Time // the last time
	expires  time.Time // its session
	revokeBy time.Time // while it is to give partitions up; zero: it is not
	joinBy   time.Time // for a member that speaks the classic protocol; zero: it need not
	syncBy   time.Time
	// unsure says that it was told an assignment and has not said yet that it has it: the answer may not have reached it.
	unsure bool
	// again is how long it is told its assignment by a coordinator that has loaded it: the one before may have told it to nobody.
	again time.Time
}

// standing is where a member is on the way to its target.
type standing struct {
	// epoch is that of the group that the member has caught up with. It is 0 for one that has just come, and
	// wire.StaticMemberPauses for one that has gone and may be back.
	epoch         int32
	previousEpoch int32
	state         memberState
	assigned      assignment // it may use them
	revoking      assignment // it may use them no more, and has not said yet that it does not
}

func newConsumer(g *Group) *consumer {
	return &consumer{
		group:     g,
		recorded:  map[string][]string{},
		byID:      map[wire.MemberID]*consumerMember{},
		instances: map[string]*consumerMember{},
		owners:    map[wire.TopicPartition]*consumerMember{},
		subs:      newSubscriptions(),
		votes:     map[string]int{},
	}
}

// consumerHeartbeat handles a member's heartbeat, whatever the type of the group.
func (g *Group) consumerHeartbeat(t *turn, q *wire.ConsumerHeartbeat, call Call) {
	reply, err := g.heartbeatReply(t, q)
	if err != nil {
		reply = &wire.ConsumerHeartbeatReply{Err: err}
	}
	t.answer(call, reply)
}

func (g *Group) heartbeatReply(t *turn, q *wire.ConsumerHeartbeat) (*wire.ConsumerHeartbeatReply, error) {
	if err := g.validHeartbeat(q); err != nil {
		return nil, err
	}
	migrates := g.classic != nil && !g.empty()
	if q.MemberEpoch == wire.MemberJoins {
		if err := g.becomeConsumer(t); err != nil {
			return nil, err
		}
	}
	switch {
	case g.consumer == nil:
		// Kafka: GROUP_ID_NOT_FOUND, by which some clients end for ever. A member whose group was forgotten while it
		// slept can join again.
		return nil, wire.Errorf(wire.UnknownMemberID, "there is no consumer group %q", g.id)
	case q.MemberEpoch < 0:
		return g.consumer.leave(t, q)
	default:
		return g.consumer.heartbeat(t, q, migrates)
	}
}

// validHeartbeat refuses what no group can accept. Nothing has changed yet.
func (g *Group) validHeartbeat(q *wire.ConsumerHeartbeat) error {
	switch epoch := q.MemberEpoch; {
	case epoch < wire.StaticMemberPauses:
		return wire.Errorf(wire.InvalidRequest, "there is no member epoch %d", epoch)
	case epoch != wire.MemberJoins && q.Member == "":
		return wire.Errorf(wire.InvalidRequest, "a member has to tell its id")
	case epoch == wire.StaticMemberPauses && q.Instance == "" && !g.knowsStatic(q.Member):
		return wire.Errorf(wire.InvalidRequest, "only a static member can be back later")
	case epoch == wire.MemberJoins && q.RebalanceTimeout <= 0:
		return wire.Errorf(wire.InvalidRequest, "a member has to tell its rebalance timeout when it joins")
	case epoch == wire.MemberJoins && (!q.OwnedTold || len(q.Owned) > 0):
		return wire.Errorf(wire.InvalidRequest, "a member that joins has to tell that it owns nothing")
	case epoch == wire.MemberJoins && !q.Subscribed && q.Pattern == nil:
		return wire.Errorf(wire.InvalidRequest, "a member has to tell what it is subscribed to when it joins")
	}
	if q.Assignor != "" && !slices.Contains(g.config.ConsumerAssignors, q.Assignor) {
		return wire.Errorf(wire.UnsupportedAssignor, "the assignors are %v, and not %q", g.config.ConsumerAssignors, q.Assignor)
	}
	size := len(q.Member) + len(q.Instance) + len(q.Rack) + len(q.ClientID) + len(q.ClientHost) + len(q.Assignor)
	for _, name := range q.Topics {
		size += len(name) + 2
	}
	if size > g.config.MaxRecordBytes/2 {
		return wire.Errorf(wire.InvalidRequest, "a member may say %d bytes of itself", g.config.MaxRecordBytes/2)
	}
	if q.Pattern == nil || *q.Pattern == "" || g.consumer != nil && g.consumer.subs.patterns[*q.Pattern] != nil {
		return nil
	}
	_, err := compilePattern(*q.Pattern)
	return err
}

// knowsStatic says that a member is a static one.
//
// Kafka: a member that pauses has to tell its instance. franz-go does not, and would have to wait for the end of its session
// before it can come back.
func (g *Group) knowsStatic(id wire.MemberID) bool {
	return g.consumer != nil && g.consumer.byID[id] != nil && g.consumer.byID[id].said.instance != ""
}

// becomeConsumer makes the group one of KIP-848, if it is not and can be: one without members at once, one of the classic
// protocol by taking its members over.
func (g *Group) becomeConsumer(t *turn) error {
	generation := wire.GenerationID(0)
	switch {
	case g.consumer != nil:
		return nil
	case g.classic != nil && !g.empty():
		return g.upgrade(t)
	case g.classic != nil:
		generation = g.classic.generation
		g.classic.end(t)
		g.classic = nil
	}
	g.consumer = newConsumer(g)
	g.consumer.epoch, g.consumer.assignmentEpoch = int32(generation), int32(generation) // Kafka: it begins anew
	g.consumer.subs.look(t.view)
	return nil
}

// heartbeat is what a member says that joins or stays. migrates says that the group was a classic one until now.
func (c *consumer) heartbeat(t *turn, q *wire.ConsumerHeartbeat, migrates bool) (*wire.ConsumerHeartbeatReply, error) {
	owned := normalized(q.Owned)
	var m *consumerMember
	var err error
	var because rebalanceCause
	if q.MemberEpoch == wire.MemberJoins {
		if err = c.hasRoom(q.Member, q.Instance, q.Pattern); err == nil {
			m, because, err = c.enter(t, q)
		}
	} else {
		m, err = c.find(q.Member, q.Instance)
		if err == nil {
			err = cmp.Or(m.checkEpoch(q, owned), c.hasRoom(m.id, "", q.Pattern))
		}
	}
	if err != nil {
		return nil, err
	}

	if migrates {
		because = rebalanceCause{trigger: wire.ProtocolChanged, member: m.id, detail: "the first member of the consumer protocol joined"}
	}
	before := m.assigned
	c.hear(t, m, q, &because)
	c.advance(t, m, because, owned, q.OwnedTold)
	m.joinBy, m.syncBy = time.Time{}, time.Time{}
	c.hears(t, m)

	reply := &wire.ConsumerHeartbeatReply{Member: m.id, MemberEpoch: m.epoch, HeartbeatInterval: c.nextHeartbeat(t, m)}
	// Who tells everything does not know where it stands: some answer did not reach it.
	//
	// Kafka: a new epoch is told without the assignment, if that is as it was. A member can be mistaken about it, though, when
	// a heartbeat of its own came twice; and whatever it commits at the new epoch is accepted.
	//
	// Kafka: an assignment is told once. Who asked twice, the first time by a connection that broke, would never hear of what the
	// other got; so it is told until the member says that it has it.
	everything := q.RebalanceTimeout > 0 && (q.Subscribed || q.Pattern != nil) && q.OwnedTold
	if q.OwnedTold {
		m.unsure = !owned.equal(m.assigned)
	}
	if q.OwnedTold && !m.unsure {
		m.again = time.Time{}
	}
	news := q.MemberEpoch != m.epoch || everything || !before.equal(m.assigned) || m.unsure
	if news || t.now.Before(m.again) {
		reply.Assigned, reply.Assignment = true, m.assigned
		m.unsure = news && (!q.OwnedTold || m.unsure)
	}
	return reply, nil
}

// find returns the member of a heartbeat, by its instance if it tells that.
func (c *consumer) find(id wire.MemberID, instance string) (*consumerMember, error) {
	if instance == "" {
		if m := c.byID[id]; m != nil {
			return m, nil
		}
		return nil, wire.Errorf(wire.UnknownMemberID, "there is no member %q", id)
	}
	m := c.instances[instance]
	switch {
	case m == nil:
		return nil, wire.Errorf(wire.UnknownMemberID, "there is no member with the instance %q", instance)
	case m.id != id:
		return nil, wire.Errorf(wire.FencedInstanceID, "the instance %q is the member %q now", instance, m.id)
	default:
		return m, nil
	}
}

// checkEpoch refuses a member that is not where the group has it. One that comes with the epoch before did not hear of
// the new one; that does no harm if it uses nothing that it may not use.
func (m *consumerMember) checkEpoch(q *wire.ConsumerHeartbeat, owned assignment) error {
	switch {
	case q.MemberEpoch == m.epoch:
		return nil
	case q.MemberEpoch == m.previousEpoch && q.MemberEpoch < m.epoch && q.OwnedTold && m.assigned.holdsAll(owned):
		return nil
	default:
		return wire.Errorf(wire.FencedMemberEpoch,
			"the member is at epoch %d, and not %d: it has to give up all partitions and join again", m.epoch, q.MemberEpoch)
	}
}

// enter takes a member in that joins, or that joins again.
func (c *consumer) enter(t *turn, q *wire.ConsumerHeartbeat) (*consumerMember, rebalanceCause, error) {
	m, holder := c.byID[q.Member], c.instances[q.Instance]
	switch {
	case m != nil && m.said.instance != q.Instance:
		return nil, rebalanceCause{}, wire.Errorf(wire.InvalidRequest, "the member %q has the instance %q, and not %q", q.Member, m.said.instance, q.Instance)
	case m != nil && m.epoch == wire.StaticMemberPauses:
		s := m.standing
		s.epoch, s.previousEpoch = 0, 0
		c.place(t, m, s)
		return m, rebalanceCause{}, nil
	case m != nil: // it was fenced, or did not hear that it is in; it owns nothing, and is told where it stands
		return m, rebalanceCause{}, nil
	case q.Instance != "" && holder != nil && holder.said.classic == nil && holder.epoch != wire.StaticMemberPauses:
		return nil, rebalanceCause{}, wire.Errorf(wire.UnreleasedInstanceID, "the instance %q is the member %q, which has not left", q.Instance, holder.id)
	case holder == nil && len(c.members) >= c.group.config.ConsumerMaxSize:
		return nil, rebalanceCause{}, wire.Errorf(wire.GroupMaxSizeReached, "the group has %d members, and may have no more", len(c.members))
	}
	id := q.Member
	if id == "" {
		id = c.group.config.NewMemberID(cmp.Or(q.Instance, q.ClientID))
	}
	if holder != nil {
		return c.replace(t, holder, id), rebalanceCause{}, nil
	}
	m = &consumerMember{id: id}
	c.insert(m)
	return m, rebalanceCause{trigger: wire.MemberJoined, member: id}, nil
}

// replace puts a new member in the place of a static one: it takes over its instance, its target, and what it is assigned.
func (c *consumer) replace(t *turn, old *consumerMember, id wire.MemberID) *consumerMember {
	m := &consumerMember{id: id, said: old.said, known: true, target: old.target, standing: old.standing, sub: old.sub}
	m.epoch, m.previousEpoch = 0, 0
	m.sub.members++
	for _, at := range old.assigned.plus(old.revoking) {
		for _, p := range at.Partitions {
			c.owners[wire.TopicPartition{Topic: at.Topic, Partition: p}] = m
		}
	}
	c.group.history.renamed(old.id, id)
	c.remove(t, old, t.now)
	c.insert(m)
	c.count(m, 1)
	t.emit(newMemberRecord(c.group.id, m.id, m.said),
		newTargetAssignmentRecord(c.group.id, m.id, m.target),
		newCurrentAssignmentRecord(c.group.id, m.id, m.value()))
	return m
}

// hear takes over what a member says of itself.
func (c *consumer) hear(t *turn, m *consumerMember, q *wire.ConsumerHeartbeat, because *rebalanceCause) {
	said := m.said
	said.instance = cmp.Or(q.Instance, said.instance)
	said.rack = cmp.Or(q.Rack, said.rack)
	said.clientID, said.clientHost = q.ClientID, q.ClientHost
	said.assignor = cmp.Or(q.Assignor, said.assignor)
	if q.RebalanceTimeout > 0 {
		said.rebalanceTimeout = milliseconds(q.RebalanceTimeout)
	}
	if q.MemberEpoch == wire.MemberJoins { // it tells all
		said.topics, said.pattern = nil, ""
	}
	if q.Subscribed {
		said.topics = sortedNames(q.Topics)
	}
	if q.Pattern != nil {
		said.pattern = *q.Pattern
	}
	said.classic = nil
	c.say(t, m, said, because)
}

// milliseconds of a timeout that is told, at least one.
func milliseconds(d time.Duration) int32 {
	return int32(min(max(d.Milliseconds(), 1), math.MaxInt32))
}

// say changes what is known of a member. A new subscription is a cause for a rebalance.
func (c *consumer) say(t *turn, m *consumerMember, said memberValue, because *rebalanceCause) {
	if m.known && m.said.equal(&said) {
		return
	}
	sub := m.sub
	if sub == nil || !slices.Equal(said.topics, sub.names) || said.pattern != sub.text() {
		sub = c.subs.add(said.topics, said.pattern)
		if m.sub != nil {
			c.subs.drop(m.sub)
			*because = rebalanceCause{trigger: wire.SubscriptionChanged, member: m.id}
		}
	}
	if m.known {
		c.count(m, -1)
	}
	m.said, m.sub, m.known = said, sub, true
	m.said.topics = sub.names // one copy for all that have it
	c.count(m, 1)
	t.emit(newMemberRecord(c.group.id, m.id, m.said))
}

// advance does what follows from what a member said: the group gets another epoch if there is a cause, the targets are computed
// if they are not of the group's epoch, and the member takes a step towards its own.
func (c *consumer) advance(t *turn, m *consumerMember, because rebalanceCause, owned assignment, told bool) {
	if c.subs.refresh() && because.trigger == "" {
		because = rebalanceCause{trigger: wire.TopicsChanged, detail: c.subs.news}
	}
	if c.used != c.assignor() && because.trigger == "" {
		// Kafka: another assignor is used from the next rebalance on, whenever that is.
		because = rebalanceCause{trigger: wire.AssignorChanged, member: m.id, detail: c.assignor()}
	}
	c.recordPatterns(t)
	if because.trigger != "" {
		c.bump(t, because)
	}
	if c.epoch > c.assignmentEpoch {
		c.assign(t)
	}
	c.reconcile(t, m, owned, told)
}
