package group

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// offsets is what a group has committed. A coordinator may hold a million of them.
type offsets struct {
	topics map[string]*topicOffsets // none is empty
	count  int
	// expiry is a time before which no offset expires, if the group has no members; zero: nothing is to be looked for.
	expiry time.Time
	// idle is since when the group is known to have no members. Only classic groups have that in the log.
	idle time.Time
}

// topicOffsets is the offsets of one topic. They belong to the topic that has its id: one that takes over its name does not
// get them.
type topicOffsets struct {
	name       string
	id         wire.TopicID // zero: not known
	identified int          // how many of the offsets have the id in their records; without any it is not known
	seen       bool         // an image had the topic: once one does not, it is deleted
	partitions map[int32]committedOffset
}

// committedOffset is a committed offset, with what few of them have apart.
type committedOffset struct {
	offset      int64
	committed   int64 // when; milliseconds
	leaderEpoch int32
	identified  bool        // the record has the topic's id
	rare        *rareOffset // nil: no metadata, no expiry of its own
}

type rareOffset struct {
	metadata string
	expires  int64 // milliseconds; -1: by the broker's retention
}

func (c committedOffset) metadata() string {
	if c.rare == nil {
		return ""
	}
	return c.rare.metadata
}

func (c committedOffset) expires() int64 {
	if c.rare == nil {
		return -1
	}
	return c.rare.expires
}

func (o *offsets) none() bool { return o.count == 0 }

// fold folds the record of a committed offset, or its tombstone.
func (o *offsets) fold(key recordKey, value []byte) error {
	if value == nil {
		o.drop(o.topics[string(key.name)], key.number)
		return nil
	}
	v, err := readOffsetValue(value)
	if err != nil {
		return err
	}
	topic := o.topics[string(key.name)] // does not allocate
	if topic == nil {
		topic = o.topic(string(key.name))
	}
	o.put(topic, key.number, v)
	return nil
}

// topic returns the offsets of a topic, at first none.
func (o *offsets) topic(name string) *topicOffsets {
	if o.topics == nil {
		o.topics = map[string]*topicOffsets{}
	}
	topic := o.topics[name]
	if topic == nil {
		topic = &topicOffsets{name: strings.Clone(name), partitions: map[int32]committedOffset{}}
		o.topics[topic.name] = topic
	}
	return topic
}

// put takes over what a record says. It is the only way that an offset comes into the state.
func (o *offsets) put(topic *topicOffsets, partition int32, v offsetValue) {
	c := committedOffset{offset: v.offset, committed: v.committed, leaderEpoch: v.leaderEpoch, identified: !v.topic.IsZero()}
	if len(v.metadata) > 0 || v.expires >= 0 {
		c.rare = &rareOffset{metadata: string(v.metadata), expires: v.expires}
	}
	before := len(topic.partitions)
	replaced := topic.partitions[partition]
	topic.partitions[partition] = c
	o.count += len(topic.partitions) - before
	if c.identified && v.topic != topic.id {
		topic.id, topic.seen = v.topic, false
	}
	topic.identify(replaced, c)
}

// identify counts the offsets that have the topic's id in their records.
func (topic *topicOffsets) identify(before, after committedOffset) {
	if before.identified {
		topic.identified--
	}
	if after.identified {
		topic.identified++
	}
	if topic.identified == 0 {
		topic.id, topic.seen = wire.TopicID{}, false
	}
}

func (o *offsets) drop(topic *topicOffsets, partition int32) {
	if topic == nil {
		return
	}
	dropped, committed := topic.partitions[partition]
	if !committed {
		return
	}
	delete(topic.partitions, partition)
	o.count--
	topic.identify(dropped, committedOffset{})
	if len(topic.partitions) == 0 {
		delete(o.topics, topic.name)
	}
}

// remove forgets a committed offset for good.
func (o *offsets) remove(t *turn, group wire.GroupID, topic *topicOffsets, partition int32) {
	t.emit(tombstone(offsetRecord, group, topic.name, partition))
	o.drop(topic, partition)
}

// removeTopic forgets the offsets of a topic, all that one turn may. It is false when some are left.
func (o *offsets) removeTopic(t *turn, group wire.GroupID, topic *topicOffsets) bool {
	for _, p := range topic.sorted() {
		if t.full() {
			return false
		}
		o.remove(t, group, topic, p)
	}
	return true
}

// sorted returns the topics in the order of their names, so that what shows does not depend on a map.
func (o *offsets) sorted() []*topicOffsets { return o.sortedFrom("") }

// sortedFrom returns those from a name on.
func (o *offsets) sortedFrom(name string) []*topicOffsets {
	topics := make([]*topicOffsets, 0, len(o.topics))
	for _, topic := range o.topics {
		if topic.name >= name {
			topics = append(topics, topic)
		}
	}
	slices.SortFunc(topics, func(a, b *topicOffsets) int { return strings.Compare(a.name, b.name) })
	return topics
}

