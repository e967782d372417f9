package group

import (
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// commit handles CommitOffsets.
func (g *Group) commit(t *turn, q *wire.CommitOffsets, call Call) {
	reply := &wire.CommittedOffsets{Errs: make([]error, len(q.Offsets))}
	if reply.Err = g.mayCommit(t, q); reply.Err != nil {
		for i := range reply.Errs {
			reply.Errs[i] = reply.Err
		}
		t.answer(call, reply)
		return
	}
	for i, o := range q.Offsets {
		reply.Errs[i] = g.commitOffset(t, q.Member, o)
	}
	t.answer(call, reply)
}

// mayCommit says whether the request as a whole is accepted: it comes from a member of the present generation or epoch or,
// while there are no members, from whoever says that it is none.
func (g *Group) mayCommit(t *turn, q *wire.CommitOffsets) error {
	switch {
	case g.classic != nil:
		return g.classic.mayCommit(t, q)
	case g.consumer != nil:
		return g.consumer.mayCommit(t, q)
	case q.Generation >= 0: // Kafka: GROUP_ID_NOT_FOUND from OffsetCommit 9 on, which clients take for fatal.
		return wire.Errorf(wire.IllegalGeneration, "group %q has no members", g.id)
	default:
		return nil
	}
}

func (c *classic) mayCommit(t *turn, q *wire.CommitOffsets) error {
	if q.Generation < 0 && c.state == wire.GroupEmpty {
		return nil
	}
	if q.Generation < 0 && q.Member == "" && q.Instance == "" {
		return wire.Errorf(wire.UnknownMemberID, "group %q has members, and only they may commit", c.group.id)
	}
	m, err := c.validate(q.Member, q.Instance)
	switch {
	case err != nil:
		return err
	case q.Generation != c.generation:
		return wire.Errorf(wire.IllegalGeneration, "the generation is %d, not %d", c.generation, q.Generation)
	case c.state == wire.GroupCompletingRebalance || !m.synced:
		// The member knows its generation but not yet its assignment: what it had may be somebody else's.
		// Kafka: accepts it once the others have theirs, and relies on the client not to commit.
		return wire.Errorf(wire.RebalanceInProgress, "the assignments of generation %d have not come", c.generation)
	}
	c.heard(t, m)
	return nil
}

// commitOffset commits one offset, if it can be.
func (g *Group) commitOffset(t *turn, by wire.MemberID, o wire.OffsetCommit) error {
	present, err := committable(t.view, o)
	if err != nil {
		return err
	}
	if g.consumer != nil && g.consumer.mistakes(by, wire.TopicPartition{Topic: present.ID, Partition: o.Partition}) {
		return wire.Errorf(wire.RebalanceInProgress, "partition %d of topic %q is not this member's: join again", o.Partition, present.Name)
	}
	if len(o.Metadata) > min(g.config.MaxOffsetMetadataBytes, maxStringBytes) {
		return wire.Errorf(wire.OffsetMetadataTooLarge, "the metadata has %d bytes, and may have %d",
			len(o.Metadata), g.config.MaxOffsetMetadataBytes)
	}
	v := offsetValue{
		offset:      int64(o.Offset),
		leaderEpoch: int32(o.LeaderEpoch),
		metadata:    []byte(o.Metadata),
		committed:   t.now.UnixMilli(),
		expires:     -1,
		topic:       present.ID,
	}
	if o.ExpiresAfter > 0 { // such a record holds less
		v.expires = t.now.Add(o.ExpiresAfter).UnixMilli()
		v.leaderEpoch, v.topic = int32(wire.NoEpoch), wire.TopicID{}
	}
	r := newOffsetRecord(g.id, present.Name, o.Partition, v)
	if t.size+len(r.Key)+len(r.Value) > maxTurnBytes {
		return wire.Errorf(wire.InvalidCommitOffsetSize, "one commit may take %d bytes", maxTurnBytes)
	}
	topic := g.offsets.topic(present.Name)
	if !topic.id.IsZero() && topic.id != present.ID { // of one that is deleted
		if !g.offsets.removeTopic(t, g.id, topic) {
			return wire.Errorf(wire.CoordinatorNotAvailable, "the offsets of a deleted topic %q are forgotten in steps: ask again", present.Name)
		}
		topic = g.offsets.topic(present.Name)
	}
	t.emit(r)
	g.offsets.put(topic, o.Partition, v)
	topic.see(t.view)
	g.offsets.expiry = earlier(g.offsets.expiry, time.UnixMilli(g.dueAt(topic.partitions[o.Partition])))
	return nil
}

// committable finds the topic of an offset, and the partition in it.
func committable(view wire.View, o wire.OffsetCommit) (wire.Topic, error) {
	name, err := topicName(view, o.Topic, o.TopicID)
	if err != nil {
		return wire.Topic{}, err
	}
	topic, there := view.Topic(name)
	switch {
	case !there || o.Partition < 0 || o.Partition >= topic.Partitions:
		return topic, wire.Errorf(wire.UnknownTopicOrPartition, "there is no partition %d of topic %q", o.Partition, name)
	case !o.TopicID.IsZero() && o.TopicID != topic.ID:
		return topic, wire.Errorf(wire.UnknownTopicID, "topic %q has another id by now", name)
	}
	return topic, nil
}

// deleteOffsets handles DeleteOffsets.
func (g *Group) deleteOffsets(t *turn, q *wire.DeleteOffsets, call Call) {
	reply := &wire.CommittedOffsets{}
	switch {
	case g.gone():
		reply.Err = wire.Errorf(wire.GroupIDNotFound, "there is no group %q", g.id)
	case g.classic != nil && len(g.classic.members) > 0 && g.classic.protocolType != consumerProtocolType:
		reply.Err = wire.Errorf(wire.NonEmptyGroup, "group %q has members", g.id)
	}
	for _, asked := range q.Topics {
		topic := g.offsets.topics[asked.Topic]
		present, there := t.view.Topic(asked.Topic)
		subscribed := reply.Err == nil && g.subscribed(t, asked.Topic)
		for _, p := range asked.Partitions {
			err := reply.Err
			committed := topic != nil && has(topic.partitions, p)
			switch {
			case err != nil:
			case !committed && (!there || p < 0 || p >= present.Partitions):
				err = wire.Errorf(wire.UnknownTopicOrPartition, "there is no partition %d of topic %q", p, asked.Topic)
			case subscribed:
				err = wire.Errorf(wire.GroupSubscribedToTopic, "members are subscribed to topic %q", asked.Topic)
			case committed && t.full():
				err = wire.Errorf(wire.CoordinatorNotAvailable, "so many offsets are deleted in steps: ask again")
			case committed:
				g.offsets.remove(t, g.id, topic, p)
			}
			reply.Errs = append(reply.Errs, err)
		}
	}
	t.answer(call, reply)
}

func has[K comparable, V any](m map[K]V, key K) bool {
	_, ok := m[key]
	return ok
}

// subscribed says that members want a topic, as far as can be told.
func (g *Group) subscribed(t *turn, topic string) bool {
	switch {
	case g.classic != nil:
		return g.classic.subscribed(topic)
	case g.consumer != nil:
		return g.consumer.subscribed(t, topic)
	default:
		return false
	}
}

// subscribed reads what the members are subscribed to. Where one cannot be read it might be to anything.
func (c *classic) subscribed(topic string) bool {
	for _, m := range c.members {
		metadata, ok := m.metadata(c.protocol)
		if !ok {
			return true // they have not agreed on a protocol yet
		}
		s, err := readSubscription(metadata)
		if err != nil || s.has(topic) {
			return true
		}
	}
	return false
}
