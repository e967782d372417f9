package group

import (
	"cmp"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// A group of consumers of the classic protocol becomes one of KIP-848 when a member joins by heartbeats, and a classic one again when
// the last such member goes: an application changes over one process after the other, and its partitions are consumed
// all the while.
//
//	classic --- the first member of the consumer protocol joins ---> KIP-848 --- the last one goes ---> classic
//
// In between, members of the classic protocol go on as they know it: they are told to join when there is
// something to do (REBALANCE_IN_PROGRESS), a join takes them a step towards their target as a heartbeat does for the others, and a
// sync fetches what they have. Nobody leads: the coordinator assigns.

// upgrade takes the members of a classic group over.
func (g *Group) upgrade(t *turn) error {
	classic := g.classic
	if p := g.config.MigrationPolicy; p != MigrateBoth && p != MigrateUp || classic.protocolType != consumerProtocolType {
		return wire.Errorf(wire.GroupIDNotFound, "group %q is a classic group", g.id)
	}
	if len(classic.members) >= g.config.ConsumerMaxSize {
		return wire.Errorf(wire.GroupMaxSizeReached, "the group has %d members, and may have no more", len(classic.members))
	}
	c := newConsumer(g)
	c.subs.look(t.view)
	c.epoch, c.assignmentEpoch = int32(classic.generation), int32(classic.generation)
	kept := make(map[*consumerMember]assignment)
	for _, m := range classic.members {
		if m.fresh { // it does not know its id yet, and will ask again as somebody else
			continue
		}
		adopted, owned, err := c.adopt(t, classic, m)
		if err != nil {
			return wire.Errorf(wire.GroupIDNotFound, "group %q is a classic group, and stays one: member %q: %v", g.id, m.id, err)
		}
		kept[adopted] = owned
	}
	for _, m := range c.members {
		c.keep(t, m, kept[m])
	}
	classic.fail(t, wire.Errorf(wire.RebalanceInProgress, "the group moves to the consumer protocol"))
	classic.end(t)
	g.classic, g.consumer = nil, c

	c.subs.refresh()
	c.used = c.assignor()
	c.loggedHash = c.subs.hash
	t.emit(newConsumerEpochRecord(g.id, c.epoch, c.loggedHash))
	for _, m := range c.members {
		t.emit(newMemberRecord(g.id, m.id, m.said),
			newTargetAssignmentRecord(g.id, m.id, m.target),
			newCurrentAssignmentRecord(g.id, m.id, m.value()))
	}
	t.emit(newTargetEpochRecord(g.id, c.assignmentEpoch))
	return nil
}

// adopt makes a member of a classic one, with what it was assigned, and tells what else it had when it joined. If members
// were joining or syncing, they do so again.
func (c *consumer) adopt(t *turn, classic *classic, old *classicMember) (*consumerMember, assignment, error) {
	metadata, ok := old.metadata(classic.protocol)
	if !ok && len(old.protocols) > 0 { // no generation has chosen a protocol yet
		metadata = old.protocols[0].Metadata
	}
	said, err := readSubscription(metadata)
	if err != nil {
		return nil, nil, err
	}
	assigned, err := readAssignment(old.assignment)
	if err != nil {
		return nil, nil, err
	}
	m := &consumerMember{id: old.id, known: true, said: memberValue{
		instance: old.instance, rack: said.rack, clientID: old.clientID, clientHost: old.clientHost,
		topics: sortedNames(said.topics), rebalanceTimeout: milliseconds(old.rebalanceTimeout),
		classic: &classicMemberValue{sessionTimeout: milliseconds(old.sessionTimeout), protocols: old.protocols},
	}}
	has := identified(t.view, assigned.partitions).filter(func(tp wire.TopicPartition) bool {
		return c.owners[tp] == nil // a leader may have given it to two
	})
	m.target = has
	m.standing = standing{epoch: c.epoch, previousEpoch: c.epoch, state: memberStable, assigned: has}
	m.sub = c.subs.add(m.said.topics, "")
	c.insert(m)
	c.count(m, 1)
	c.own(t, m, standing{}, t.now)
	c.hears(t, m)
	return m, identified(t.view, said.owned), nil
}

// keep leaves a member what it had when it joined and nobody was assigned since. A cooperative member that its leader took
// something from goes on with it until it has heard of that, and has given it up: it says so when it joins again.
func (c *consumer) keep(t *turn, m *consumerMember, owned assignment) {
	before := m.standing
	m.standing.assigned = m.standing.assigned.plus(owned.filter(func(tp wire.TopicPartition) bool { return c.owners[tp] == nil }))
	c.own(t, m, before, t.now)
}

// identified turns partitions by name into an assignment, leaving out topics that do not exist. Partitions are kept that
// a topic does not have: its leader may know of them before this broker does, and they are not free because of that.
func identified(view wire.View, all []topicPartitions) assignment {
	told := make([]wire.AssignedTopic, 0, len(all))
	for _, tp := range all {
		topic, ok := view.Topic(tp.topic)
		if !ok {
			continue
		}
		valid := slices.DeleteFunc(slices.Clone(tp.partitions), func(p int32) bool { return p < 0 })
		told = append(told, wire.AssignedTopic{Topic: topic.ID, Partitions: valid})
	}
	return normalized(told)
}

// mayDowngrade says that a group of KIP-848 becomes a classic one when some members go.
func (c *consumer) mayDowngrade(gone []*consumerMember) bool {
	stay, classics := len(c.members)-len(gone), c.classics
	for _, m := range gone {
		if m.said.classic != nil {
			classics--
		}
	}
	policy := c.group.config.MigrationPolicy
	return stay > 0 && stay == classics && (policy == MigrateBoth || policy == MigrateDown) &&
		stay <= c.group.config.MaxSize && c.commonProtocol(gone) != ""
}

// commonProtocol returns a protocol that all members of the classic protocol have that stay.
func (c *consumer) commonProtocol(gone []*consumerMember) string {
	votes, stay := map[string]int{}, 0
	var candidates []wire.GroupProtocol
	for _, m := range c.members {
		if m.said.classic == nil || slices.Contains(gone, m) {
			continue
		}
		stay++
		candidates = m.said.classic.protocols
		for _, p := range candidates {
			votes[p.Name]++
		}
	}
	for _, p := range candidates {
		if votes[p.Name] == stay {
			return p.Name
		}
	}
	return ""
}

// downgrade makes a classic group of the members that stay. They are asked to join at once, so that one of them leads.
// It is false where they cannot be: what they say of themselves would not fit into the record of a classic group.
func (g *Group) downgrade(t *turn, because rebalanceCause, gone []*consumerMember) bool {
	c := g.consumer
	if !c.mayDowngrade(gone) {
		return false
	}
	classic := newClassic(g)
	classic.generation = wire.GenerationID(c.epoch)
	classic.protocolType, classic.protocol = consumerProtocolType, c.commonProtocol(gone)
	size := 0
	for _, m := range c.members {
		if slices.Contains(gone, m) {
			continue
		}
		old := &classicMember{
			id: m.id, instance: m.said.instance, clientID: m.said.clientID, clientHost: m.said.clientHost,
			sessionTimeout: c.sessionTimeout(m), rebalanceTimeout: m.rebalanceTimeout(), protocols: m.said.classic.protocols,
		}
		old.assignment = classicAssignment(t.view, m, m.target)
		size += len(old.assignment)
		classic.members = append(classic.members, old)
		classic.heard(t, old)
	}
	if classic.recordBytes(nil)+size > g.config.MaxRecordBytes {
		return false
	}
	classic.leader = classic.members[0].id
	for _, m := range gone {
		until, before := m.lastHeard(t, because), m.standing
		m.standing = standing{}
		c.own(t, m, before, until)
	}
	c.end(t)
	g.consumer, g.classic = nil, classic
	classic.enter(t, wire.GroupStable)
	classic.log(t)
	classic.prepare(t, rebalanceCause{trigger: wire.ProtocolChanged, member: because.member, detail: string(because.trigger)})
	return true
}

// classicAssignment tells a member of the classic protocol what it has, in the version that it speaks.
func classicAssignment(view wire.View, m *consumerMember, has assignment) []byte {
	a := &embeddedAssignment{}
	if s, err := readSubscription(m.said.classic.protocols[0].Metadata); err == nil {
		a.version = s.version
	}
	for _, n := range namedTopics(view, has) {
		a.partitions = append(a.partitions, topicPartitions{topic: n.Topic, partitions: n.Partitions})
	}
	return newAssignment(a)
}

// joinConsumer takes a member of the classic protocol into the group, or makes an empty group a classic one.
func (g *Group) joinConsumer(t *turn, q *wire.JoinGroup, call Call) {
	if g.empty() {
		if q.Member == "" {
			g.consumer.end(t)
			g.consumer = nil
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
	m, because, err := c.enterClassic(t, q, id, subscription)
	if err != nil {
		return &wire.JoinedGroup{}, err
	}
	said := m.said
	said.instance = cmp.Or(q.Instance, said.instance)
	said.rack = cmp.Or(subscription.rack, said.rack)
	said.clientID, said.clientHost = q.ClientID, q.ClientHost
	said.rebalanceTimeout = milliseconds(cmp.Or(q.RebalanceTimeout, q.SessionTimeout))
	said.topics, said.pattern = sortedNames(subscription.topics), ""
	said.classic = &classicMemberValue{sessionTimeout: milliseconds(q.SessionTimeout), protocols: ownProtocols(q.Protocols)}
	c.say(t, m, said, &because)
	c.advance(t, m, because, identified(t.view, subscription.owned), true)

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

// checkJoin refuses a member of the classic protocol that the group cannot have. Nothing has changed yet.
func (c *consumer) checkJoin(q *wire.JoinGroup) (*embeddedSubscription, error) {
	known := c.byID[q.Member] != nil || q.Instance != "" && c.instances[q.Instance] != nil
	if !known && len(c.members) >= c.group.config.ConsumerMaxSize {
		return nil, wire.Errorf(wire.GroupMaxSizeReached, "the group has %d members, and may have no more", len(c.members))
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
	// One that is to give partitions up has joined; it hears of what it is to give up by this.
	if c.epoch > m.epoch && m.state != memberUnrevokedPartitions {
		return nil, c.mustJoin(t, m)
	}
	m.syncBy = time.Time{}
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
		left := wire.LeftMember{Err: err, Member: leaving.Member, Instance: leaving.Instance}
		if err == nil {
			left.Member = m.id
			if len(gone) == 0 {
				because.member, because.detail = m.id, leaving.Reason
			}
			gone = append(gone, m)
		}
		reply.Members = append(reply.Members, left)
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
