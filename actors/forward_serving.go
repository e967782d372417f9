package actors

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/peer"
	"github.com/troupe-mq/troupe/wire/record"
)

// forwardActor is where requests and answers of other brokers arrive. It only hands them on: produces to a
// lane for each broker, since they have an order and may have to wait at a partition's door; the rest to a
// goroutine each, as many as maxServing.
type forwardActor struct{ *forwards }

// Receive implements actor.Actor.
func (a forwardActor) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *wire.Forward:
		a.serve(ctx.Sender(), m)
	case *wire.Forwarded:
		a.settle(m.ID, m, nil)
	case *linkDown:
		a.lost(owner{m.broker, m.incarnation})
	case *actor.Stopping:
		a.close()
	}
}

// maxServing is how many forwarded fetches and calls are being answered at once.
const maxServing = 1024

// lane is the produces of one run of a broker, in their order.
type lane struct{ queue []laneEntry }

type laneEntry struct {
	from *actor.PID
	m    *wire.Forward
}

// serve answers a request of another broker, later.
func (f *forwards) serve(from *actor.PID, m *wire.Forward) {
	if from == nil {
		m.Buffer.Release()
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed: // the link goes down with us, which answers
		m.Buffer.Release()
	case m.Request == wire.KindProduce:
		id, incarnation, _ := parseAddress(from.Address)
		of := owner{id, incarnation}
		l := f.lanes[of]
		if l == nil {
			l = new(lane)
			f.lanes[of] = l
			f.broker.work.Go(func() { f.walk(of, l) })
		}
		l.queue = append(l.queue, laneEntry{from, m})
	case f.serving >= maxServing:
		m.Buffer.Release()
		f.answer(from, m.ID, &wire.Failure{Err: wire.Errorf(wire.ThrottlingQuotaExceeded,
			"broker %d is answering %d forwarded requests already", f.broker.cfg.ID, maxServing)}, wire.KindFailed)
	default:
		f.serving++
		f.broker.work.Go(func() {
			f.call(from, m)
			f.mu.Lock()
			f.serving--
			f.mu.Unlock()
		})
	}
}

// walk does the produces of a lane until there are no more.
func (f *forwards) walk(of owner, l *lane) {
	for {
		f.mu.Lock()
		if len(l.queue) == 0 {
			delete(f.lanes, of)
			f.mu.Unlock()
			return
		}
		next := l.queue[0]
		l.queue = l.queue[1:]
		f.mu.Unlock()
		f.produce(next.from, next.m)
	}
}

// answer sends an answer without records. Of one that no link takes, why is answered; if that is lost too, the one who asked has
// its own time limit. What was asked is done by then, so that no code may say that it was not.
func (f *forwards) answer(to *actor.PID, id uint64, m wire.Message, kind wire.Kind) {
	post := func(kind wire.Kind, m wire.Message) error {
		return f.broker.remotes.post(to, forwardName, &wire.Forwarded{ID: id, Answer: kind, Body: wire.AppendMessage(nil, m)})
	}
	switch err := post(kind, m); {
	case errors.Is(err, peer.ErrTooLarge):
		_ = post(wire.KindFailed, &wire.Failure{Err: wire.Errorf(wire.MessageTooLarge, "the answer of broker %d is too large to be passed on", f.broker.cfg.ID)})
	case errors.Is(err, peer.ErrFull):
		_ = post(wire.KindFailed, &wire.Failure{Err: wire.Errorf(wire.RequestTimedOut,
			"too much is on its way from broker %d, which may have done what it was asked", f.broker.cfg.ID)})
	}
}

// forwardedProduce is a produce of another broker on its way through a replica.
type forwardedProduce struct {
	wire.Produce

	forwards *forwards
	from     *actor.PID
	id       uint64
}

// ProduceDone implements wire.ProduceDone.
func (p *forwardedProduce) ProduceDone(_ int, reply wire.ProduceReply) {
	p.forwards.answer(p.from, p.id, &reply, wire.KindProduce)
}

