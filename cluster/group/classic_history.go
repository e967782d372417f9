package group

import (
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// What a classic group tells its history. The coordinator knows only what the members of consumers' groups say in the
// consumer protocol: a member that joins has given up what it does not say it owns. Other groups have rebalances
// without partitions.

// beginHistory notes that a rebalance has begun, and who has what.
func (c *classic) beginHistory(t *turn, cause rebalanceCause) {
	h := &c.group.history
	h.begin(t, c.group.id, wire.Rebalance{
		Type:       wire.ClassicGroup,
		Generation: int32(c.generation),
		Trigger:    cause.trigger,
		Cause:      cause.member,
		Detail:     cause.detail,
		Members:    len(c.members),
	})
	for _, m := range c.members {
		c.eachAssigned(m, func(topic string, partition int32) { h.hold(topic, partition, m.id) })
	}
}

func (c *classic) eachAssigned(m *classicMember, do func(topic string, partition int32)) {
	if c.protocolType != consumerProtocolType {
		return
	}
	a, err := readAssignment(m.assignment)
	if err != nil {
		return
	}
	for _, tp := range a.partitions {
		for _, p := range tp.partitions {
			do(tp.topic, p)
		}
	}
}

// joinedAfter notes that a member has joined, and what it has given up for that: all, unless it rebalances cooperatively.
func (c *classic) joinedAfter(t *turn, m *classicMember) {
	h := &c.group.history
	h.waited(m.id, t.now.Sub(c.asked))
	var owned []topicPartitions
	if c.protocolType == consumerProtocolType && len(m.protocols) > 0 {
		if s, err := readSubscription(m.protocols[0].Metadata); err == nil {
			owned = s.owned
		}
	}
	h.releasedAll(m.id, func(topic string, partition int32) bool {
		return slices.ContainsFunc(owned, func(tp topicPartitions) bool {
			return tp.topic == topic && slices.Contains(tp.partitions, partition)
		})
	}, t.now)
}

// tooSlow notes that a member did not join in time.
func (c *classic) tooSlow(t *turn, m *classicMember) {
	c.group.history.waited(m.id, t.now.Sub(c.asked))
	c.gaveUp(m, t.now)
}

// gaveUp notes that a member that goes had its partitions until then.
func (c *classic) gaveUp(m *classicMember, at time.Time) {
	c.eachAssigned(m, func(topic string, partition int32) { c.group.history.lost(topic, partition, m.id, at) })
}

// endHistory notes that the rebalance is complete, and who has what now.
func (c *classic) endHistory(t *turn) {
	h := &c.group.history
	if len(c.members) > 0 {
		h.waited(c.leader, t.now.Sub(c.asked))
	}
	for _, m := range c.members {
		c.eachAssigned(m, func(topic string, partition int32) { h.taken(topic, partition, m.id, t.now) })
	}
	h.releasedRest(t.now)
	h.finish(t, c.group.id, int32(c.generation), len(c.members), true)
}
