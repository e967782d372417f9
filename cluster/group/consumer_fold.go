package group

import (
	"maps"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// foldConsumer folds a record of the consumer protocol into the group: g.consumer comes with the first and goes with the
// tombstone of its epoch. Compaction may leave the records in any order, so that one about a member may come before that
// which says who it is.
func (g *Group) foldConsumer(key recordKey, value []byte) error {
	if value == nil {
		g.foldConsumerTombstone(key)
		return nil
	}
	c := g.consumer
	if c == nil {
		c = newConsumer(g)
	}
	if err := c.fold(key, value); err != nil {
		return err
	}
	g.consumer = c
	return nil
}

func (c *consumer) fold(key recordKey, value []byte) error {
	id := wire.MemberID(key.name)
	switch key.kind {
	case consumerEpochRecord:
		epoch, hash, err := readConsumerEpochValue(value)
		if err != nil {
			return err
		}
		c.epoch, c.loggedHash = epoch, hash
	case targetEpochRecord:
		epoch, err := readEpochValue(value)
		if err != nil {
			return err
		}
		c.assignmentEpoch = epoch
	case consumerMemberRecord:
		said, err := readMemberValue(value)
		if err != nil {
			return err
		}
		said.topics = sortedNames(said.topics)
		m := c.folded(id)
		m.said, m.known = said, true
	case targetAssignmentRecord:
		target, err := readTargetAssignmentValue(value)
		if err != nil {
			return err
		}
		c.folded(id).target = normalized(target)
	case currentAssignmentRecord:
		current, err := readCurrentAssignmentValue(value)
		if err != nil {
			return err
		}
		c.folded(id).standing = standing{
			current.epoch, current.previousEpoch, current.state, normalized(current.assigned), normalized(current.revoking),
		}
	case patternRecord:
		matched, err := readPatternValue(value)
		if err != nil {
			return err
		}
		c.recorded[string(key.name)] = matched.topics
	default: // consumerTopicsRecord, of older brokers: the topics are looked up
	}
	return nil
}

// folded returns a member of whom something is in the log.
func (c *consumer) folded(id wire.MemberID) *consumerMember {
	m := c.byID[id]
	if m == nil {
		m = &consumerMember{id: id}
		c.byID[id] = m
	}
	return m
}

func (g *Group) foldConsumerTombstone(key recordKey) {
	c := g.consumer
	if c == nil {
		return
	}
	id := wire.MemberID(key.name)
	m := c.byID[id]
	switch key.kind {
	case consumerEpochRecord:
		g.consumer = nil
	case targetEpochRecord:
		c.assignmentEpoch = 0
	case patternRecord:
		delete(c.recorded, string(key.name))
	case consumerMemberRecord:
		delete(c.byID, id)
	case targetAssignmentRecord:
		if m != nil {
			m.target = nil
		}
	case currentAssignmentRecord:
		if m != nil {
			m.standing = standing{}
		}
	default:
	}
}

// loaded makes what follows from the records, and lets the sessions begin anew.
func (c *consumer) loaded(t *turn) {
	ids := slices.Sorted(maps.Keys(c.byID))
	for _, id := range ids {
		m := c.byID[id]
		if !m.known {
			delete(c.byID, id)
			continue
		}
		c.members = append(c.members, m)
		m.sub = c.subs.add(m.said.topics, m.said.pattern)
		m.said.topics = m.sub.names
		c.count(m, 1)
		c.own(t, m, standing{}, t.now)
		if !c.settled(m) {
			c.unsettled++
		}
		c.hears(t, m)
		m.again = m.expires // one that hears nothing until then tells everything when it comes again
		if m.state == memberUnrevokedPartitions && m.said.classic == nil {
			m.revokeBy = t.now.Add(m.rebalanceTimeout())
			c.wake(m.revokeBy)
		}
	}
	if len(c.members) == 0 && c.epoch == 0 {
		c.group.consumer = nil // what was left are records of members that went
		return
	}
	for text, p := range c.subs.patterns { // what the log says counts until the names have been matched
		p.matched = slices.Sorted(slices.Values(c.recorded[text]))
	}
	c.subs.look(t.view)
	c.subs.hash, c.subs.patternsChanged = c.loggedHash, true
	c.used = c.assignor()
}

// end emits the tombstones of all records of the group. The group is dropped then.
func (c *consumer) end(t *turn) {
	id := c.group.id
	for _, m := range c.members {
		name := string(m.id)
		t.emit(tombstone(currentAssignmentRecord, id, name, 0),
			tombstone(targetAssignmentRecord, id, name, 0),
			tombstone(consumerMemberRecord, id, name, 0))
	}
	for _, text := range slices.Sorted(maps.Keys(c.recorded)) {
		t.emit(tombstone(patternRecord, id, text, 0))
	}
	t.emit(tombstone(targetEpochRecord, id, "", 0), tombstone(consumerEpochRecord, id, "", 0))
}

// recordPatterns keeps what the patterns match in the log, for whoever reads it there. The rules look for themselves.
func (c *consumer) recordPatterns(t *turn) {
	if !c.subs.patternsChanged {
		return
	}
	c.subs.patternsChanged = false
	for _, text := range slices.Sorted(maps.Keys(c.recorded)) {
		if c.subs.patterns[text] == nil {
			delete(c.recorded, text)
			t.emit(tombstone(patternRecord, c.group.id, text, 0))
		}
	}
	for _, text := range slices.Sorted(maps.Keys(c.subs.patterns)) {
		matched := clippedNames(c.subs.patterns[text].matched, c.group.config.MaxRecordBytes/2)
		if known, ok := c.recorded[text]; ok && slices.Equal(known, matched) {
			continue
		}
		if t.full() {
			c.subs.patternsChanged = true // the rest with the next heartbeat
			return
		}
		c.recorded[text] = matched
		t.emit(newPatternRecord(c.group.id, text, patternValue{topics: matched, timestamp: t.now.UnixMilli()}))
	}
}

// clippedNames returns as many names as a record has room for.
func clippedNames(names []string, limit int) []string {
	for i, name := range names {
		if limit -= len(name) + 5; limit < 0 {
			return names[:i]
		}
	}
	return names
}
