package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var offsetFetchShape = shape{
	flexible: 6,
	fields: []field{
		str().upTo(7),
		list(str(), listOf(bytesOf(4))).upTo(7),
		list(
			str(),
			nullableStr().from(9), // member
			bytesOf(4).from(9),    // and its epoch
			list(str().upTo(9), bytesOf(16).from(10), listOf(bytesOf(4))),
		).from(8),
		bytesOf(1).from(7), // only stable ones
	},
}

// The versions of OffsetFetch that brought what its answer depends on.
const (
	offsetsAll      = 2 // and an error of the request as a whole
	offsetsBatched  = 8 // KIP-709
	offsetsTopicIDs = 10
)

// offsetFetch answers for the groups of a request one after the other. A group that nobody knows has
// no offsets, which is no error: clients ask so before they commit for the first time.
func (c *conn) offsetFetch(q *kmsg.OffsetFetchRequest) kmsg.Response {
	ctx, cancel := c.context(groupMillis)
	defer cancel()
	a := kmsg.NewPtrOffsetFetchResponse()
	if q.Version < offsetsBatched {
		group := kmsg.NewOffsetFetchRequestGroup()
		group.Group = q.Group
		if q.Topics != nil {
			group.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
		}
		for i := range q.Topics {
			group.Topics = append(group.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: q.Topics[i].Topic, Partitions: q.Topics[i].Partitions})
		}
		c.offsetsOfOne(ctx, q, &group, a)
		return a
	}
	for i := range q.Groups {
		asked := &q.Groups[i]
		group := kmsg.NewOffsetFetchResponseGroup()
		group.Group = asked.Group
		topics, err := c.offsetsOf(ctx, q, asked)
		group.ErrorCode, group.Topics = c.code(err), topics
		a.Groups = append(a.Groups, group)
	}
	return a
}

// offsetsOfOne answers in the versions that ask for one group.
func (c *conn) offsetsOfOne(ctx context.Context, q *kmsg.OffsetFetchRequest, group *kmsg.OffsetFetchRequestGroup, a *kmsg.OffsetFetchResponse) {
	topics, err := c.offsetsOf(ctx, q, group)
	a.ErrorCode = c.code(err)
	if err != nil && q.Version < offsetsAll {
		topics = failedOffsets(group, a.ErrorCode)
	}
	for i := range topics {
		t := kmsg.NewOffsetFetchResponseTopic()
		t.Topic = topics[i].Topic
		for _, p := range topics[i].Partitions {
			t.Partitions = append(t.Partitions, kmsg.OffsetFetchResponseTopicPartition{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: p.ErrorCode,
			})
		}
		a.Topics = append(a.Topics, t)
	}
}

// failedOffsets tells every partition what is wrong with all.
func failedOffsets(group *kmsg.OffsetFetchRequestGroup, code int16) []kmsg.OffsetFetchResponseGroupTopic {
	var topics []kmsg.OffsetFetchResponseGroupTopic
	for i := range group.Topics {
		t := kmsg.NewOffsetFetchResponseGroupTopic()
		t.Topic, t.TopicID = group.Topics[i].Topic, group.Topics[i].TopicID
		for _, partition := range group.Topics[i].Partitions {
			t.Partitions = append(t.Partitions, noOffset(partition, code))
		}
		topics = append(topics, t)
	}
	return topics
}

func noOffset(partition int32, code int16) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.Partition, p.ErrorCode = partition, code
	p.Offset, p.LeaderEpoch, p.Metadata = int64(wire.NoOffset), int32(wire.NoEpoch), new(string)
	return p
}

// offsetsOf returns the offsets of one group, or why there are none to tell.
func (c *conn) offsetsOf(ctx context.Context, q *kmsg.OffsetFetchRequest, group *kmsg.OffsetFetchRequestGroup) ([]kmsg.OffsetFetchResponseGroupTopic, error) {
	byID := q.Version >= offsetsTopicIDs
	view := c.server.backend.View()
	asked := &wire.FetchOffsets{
		Group: wire.GroupID(group.Group), Member: wire.MemberID(textOf(group.MemberID)), MemberEpoch: group.MemberEpoch,
		All: group.Topics == nil && q.Version >= offsetsAll, Stable: q.RequireStable,
	}
	names := make([]string, len(group.Topics)) // "" where the id is not known
	for i := range group.Topics {
		t := &group.Topics[i]
		names[i] = t.Topic
		if byID {
			topic, ok := view.TopicByID(t.TopicID)
			if !ok {
				continue
			}
			names[i] = topic.Name
		}
		asked.Topics = append(asked.Topics, wire.NamedPartitions{Topic: names[i], TopicID: t.TopicID, Partitions: t.Partitions})
	}
	if asked.All {
		return c.allOffsets(ctx, asked, view, byID)
	}
	fetched, err := c.askOffsets(ctx, asked)
	if err != nil {
		return nil, err
	}
	return c.askedOffsets(group, names, byID, fetched.Offsets)
}

