package group

import "github.com/troupe-mq/troupe/wire"

// What the history is told of a rebalance: it begins with an epoch of the group, and ends when all members are where
// their targets are.

func (c *consumer) begin(t *turn, because rebalanceCause) {}

// arrived says that a member is where its target is.
func (c *consumer) arrived(t *turn, m *consumerMember) {
	if c.unsettled == 0 && c.epoch == c.assignmentEpoch {
		c.finished(t, m.id)
	}
}

// finished says that all are, or that nobody is left.
func (c *consumer) finished(t *turn, last wire.MemberID) {}

func (c *consumer) released(t *turn, tp wire.TopicPartition, from *consumerMember) {}

func (c *consumer) taken(t *turn, tp wire.TopicPartition, by *consumerMember) {}
