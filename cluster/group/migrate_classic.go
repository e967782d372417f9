package group

import (
	"cmp"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// The classic protocol's requests in a group of KIP-848: how members go on that have not changed over yet.

// joinConsumer takes a member of the classic protocol into the group, or makes an empty group a classic one. That goes on
// counting, as what was said in an epoch before must not pass for something of its generations. Kafka: it begins with 1.
func (g *Group) joinConsumer(t *turn, q *wire.JoinGroup, call Call) {
	if g.empty() {
		if q.Member == "" {
			epoch := g.consumer.epoch
			g.consumer.end(t)
			g.consumer = nil
			g.classic = newClassic(g)
			g.classic.generation = wire.GenerationID(epoch)
			g.classic.protocolType = consumerProtocolType // its offsets are kept from now on, and not from when they were committed
			g.classic.enter(t, wire.GroupEmpty)
			g.classic.log(t)
			g.joinClassic(t, q, call)
			return
		}
		t.answer(call, &wire.JoinedGroup{Member: q.Member, Err: wire.Errorf(wire.UnknownMemberID, "group %q has no members", g.id)})
		return
	}
	reply, err := g.consumer.join(t, q)
	if err != nil {
		reply = &wire.JoinedGroup{Member: cmp.Or(reply.Member, q.Member), Err: err}
	}
	t.answer(call, reply)
}

func (c *consumer) join(t *turn, q *wire.JoinGroup) (*wire.JoinedGroup, error) {
	subscription, err := c.checkJoin(q)
	if err != nil {
		return &wire.JoinedGroup{}, err
	}
	id := q.Member
	if id == "" {
		id = c.group.config.NewMemberID(cmp.Or(q.Instance, q.ClientID))
		if q.MustKnowID && q.Instance == "" {
			return &wire.JoinedGroup{Member: id}, wire.Errorf(wire.MemberIDRequired, "join again with this member id")
		}
	}
	owned := identified(t.view, subscription.owned)
	m, because, err := c.enterClassic(t, q, id, subscription)
	if err != nil {
		return &wire.JoinedGroup{}, err
	}
	if c.othersHave(m, owned) {
		c.fence(t, rebalanceCause{trigger: wire.MemberTooSlow, member: m.id, detail: "it goes on with what was given to others"}, m)
		return &wire.JoinedGroup{}, wire.Errorf(wire.UnknownMemberID, "the member %q goes on with partitions that others have", m.id)
	}
	said := m.said
	said.instance = cmp.Or(q.Instance, said.instance)
	said.rack = cmp.Or(subscription.rack, said.rack)
	said.clientID, said.clientHost = q.ClientID, q.ClientHost
	said.rebalanceTimeout = milliseconds(cmp.Or(q.RebalanceTimeout, q.SessionTimeout))
	said.topics, said.pattern = sortedNames(subscription.topics), ""
	said.classic = &classicMemberValue{sessionTimeout: milliseconds(q.SessionTimeout), protocols: ownProtocols(q.Protocols)}
	c.say(t, m, said, &because)
	c.advance(t, m, because, owned, true)

	m.joinBy, m.revokeBy = time.Time{}, time.Time{}
	m.syncBy = t.now.Add(m.rebalanceTimeout())
	c.wake(m.syncBy)
	c.hears(t, m)
	reply := &wire.JoinedGroup{
		Member: m.id, Generation: wire.GenerationID(m.epoch),
		ProtocolType: consumerProtocolType, Protocol: q.Protocols[0].Name,
	}
	c.group.downgrade(t, because, nil) // if it was the last static one of the consumer protocol, and came back as a classic one
	return reply, nil
}

// othersHave says that a member goes on with partitions that others were given: it missed something while the group was a
// classic one, or moved. It would commit them once more when it gives them up.
func (c *consumer) othersHave(m *consumerMember, owned assignment) bool {
	return len(owned.filter(func(tp wire.TopicPartition) bool { return c.owners[tp] != nil && c.owners[tp] != m })) > 0
}

// mistakes says that a member of the classic protocol has to join again before it commits a partition, as that is not its own. Its leader
// can have assigned it a topic that the coordinator of the upgraded group had not heard of yet. Nothing was kept for it of
// that: others are given it, may have it already, or have had it and given it up again.
//
// Kafka: accepts the commits of both.
func (c *consumer) mistakes(id wire.MemberID, tp wire.TopicPartition) bool {
	m := c.byID[id]
	return m != nil && m.said.classic != nil && m.epoch < c.epoch && c.owners[tp] != m
}

// checkJoin refuses a member of the classic protocol that the group cannot have. Nothing has changed yet.
func (c *consumer) checkJoin(q *wire.JoinGroup) (*embeddedSubscription, error) {
	known := c.byID[q.Member] != nil || q.Instance != "" && c.instances[q.Instance] != nil
	if !known && len(c.members) >= c.group.config.ConsumerMaxSize {
		return nil, wire.Errorf(wire.GroupMaxSizeReached, "the group has %d members, and may have no more", len(c.members))
	}
	if err := c.hasRoom(q.Member, q.Instance, nil); err != nil {
		return nil, err
	}
	size := len(q.Member) + len(q.Instance) + len(q.ClientID) + len(q.ClientHost)
	for _, p := range q.Protocols {
		size += len(p.Name) + 2*len(p.Metadata) // the topics are kept besides
	}
	if size > c.group.config.MaxRecordBytes/2 {
		return nil, wire.Errorf(wire.InvalidRequest, "a member may say %d bytes of itself", c.group.config.MaxRecordBytes/2)
	}
	votes := map[string]int{}
	others := 0
	for _, m := range c.members {
		if m.said.classic == nil || m.id == q.Member || q.Instance != "" && m.said.instance == q.Instance {
			continue
		}
		others++
		for _, p := range m.said.classic.protocols {
			votes[p.Name]++
		}
	}
	common := slices.ContainsFunc(q.Protocols, func(p wire.GroupProtocol) bool { return votes[p.Name] == others })
	if q.ProtocolType != consumerProtocolType || !common {
		return nil, wire.Errorf(wire.InconsistentGroupProtocol, "the member has no protocol in common with the others of group %q", c.group.id)
	}
	s, err := readSubscription(q.Protocols[0].Metadata)
	if err != nil { // Kafka: UNKNOWN_SERVER_ERROR
		return nil, wire.Errorf(wire.InconsistentGroupProtocol, "the subscription cannot be read: %v", err)
	}
	return s, nil
}

// enterClassic finds or makes the member that joins. A static one that does not know its id takes the place of whoever
// had its instance, whichever protocol that speaks. A member that brings something along from a generation has been taken out
// since, and has to hear that before it comes as a new one: others may have its partitions.
func (c *consumer) enterClassic(t *turn, q *wire.JoinGroup, id wire.MemberID, s *embeddedSubscription) (*consumerMember, rebalanceCause, error) {
	holder := c.instances[q.Instance]
	switch {
	case q.Instance != "" && q.Member != "":
		m, err := c.find(q.Member, q.Instance)
		return m, rebalanceCause{}, err
	case q.Instance != "" && holder != nil:
		return c.replace(t, holder, id), rebalanceCause{}, nil
	case c.byID[id] != nil && c.byID[id].said.instance != q.Instance:
		return nil, rebalanceCause{}, wire.Errorf(wire.UnknownMemberID, "the member %q is a static one", id)
	case c.byID[id] != nil:
		return c.byID[id], rebalanceCause{}, nil
	case q.Member != "" && (len(s.owned) > 0 || s.generation >= 0):
		// Kafka: it comes in, and commits what it had once more.
		return nil, rebalanceCause{}, wire.Errorf(wire.UnknownMemberID, "there is no member %q", id)
	}
	m := &consumerMember{id: id}
	c.insert(m)
	return m, rebalanceCause{trigger: wire.MemberJoined, member: id, detail: q.Reason}, nil
}

// classicMember returns the member that a request of the classic protocol is of.
func (c *consumer) classicMember(id wire.MemberID, instance string, generation wire.GenerationID) (*consumerMember, error) {
	m, err := c.find(id, instance)
	switch {
	case err != nil:
		return nil, err
	case m.said.classic == nil:
		return nil, wire.Errorf(wire.UnknownMemberID, "the member %q speaks the consumer protocol", id)
	case int32(generation) != m.epoch:
		return nil, wire.Errorf(wire.IllegalGeneration, "the member is at generation %d, and not %d", m.epoch, generation)
	default:
		return m, nil
	}
}

// mustJoin gives a member time to join.
func (c *consumer) mustJoin(t *turn, m *consumerMember) error {
	if m.joinBy.IsZero() {
		m.joinBy = t.now.Add(m.rebalanceTimeout())
		c.wake(m.joinBy)
	}
	return wire.Errorf(wire.RebalanceInProgress, "the member has to join again")
}

// syncConsumer tells a member of the classic protocol what it has.
func (g *Group) syncConsumer(t *turn, q *wire.SyncGroup, call Call) {
	reply, err := g.consumer.sync(t, q)
	if err != nil {
		reply = &wire.SyncedGroup{Err: err}
	}
	t.answer(call, reply)
}

func (c *consumer) sync(t *turn, q *wire.SyncGroup) (*wire.SyncedGroup, error) {
	m, err := c.classicMember(q.Member, q.Instance, q.Generation)
	if err != nil {
		return nil, err
	}
	protocol := m.said.classic.protocols[0].Name
	if q.ProtocolType != "" && q.ProtocolType != consumerProtocolType || q.Protocol != "" && q.Protocol != protocol {
		return nil, wire.Errorf(wire.InconsistentGroupProtocol, "the member joined with the protocol %q", protocol)
	}
	if !m.syncBy.IsZero() {
		// It has done in time what it was to do. If a heartbeat of before it joined was told that it has to join, that is done,
		// too: what comes next begins with this answer.
		//
		// Kafka: the time to sync goes on when a sync is told to join again, and so may end at once.
		m.syncBy, m.joinBy = time.Time{}, time.Time{}
	}
	// One that is to give partitions up has joined; it hears of what it is to give up by this.
	if c.epoch > m.epoch && m.state != memberUnrevokedPartitions {
		return nil, c.mustJoin(t, m)
	}
	c.hears(t, m)
	return &wire.SyncedGroup{
		ProtocolType: consumerProtocolType, Protocol: protocol, Assignment: classicAssignment(t.view, m, m.assigned),
	}, nil
}

// heartbeatConsumer keeps a member of the classic protocol alive, and tells it to join when the group has another epoch,
// when it has to give partitions up, and when those that it waits for are free.
func (g *Group) heartbeatConsumer(t *turn, q *wire.GroupHeartbeat, call Call) {
	t.answer(call, &wire.GroupHeartbeatReply{Err: g.consumer.beat(t, q)})
}

func (c *consumer) beat(t *turn, q *wire.GroupHeartbeat) error {
	m, err := c.classicMember(q.Member, q.Instance, q.Generation)
	if err != nil {
		return err
	}
	c.hears(t, m)
	if m.epoch < c.epoch || m.state == memberUnrevokedPartitions || m.state == memberUnreleasedPartitions && !c.waits(m) {
		return c.mustJoin(t, m)
	}
	return nil
}

// leaveConsumer takes members out, of either protocol: those that leave, and those that an operator names, static ones by their
// instances alone.
func (g *Group) leaveConsumer(t *turn, q *wire.LeaveGroup, call Call) {
	c := g.consumer
	reply := &wire.LeftGroup{Members: make([]wire.LeftMember, 0, len(q.Members))}
	var gone []*consumerMember
	because := rebalanceCause{trigger: wire.MemberLeft}
	for _, leaving := range q.Members {
		m, err := c.leaving(leaving)
		if err == nil && slices.Contains(gone, m) {
			err = wire.Errorf(wire.UnknownMemberID, "the member is told twice")
		}
		if err == nil {
			if len(gone) == 0 {
				because.member, because.detail = m.id, leaving.Reason
			}
			gone = append(gone, m)
		}
		// In the words of the request: by them Kafka's admin client finds also a member that it named by the instance alone.
		reply.Members = append(reply.Members, wire.LeftMember{Err: err, Member: leaving.Member, Instance: leaving.Instance})
	}
	if len(gone) > 0 {
		c.fence(t, because, gone...)
	}
	t.answer(call, reply)
}

func (c *consumer) leaving(leaving wire.LeavingMember) (*consumerMember, error) {
	if m := c.instances[leaving.Instance]; m != nil && leaving.Member == "" {
		return m, nil
	}
	return c.find(leaving.Member, leaving.Instance)
}
