package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var deleteTopicsShape = shape{
	flexible: 4,
	fields: []field{
		listOf(str()).upTo(5),
		list(nullableStr(), bytesOf(16)).from(6), // name or id
		bytesOf(4),                               // timeout
	},
}

func (c *conn) deleteTopics(q *kmsg.DeleteTopicsRequest) kmsg.Response {
	refs := make([]wire.TopicRef, 0, len(q.TopicNames)+len(q.Topics))
	for _, name := range q.TopicNames {
		refs = append(refs, wire.TopicRef{Name: name})
	}
	for i := range q.Topics {
		ref := wire.TopicRef{ID: q.Topics[i].TopicID}
		if name := q.Topics[i].Topic; name != nil {
			ref.Name = *name
		}
		refs = append(refs, ref)
	}
	seen := make(map[wire.TopicRef]int, len(refs))
	for _, ref := range refs {
		seen[ref]++
	}
	results := make([]wire.DeletedTopic, len(refs))
	var asked []wire.TopicRef
	var places []int // of asked in results
	for i, ref := range refs {
		switch {
		case (ref.Name == "") == ref.ID.IsZero():
			results[i] = wire.DeletedTopic{Name: ref.Name, ID: ref.ID, Err: wire.Errorf(wire.InvalidRequest, "a topic is deleted either by name or by id")}
		case seen[ref] > 1:
			results[i] = wire.DeletedTopic{Name: ref.Name, ID: ref.ID, Err: wire.Errorf(wire.InvalidRequest, "the request names a topic twice")}
		default:
			asked, places = append(asked, ref), append(places, i)
		}
	}
	if len(asked) > 0 {
		ctx, cancel := c.context(q.TimeoutMillis)
		defer cancel()
		for i, deleted := range c.server.backend.DeleteTopics(ctx, asked) {
			results[places[i]] = deleted
		}
	}
	a := kmsg.NewPtrDeleteTopicsResponse()
	for i := range results {
		t := kmsg.NewDeleteTopicsResponseTopic()
		t.Topic, t.TopicID = optional(results[i].Name), results[i].ID
		t.ErrorCode, t.ErrorMessage = c.codeAndMessage(results[i].Err)
		a.Topics = append(a.Topics, t)
	}
	return a
}
