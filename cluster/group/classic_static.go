package group

import (
	"fmt"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// replaceStatic gives a static member's place to whoever comes with its instance: usually itself, restarted (KIP-345).
// Where that changes nothing for the others there is no rebalance.
func (c *classic) replaceStatic(t *turn, m *classicMember, id wire.MemberID, q *wire.JoinGroup, call Call) {
	fenced := wire.Errorf(wire.FencedInstanceID, "another member has taken over instance id %q", q.Instance)
	t.answer(m.join, &wire.JoinedGroup{Err: fenced, Member: m.id})
	t.answer(m.sync, &wire.SyncedGroup{Err: fenced})
	m.join, m.sync = 0, 0
	oldLeader := c.leader
	if c.leads(m) {
		c.leader = id
	}
	c.group.history.renamed(m.id, id)
	m.id = id
	m.fresh = false // whoever has an instance can be told from the others
	wasJoined, said := m.joined, m.protocols
	c.rejoin(t, m, q, call)
	cause := rebalanceCause{trigger: wire.SubscriptionChanged, member: id, detail: fmt.Sprintf("instance %s is back; %s", q.Instance, q.Reason)}
	switch c.state {
	case wire.GroupStable:
		if c.vote() != c.protocol {
			cause.trigger = wire.ProtocolChanged
			c.prepare(t, cause)
			return
		}
		// Kafka: it is left with what it was subscribed to before, and others with what it had still to give up: a member
		// that rebalances cooperatively joins once more for that, unless it dies.
		if c.resubscribed(said, m.protocols) || c.leavesOut(t.view) {
			c.prepare(t, cause)
			return
		}
		m.join, m.joined, m.synced = 0, false, true
		c.log(t)
		reply := c.joinedGroup(m)
		if q.MaySkipAssignment {
			if c.leads(m) {
				reply.SkipAssignment = true
				reply.Members = c.joinedMembers()
			}
		} else {
			// One that cannot be told to skip the assignment is told that somebody else leads (KIP-814).
			reply.Leader = oldLeader
		}
		t.answer(call, reply)
	case wire.GroupCompletingRebalance:
		// The leader may have been told the old id already: under the new one there would be no assignment.
		cause.trigger = wire.MemberJoined
		c.prepare(t, cause)
	default:
		if !wasJoined {
			c.joinedAfter(t, m)
		}
		c.completeIfAllJoined(t)
	}
}

// resubscribed says that a consumer wants other topics than before. What else it says changes with each restart.
func (c *classic) resubscribed(before, after []wire.GroupProtocol) bool {
	if c.protocolType != consumerProtocolType {
		return false
	}
	topics := func(protocols []wire.GroupProtocol) []string {
		metadata, _ := (&classicMember{protocols: protocols}).metadata(c.protocol)
		s, err := readSubscription(metadata)
		if err != nil {
			return nil
		}
		return slices.Sorted(slices.Values(s.topics))
	}
	return !slices.Equal(topics(before), topics(after))
}

// leavesOut says that nobody has some partition of a topic that a consumer is subscribed to.
func (c *classic) leavesOut(view wire.View) bool {
	if c.protocolType != consumerProtocolType {
		return false
	}
	assigned := map[namedPartition]bool{}
	for _, m := range c.members {
		c.eachAssigned(m, func(topic string, partition int32) { assigned[namedPartition{topic, partition}] = true })
	}
	looked := map[string]bool{}
	for _, m := range c.members {
		metadata, _ := m.metadata(c.protocol)
		s, err := readSubscription(metadata)
		if err != nil {
			continue
		}
		for _, name := range s.topics {
			topic, there := view.Topic(name)
			if !there || looked[name] {
				continue
			}
			looked[name] = true
			for p := range topic.Partitions {
				if !assigned[namedPartition{name, p}] {
					return true
				}
			}
		}
	}
	return false
}
