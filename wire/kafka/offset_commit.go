package kafka

import (
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var offsetCommitShape = shape{
	flexible: 8,
	fields: []field{
		str(),
		bytesOf(4), // generation or member epoch
		str(),      // member
		nullableStr().from(7),
		bytesOf(8).from(2).upTo(4), // retention time
		list(
			str().upTo(9),
			bytesOf(16).from(10),
			list(
				bytesOf(4),         // partition
				bytesOf(8),         // offset
				bytesOf(4).from(6), // leader epoch
				nullableStr(),      // metadata
			),
		),
	},
}

// The versions of OffsetCommit that brought what its answer depends on.
const (
	commitMemberEpochs = 9  // KIP-848
	commitTopicIDs     = 10 // KIP-848
)

// offsetCommit answers each partition in its place. The answer has no place for what is wrong with
// the request as a whole, so every partition is told.
func (c *conn) offsetCommit(q *kmsg.OffsetCommitRequest) kmsg.Response {
	asked := &wire.CommitOffsets{
		Group: wire.GroupID(q.Group), Generation: wire.GenerationID(q.Generation), Member: wire.MemberID(q.MemberID),
		Instance: textOf(q.InstanceID), Modern: q.Version >= commitMemberEpochs,
	}
	view := c.server.backend.View()
	known := make([]bool, len(q.Topics))
	for i := range q.Topics {
		t := &q.Topics[i]
		name := t.Topic
		if q.Version >= commitTopicIDs {
			topic, ok := view.TopicByID(t.TopicID)
			if !ok {
				continue
			}
			name = topic.Name
		}
		known[i] = true
		for j := range t.Partitions {
			asked.Offsets = append(asked.Offsets, committing(name, t.TopicID, &t.Partitions[j], q.RetentionTimeMillis))
		}
	}
	committed, err := &wire.CommittedOffsets{}, error(nil)
	if len(asked.Offsets) > 0 {
		ctx, cancel := c.context(groupMillis)
		defer cancel()
		committed, err = ask[wire.CommittedOffsets](ctx, c, asked)
	}
	a := kmsg.NewPtrOffsetCommitResponse()
	slot := 0
	for i := range q.Topics {
		t := kmsg.NewOffsetCommitResponseTopic()
		t.Topic, t.TopicID = q.Topics[i].Topic, q.Topics[i].TopicID
		for j := range q.Topics[i].Partitions {
			p := kmsg.NewOffsetCommitResponseTopicPartition()
			p.Partition = q.Topics[i].Partitions[j].Partition
			switch {
			case err != nil:
				p.ErrorCode = c.code(err)
			case !known[i]:
				p.ErrorCode = c.code(wire.UnknownTopicID)
			default:
				p.ErrorCode = c.code(outcome(committed.Errs, slot))
				slot++
			}
			t.Partitions = append(t.Partitions, p)
		}
		a.Topics = append(a.Topics, t)
	}
	return a
}

func committing(topic string, id wire.TopicID, p *kmsg.OffsetCommitRequestTopicPartition, retentionMillis int64) wire.OffsetCommit {
	const most = math.MaxInt64 / int64(time.Millisecond)
	return wire.OffsetCommit{
		Topic: topic, TopicID: id, Partition: p.Partition, Offset: wire.Offset(p.Offset),
		LeaderEpoch: wire.LeaderEpoch(p.LeaderEpoch), Metadata: textOf(p.Metadata),
		ExpiresAfter: time.Duration(min(max(retentionMillis, 0), most)) * time.Millisecond,
	}
}

// outcome is the i-th of errs; where the coordinator said less than it was asked, nobody knows.
func outcome(errs []error, i int) error {
	if i >= len(errs) {
		return errShortAnswer
	}
	return errs[i]
}

var errShortAnswer = wire.Errorf(wire.UnknownServerError, "the coordinator answered for fewer partitions than it was asked")
