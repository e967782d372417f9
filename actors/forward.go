package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/peer"
)

// A native client may send any request to any broker. This file is the side that asks the broker
// that leads, and forward_serving.go the side that answers:
//
//	native listener --> Forwarding --> forwards, a table of what is asked --Forward-->   actor "forward" --> Broker
//	                                        ^                                                                  |
//	                                        '----- actor "forward" <----------Forwarded------------------------'
//
// Every request that entered the table leaves it once: with the answer, with the link to that broker, or when
// the answer is overdue. The broker that leads answers for itself alone and forwards nothing, so no
// request travels twice; it says who leads if it does not, and the client hears that.

// forwardName is the actor that stands at both ends.
const forwardName = "forward"

// forwards is the table of the requests that other brokers have to answer.
type forwards struct {
	broker *Broker

	mu      sync.Mutex
	room    sync.Cond
	last    uint64
	pending map[uint64]*forwarded
	bytes   map[owner]int // of record batches without an answer
	lanes   map[owner]*lane
	serving int // requests of others that wait for records or for a replica
	closed  bool
}

// owner is one run of a broker that owns what is asked for.
type owner struct {
	broker      wire.BrokerID
	incarnation wire.Incarnation
}

// forwarded is a request without an answer.
type forwarded struct {
	to       owner
	bytes    int
	deadline time.Time
	done     func(answer *wire.Forwarded, err error) // once; it owns the answer's buffer, and must not block
}

const (
	// maxForwardedBytes is how many bytes of batches may be on their way to one broker: half of a
	// link's queue, whose rest is for replication.
	maxForwardedBytes = 8 << 20
	// maxForwardedFetch bounds the records of one forwarded answer.
	maxForwardedFetch = 4 << 20
	// maxForwardedWait bounds how long a forwarded fetch waits for records: then its client asks again.
	maxForwardedWait = 30 * time.Second
	// forwardGrace is how much longer than the request itself an answer may take.
	forwardGrace = 5 * time.Second
	// forwardSweep is how often overdue requests are looked for.
	forwardSweep = time.Second
)

func newForwards(b *Broker) *forwards {
	f := &forwards{
		broker: b, pending: make(map[uint64]*forwarded), bytes: make(map[owner]int), lanes: make(map[owner]*lane),
	}
	f.room.L = &f.mu
	return f
}

// start spawns the actor.
func (f *forwards) start() error {
	_, err := f.broker.root.SpawnNamed(propsOf(func() actor.Actor { return forwardActor{f} }), forwardName)
	if err != nil {
		return fmt.Errorf("spawn the actor that forwards: %w", err)
	}
	f.broker.work.Go(f.sweep)
	return nil
}

// ask sends a request to the broker that owns what it is about. Its buffers are handed over; done is called once,
// perhaps before ask returns.
func (f *forwards) ask(to owner, kind wire.Kind, body wire.Message, batches []byte, buffer *wire.Buffer,
	wait time.Duration, done func(*wire.Forwarded, error),
) {
	f.mu.Lock()
	for !f.closed && f.bytes[to] > 0 && f.bytes[to]+len(batches) > maxForwardedBytes {
		f.room.Wait()
	}
	if f.closed {
		f.mu.Unlock()
		buffer.Release()
		done(nil, wire.NotLeaderOrFollower)
		return
	}
	f.last++
	id := f.last
	f.pending[id] = &forwarded{to: to, bytes: len(batches), deadline: f.broker.now().Add(wait + forwardGrace), done: done}
	f.bytes[to] += len(batches)
	f.mu.Unlock()
	err := f.broker.remotes.post(f.broker.remotePID(to.broker, to.incarnation, forwardName), forwardName, &wire.Forward{
		ID: id, Request: kind, Body: wire.AppendMessage(nil, body), Payload: batches, Buffer: buffer,
	})
	switch {
	case errors.Is(err, peer.ErrFull):
		err = wire.Errorf(wire.ThrottlingQuotaExceeded, "too much is on its way from broker %d to broker %d", f.broker.cfg.ID, to.broker)
	case err != nil:
		err = wire.Errorf(wire.LeaderNotAvailable, "broker %d, which leads, cannot be reached from broker %d", to.broker, f.broker.cfg.ID)
	}
	if err != nil {
		f.settle(id, nil, err)
	}
}

// settle answers a request, unless that has been done.
func (f *forwards) settle(id uint64, answer *wire.Forwarded, err error) {
	f.mu.Lock()
	p := f.pending[id]
	if p == nil || answer != nil && answer.Sender != p.to.broker {
		f.mu.Unlock()
		if answer != nil {
			answer.Buffer.Release()
		}
		return
	}
	f.remove(id, p)
	f.mu.Unlock()
	p.done(answer, err)
}

// remove takes a request out of the table, whose mutex the caller holds.
func (f *forwards) remove(id uint64, p *forwarded) {
	delete(f.pending, id)
	if f.bytes[p.to] -= p.bytes; f.bytes[p.to] == 0 {
		delete(f.bytes, p.to)
	}
	f.room.Broadcast()
}

