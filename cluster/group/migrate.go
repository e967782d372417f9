package group

import (
	"slices"

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
	for _, m := range classic.members {
		c.keyBytes += memberKeyBytes(m.id, "")
	}
	if c.keyBytes+len(classic.members)*len(g.id) > maxKeyBytes {
		return wire.Errorf(wire.GroupMaxSizeReached, "the members' names take more than %d bytes", maxKeyBytes)
	}
	c.keyBytes = 0
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
	m.assigned = m.assigned.plus(owned.filter(func(tp wire.TopicPartition) bool { return c.owners[tp] == nil }))
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
			synced: true,
		}
		old.assignment = classicAssignment(t.view, m, m.target)
		size += len(old.assignment)
		classic.members = append(classic.members, old)
		classic.heard(t, old)
	}
	if classic.recordBytes(nil)+size > g.config.MaxRecordBytes {
		return false
	}
	for _, m := range gone {
		until, before := m.lastHeard(t, because), m.standing
		m.standing = standing{}
		c.own(t, m, before, until)
	}
	c.end(t)
	g.consumer, g.classic = nil, classic
	classic.enter(t, wire.GroupStable)
	classic.log(t) // without a leader: whoever loads it asks them, too
	classic.leader = classic.members[0].id
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