// produce checks the batches again, as those of any client: this broker may know newer limits.
func (f *forwards) produce(from *actor.PID, m *wire.Forward) {
	var req wire.ProduceRequest
	call := &forwardedProduce{forwards: f, from: from, id: m.ID}
	err := wire.Parse(m.Body, &req)
	if err == nil {
		err = f.check(m, &req, call)
	}
	if err != nil {
		m.Buffer.Release()
		call.ProduceDone(0, refused(err))
		return
	}
	f.broker.Produce(&call.Produce)
}

func (f *forwards) check(m *wire.Forward, req *wire.ProduceRequest, call *forwardedProduce) error {
	topic, ok := f.broker.View().TopicByID(req.Topic)
	if !ok {
		return wire.UnknownTopicID
	}
	if topic.Internal {
		return wire.Errorf(wire.InvalidTopic, "clients do not write to internal topics")
	}
	now := f.broker.now()
	checked, err := record.Check(m.Payload, topic.Limits, now.UnixMilli())
	if err != nil {
		return err
	}
	call.Produce = wire.Produce{
		Topic: req.Topic, Partition: req.Partition, Acks: req.Acks, Deadline: now.Add(req.Timeout),
		Batches: checked.Batches, Done: call,
	}
	if len(checked.Batches) > 0 && &checked.Batches[0] == &m.Payload[0] {
		call.Buffer = m.Buffer
	} else {
		m.Buffer.Release() // the check has made new memory
	}
	return nil
}

// call answers what is not a produce. It may wait.
func (f *forwards) call(from *actor.PID, m *wire.Forward) {
	body := bytes.Clone(m.Body)
	m.Buffer.Release()
	b := f.broker
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	switch m.Request {
	case wire.KindFetch:
		f.fetch(from, m.ID, body)
	case wire.KindListOffsets:
		var req wire.ListOffsetsRequest
		var reply wire.ListOffsetsReply
		err := wire.Parse(body, &req)
		for i := range req.Partitions {
			reply.Partitions = append(reply.Partitions, b.ListOffsets(&req.Partitions[i]))
		}
		f.reply(from, m, &reply, err)
	case wire.KindOffsetForEpoch:
		var req wire.OffsetForEpochRequest
		var reply wire.OffsetForEpochsReply
		err := wire.Parse(body, &req)
		for i := range req.Partitions {
			reply.Partitions = append(reply.Partitions, b.OffsetForEpoch(&req.Partitions[i]))
		}
		f.reply(from, m, &reply, err)
	case wire.KindAppendTimes:
		var req wire.AppendTimesRequest
		err := wire.Parse(body, &req)
		f.reply(from, m, &wire.AppendTimesReply{Partitions: b.AppendTimes(req.Partitions)}, err)
	case wire.KindDeleteRecords:
		var req wire.DeleteRecords
		err := wire.Parse(body, &req)
		var reply wire.DeleteRecordsReply
		if err == nil {
			reply.LogStartOffset, err = b.DeleteRecords(ctx, &req)
		}
		f.reply(from, m, &reply, err)
	default:
		f.callCluster(ctx, from, m, body)
	}
}

// callCluster answers what concerns no partition.
func (f *forwards) callCluster(ctx context.Context, from *actor.PID, m *wire.Forward, body []byte) {
	b := f.broker
	switch m.Request {
	case wire.KindDescribeCluster:
		described := b.Cluster()
		f.reply(from, m, &described, nil)
	case wire.KindGossipKeyStep:
		var step wire.GossipKeyStep
		err := wire.Parse(body, &step)
		var ring wire.GossipKeys
		if err == nil {
			ring = b.changeGossipKeys(&step)
		}
		f.reply(from, m, &ring, err)
	case wire.KindRotateGossipKey:
		var req wire.RotateGossipKey
		err := wire.Parse(body, &req)
		var list wire.GossipKeyList
		if err == nil {
			list.Brokers, err = b.conductRotation(ctx, req)
		}
		f.reply(from, m, &list, err)
	default:
		if m.Request == wire.KindListGroups || wire.IsGroupKind(m.Request) {
			answer, err := b.serveGroup(ctx, m.Request, body)
			f.reply(from, m, answer, err)
			return
		}
		f.reply(from, m, nil, wire.Errorf(wire.InvalidRequest, "broker %d answers no forwarded %s", b.cfg.ID, m.Request))
	}
}

