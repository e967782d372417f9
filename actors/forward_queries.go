package actors

import (
	"context"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// This file is what a native client asks of several partitions at once, some of which are led by
// other brokers: each leader is asked for its part, and the parts are put together.

// share is the part of a request that one broker answers.
type share struct {
	to    owner
	here  bool  // it is this broker
	parts []int // by their place in the request
}

// shares splits a request of n partitions by who leads them.
func (f Forwarding) shares(n int, which func(i int) (wire.TopicID, int32)) []share {
	var list []share
	for i := range n {
		to, elsewhere := f.owner(which(i))
		at := slices.IndexFunc(list, func(s share) bool { return s.here == !elsewhere && s.to == to })
		if at < 0 {
			at = len(list)
			list = append(list, share{to: to, here: !elsewhere})
		}
		list[at].parts = append(list[at].parts, i)
	}
	return list
}

// each does all shares at the same time.
func each(list []share, do func(share)) {
	if len(list) == 1 {
		do(list[0])
		return
	}
	done := make(chan struct{})
	for _, s := range list {
		go func() {
			do(s)
			done <- struct{}{}
		}()
	}
	for range list {
		<-done
	}
}

// pick returns those of a list that a share is about.
func pick[T any](list []T, parts []int) []T {
	picked := make([]T, len(parts))
	for i, part := range parts {
		picked[i] = list[part]
	}
	return picked
}

// ListOffsetsElsewhere finds offsets of partitions wherever they are led.
func (f Forwarding) ListOffsetsElsewhere(ctx context.Context, queries []wire.ListOffsets) []wire.ListedOffset {
	listed := make([]wire.ListedOffset, len(queries))
	each(f.shares(len(queries), func(i int) (wire.TopicID, int32) { return queries[i].Topic, queries[i].Partition }), func(s share) {
		if s.here {
			for _, i := range s.parts {
				listed[i] = f.ListOffsets(&queries[i])
			}
			return
		}
		var reply wire.ListOffsetsReply
		err := f.askAndWait(ctx, s.to, wire.KindListOffsets, &wire.ListOffsetsRequest{Partitions: pick(queries, s.parts)}, &reply)
		if err == nil && len(reply.Partitions) != len(s.parts) {
			err = wire.UnknownServerError
		}
		for at, i := range s.parts {
			if err != nil {
				listed[i] = wire.ListedOffset{Err: err, Offset: wire.NoOffset, Timestamp: -1, LeaderEpoch: wire.NoEpoch, Leader: wire.NoHint}
			} else {
				listed[i] = reply.Partitions[at]
			}
		}
	})
	return listed
}

// OffsetsForEpochsElsewhere tells where leader epochs ended, wherever the partitions are led.
func (f Forwarding) OffsetsForEpochsElsewhere(ctx context.Context, queries []wire.OffsetForEpoch) []wire.OffsetForEpochReply {
	ends := make([]wire.OffsetForEpochReply, len(queries))
	each(f.shares(len(queries), func(i int) (wire.TopicID, int32) { return queries[i].Topic, queries[i].Partition }), func(s share) {
		if s.here {
			for _, i := range s.parts {
				ends[i] = f.OffsetForEpoch(&queries[i])
			}
			return
		}
		var reply wire.OffsetForEpochsReply
		err := f.askAndWait(ctx, s.to, wire.KindOffsetForEpoch, &wire.OffsetForEpochRequest{Partitions: pick(queries, s.parts)}, &reply)
		if err == nil && len(reply.Partitions) != len(s.parts) {
			err = wire.UnknownServerError
		}
		for at, i := range s.parts {
			if err != nil {
				ends[i] = wire.OffsetForEpochReply{Err: err, End: wire.EpochEnd{LeaderEpoch: wire.NoEpoch, EndOffset: wire.NoOffset}}
			} else {
				ends[i] = reply.Partitions[at]
			}
		}
	})
	return ends
}

// FetchElsewhere fetches from partitions wherever they are led, and waits for records as the request
// says. The receiver releases the records. With several leaders they are asked twice: first what they have, then,
// if that is not enough, to say when one of them has something new.
func (f Forwarding) FetchElsewhere(ctx context.Context, req *wire.FetchRequest) []wire.Fetched {
	fetched := make([]wire.Fetched, len(req.Partitions))
	list := f.shares(len(req.Partitions), func(i int) (wire.TopicID, int32) {
		return req.Partitions[i].Topic, req.Partitions[i].Partition
	})
	if len(list) == 1 {
		return f.fetchShare(ctx, req, list[0], req.MaxWait)
	}
	began := f.now()
	each(list, func(s share) { put(fetched, s, f.fetchShare(ctx, req, s, 0)) })
	left := req.MaxWait - f.now().Sub(began)
	if enough(fetched, req) || left <= 0 {
		return trim(fetched, req.MaxBytes)
	}
	type news struct {
		share share
		got   []wire.Fetched
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	heard := make(chan news)
	for _, s := range list {
		go func() {
			n := news{s, f.fetchShare(ctx, req, s, left)}
			select {
			case heard <- n:
			case <-ctx.Done(): // another was first, or nobody in time
				for i := range n.got {
					n.got[i].Records.Release()
				}
			}
		}()
	}
	select {
	case n := <-heard:
		put(fetched, n.share, n.got)
	case <-ctx.Done():
	}
	return trim(fetched, req.MaxBytes)
}

// put takes over the answers to a share.
func put(fetched []wire.Fetched, s share, got []wire.Fetched) {
	for at, i := range s.parts {
		fetched[i].Records.Release()
		fetched[i] = got[at]
	}
}

// trim keeps an answer that was put together within the limit for all of it, but for its first records.
func trim(fetched []wire.Fetched, maxBytes int) []wire.Fetched {
	bytes := 0
	for i := range fetched {
		r := &fetched[i].Records
		if bytes > 0 && bytes+r.Length > maxBytes {
			r.Release()
		}
		bytes += r.Length
	}
	return fetched
}

// enough says that an answer need not wait.
func enough(fetched []wire.Fetched, req *wire.FetchRequest) bool {
	bytes := 0
	for i := range fetched {
		if fetched[i].Err != nil || fetched[i].Diverging != nil {
			return true
		}
		bytes += fetched[i].Records.Length
	}
	return bytes >= max(min(req.MinBytes, req.MaxBytes), 1)
}

// fetchShare fetches from the partitions of one leader.
func (f Forwarding) fetchShare(ctx context.Context, req *wire.FetchRequest, s share, wait time.Duration) []wire.Fetched {
	part := *req
	part.MaxWait, part.Partitions = wait, pick(req.Partitions, s.parts)
	if s.here {
		return f.fetchHere(ctx, &part)
	}
	part.MaxBytes, part.MaxWait = min(part.MaxBytes, maxForwardedFetch), min(part.MaxWait, maxForwardedWait)
	type outcome struct {
		answer *wire.Forwarded
		err    error
	}
	answered := make(chan outcome, 1)
	f.forwards.ask(s.to, wire.KindFetch, &part, nil, nil, part.MaxWait, func(a *wire.Forwarded, err error) { answered <- outcome{a, err} })
	select {
	case o := <-answered:
		if o.err != nil {
			return allFailed(len(part.Partitions), o.err)
		}
		return unpack(o.answer, len(part.Partitions))
	case <-ctx.Done():
		return allFailed(len(part.Partitions), wire.RequestTimedOut)
	}
}

func allFailed(n int, err error) []wire.Fetched {
	list := make([]wire.Fetched, n)
	for i := range list {
		list[i] = wire.Fetched{Err: err, HighWatermark: wire.NoOffset, LastStableOffset: wire.NoOffset, LogStartOffset: wire.NoOffset, Leader: wire.NoHint}
	}
	return list
}

// unpack gives each partition of a forwarded answer its records, which share the answer's buffer.
func unpack(a *wire.Forwarded, n int) []wire.Fetched {
	defer a.Buffer.Release()
	var reply wire.FetchReply
	err := readForwarded(a, wire.KindFetch, &reply)
	if err == nil && len(reply.Partitions) != n {
		err = wire.UnknownServerError
	}
	if err != nil {
		return allFailed(n, err)
	}
	rest := a.Payload
	for i := range reply.Partitions {
		r := &reply.Partitions[i].Records
		if r.Length > len(rest) {
			r.Length = 0 // whole batches are missing: the next fetch asks again
			continue
		}
		if r.Length > 0 {
			r.File = lentBytes(rest[:r.Length], a.Buffer)
			rest = rest[r.Length:]
		}
	}
	return reply.Partitions
}
