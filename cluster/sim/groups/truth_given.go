package groups

import (
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// shares is a classic member that is told its assignment: in a generation everybody has his own, and nobody two.
func (t *truth) shares(c *coordinator, of *call, q *wire.SyncGroup, reply *wire.SyncedGroup) {
	places, err := decodeAssignment(reply.Assignment)
	if err != nil {
		t.violate("the assignment of %s is %x", q.Member, reply.Assignment)
		return
	}
	m := t.standing(q.Member)
	m.established = !m.over
	m.epoch = max(m.epoch, q.Generation)
	t.give(c, m, places, q.Generation)
	if of.shared {
		return
	}
	g := t.generation(q.Generation)
	if intended := g.intended; len(intended) > 0 { // else it was one of KIP-848 before
		g.intended = slices.DeleteFunc(slices.Clone(intended), func(i intention) bool { return !slices.Equal(i.of(q.Member, q.Instance), places) })
		if len(g.intended) == 0 {
			t.violate("generation %d: %s is told %v, and the leader wants %v", q.Generation, q.Member, places, intended)
		}
	}
	if before, again := g.told[q.Member]; again && g.leader != "" && !slices.Equal(before, places) {
		t.violate("generation %d: %s is told %v and then %v", q.Generation, q.Member, before, places)
	}
	g.told[q.Member] = places
}

// stands is a member of KIP-848 that is told where it stands.
func (t *truth) stands(c *coordinator, r *wire.ConsumerHeartbeatReply) {
	m := t.standing(r.Member)
	m.established = !m.over
	if c.s.epoch == t.w.log.epoch {
		m.epoch = wire.GenerationID(r.MemberEpoch)
	}
	if r.Assigned {
		m.given = r.Assignment
		t.give(c, m, t.w.placesOf(r.Assignment), wire.GenerationID(r.MemberEpoch))
	}
}

// give notes who has what. What a coordinator says that is none any more counts only if nothing else was said since, and so does
// what is said to somebody who has left since, or was replaced: perhaps that was never committed.
func (t *truth) give(c *coordinator, m *standing, places []place, epoch wire.GenerationID) {
	stale := c.s.epoch != t.w.log.epoch
	if !stale && !m.over {
		t.newest = max(t.newest, epoch)
	}
	for _, p := range places {
		topic, _ := c.s.b.view.Topic(p.topic)
		before, ok := t.holders[p]
		if !ok && m.over {
			continue // the group may have been deleted since
		}
		if ok && (stale || m.over && before.member != m.id) && before.epoch >= epoch {
			continue
		}
		if ok && before.member != m.id && before.epoch >= epoch {
			other := t.members[before.member]
			if epoch == before.epoch && !other.over {
				t.violate("%v is given to %s at %d, and %s was given it at %d", p, m.id, epoch, before.member, before.epoch)
			}
			if epoch < before.epoch {
				continue
			}
		}
		if ok && before.member != m.id {
			t.members[before.member].robbed = true
		}
		if !ok || before.member != m.id {
			t.w.stats.Given++
		}
		t.holders[p] = holder{m.id, epoch, topic.ID}
	}
}

// covered says that all of some partitions are among others.
func covered(some, others []wire.AssignedTopic) bool {
	has := make(map[wire.TopicPartition]bool)
	for _, a := range others {
		for _, p := range a.Partitions {
			has[wire.TopicPartition{Topic: a.Topic, Partition: p}] = true
		}
	}
	for _, a := range some {
		for _, p := range a.Partitions {
			if !has[wire.TopicPartition{Topic: a.Topic, Partition: p}] {
				return false
			}
		}
	}
	return true
}
