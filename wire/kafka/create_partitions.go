package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var createPartitionsShape = shape{
	flexible: 2,
	fields: []field{
		list(
			str(),
			bytesOf(4),               // count
			list(listOf(bytesOf(4))), // assignment of the new ones
		),
		bytesOf(4), // timeout
		bytesOf(1), // validate only
	},
}

func (c *conn) createPartitions(q *kmsg.CreatePartitionsRequest) kmsg.Response {
	names := duplicates{}
	for i := range q.Topics {
		names.add(q.Topics[i].Topic, 0)
	}
	errs := make([]error, len(q.Topics))
	var asked []wire.MorePartitions
	var places []int // of asked in errs
	for i := range q.Topics {
		t := &q.Topics[i]
		if names.has(t.Topic, 0) {
			errs[i] = wire.Errorf(wire.InvalidRequest, "the request names topic %q twice", t.Topic)
			continue
		}
		more := wire.MorePartitions{Topic: t.Topic, Count: t.Count}
		for _, assigned := range t.Assignment {
			more.Assignment = append(more.Assignment, replicas(assigned.Replicas))
		}
		asked, places = append(asked, more), append(places, i)
	}
	if len(asked) > 0 {
		ctx, cancel := c.context(q.TimeoutMillis)
		defer cancel()
		for i, err := range c.server.backend.CreatePartitions(ctx, asked, q.ValidateOnly) {
			errs[places[i]] = err
		}
	}
	a := kmsg.NewPtrCreatePartitionsResponse()
	for i := range q.Topics {
		t := kmsg.NewCreatePartitionsResponseTopic()
		t.Topic = q.Topics[i].Topic
		t.ErrorCode, t.ErrorMessage = c.codeAndMessage(errs[i])
		a.Topics = append(a.Topics, t)
	}
	return a
}
