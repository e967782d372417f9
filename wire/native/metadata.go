package native

import (
	"context"
	"errors"

	"github.com/troupe-mq/troupe/wire"
)

// What one request may name, since the answer is much longer than the question.
const (
	maxNamedTopics    = 20_000
	maxNamedResources = 1000
)

func (c *conn) metadata(f wire.Frame, admitted int) {
	var req wire.MetadataRequest
	err := wire.Parse(f.Body, &req)
	if n := len(req.Names) + len(req.IDs); err == nil && n > maxNamedTopics {
		err = wire.Errorf(wire.InvalidRequest, "%d topics are named, at most %d may be: ask for all", n, maxNamedTopics)
	}
	if err != nil {
		c.refuse(f, admitted, err)
		return
	}
	view := c.s.backend.View()
	reply, missing := describe(view, &req)
	if len(missing) == 0 || !req.AutoCreate {
		c.answer(f.Correlation, admitted, wire.KindMetadata, reply)
		return
	}
	c.task(f, admitted, func(ctx context.Context) wire.Message {
		created := make(map[string]error, len(missing))
		for _, t := range c.s.backend.AutoCreateTopics(ctx, missing) {
			created[t.Name] = t.Err
		}
		reply, _ := describe(c.s.backend.View(), &req)
		for i := range reply.Topics {
			t := &reply.Topics[i]
			err, asked := created[t.Name]
			switch {
			case t.Err == nil || !asked:
			case err == nil || errors.Is(err, wire.TopicAlreadyExists):
				t.Err = wire.LeaderNotAvailable // it exists, but this broker has not heard of it yet
			default:
				t.Err = err
			}
		}
		return reply
	})
}

// describe answers from one view, and says which of the named topics it does not have.
func describe(view wire.View, req *wire.MetadataRequest) (reply *wire.MetadataReply, missing []string) {
	reply = &wire.MetadataReply{
		ClusterID: view.ClusterID(), Controller: view.Controller(), Brokers: view.Brokers(),
	}
	names := req.Names
	if req.All {
		names = view.TopicNames()
	}
	reply.Topics = make([]wire.TopicMetadata, 0, len(names)+len(req.IDs))
	for _, name := range names {
		topic, ok := view.Topic(name)
		if !ok {
			missing = append(missing, name)
			reply.Topics = append(reply.Topics, wire.TopicMetadata{
				Err: wire.Errorf(wire.UnknownTopicOrPartition, "there is no topic %q", name), Name: name,
			})
			continue
		}
		reply.Topics = append(reply.Topics, describeTopic(view, topic))
	}
	for _, id := range req.IDs {
		topic, ok := view.TopicByID(id)
		if !ok {
			reply.Topics = append(reply.Topics, wire.TopicMetadata{Err: wire.UnknownTopicID, ID: id})
			continue
		}
		reply.Topics = append(reply.Topics, describeTopic(view, topic))
	}
	return reply, missing
}

func describeTopic(view wire.View, topic wire.Topic) wire.TopicMetadata {
	t := wire.TopicMetadata{
		Name: topic.Name, ID: topic.ID, Internal: topic.Internal,
		Partitions: make([]wire.Partition, topic.Partitions),
	}
	for i := range t.Partitions {
		p, ok := view.Partition(topic.ID, int32(i))
		if !ok {
			p = wire.Partition{Leader: wire.NoBroker, LeaderEpoch: wire.NoEpoch}
		}
		t.Partitions[i] = p
	}
	return t
}

func (c *conn) describeConfigs(f wire.Frame, admitted int) {
	var req wire.DescribeConfigsRequest
	err := wire.Parse(f.Body, &req)
	if n := len(req.Resources); err == nil && n > maxNamedResources {
		err = wire.Errorf(wire.InvalidRequest, "%d resources are named, at most %d may be", n, maxNamedResources)
	}
	if err != nil {
		c.refuse(f, admitted, err)
		return
	}
	reply := wire.DescribeConfigsReply{Resources: make([]wire.DescribedConfigs, len(req.Resources))}
	for i, resource := range req.Resources {
		entries, err := c.s.backend.DescribeConfigs(resource)
		reply.Resources[i] = wire.DescribedConfigs{Err: c.edge(f.Kind, err), Entries: entries}
	}
	c.answer(f.Correlation, admitted, wire.KindDescribeConfigs, &reply)
}

func (c *conn) listOffsets(f wire.Frame, admitted int) {
	var req wire.ListOffsetsRequest
	if err := wire.Parse(f.Body, &req); err != nil {
		c.refuse(f, admitted, err)
		return
	}
	if elsewhere(c.s.forward, req.Partitions, func(q *wire.ListOffsets) (wire.TopicID, int32) { return q.Topic, q.Partition }) {
		c.task(f, admitted, func(ctx context.Context) wire.Message {
			return &wire.ListOffsetsReply{Partitions: c.s.forward.ListOffsetsElsewhere(ctx, req.Partitions)}
		})
		return
	}
	reply := wire.ListOffsetsReply{Partitions: make([]wire.ListedOffset, len(req.Partitions))}
	for i := range req.Partitions {
		reply.Partitions[i] = c.s.backend.ListOffsets(&req.Partitions[i])
		reply.Partitions[i].Err = c.edge(f.Kind, reply.Partitions[i].Err)
	}
	c.answer(f.Correlation, admitted, wire.KindListOffsets, &reply)
}

func (c *conn) offsetForEpoch(f wire.Frame, admitted int) {
	var req wire.OffsetForEpochRequest
	if err := wire.Parse(f.Body, &req); err != nil {
		c.refuse(f, admitted, err)
		return
	}
	if elsewhere(c.s.forward, req.Partitions, func(q *wire.OffsetForEpoch) (wire.TopicID, int32) { return q.Topic, q.Partition }) {
		c.task(f, admitted, func(ctx context.Context) wire.Message {
			return &wire.OffsetForEpochsReply{Partitions: c.s.forward.OffsetsForEpochsElsewhere(ctx, req.Partitions)}
		})
		return
	}
	reply := wire.OffsetForEpochsReply{Partitions: make([]wire.OffsetForEpochReply, len(req.Partitions))}
	for i := range req.Partitions {
		reply.Partitions[i] = c.s.backend.OffsetForEpoch(&req.Partitions[i])
		reply.Partitions[i].Err = c.edge(f.Kind, reply.Partitions[i].Err)
	}
	c.answer(f.Correlation, admitted, wire.KindOffsetForEpoch, &reply)
}
