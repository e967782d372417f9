package native

import (
	"context"

	"github.com/troupe-mq/troupe/wire"
)

// maxNamedPartitions is how many offsets one request may ask for: each is answered with the name of its topic.
const maxNamedPartitions = 100_000

// prepareGroups is prepare for groups.
func (c *conn) prepareGroups(f wire.Frame) (func(context.Context) wire.Message, error) {
	backend := c.s.backend
	switch {
	case wire.IsGroupKind(f.Kind):
		q, err := wire.ParseGroupRequest(f.Kind, f.Body)
		if err == nil {
			err = c.admit(q)
		}
		return func(ctx context.Context) wire.Message {
			reply, err := backend.AskGroup(ctx, q)
			if err != nil {
				return &wire.Failure{Err: err}
			}
			return reply.(wire.GroupMessage) // as every reply to a request that has a kind
		}, err
	case f.Kind == wire.KindListGroups:
		req := new(wire.ListGroups)
		return func(ctx context.Context) wire.Message {
			list := backend.ListGroups(ctx, req)
			return &list
		}, wire.Parse(f.Body, req)
	case f.Kind == wire.KindAppendTimes:
		req := new(wire.AppendTimesRequest)
		return func(ctx context.Context) wire.Message {
			return &wire.AppendTimesReply{Partitions: backend.AppendTimes(ctx, req.Partitions)}
		}, wire.Parse(f.Body, req)
	}
	return nil, wire.Errorf(wire.InvalidRequest, "this broker does not know requests of kind %d", f.Kind)
}

// admit bounds a request and puts in what the client cannot know.
func (c *conn) admit(q wire.GroupRequest) error {
	switch q := q.(type) {
	case *wire.ConsumerHeartbeat:
		q.ClientHost = wire.ClientHost(c.net.RemoteAddr())
	case *wire.FetchOffsets:
		n := 0
		for i := range q.Topics {
			n += len(q.Topics[i].Partitions)
		}
		if n > maxNamedPartitions {
			return wire.Errorf(wire.InvalidRequest, "%d offsets are asked for, at most %d may be: ask for all", n, maxNamedPartitions)
		}
	}
	return nil
}
