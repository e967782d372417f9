package actors

import (
	"context"

	"github.com/troupe-mq/troupe/wire"
)

// AppendTimes tells when records were appended, for the partitions that are led here. Lag in seconds is made of it: what
// counts is the clock of the brokers, not what producers write into their records.
func (b *Broker) AppendTimes(queries []wire.AppendTimeQuery) []wire.AppendTime {
	times := make([]wire.AppendTime, len(queries))
	for i := range queries {
		times[i] = b.appendTime(&queries[i])
	}
	return times
}

func (b *Broker) appendTime(q *wire.AppendTimeQuery) wire.AppendTime {
	view, hint, err := b.leading(q.Topic, q.Partition, wire.NoEpoch)
	if err == nil && !view.caughtUp {
		err, hint = wire.OffsetNotAvailable, wire.NoHint
	}
	if err != nil {
		return wire.AppendTime{Err: err, LogStartOffset: wire.NoOffset, HighWatermark: wire.NoOffset, Leader: hint}
	}
	told := wire.AppendTime{LogStartOffset: view.start, HighWatermark: view.highWatermark, Leader: wire.NoHint}
	if first := max(q.Offset, view.start); first < view.highWatermark {
		if at, known := view.log.AppendedAt(first); known {
			told.Appended, told.Age = at, max(b.now().Sub(at), 0)
		}
	}
	return told
}

// AppendTimes tells when records were appended, wherever their partitions are led.
func (f Forwarding) AppendTimes(ctx context.Context, queries []wire.AppendTimeQuery) []wire.AppendTime {
	times := make([]wire.AppendTime, len(queries))
	each(f.shares(len(queries), func(i int) (wire.TopicID, int32) { return queries[i].Topic, queries[i].Partition }), func(s share) {
		var reply wire.AppendTimesReply
		if s.here {
			reply.Partitions = f.Broker.AppendTimes(pick(queries, s.parts))
		} else {
			err := f.askAndWait(ctx, s.to, wire.KindAppendTimes, &wire.AppendTimesRequest{Partitions: pick(queries, s.parts)}, &reply)
			if err == nil && len(reply.Partitions) != len(s.parts) {
				err = wire.UnknownServerError
			}
			if err != nil {
				reply.Partitions = make([]wire.AppendTime, len(s.parts))
				for i := range reply.Partitions {
					reply.Partitions[i] = wire.AppendTime{Err: err, LogStartOffset: wire.NoOffset, HighWatermark: wire.NoOffset, Leader: wire.NoHint}
				}
			}
		}
		for at, i := range s.parts {
			times[i] = reply.Partitions[at]
		}
	})
	return times
}