// fail answers all requests that which holds for with an error.
func (f *forwards) fail(which func(*forwarded) bool, err error) {
	var failed []*forwarded
	f.mu.Lock()
	for id, p := range f.pending {
		if which(p) {
			f.remove(id, p)
			failed = append(failed, p)
		}
	}
	f.mu.Unlock()
	for _, p := range failed {
		p.done(nil, err)
	}
}

// lost fails what a broker was asked over a link that is down: it may have done it or not.
func (f *forwards) lost(to owner) {
	f.fail(func(p *forwarded) bool { return p.to == to },
		wire.Errorf(wire.RequestTimedOut, "the link to broker %d, which leads, was lost", to.broker))
}

// sweep fails what is overdue, until the broker stops.
func (f *forwards) sweep() {
	ticker := time.NewTicker(forwardSweep)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			now := f.broker.now()
			f.fail(func(p *forwarded) bool { return now.After(p.deadline) },
				wire.Errorf(wire.RequestTimedOut, "the broker that leads has not answered"))
		case <-f.broker.ending:
			return
		}
	}
}

// close answers everything, and takes nothing more in either direction.
func (f *forwards) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.room.Broadcast()
	f.fail(func(*forwarded) bool { return true }, wire.NotLeaderOrFollower)
}

// parseForwarded reads an answer and gives its buffer back.
func parseForwarded(a *wire.Forwarded, want wire.Kind, m wire.Message) error {
	defer a.Buffer.Release()
	return readForwarded(a, want, m)
}

func readForwarded(a *wire.Forwarded, want wire.Kind, m wire.Message) error {
	if a.Answer == want {
		return wire.Parse(a.Body, m)
	}
	if a.Answer == wire.KindFailed {
		var failure wire.Failure
		if err := wire.Parse(a.Body, &failure); err != nil {
			return err
		}
		return orUnknown(failure.Err)
	}
	return wire.Errorf(wire.UnknownServerError, "broker %d answered a %s by a %s", a.Sender, want, a.Answer)
}

// Forwarding is a broker as native clients may use it: whatever they ask reaches the broker that
// leads. Kafka's clients are told who leads instead, which Broker itself does.
type Forwarding struct{ *Broker }

// Forwarding returns the broker for clients that need not know who leads.
func (b *Broker) Forwarding() Forwarding { return Forwarding{b} }

// owner returns who leads a partition that is led by another broker, as far as is known here.
func (b *Broker) owner(topic wire.TopicID, partition int32) (owner, bool) {
	if part := b.routes.find(topic, partition); part != nil && part.view.Load() != nil {
		return owner{}, false
	}
	image := b.image.Load()
	state, ok := image.Partition(topic, partition)
	if !ok || state.Leader == b.cfg.ID || state.Leader == wire.NoBroker {
		return owner{}, false
	}
	r, ok := image.Registration(state.Leader)
	return owner{r.ID, r.Incarnation}, ok
}

// Elsewhere says that another broker leads a partition.
func (f Forwarding) Elsewhere(topic wire.TopicID, partition int32) bool {
	_, elsewhere := f.owner(topic, partition)
	return elsewhere
}

// Produce takes p over and completes it exactly once, wherever the partition is led.
func (f Forwarding) Produce(p *wire.Produce) {
	to, elsewhere := f.owner(p.Topic, p.Partition)
	if !elsewhere {
		f.Broker.Produce(p)
		return
	}
	wait := max(p.Deadline.Sub(f.now()), 0)
	req := wire.ProduceRequest{Topic: p.Topic, Partition: p.Partition, Acks: p.Acks, Timeout: wait}
	f.forwards.ask(to, wire.KindProduce, &req, p.Batches, p.Buffer, wait, func(a *wire.Forwarded, err error) {
		var reply wire.ProduceReply
		if err == nil {
			err = parseForwarded(a, wire.KindProduce, &reply)
		}
		if err != nil {
			reply = refused(err)
		}
		p.Done.ProduceDone(p.Slot, reply)
	})
}

// DeleteRecords moves a partition's log start, wherever it is led.
func (f Forwarding) DeleteRecords(ctx context.Context, q *wire.DeleteRecords) (wire.Offset, error) {
	to, elsewhere := f.owner(q.Topic, q.Partition)
	if !elsewhere {
		return f.Broker.DeleteRecords(ctx, q)
	}
	var reply wire.DeleteRecordsReply
	if err := f.askAndWait(ctx, to, wire.KindDeleteRecords, q, &reply); err != nil {
		return wire.NoOffset, err
	}
	return reply.LogStartOffset, nil
}

// askAndWait is ask for somebody who can wait.
func (f Forwarding) askAndWait(ctx context.Context, to owner, kind wire.Kind, req, reply wire.Message) error {
	type outcome struct {
		answer *wire.Forwarded
		err    error
	}
	answered := make(chan outcome, 1)
	wait := callTime
	if deadline, ok := ctx.Deadline(); ok {
		wait = max(deadline.Sub(f.now()), 0)
	}
	f.forwards.ask(to, kind, req, nil, nil, wait, func(a *wire.Forwarded, err error) { answered <- outcome{a, err} })
	select {
	case o := <-answered:
		if o.err != nil {
			return o.err
		}
		return parseForwarded(o.answer, kind, reply)
	case <-ctx.Done():
		return wire.RequestTimedOut
	}
}

// callTime is how long a request without a time of its own may take.
const callTime = 10 * time.Second
