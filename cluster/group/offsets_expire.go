package group

import (
	"math"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// Offsets expire when a group has had no members for the retention time, and none was committed since (KIP-211). Those of
// groups that never had members, whose consumers choose their partitions themselves, count from their commit; and those of
// old clients when the client said.
//
// Kafka: in a group with members, offsets of topics that nobody is subscribed to any more expire too; and in an empty one what
// an operator commits expires with the rest. Here a commit is kept for the retention time at least, and while there are members.

// dueAt is when a committed offset expires, in milliseconds, if the group stays without members.
func (g *Group) dueAt(c committedOffset) int64 {
	if e := c.expires(); e >= 0 {
		return e
	}
	since := c.committed
	switch {
	case g.classic != nil && g.classic.protocolType != "" && !g.classic.since.IsZero():
		since = max(since, g.classic.since.UnixMilli())
	case g.consumer != nil && !g.offsets.idle.IsZero():
		since = max(since, g.offsets.idle.UnixMilli())
	}
	retention := g.config.OffsetsRetention.Milliseconds()
	if since > math.MaxInt64-retention {
		return math.MaxInt64
	}
	return since + retention
}

// planExpiry finds out when offsets may expire first. It is called when a group has become empty.
func (g *Group) planExpiry(t *turn) {
	g.offsets.expiry, g.offsets.idle = time.Time{}, time.Time{}
	if !g.empty() {
		return
	}
	g.offsets.idle = t.now
	if g.offsets.none() {
		if g.classic != nil && g.classic.logged || g.consumer != nil || !g.history.none() {
			g.offsets.expiry = t.now.Add(g.config.OffsetsCheckInterval) // a group with nothing committed is forgotten
		}
		return
	}
	g.offsets.expiry = time.UnixMilli(g.earliestDue())
}

func (g *Group) earliestDue() int64 {
	earliest := int64(math.MaxInt64)
	for _, topic := range g.offsets.topics {
		for _, c := range topic.partitions {
			earliest = min(earliest, g.dueAt(c))
		}
	}
	return earliest
}

// expireOffsets forgets what has expired, and the group with the last of its offsets.
func (g *Group) expireOffsets(t *turn) {
	if !g.empty() || !reached(g.offsets.expiry, t.now) {
		return
	}
	now := t.now.UnixMilli()
	for _, topic := range g.offsets.sorted() {
		deleted := topic.isDeleted(t.view)
		for _, p := range topic.sorted() {
			if !deleted && g.dueAt(topic.partitions[p]) > now {
				continue
			}
			if t.full() {
				return // the rest with the next tick, which is due already
			}
			g.offsets.remove(t, g.id, topic, p)
		}
	}
	if g.offsets.none() {
		g.forgetGroup(t)
		g.offsets.expiry = time.Time{}
		return
	}
	g.offsets.expiry = time.UnixMilli(max(g.earliestDue(), t.now.Add(g.config.OffsetsCheckInterval).UnixMilli()))
}

// isDeleted says that the topic is gone, by an image that is as old as the expiry that asks.
func (topic *topicOffsets) isDeleted(view wire.View) bool {
	if topic.id.IsZero() {
		return false
	}
	_, there := view.TopicByID(topic.id)
	return !there
}

// forget deletes the offsets of a group, all that one turn may. It is false when some are left.
func (o *offsets) forget(t *turn, group wire.GroupID) bool {
	for _, topic := range o.sorted() {
		if !o.removeTopic(t, group, topic) {
			return false
		}
	}
	o.expiry = time.Time{}
	return true
}