// askOffsets asks for offsets, and counts what the answer to the client is going to take.
func (c *conn) askOffsets(ctx context.Context, asked *wire.FetchOffsets) (*wire.FetchedOffsets, error) {
	fetched, err := ask[wire.FetchedOffsets](ctx, c, asked)
	if err != nil {
		return nil, err
	}
	bytes := int64(0)
	for i := range fetched.Offsets {
		bytes += answeredOffsetBytes + 2*int64(len(fetched.Offsets[i].Metadata))
	}
	if !c.large.add(bytes) {
		c.refuse(tooWide, errNoRoom)
		return nil, wire.Errorf(wire.CoordinatorNotAvailable, "there is no room for so many offsets")
	}
	return fetched, nil
}

// answeredOffsetBytes is what an offset takes in an answer, as a struct and encoded, but for its metadata.
const answeredOffsetBytes = 128

// askedOffsets puts what was fetched into the order in which it was asked for.
func (c *conn) askedOffsets(group *kmsg.OffsetFetchRequestGroup, names []string, byID bool, fetched []wire.FetchedOffset) ([]kmsg.OffsetFetchResponseGroupTopic, error) {
	var topics []kmsg.OffsetFetchResponseGroupTopic
	for i := range group.Topics {
		t := kmsg.NewOffsetFetchResponseGroupTopic()
		t.Topic, t.TopicID = group.Topics[i].Topic, group.Topics[i].TopicID
		for _, partition := range group.Topics[i].Partitions {
			if byID && names[i] == "" {
				t.Partitions = append(t.Partitions, noOffset(partition, c.code(wire.UnknownTopicID)))
				continue
			}
			if len(fetched) == 0 {
				return nil, errShortAnswer
			}
			t.Partitions = append(t.Partitions, c.fetchedOffset(partition, &fetched[0]))
			fetched = fetched[1:]
		}
		topics = append(topics, t)
	}
	return topics, nil
}

// allOffsets asks for all offsets of a group, as many at a time as the coordinator tells, and sorts them by topic. A client that
// knows topics by their ids cannot be told of one that has none any more.
//
// Kafka: has them as they are at one moment. Here commits may come in between, if they are very many.
func (c *conn) allOffsets(ctx context.Context, asked *wire.FetchOffsets, view wire.View, byID bool) ([]kmsg.OffsetFetchResponseGroupTopic, error) {
	var topics []kmsg.OffsetFetchResponseGroupTopic
	places := map[string]int{}
	before := c.large.wanted
	for {
		fetched, err := c.askOffsets(ctx, asked)
		if err != nil {
			c.large.shrink(before) // what was told of the group until now is dropped
			return nil, err
		}
		for i := range fetched.Offsets {
			f := &fetched.Offsets[i]
			topic, exists := view.Topic(f.Topic)
			if byID && !exists {
				continue
			}
			at, ok := places[f.Topic]
			if !ok {
				at = len(topics)
				places[f.Topic] = at
				t := kmsg.NewOffsetFetchResponseGroupTopic()
				t.Topic, t.TopicID = f.Topic, topic.ID
				topics = append(topics, t)
			}
			topics[at].Partitions = append(topics[at].Partitions, c.fetchedOffset(f.Partition, f))
		}
		var more bool
		if asked.After, more = fetched.Next(); !more {
			return topics, nil
		}
	}
}

func (c *conn) fetchedOffset(partition int32, f *wire.FetchedOffset) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := noOffset(partition, c.code(f.Err))
	if f.Err == nil && f.Offset >= 0 {
		metadata := f.Metadata // or all that came with it would be kept
		p.Offset, p.LeaderEpoch, p.Metadata = int64(f.Offset), int32(f.LeaderEpoch), &metadata
	}
	return p
}
