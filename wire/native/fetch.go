package native

import (
	"context"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// fetchCall is one fetch: what was asked, and the latest look at what there is.
type fetchCall struct {
	correlation uint32
	admitted    int
	req         wire.FetchRequest
	reply       wire.FetchReply
}

// release gives the files back that the latest look lent.
func (f *fetchCall) release() {
	for i := range f.reply.Partitions {
		r := &f.reply.Partitions[i].Records
		if r.File != nil {
			r.File.Release()
			r.File = nil
		}
	}
}

func (c *conn) fetch(f wire.Frame, admitted int) {
	call := &fetchCall{correlation: f.Correlation, admitted: admitted}
	if err := wire.Parse(f.Body, &call.req); err != nil {
		c.refuse(f, admitted, err)
		return
	}
	call.req.MaxWait = min(call.req.MaxWait, c.s.cfg.MaxFetchWait)
	call.req.MaxBytes = min(call.req.MaxBytes, c.s.cfg.MaxFetchBytes)
	call.reply.Partitions = make([]wire.Fetched, len(call.req.Partitions))
	if elsewhere(c.s.forward, call.req.Partitions, func(p *wire.Fetch) (wire.TopicID, int32) { return p.Topic, p.Partition }) {
		c.inTurn(f, call, c.forwardFetch)
		return
	}
	if c.look(call) || call.req.MaxWait == 0 {
		c.fetched(call)
		return
	}
	c.inTurn(f, call, c.wait)
}

// inTurn has a fetch wait on a goroutine of its own, if there are not too many already.
func (c *conn) inTurn(f wire.Frame, call *fetchCall, wait func(*fetchCall)) {
	select {
	case c.slots.fetches <- struct{}{}:
		c.tasks.Go(func() {
			defer func() { <-c.slots.fetches }()
			wait(call)
		})
	default:
		call.release()
		c.refuse(f, call.admitted, wire.Errorf(wire.ThrottlingQuotaExceeded,
			"%d fetches of this connection are waiting already", cap(c.slots.fetches)))
	}
}

// elsewhere says whether any partition of a request is led by another broker.
func elsewhere[T any](f Forwarder, list []T, which func(*T) (wire.TopicID, int32)) bool {
	if f == nil {
		return false
	}
	for i := range list {
		if f.Elsewhere(which(&list[i])) {
			return true
		}
	}
	return false
}

// forwardFetch has other brokers do what the fetch asks of them.
func (c *conn) forwardFetch(call *fetchCall) {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	c.tasks.Go(func() {
		select {
		case <-c.drain:
			cancel()
		case <-done:
		}
	})
	call.reply.Partitions = c.s.forward.FetchElsewhere(ctx, &call.req)
	c.fetched(call)
}

func (c *conn) fetched(call *fetchCall) {
	c.out.put(answer{admitted: call.admitted, fetch: call})
}

// look asks every partition what it has. It returns true when that is to be answered now: there
// are enough bytes, or something that the client must hear of.
func (c *conn) look(call *fetchCall) bool {
	call.release()
	bytes, urgent := 0, len(call.req.Partitions) == 0
	for i := range call.req.Partitions {
		want := call.req.Partitions[i]
		want.MaxBytes = min(want.MaxBytes, call.req.MaxBytes-bytes)
		want.AtLeastOne = bytes == 0
		if want.MaxBytes <= 0 && bytes > 0 {
			// Kafka: answers these partitions too, with their watermarks and no records; so do we.
			want.MaxBytes = 0
		}
		got := c.s.backend.Fetch(&want)
		bytes += got.Records.Length
		urgent = urgent || got.Err != nil || got.Diverging != nil
		call.reply.Partitions[i] = got
	}
	return urgent || bytes >= max(min(call.req.MinBytes, call.req.MaxBytes), 1)
}

// wait parks a fetch in all its partitions until there is enough, its time is over or the
// connection ends. It looks again after each parking: what came in between wakes nobody.
func (c *conn) wait(call *fetchCall) {
	waiter := wire.NewWaiter()
	timer := time.NewTimer(call.req.MaxWait)
	defer timer.Stop()
	defer c.s.backend.Unpark(waiter)
	for {
		for i := range call.req.Partitions {
			p := &call.req.Partitions[i]
			c.s.backend.Park(waiter, p.Topic, p.Partition, call.reply.Partitions[i].HighWatermark)
		}
		if c.look(call) {
			c.fetched(call)
			return
		}
		select {
		case <-waiter.C():
		case <-timer.C:
			c.look(call)
			c.fetched(call)
			return
		case <-c.drain:
			c.fetched(call)
			return
		case <-c.ctx.Done():
			call.release()
			c.out.put(answer{admitted: call.admitted})
			return
		}
	}
}
