package group

import (
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// rebalanceCause is why a rebalance begins.
type rebalanceCause struct {
	trigger wire.RebalanceTrigger
	member  wire.MemberID
	detail  string
}

// maxExpected bounds the members that were told their id and have not come back. The oldest has to ask again.
const maxExpected = 10_000

// maxNameBytes is how much of a client's or an instance's name is part of the ids that members are given.
const maxNameBytes = 256

// join handles JoinGroup: the first half of a rebalance.
func (g *Group) join(t *turn, q *wire.JoinGroup, call Call) {
	if err := g.config.checkJoin(q); err != nil {
		t.answer(call, &wire.JoinedGroup{Err: err, Member: q.Member})
		return
	}
	if g.consumer != nil {
		g.joinConsumer(t, q, call)
		return
	}
	g.joinClassic(t, q, call)
}

func (c *Config) checkJoin(q *wire.JoinGroup) error {
	if q.SessionTimeout < c.MinSessionTimeout || q.SessionTimeout > c.MaxSessionTimeout {
		return wire.Errorf(wire.InvalidSessionTimeout, "the session timeout is %v; it may be %v to %v",
			q.SessionTimeout, c.MinSessionTimeout, c.MaxSessionTimeout)
	}
	tooLong := max(len(q.Member), len(q.Instance), len(q.ClientID), len(q.ClientHost), len(q.ProtocolType)) > maxStringBytes
	for _, p := range q.Protocols {
		tooLong = tooLong || len(p.Name) > maxStringBytes
	}
	if len(q.Protocols) > maxProtocols {
		return wire.Errorf(wire.InvalidRequest, "the member has %d protocols, and may have %d", len(q.Protocols), maxProtocols)
	}
	if tooLong {
		return wire.Errorf(wire.InvalidRequest, "a name is longer than %d bytes", maxStringBytes)
	}
	return nil
}

// joinClassic lets a member into a classic group, which begins with its first member.
func (g *Group) joinClassic(t *turn, q *wire.JoinGroup, call Call) {
	if g.classic == nil {
		if q.Member != "" {
			t.answer(call, &wire.JoinedGroup{Err: wire.Errorf(wire.UnknownMemberID, "group %q has no members", g.id), Member: q.Member})
			return
		}
		g.classic = newClassic(g)
	}
	c := g.classic
	if err := c.admits(q); err != nil {
		t.answer(call, &wire.JoinedGroup{Err: err})
		if m := c.member(q.Member); m != nil { // the group has become too large for it
			c.gaveUp(m, t.now)
			c.takeOut(t, m, wire.GroupMaxSizeReached)
			c.shrank(t, rebalanceCause{trigger: wire.MemberLeft, member: m.id, detail: "the group has too many members"})
		}
		return
	}
	if !c.supports(q) {
		t.answer(call, &wire.JoinedGroup{Member: q.Member, Err: wire.Errorf(wire.InconsistentGroupProtocol,
			"group %q has no protocol in common with the member", g.id)})
		return
	}
	if q.Member == "" {
		c.joinNew(t, q, call)
	} else {
		c.joinKnown(t, q, call)
	}
}

// admits says whether there is room for the member. While members are joining, the first of them have it.
func (c *classic) admits(q *wire.JoinGroup) error {
	known := c.member(q.Member)
	var full bool
	switch c.state {
	case wire.GroupPreparingRebalance:
		joined := 0
		for _, m := range c.members {
			if m.joined {
				joined++
			}
		}
		full = (known == nil || !known.joined) && joined >= c.group.config.MaxSize
	case wire.GroupCompletingRebalance, wire.GroupStable:
		full = known == nil && len(c.members) >= c.group.config.MaxSize
	default: // Kafka: an empty group always accepts.
	}
	if full {
		return wire.Errorf(wire.GroupMaxSizeReached, "group %q has its %d members", c.group.id, c.group.config.MaxSize)
	}
	// Kafka: lets members in until the record of the group cannot be written.
	if size := c.recordBytes(known) + c.assignmentBytes() + joinBytes(q); size > c.group.config.MaxRecordBytes {
		return wire.Errorf(wire.GroupMaxSizeReached, "the members' metadata would take %d bytes, and may take %d",
			size, c.group.config.MaxRecordBytes)
	}
	bytes := protocolBytes(q.Protocols)
	for _, m := range c.members {
		if m != known {
			bytes += protocolBytes(m.protocols)
		}
	}
	if bytes > maxProtocolBytes {
		return wire.Errorf(wire.GroupMaxSizeReached, "all protocols of the members would take %d bytes, and may take %d", bytes, maxProtocolBytes)
	}
	return nil
}

// joinNew handles a member that comes without an id.
func (c *classic) joinNew(t *turn, q *wire.JoinGroup, call Call) {
	name := q.ClientID
	if q.Instance != "" {
		name = q.Instance
	}
	id := c.group.config.NewMemberID(clipped(name, maxNameBytes)) // Kafka: takes the whole name
	if q.Instance != "" {
		if m := c.staticMember(q.Instance); m != nil {
			c.replaceStatic(t, m, id, q, call)
			return
		}
		c.add(t, id, q, call)
		return
	}
	if !q.MustKnowID {
		c.add(t, id, q, call)
		return
	}
	// A client that never reads its answer leaves no member behind (KIP-394).
	if len(c.expected) == maxExpected {
		c.expected = slices.Delete(c.expected, 0, 1)
	}
	c.expected = append(c.expected, expectedMember{id: id, due: t.now.Add(q.SessionTimeout)})
	t.answer(call, &wire.JoinedGroup{Member: id, Err: wire.Errorf(wire.MemberIDRequired, "join again with this member id")})
}

// joinKnown handles a member that says who it is.
func (c *classic) joinKnown(t *turn, q *wire.JoinGroup, call Call) {
	isExpected := func(e expectedMember) bool { return e.id == q.Member }
	if q.Instance == "" && slices.ContainsFunc(c.expected, isExpected) {
		c.expected = slices.DeleteFunc(c.expected, isExpected)
		c.add(t, q.Member, q, call)
		return
	}
	m, err := c.validate(q.Member, q.Instance)
	if err != nil {
		t.answer(call, &wire.JoinedGroup{Err: err, Member: q.Member})
		return
	}
	changed := !m.matches(q)
	switch c.state {
	case wire.GroupCompletingRebalance:
		if !changed { // it did not get its answer
			c.heard(t, m)
			t.answer(call, c.joinedGroup(m))
			return
		}
	case wire.GroupStable:
		if !changed && !c.leads(m) {
			c.heard(t, m)
			t.answer(call, c.joinedGroup(m))
			return
		}
	default:
	}
	cause := rebalanceCause{trigger: wire.SubscriptionChanged, member: m.id, detail: q.Reason}
	if !changed {
		cause.trigger = wire.LeaderRejoined
	}
	c.rejoin(t, m, q, call)
	c.prepareOrComplete(t, cause)
}

// add takes in a new member.
func (c *classic) add(t *turn, id wire.MemberID, q *wire.JoinGroup, call Call) {
	if len(c.members) == 0 {
		c.protocolType = q.ProtocolType
	}
	m := &classicMember{id: id, instance: q.Instance, clientID: q.ClientID, clientHost: q.ClientHost, fresh: true}
	c.members = append(c.members, m)
	if c.leader == "" {
		c.leader = id
	}
	c.rejoin(t, m, q, call)
	c.grew = c.grew || c.state == wire.GroupPreparingRebalance && c.initial
	c.prepareOrComplete(t, rebalanceCause{trigger: wire.MemberJoined, member: id, detail: q.Reason})
}

// rejoin takes over what a member says of itself and parks its call.
func (c *classic) rejoin(t *turn, m *classicMember, q *wire.JoinGroup, call Call) {
	t.answer(m.join, &wire.JoinedGroup{Member: m.id, Err: wire.Errorf(wire.RebalanceInProgress, "the member has asked again")})
	m.protocols = ownProtocols(q.Protocols)
	m.sessionTimeout, m.rebalanceTimeout = q.SessionTimeout, q.RebalanceTimeout
	if m.rebalanceTimeout <= 0 { // JoinGroup 0 does not tell one
		m.rebalanceTimeout = m.sessionTimeout
	}
	m.clientID, m.clientHost = q.ClientID, q.ClientHost
	m.join, m.joined = call, true
	c.heard(t, m)
	if m.fresh {
		// Nobody can tell a new member that waits from one that is gone: its client may ask again as somebody else, time and again.
		m.session = t.now.Add(c.group.config.NewMemberJoinTimeout)
	}
}

// prepareOrComplete begins a rebalance or, where one has begun, ends its first half if all have joined.
func (c *classic) prepareOrComplete(t *turn, cause rebalanceCause) {
	if c.state != wire.GroupPreparingRebalance {
		c.prepare(t, cause)
		return
	}
	if m := c.member(cause.member); m != nil && m.joined {
		c.joinedAfter(t, m)
	}
	c.completeIfAllJoined(t)
}

// prepare begins a rebalance: all members are to join.
func (c *classic) prepare(t *turn, cause rebalanceCause) {
	c.beginHistory(t, cause)
	c.initial = c.state == wire.GroupEmpty
	for _, m := range c.members {
		if c.state == wire.GroupCompletingRebalance {
			t.answer(m.sync, &wire.SyncedGroup{Err: wire.Errorf(wire.RebalanceInProgress, "a rebalance has begun")})
			if m.sync != 0 {
				c.heard(t, m)
			}
			m.sync = 0
		}
	}
	c.syncDue = time.Time{}
	c.asked = t.now
	c.enter(t, wire.GroupPreparingRebalance)
	for _, m := range c.members {
		if m.joined {
			c.joinedAfter(t, m)
		}
	}
	if c.initial {
		c.grew = false
		c.delay = c.group.config.InitialRebalanceDelay
		c.remains = max(c.rebalanceTimeout()-c.delay, 0)
		c.joinDue = t.now.Add(c.delay)
		return
	}
	c.joinDue = t.now.Add(c.rebalanceTimeout())
	c.completeIfAllJoined(t)
}

// joinTimeIsUp goes on without those that have not joined. The first rebalance of an empty group is put off once more
// whenever a member came in meanwhile: starting an application takes one rebalance, not one for each instance.
func (c *classic) joinTimeIsUp(t *turn) {
	next := min(c.group.config.InitialRebalanceDelay, c.remains)
	if c.initial && c.grew && next > 0 {
		c.grew = false
		c.remains = max(c.remains-c.delay, 0)
		c.delay = next
		c.joinDue = t.now.Add(next)
		return
	}
	c.complete(t)
}

func (c *classic) completeIfAllJoined(t *turn) {
	if c.state != wire.GroupPreparingRebalance || c.initial || len(c.expected) > 0 {
		return
	}
	for _, m := range c.members {
		if !m.joined {
			return
		}
	}
	c.complete(t)
}

// complete ends the first half of a rebalance: there is a new generation, of the members that have joined. Static ones that have
// not are part of it until their sessions end.
func (c *classic) complete(t *turn) {
	for _, m := range slices.Clone(c.members) {
		if !m.joined && m.instance == "" {
			c.tooSlow(t, m)
			c.takeOut(t, m, wire.UnknownMemberID)
		}
	}
	if len(c.members) > 0 && !c.electLeader() {
		// There are static members alone, and none has come back yet.
		c.joinDue = t.now.Add(max(c.rebalanceTimeout(), c.group.config.MinSessionTimeout))
		return
	}
	c.joinDue = time.Time{}
	c.initial, c.grew = false, false
	c.generation++
	if c.generation < 0 {
		c.generation = 1
	}
	if len(c.members) == 0 {
		c.protocol, c.leader = "", ""
		c.enter(t, wire.GroupEmpty)
		c.log(t)
		c.endHistory(t)
		return
	}
	c.protocol = c.vote()
	c.enter(t, wire.GroupCompletingRebalance)
	c.log(t)
	c.asked = t.now
	c.syncDue = t.now.Add(c.rebalanceTimeout())
	for _, m := range c.members {
		m.synced = false
		if !m.joined {
			continue // Kafka: begins its session anew, here it goes on.
		}
		t.answer(m.join, c.joinedGroup(m))
		m.join, m.joined, m.fresh = 0, false, false
		c.heard(t, m)
	}
}

// electLeader sees to it that the leader is a member that has joined, and says whether there is one.
func (c *classic) electLeader() bool {
	if m := c.member(c.leader); m != nil && m.joined {
		return true
	}
	i := slices.IndexFunc(c.members, func(m *classicMember) bool { return m.joined })
	if i < 0 {
		return false
	}
	c.leader = c.members[i].id
	return true
}

// joinedGroup tells a member of the present generation.
func (c *classic) joinedGroup(m *classicMember) *wire.JoinedGroup {
	reply := &wire.JoinedGroup{
		Generation:   c.generation,
		ProtocolType: c.protocolType,
		Protocol:     c.protocol,
		Leader:       c.leader,
		Member:       m.id,
	}
	if c.leads(m) && c.state == wire.GroupCompletingRebalance {
		reply.Members = c.joinedMembers()
	}
	return reply
}

func (c *classic) joinedMembers() []wire.JoinedMember {
	members := make([]wire.JoinedMember, len(c.members))
	for i, m := range c.members {
		metadata, _ := m.metadata(c.protocol)
		members[i] = wire.JoinedMember{Member: m.id, Instance: m.instance, Metadata: metadata}
	}
	return members
}
