package main

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetch answers with what is there, or waits until there is enough or the client's time is over.
func (c *conn) fetch(a *answer, version int16, body []byte) error {
	var request kmsg.FetchRequest
	request.Version = version
	if err := request.ReadFrom(body); err != nil {
		return err
	}
	deadline := time.Now().Add(time.Duration(request.MaxWaitMillis) * time.Millisecond)
	for {
		found := c.collect(a, version, &request)
		left := time.Until(deadline)
		if found >= int64(request.MinBytes) || left <= 0 {
			return c.emit(a)
		}
		c.broker.await(&request, found == 0, left)
	}
}

// collect writes the answer with what is there now and returns the bytes of records in it.
func (c *conn) collect(a *answer, version int16, request *kmsg.FetchRequest) (total int64) {
	a.stretches = a.stretches[:0]
	out := be32(a.bytes[:8], 0) // no throttling
	if version >= 7 {
		out = be16(out, 0) // no error
		out = be32(out, 0) // no session
	}
	out = be32(out, int32(len(request.Topics)))
	for i := range request.Topics {
		topic := &request.Topics[i]
		out = beString(out, topic.Topic)
		out = be32(out, int32(len(topic.Partitions)))
		partitions := c.broker.topic(topic.Topic)
		for j := range topic.Partitions {
			wanted := &topic.Partitions[j]
			code := kerr.UnknownTopicOrPartition.Code
			var s stretch
			var highWatermark int64
			if p := within(partitions, wanted.Partition); p != nil {
				code = 0
				budget := min(int64(wanted.PartitionMaxBytes), max(int64(request.MaxBytes)-total, 0))
				s, highWatermark = p.read(wanted.FetchOffset, budget, total == 0)
			}
			out = be32(out, wanted.Partition)
			out = be16(out, code)
			out = be64(out, highWatermark)
			out = be64(out, highWatermark) // last stable offset
			if version >= 5 {
				out = be64(out, 0) // log start offset
			}
			out = be32(out, -1) // no aborted transactions
			if version >= 11 {
				out = be32(out, -1) // no preferred replica
			}
			out = be32(out, int32(s.n))
			if s.n > 0 {
				s.cut = len(out)
				a.stretches = append(a.stretches, s)
			}
			total += s.n
		}
	}
	a.bytes = out
	return total
}

// read returns the stretch of at most budget bytes that begins with the batch of offset; with
// atLeastOne that batch is whole, however large.
func (p *partition) read(offset, budget int64, atLeastOne bool) (stretch, int64) {
	position, end, highWatermark := p.find(offset)
	n := min(end-position, budget)
	if atLeastOne && n < end-position {
		n = max(n, p.batchBytes(position))
	}
	return stretch{file: p, position: position, n: n}, highWatermark
}

// await returns after an append to one of the partitions of the request, or when d is over.
func (b *broker) await(request *kmsg.FetchRequest, foundNothing bool, d time.Duration) {
	more := make(chan struct{}, 1)
	for i := range request.Topics {
		partitions := b.topic(request.Topics[i].Topic)
		for j := range request.Topics[i].Partitions {
			wanted := &request.Topics[i].Partitions[j]
			p := within(partitions, wanted.Partition)
			if p == nil {
				continue
			}
			if p.park(wanted.FetchOffset, more) && foundNothing {
				wake(more) // it came after we looked
			}
			defer p.unpark(more)
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-more:
	case <-timer.C:
	}
}
