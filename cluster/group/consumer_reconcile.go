package group

import (
	"cmp"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// reconcile takes a member a step towards its target:
//
//	it uses something that is not in its target -> it is told to give that up, and is given nothing new: UNREVOKED_PARTITIONS
//	it has given all that up                    -> it gets the group's epoch, and whatever of its target is free
//	something of its target is not free         -> UNRELEASED_PARTITIONS, until a later heartbeat finds it free
//	it has its target                           -> STABLE
//
// owned is what the member uses; told is false when it did not say.
func (c *consumer) reconcile(t *turn, m *consumerMember, owned assignment, told bool) {
	if c.settled(m) {
		return
	}
	if m.state == memberUnrevokedPartitions && (!told || owned.meets(m.revoking)) {
		return // nor is it asked for more, before it has done what it was asked for
	}
	c.place(t, m, c.step(m, owned, told))
	m.revokeBy = time.Time{}
	if m.state == memberUnrevokedPartitions && m.said.classic == nil {
		m.revokeBy = t.now.Add(m.rebalanceTimeout())
		c.wake(m.revokeBy)
	}
}

// step finds the next standing of a member that has given up what it was to give up.
func (c *consumer) step(m *consumerMember, owned assignment, told bool) standing {
	keep := m.assigned.filter(func(tp wire.TopicPartition) bool { return m.target.has(tp.Topic, tp.Partition) })
	revoke := m.assigned.minus(m.target)
	if len(revoke) > 0 && (!told || owned.meets(revoke)) {
		// Kafka: what it has given up is free now. Here that stays its own until it has given this up too: then it gets another
		// epoch, so that whatever is free can never be committed by who had it, even if it was an old heartbeat that told so.
		return standing{m.epoch, m.previousEpoch, memberUnrevokedPartitions, keep, revoke.plus(m.revoking)}
	}
	wanted := m.target.minus(m.assigned)
	free := wanted.filter(func(tp wire.TopicPartition) bool {
		owner := c.owners[tp]
		return owner == nil || owner == m
	})
	next := standing{c.assignmentEpoch, m.previousEpoch, memberStable, keep.plus(free), nil}
	if m.epoch != c.assignmentEpoch {
		next.previousEpoch = m.epoch
	}
	if free.count() < wanted.count() {
		next.state = memberUnreleasedPartitions
	}
	return next
}

// waits says that others still have something that is in the member's target.
func (c *consumer) waits(m *consumerMember) bool {
	for _, at := range m.target.minus(m.assigned) {
		for _, p := range at.Partitions {
			if owner := c.owners[wire.TopicPartition{Topic: at.Topic, Partition: p}]; owner != nil && owner != m {
				return true
			}
		}
	}
	return false
}

// settled says that a member is where its target is.
func (c *consumer) settled(m *consumerMember) bool {
	return m.state == memberStable && m.epoch == c.assignmentEpoch
}

// place changes where a member stands.
func (c *consumer) place(t *turn, m *consumerMember, next standing) {
	before, was := m.standing, c.settled(m)
	if before.equal(&next) {
		return
	}
	m.standing = next
	t.emit(newCurrentAssignmentRecord(c.group.id, m.id, next.value()))
	c.own(t, m, before, t.now)
	if is := c.settled(m); is != was {
		if is {
			c.unsettled--
			c.arrived(t, m)
		} else {
			c.unsettled++
		}
	}
}

// own notes which partitions a member has now, and which it had before, until some time.
func (c *consumer) own(t *turn, m *consumerMember, before standing, until time.Time) {
	had, has := before.assigned.plus(before.revoking), m.assigned.plus(m.revoking)
	for _, at := range had.minus(has) {
		for _, p := range at.Partitions {
			tp := wire.TopicPartition{Topic: at.Topic, Partition: p}
			if c.owners[tp] == m {
				delete(c.owners, tp)
				c.released(tp, m, until)
			}
		}
	}
	for _, at := range has.minus(had) {
		for _, p := range at.Partitions {
			tp := wire.TopicPartition{Topic: at.Topic, Partition: p}
			if c.owners[tp] == nil {
				c.owners[tp] = m
				c.taken(t, tp, m)
			}
		}
	}
}

func (s *standing) equal(o *standing) bool {
	return s.epoch == o.epoch && s.previousEpoch == o.previousEpoch && s.state == o.state &&
		s.assigned.equal(o.assigned) && s.revoking.equal(o.revoking)
}

func (s *standing) value() currentValue {
	return currentValue{epoch: s.epoch, previousEpoch: s.previousEpoch, state: s.state, assigned: s.assigned, revoking: s.revoking}
}

func (m *consumerMember) rebalanceTimeout() time.Duration {
	return time.Duration(m.said.rebalanceTimeout) * time.Millisecond
}

// sessionTimeout is the group's, or what a member of the classic protocol asked for.
func (c *consumer) sessionTimeout(m *consumerMember) time.Duration {
	if m.said.classic != nil {
		return time.Duration(m.said.classic.sessionTimeout) * time.Millisecond
	}
	return c.group.config.ConsumerSessionTimeout
}

// insert adds a member of whom nothing is known but its id.
func (c *consumer) insert(m *consumerMember) {
	i, _ := slices.BinarySearchFunc(c.members, m.id, compareMember)
	c.members = slices.Insert(c.members, i, m)
	c.byID[m.id] = m
	if !c.settled(m) {
		c.unsettled++
	}
}

func compareMember(m *consumerMember, id wire.MemberID) int { return cmp.Compare(m.id, id) }

// count adds what a member said to what is known of all, or takes it away.
func (c *consumer) count(m *consumerMember, one int) {
	if m.said.assignor != "" {
		c.votes[m.said.assignor] += one
	}
	if m.said.classic != nil {
		c.classics += one
	}
	c.keyBytes += one * memberKeyBytes(m.id, m.said.pattern)
	if m.said.instance == "" {
		return
	}
	if one > 0 {
		c.instances[m.said.instance] = m
	} else if c.instances[m.said.instance] == m {
		delete(c.instances, m.said.instance)
	}
}

// remove takes a member out, and frees what it had and used until some time.
func (c *consumer) remove(t *turn, m *consumerMember, until time.Time) {
	id := string(m.id)
	t.emit(tombstone(currentAssignmentRecord, c.group.id, id, 0),
		tombstone(targetAssignmentRecord, c.group.id, id, 0),
		tombstone(consumerMemberRecord, c.group.id, id, 0))
	before := m.standing
	if !c.settled(m) {
		c.unsettled--
	}
	m.standing = standing{}
	c.own(t, m, before, until)
	c.drop(m)
}

// drop forgets a member.
func (c *consumer) drop(m *consumerMember) {
	if i, found := slices.BinarySearchFunc(c.members, m.id, compareMember); found {
		c.members = slices.Delete(c.members, i, i+1)
	}
	delete(c.byID, m.id)
	if m.known {
		c.count(m, -1)
	}
	if m.sub != nil {
		c.subs.drop(m.sub)
	}
}

// equal says that two members said the same. Topics are sorted.
func (v *memberValue) equal(o *memberValue) bool {
	return v.instance == o.instance && v.rack == o.rack && v.clientID == o.clientID && v.clientHost == o.clientHost &&
		v.pattern == o.pattern && v.rebalanceTimeout == o.rebalanceTimeout && v.assignor == o.assignor &&
		slices.Equal(v.topics, o.topics) && v.classic.equal(o.classic)
}

func (v *classicMemberValue) equal(o *classicMemberValue) bool {
	if v == nil || o == nil {
		return v == o
	}
	return v.sessionTimeout == o.sessionTimeout &&
		slices.EqualFunc(v.protocols, o.protocols, func(a, b wire.GroupProtocol) bool {
			return a.Name == b.Name && slices.Equal(a.Metadata, b.Metadata)
		})
}
