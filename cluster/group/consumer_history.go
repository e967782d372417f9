package group

import (
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// What the history is told of a rebalance: it begins with an epoch of the group, and is over when all members are where
// their targets are.

func (c *consumer) begin(t *turn, because rebalanceCause) {
	c.group.history.begin(t, c.group.id, wire.Rebalance{
		Type: wire.ConsumerGroup, Generation: c.epoch, Members: len(c.members),
		Trigger: because.trigger, Cause: because.member, Detail: because.detail,
	})
}

// arrived says that a member is where its target is.
func (c *consumer) arrived(t *turn, m *consumerMember) {
	c.waited(t, m)
	if c.unsettled == 0 && c.epoch == c.assignmentEpoch {
		c.finished(t)
	}
}

// waited says that a member was waited for until now.
func (c *consumer) waited(t *turn, m *consumerMember) {
	if r := c.group.history.ongoing; r != nil {
		c.group.history.waited(m.id, t.now.Sub(r.Began))
	}
}

// finished says that all members are, or that nobody is left.
func (c *consumer) finished(t *turn) {
	c.group.history.finish(t, c.group.id, c.epoch, len(c.members), true)
}

// released says that a member has something no more. Of what nobody gives up the history need not know.
func (c *consumer) released(tp wire.TopicPartition, from *consumerMember, at time.Time) {
	name, ok := c.topicName(tp.Topic)
	if !ok {
		return
	}
	h := &c.group.history
	h.hold(name, tp.Partition, from.id)
	h.lost(name, tp.Partition, from.id, at)
}

// taken says that a member has something new.
func (c *consumer) taken(t *turn, tp wire.TopicPartition, by *consumerMember) {
	if c.group.history.ongoing == nil {
		return
	}
	if name, ok := c.topicName(tp.Topic); ok {
		c.group.history.taken(name, tp.Partition, by.id, t.now)
	}
}

func (c *consumer) topicName(id wire.TopicID) (string, bool) {
	if c.subs.view == nil {
		return "", false
	}
	topic, ok := c.subs.view.TopicByID(id)
	return topic.Name, ok
}
