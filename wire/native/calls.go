package native

import (
	"context"

	"github.com/troupe-mq/troupe/wire"
)

// task runs do on a goroutine of its own and answers with what it returns, a *wire.Failure for
// a request that failed as a whole. While too many run the reader waits here.
func (c *conn) task(f wire.Frame, admitted int, do func(context.Context) wire.Message) {
	select {
	case c.slots.calls <- struct{}{}:
	case <-c.ctx.Done():
		c.out.put(answer{admitted: admitted})
		return
	}
	correlation, kind := f.Correlation, f.Kind
	c.tasks.Go(func() {
		defer func() { <-c.slots.calls }()
		ctx, cancel := context.WithTimeout(c.ctx, c.s.cfg.CallTimeout)
		defer cancel()
		m := do(ctx)
		answerKind := kind
		if _, failed := m.(*wire.Failure); failed {
			answerKind = wire.KindFailed
		}
		c.edges(kind, m)
		c.answer(correlation, admitted, answerKind, m)
	})
}

// edges is edge for every error in an answer. What a group's coordinator says has codes throughout.
func (c *conn) edges(kind wire.Kind, m wire.Message) {
	switch m := m.(type) {
	case *wire.Failure:
		m.Err = c.edge(kind, m.Err)
	case *wire.CreateTopicsReply:
		for i := range m.Topics {
			m.Topics[i].Err = c.edge(kind, m.Topics[i].Err)
		}
	case *wire.DeleteTopicsReply:
		for i := range m.Topics {
			m.Topics[i].Err = c.edge(kind, m.Topics[i].Err)
		}
	case *wire.ListOffsetsReply:
		for i := range m.Partitions {
			m.Partitions[i].Err = c.edge(kind, m.Partitions[i].Err)
		}
	case *wire.OffsetForEpochsReply:
		for i := range m.Partitions {
			m.Partitions[i].Err = c.edge(kind, m.Partitions[i].Err)
		}
	case *wire.AppendTimesReply:
		for i := range m.Partitions {
			m.Partitions[i].Err = c.edge(kind, m.Partitions[i].Err)
		}
	case *wire.PartitionOutcomes:
		for i := range m.Partitions {
			m.Partitions[i].Err = c.edge(kind, m.Partitions[i].Err)
		}
	case *wire.GossipKeyList:
		for i := range m.Brokers {
			m.Brokers[i].Err = c.edge(kind, m.Brokers[i].Err)
		}
	case *wire.GroupList:
		m.Err = c.edge(kind, m.Err)
	case *wire.ErrorsReply:
		for i := range m.Errors {
			m.Errors[i] = c.edge(kind, m.Errors[i])
		}
	}
}

// call does what needs the controller, a replica or a group's coordinator to act.
func (c *conn) call(f wire.Frame, admitted int) {
	do, err := c.prepare(f)
	if err != nil {
		c.refuse(f, admitted, err)
		return
	}
	c.task(f, admitted, do)
}

// prepare reads a request, whose frame is gone when the function it returns runs.
func (c *conn) prepare(f wire.Frame) (func(context.Context) wire.Message, error) {
	backend := c.s.backend
	switch f.Kind {
	case wire.KindDeleteRecords:
		req := new(wire.DeleteRecords)
		return func(ctx context.Context) wire.Message {
			start, err := backend.DeleteRecords(ctx, req)
			return orFailure(&wire.DeleteRecordsReply{LogStartOffset: start}, err)
		}, wire.Parse(f.Body, req)
	case wire.KindInitProducerID:
		req := new(wire.InitProducerID)
		return func(ctx context.Context) wire.Message {
			identity, err := backend.InitProducerID(ctx, *req)
			return orFailure(&identity, err)
		}, wire.Parse(f.Body, req)
	case wire.KindCreateTopics:
		req := new(wire.CreateTopicsRequest)
		return func(ctx context.Context) wire.Message {
			return &wire.CreateTopicsReply{Topics: backend.CreateTopics(ctx, req.Topics, req.ValidateOnly)}
		}, wire.Parse(f.Body, req)
	case wire.KindDeleteTopics:
		req := new(wire.DeleteTopicsRequest)
		return func(ctx context.Context) wire.Message {
			return &wire.DeleteTopicsReply{Topics: backend.DeleteTopics(ctx, req.Topics)}
		}, wire.Parse(f.Body, req)
	case wire.KindCreatePartitions:
		req := new(wire.CreatePartitionsRequest)
		return func(ctx context.Context) wire.Message {
			return &wire.ErrorsReply{Errors: backend.CreatePartitions(ctx, req.Topics, req.ValidateOnly)}
		}, wire.Parse(f.Body, req)
	case wire.KindAlterConfigs:
		req := new(wire.AlterConfigsRequest)
		return func(ctx context.Context) wire.Message {
			return &wire.ErrorsReply{Errors: backend.AlterConfigs(ctx, req.Changes, req.ValidateOnly)}
		}, wire.Parse(f.Body, req)
	default:
		return c.prepareCluster(f)
	}
}

// prepareCluster is prepare for what operators ask.
func (c *conn) prepareCluster(f wire.Frame) (func(context.Context) wire.Message, error) {
	backend := c.s.backend
	switch f.Kind {
	case wire.KindDescribeCluster:
		return func(ctx context.Context) wire.Message {
			described := backend.DescribeCluster(ctx)
			return &described
		}, nil
	case wire.KindClusterHealth:
		return func(ctx context.Context) wire.Message {
			health := backend.ClusterHealth(ctx)
			return &health
		}, nil
	case wire.KindElectLeaders:
		req := new(wire.ElectLeaders)
		return func(ctx context.Context) wire.Message {
			outcomes, err := backend.ElectLeaders(ctx, *req)
			return orFailure(&wire.PartitionOutcomes{Partitions: outcomes}, err)
		}, wire.Parse(f.Body, req)
	case wire.KindAlterReassignments:
		req := new(wire.AlterReassignments)
		return func(ctx context.Context) wire.Message {
			outcomes, err := backend.AlterReassignments(ctx, *req)
			return orFailure(&wire.PartitionOutcomes{Partitions: outcomes}, err)
		}, wire.Parse(f.Body, req)
	case wire.KindRemoveBroker:
		req := new(wire.RemoveBroker)
		return func(ctx context.Context) wire.Message {
			removed, err := backend.RemoveBroker(ctx, *req)
			return orFailure(&removed, err)
		}, wire.Parse(f.Body, req)
	case wire.KindGossipKeys:
		return func(ctx context.Context) wire.Message {
			return &wire.GossipKeyList{Brokers: backend.DescribeGossipKeys(ctx)}
		}, nil
	case wire.KindRotateGossipKey:
		req := new(wire.RotateGossipKey)
		return func(ctx context.Context) wire.Message {
			rings, err := backend.RotateGossipKey(ctx, *req)
			return orFailure(&wire.GossipKeyList{Brokers: rings}, err)
		}, wire.Parse(f.Body, req)
	default:
		return c.prepareGroups(f)
	}
}

func orFailure(m wire.Message, err error) wire.Message {
	if err != nil {
		return &wire.Failure{Err: err}
	}
	return m
}
