package group

// A new epoch of the group, and the targets of its members.

// bump begins a new epoch of the group.
func (c *consumer) bump(t *turn, because rebalanceCause) {
	c.subs.refresh()
	c.epoch++
	c.loggedHash = c.subs.hash
	t.emit(newConsumerEpochRecord(c.group.id, c.epoch, c.loggedHash))
	c.begin(t, because)
}

// assign computes the targets of all members for the group's epoch. A target has to fit into a record, and so has what a
// member has while it gives up another: of a hundred thousand partitions, a single member may not get all.
func (c *consumer) assign(t *turn) {
	s := c.sharing()
	c.used = c.assignor()
	results := assignors[c.used](s)
	for i, m := range c.members {
		if target := results[i].clipped(c.group.config.MaxRecordBytes / 3); !target.equal(m.target) {
			m.target = target
			t.emit(newTargetAssignmentRecord(c.group.id, m.id, m.target))
		}
	}
	c.assignmentEpoch = c.epoch
	t.emit(newTargetEpochRecord(c.group.id, c.assignmentEpoch))
	c.unsettled = 0
	for _, m := range c.members {
		if !c.settled(m) {
			c.unsettled++
		}
	}
}

// sharing is the problem that an assignor is given.
func (c *consumer) sharing() *sharing {
	s := &sharing{topics: c.subs.topics, members: make([]sharer, 0, len(c.members))}
	places := make(map[*subscription]int, len(c.subs.byKey))
	for _, sub := range c.subs.inOrder() {
		places[sub] = len(s.subscriptions)
		topics := make([]int32, 0, len(sub.topics))
		for _, id := range sub.topics {
			if place, ok := s.place(id); ok {
				topics = append(topics, place)
			}
		}
		s.subscriptions = append(s.subscriptions, topics)
	}
	for _, m := range c.members {
		s.members = append(s.members, sharer{id: m.id, instance: m.said.instance, subscription: places[m.sub], target: m.target})
	}
	return s
}

// assignor is the one that most members ask for; among those with as many votes, and with none at all, that which comes first
// in the configuration.
func (c *consumer) assignor() string {
	best := uniformAssignor
	votes := -1
	for _, name := range c.group.config.ConsumerAssignors {
		if assignors[name] != nil && c.votes[name] > votes {
			best, votes = name, c.votes[name]
		}
	}
	return best
}