func (topic *topicOffsets) sorted() []int32 { return slices.Sorted(maps.Keys(topic.partitions)) }

// loaded notes which topics the image has.
func (o *offsets) loaded(t *turn) {
	for _, topic := range o.topics {
		topic.see(t.view)
	}
}

// see notes that the topic is there, or says that it is no more: an image had it, and this one has not. What no image
// had since the group was loaded is not judged: the coordinator before may have known a newer one.
func (topic *topicOffsets) see(view wire.View) (deleted bool) {
	if topic.id.IsZero() {
		return false
	}
	if _, there := view.TopicByID(topic.id); there {
		topic.seen = true
		return false
	}
	return topic.seen
}

// dropDeletedTopics forgets the offsets of topics that were deleted.
func (g *Group) dropDeletedTopics(t *turn) {
	for _, topic := range g.offsets.sorted() {
		if topic.see(t.view) && !g.offsets.removeTopic(t, g.id, topic) {
			return // the rest with the next image, or when they expire
		}
	}
}

// What an answer with offsets may take. One of all is cut there, and the rest is asked for; one of what a client names is refused.
//
// Kafka: has no bounds. A partition that a request names a thousand times has its metadata a thousand times in the answer.
const (
	maxPageBytes    = 4 << 20
	maxFetchedBytes = 32 << 20
)

// fetch tells what is committed. A group that nobody knows has committed nothing, which is no error.
func (g *Group) fetch(t *turn, q *wire.FetchOffsets) *wire.FetchedOffsets {
	if g.consumer != nil {
		if err := g.consumer.mayFetch(q); err != nil {
			return &wire.FetchedOffsets{Err: err}
		}
	}
	if q.All {
		return g.offsets.page(t.view, q.After)
	}
	reply, bytes := &wire.FetchedOffsets{}, 0
	for _, asked := range q.Topics {
		name, err := topicName(t.view, asked.Topic, asked.TopicID)
		topic := g.offsets.topics[name]
		for _, p := range asked.Partitions {
			f := wire.FetchedOffset{Err: err, Topic: name, Partition: p, Offset: wire.NoOffset, LeaderEpoch: wire.NoEpoch}
			if err == nil && topic != nil {
				f = topic.fetched(t.view, p)
			}
			f.TopicID = asked.TopicID
			reply.Offsets = append(reply.Offsets, f)
			if bytes += fetchedBytes(&f); bytes > maxFetchedBytes {
				return &wire.FetchedOffsets{Err: wire.Errorf(wire.MessageTooLarge,
					"the offsets that were asked for take more than %d bytes: ask for fewer", maxFetchedBytes)}
			}
		}
	}
	return reply
}

// page tells as many offsets as an answer may carry, from behind one on.
func (o *offsets) page(view wire.View, after wire.TopicNamePartition) *wire.FetchedOffsets {
	reply, bytes := &wire.FetchedOffsets{}, 0
	for _, topic := range o.sortedFrom(after.Topic) {
		for _, p := range topic.sorted() {
			if topic.name == after.Topic && p <= after.Partition {
				continue
			}
			if bytes >= maxPageBytes {
				reply.More = true
				return reply
			}
			f := topic.fetched(view, p)
			bytes += fetchedBytes(&f)
			reply.Offsets = append(reply.Offsets, f)
		}
	}
	return reply
}

// fetchedBytes is what an offset takes in an answer, at most.
func fetchedBytes(f *wire.FetchedOffset) int {
	const numbers = 64
	return numbers + len(f.Topic) + len(f.Metadata)
}

// fetched tells what is committed of a partition. What was committed of a topic of the same name that is deleted does not count.
func (topic *topicOffsets) fetched(view wire.View, partition int32) wire.FetchedOffset {
	f := wire.FetchedOffset{Topic: topic.name, TopicID: topic.id, Partition: partition, Offset: wire.NoOffset, LeaderEpoch: wire.NoEpoch}
	present, there := view.Topic(topic.name)
	if there && !topic.id.IsZero() && present.ID != topic.id {
		return f
	}
	if there {
		f.TopicID = present.ID
	}
	c, committed := topic.partitions[partition]
	if !committed {
		return f
	}
	f.Offset = wire.Offset(c.offset)
	f.LeaderEpoch = wire.LeaderEpoch(c.leaderEpoch)
	f.Metadata = c.metadata()
	f.Committed = time.UnixMilli(c.committed)
	return f
}

// topicName returns the name of a topic that a request names, or tells by its id alone.
func topicName(view wire.View, name string, id wire.TopicID) (string, error) {
	if name != "" || id.IsZero() {
		return name, nil
	}
	topic, there := view.TopicByID(id)
	if !there {
		return "", wire.Errorf(wire.UnknownTopicID, "there is no topic %s", id)
	}
	return topic.Name, nil
}
