package group

import (
	"cmp"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

func (c *consumer) empty() bool { return len(c.members) == 0 }

func (c *consumer) state() wire.GroupState {
	switch {
	case len(c.members) == 0:
		return wire.GroupEmpty
	case c.epoch > c.assignmentEpoch:
		return wire.GroupAssigning
	case c.unsettled > 0:
		return wire.GroupReconciling
	default:
		return wire.GroupStable
	}
}

// describe fills in what the description of a group of KIP-848 has.
func (c *consumer) describe(t *turn, d *wire.GroupDescription) {
	d.Epoch, d.AssignmentEpoch = c.epoch, c.assignmentEpoch
	d.Protocol = c.assignor()
	for _, m := range c.members {
		d.Members = append(d.Members, wire.DescribedMember{
			Member: m.id, Instance: m.said.instance, ClientID: m.said.clientID, ClientHost: m.said.clientHost,
			Classic: m.said.classic != nil, Epoch: m.epoch, Rack: m.said.rack,
			SubscribedTopics: m.said.topics, Pattern: m.said.pattern,
			Assigned: namedTopics(t.view, m.assigned), Target: namedTopics(t.view, m.target),
		})
	}
}

// namedTopics tells partitions by the names of their topics. Those of topics that are no more have none, and are left out.
func namedTopics(view wire.View, a assignment) []wire.NamedPartitions {
	var all []wire.NamedPartitions
	for _, at := range a {
		if topic, ok := view.TopicByID(at.Topic); ok {
			all = append(all, wire.NamedPartitions{Topic: topic.Name, TopicID: at.Topic, Partitions: at.Partitions})
		}
	}
	slices.SortFunc(all, func(a, b wire.NamedPartitions) int { return cmp.Compare(a.Topic, b.Topic) })
	return all
}

// subscribed says that some member is subscribed to a topic, by name or by a pattern.
func (c *consumer) subscribed(_ *turn, topic string) bool {
	for _, sub := range c.subs.byKey {
		if _, found := slices.BinarySearch(sub.names, topic); found {
			return true
		}
		if sub.pattern != nil {
			if _, found := slices.BinarySearch(sub.pattern.matched, topic); found {
				return true
			}
		}
	}
	return false
}

// mayCommit says whether a commit is accepted: from a member at its present epoch, since which nobody else has had what it has;
// and while there are no members, from whoever says that it is none.
//
// Kafka: since 4.3 also at an older epoch, if the member has had since then all that it commits (KIP-1251).
func (c *consumer) mayCommit(_ *turn, q *wire.CommitOffsets) error {
	m := c.byID[q.Member]
	switch {
	case len(c.members) == 0 && q.Generation < 0:
		return nil
	case m == nil:
		return wire.Errorf(wire.UnknownMemberID, "there is no member %q", q.Member)
	case m.said.classic == nil && !q.Modern: // it could not be told STALE_MEMBER_EPOCH
		return wire.Errorf(wire.UnsupportedVersion, "a member of the consumer protocol commits by OffsetCommit 9 or above")
	case m.epoch == int32(q.Generation) && m.epoch >= 0: // a static member that pauses does not commit
		return nil
	case m.said.classic != nil:
		return wire.Errorf(wire.IllegalGeneration, "the member is at generation %d, and not %d", m.epoch, q.Generation)
	default:
		return wire.Errorf(wire.StaleMemberEpoch, "the member is at epoch %d, and not %d", m.epoch, q.Generation)
	}
}

// mayFetch checks the member that a fetch of offsets names, if any.
func (c *consumer) mayFetch(q *wire.FetchOffsets) error {
	if q.Member == "" && q.MemberEpoch < 0 {
		return nil
	}
	m := c.byID[q.Member]
	switch {
	case m == nil:
		return wire.Errorf(wire.UnknownMemberID, "there is no member %q", q.Member)
	case m.epoch == q.MemberEpoch:
		return nil
	case m.said.classic != nil:
		return wire.Errorf(wire.IllegalGeneration, "the member is at generation %d, and not %d", m.epoch, q.MemberEpoch)
	default:
		return wire.Errorf(wire.StaleMemberEpoch, "the member is at epoch %d, and not %d", m.epoch, q.MemberEpoch)
	}
}
