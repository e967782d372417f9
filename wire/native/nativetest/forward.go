package nativetest

import (
	"context"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// Forwarding is a broker that has the others do what they lead.
type Forwarding struct{ *Broker }

// leader returns the broker that leads a partition, which is this one if nobody else does.
func (f Forwarding) leader(id wire.TopicID, index int32) *Broker {
	if p, ok := f.cluster.Partition(id, index); ok && p.Leader != f.id {
		return f.Join(p.Leader)
	}
	return f.Broker
}

// Elsewhere says that another broker leads a partition.
func (f Forwarding) Elsewhere(id wire.TopicID, index int32) bool {
	return f.leader(id, index) != f.Broker
}

// Produce appends at the leader.
func (f Forwarding) Produce(p *wire.Produce) { f.leader(p.Topic, p.Partition).Produce(p) }

// DeleteRecords moves the log start.
func (f Forwarding) DeleteRecords(ctx context.Context, q *wire.DeleteRecords) (wire.Offset, error) {
	return f.leader(q.Topic, q.Partition).DeleteRecords(ctx, q)
}

// FetchElsewhere fetches, and waits for records if there are none.
func (f Forwarding) FetchElsewhere(ctx context.Context, req *wire.FetchRequest) []wire.Fetched {
	waiter := wire.NewWaiter()
	defer f.Unpark(waiter)
	timer := time.NewTimer(req.MaxWait)
	defer timer.Stop()
	for waiting := true; ; {
		fetched := make([]wire.Fetched, len(req.Partitions))
		for i := range req.Partitions {
			one := req.Partitions[i]
			one.AtLeastOne = true
			fetched[i] = f.leader(one.Topic, one.Partition).Fetch(&one)
			waiting = waiting && fetched[i].Err == nil && fetched[i].Records.Length == 0
			f.Park(waiter, one.Topic, one.Partition, fetched[i].HighWatermark)
		}
		if !waiting {
			return fetched
		}
		select {
		case <-waiter.C():
		case <-timer.C:
			waiting = false
		case <-ctx.Done():
			waiting = false
		}
	}
}

// ListOffsetsElsewhere answers like ListOffsets.
func (f Forwarding) ListOffsetsElsewhere(_ context.Context, queries []wire.ListOffsets) []wire.ListedOffset {
	listed := make([]wire.ListedOffset, len(queries))
	for i := range queries {
		listed[i] = f.leader(queries[i].Topic, queries[i].Partition).ListOffsets(&queries[i])
	}
	return listed
}

// OffsetsForEpochsElsewhere answers like OffsetForEpoch.
func (f Forwarding) OffsetsForEpochsElsewhere(_ context.Context, queries []wire.OffsetForEpoch) []wire.OffsetForEpochReply {
	ends := make([]wire.OffsetForEpochReply, len(queries))
	for i := range queries {
		ends[i] = f.leader(queries[i].Topic, queries[i].Partition).OffsetForEpoch(&queries[i])
	}
	return ends
}