func (f *forwards) reply(to *actor.PID, m *wire.Forward, reply wire.Message, err error) {
	if err != nil {
		f.answer(to, m.ID, &wire.Failure{Err: err}, wire.KindFailed)
		return
	}
	f.answer(to, m.ID, reply, m.Request)
}

// fetch answers a forwarded fetch, after waiting for records as it says.
func (f *forwards) fetch(from *actor.PID, id uint64, body []byte) {
	var req wire.FetchRequest
	if err := wire.Parse(body, &req); err != nil {
		f.answer(from, id, &wire.Failure{Err: err}, wire.KindFailed)
		return
	}
	req.MaxBytes = min(req.MaxBytes, maxForwardedFetch)
	reply := wire.FetchReply{Partitions: f.broker.fetchHere(context.Background(), &req)}
	total := 0
	for i := range reply.Partitions {
		total += reply.Partitions[i].Records.Length
	}
	records := wire.NewBuffer(total)
	at := 0
	for i := range reply.Partitions {
		p := &reply.Partitions[i]
		length := p.Records.Length
		if length == 0 {
			continue
		}
		err := p.Records.ReadInto(records.Bytes[at : at+length])
		p.Records.Release()
		if err != nil {
			p.Err = err
			continue
		}
		p.Records.Length = length // what is encoded
		at += length
	}
	err := f.broker.remotes.post(from, forwardName, &wire.Forwarded{
		ID: id, Answer: wire.KindFetch, Body: wire.AppendMessage(nil, &reply), Payload: records.Bytes[:at], Buffer: records,
	})
	if err != nil && at > 0 {
		f.answer(from, id, &wire.Failure{Err: wire.Errorf(wire.ThrottlingQuotaExceeded, "too much is on its way from broker %d", f.broker.cfg.ID)}, wire.KindFailed)
	}
}

// fetchHere answers a fetch from the partitions that are led here. It waits for records as the
// request says, unless ctx or the broker ends.
func (b *Broker) fetchHere(ctx context.Context, req *wire.FetchRequest) []wire.Fetched {
	got := b.lookAt(req)
	if req.MaxWait <= 0 || enough(got, req) {
		return got
	}
	waiter := wire.NewWaiter()
	timer := time.NewTimer(req.MaxWait)
	defer timer.Stop()
	defer b.Unpark(waiter)
	for {
		for i := range req.Partitions {
			p := &req.Partitions[i]
			b.Park(waiter, p.Topic, p.Partition, got[i].HighWatermark)
			got[i].Records.Release()
		}
		if got = b.lookAt(req); enough(got, req) { // what came in between wakes nobody
			return got
		}
		select {
		case <-waiter.C():
		case <-timer.C:
			return got
		case <-ctx.Done():
			return got
		case <-b.ending:
			return got
		}
	}
}

// lookAt asks every partition what it has at this moment.
func (b *Broker) lookAt(req *wire.FetchRequest) []wire.Fetched {
	got := make([]wire.Fetched, len(req.Partitions))
	total := 0
	for i := range req.Partitions {
		want := req.Partitions[i]
		want.MaxBytes = max(min(want.MaxBytes, req.MaxBytes-total), 0)
		want.AtLeastOne = total == 0
		got[i] = b.Fetch(&want)
		total += got[i].Records.Length
	}
	return got
}

// lent is records in a buffer, as a RecordFile.
type lent struct {
	*bytes.Reader

	buffer *wire.Buffer
}

func lentBytes(b []byte, buffer *wire.Buffer) wire.RecordFile {
	if buffer != nil {
		buffer.Retain()
	}
	return lent{bytes.NewReader(b), buffer}
}

// Descriptor implements wire.RecordFile.
func (lent) Descriptor() (uintptr, bool) { return 0, false }

// Release implements wire.RecordFile.
func (l lent) Release() { l.buffer.Release() }
