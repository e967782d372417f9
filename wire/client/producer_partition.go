package client

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// producerPartition puts a producer's records of one partition into batches, sends them, and
// keeps them in order through every failure.
//
// Batches go out in order, up to MaxInFlight at once. When one of them fails in a way that may pass,
// nothing new is sent until all that are under way have been answered; then those that did not
// get into the log go out again, in their order and with their numbers. The broker refuses what
// comes after a gap and recognises what it has, so each is written once.
//
// A batch that is given up after it was numbered leaves a gap that the broker will not let pass.
// Then the partition begins anew: in the producer's next epoch, with number 0. A batch of which it is
// not known whether it was written is given up at that point, because the broker would not
// recognise it under another number.
//
// All fields are guarded by mu. The methods from seal on are called with it held, all but answered.
type producerPartition struct {
	topic *producerTopic
	index int32

	mu         sync.Mutex
	open       *batch   // takes records; nil when the next record makes one
	queue      []*batch // to be sent, oldest first
	inFlight   []*batch // sent, oldest first; a settled one waits for those before it
	recovering bool     // a batch in flight has failed; wait for the answers of all
	anew       bool     // and then begin anew
	hinted     bool     // and we know where to go
	who        wire.ProducerIdentity
	accepted   bool                  // the broker has a batch of who
	spent      wire.ProducerIdentity // the identity before, if the partition began anew
	next       wire.Sequence
	failures   int       // in a row
	notBefore  time.Time // the end of a pause
	lastErr    error
	alarmAt    time.Time // the earliest alarm that is set; zero without one
	troubled   bool      // OnRetry has been told of a failure, and not that it is over
	abandoned  bool
}

func newProducerPartition(t *producerTopic, index int32) *producerPartition {
	return &producerPartition{topic: t, index: index, who: nobody, spent: nobody}
}

// add appends a record to the open batch.
func (pp *producerPartition) add(r pending) {
	cfg := &pp.topic.producer.cfg
	headers := recordHeaders(r.record.Headers)
	at := r.record.Timestamp.UnixMilli()
	pp.mu.Lock()
	defer pp.mu.Unlock()
	if pp.abandoned { // the client was closed after the record was taken
		pp.finish(&batch{records: []pending{r}, bytes: r.bytes, err: ErrClosed})
		return
	}
	sealed := false
	if b := pp.open; b != nil && b.builder.Len()+b.builder.RecordBytes(at, r.record.Key, r.record.Value, headers) > cfg.BatchBytes {
		pp.seal()
		sealed = true
	}
	if pp.open == nil {
		pp.open = batches.Get().(*batch)
		pp.open.builder.Reset(cfg.Compression, cfg.CompressionLevel, false)
		pp.open.since = now()
	}
	b := pp.open
	b.builder.Append(at, r.record.Key, r.record.Value, headers)
	b.records = append(b.records, r)
	b.bytes += r.bytes
	if b.builder.Len() >= cfg.BatchBytes {
		pp.seal()
		sealed = true
	}
	if sealed || len(b.records) == 1 {
		pp.drain()
	}
}

func recordHeaders(headers []Header) []record.RecordHeader {
	if len(headers) == 0 {
		return nil
	}
	list := make([]record.RecordHeader, len(headers))
	for i, h := range headers {
		list[i] = record.RecordHeader{Key: h.Key, Value: h.Value}
	}
	return list
}

// kick lets the partition try again what it could not do before.
func (pp *producerPartition) kick() {
	pp.mu.Lock()
	defer pp.mu.Unlock()
	pp.drain()
}

// hurry ends the lingering.
func (pp *producerPartition) hurry() {
	pp.mu.Lock()
	defer pp.mu.Unlock()
	if pp.open != nil {
		pp.open.hurried = true
		pp.drain()
	}
}

// alarm is called when a time is reached that drain waited for.
func (pp *producerPartition) alarm(time.Time) {
	pp.mu.Lock()
	defer pp.mu.Unlock()
	pp.alarmAt = time.Time{}
	pp.drain()
}

// abandon gives everything up, after the connections of the client have ended.
func (pp *producerPartition) abandon() {
	pp.mu.Lock()
	defer pp.mu.Unlock()
	if pp.open != nil {
		pp.seal()
	}
	pp.abandoned = true
	all := append(pp.inFlight, pp.queue...)
	pp.inFlight, pp.queue = nil, nil
	for _, b := range all {
		if !b.settled {
			b.settle(wire.NoOffset, ErrClosed)
		}
		pp.finish(b)
	}
}

// seal closes the open batch and lets records that may go anywhere go elsewhere.
func (pp *producerPartition) seal() {
	pp.queue = append(pp.queue, pp.open)
	pp.open = nil
	if pp.topic.sticky.Load() == pp.index {
		pp.topic.restick(pp.index)
	}
}

// ready says that a batch is not to linger any longer.
func (pp *producerPartition) ready(b *batch, at time.Time) bool {
	p := pp.topic.producer
	return b.hurried || p.cfg.Linger == 0 || p.flushing.Load() > 0 || !at.Before(b.since.Add(p.cfg.Linger))
}

// drain sends what can be sent now, and sets an alarm for what cannot.
func (pp *producerPartition) drain() {
	if pp.recovering || pp.abandoned {
		return // answered goes on
	}
	at := now()
	for {
		pp.expire(at)
		if len(pp.queue) == 0 {
			if pp.open == nil {
				return
			}
			if !pp.ready(pp.open, at) {
				pp.setAlarm(pp.open.since.Add(pp.topic.producer.cfg.Linger))
				return
			}
			if len(pp.inFlight) >= pp.window() {
				return // it goes on growing meanwhile
			}
			pp.seal()
		}
		b := pp.queue[0]
		if b.settled { // it got through, but those before it had to be sent again
			pp.queue = pp.queue[1:]
			pp.inFlight = append(pp.inFlight, b)
			pp.finishHead()
			continue
		}
		if len(pp.inFlight) >= pp.window() {
			return
		}
		if !pp.send(b, at) {
			if len(pp.inFlight) == 0 && len(pp.queue) > 0 {
				pp.setAlarm(pp.queue[0].since.Add(pp.topic.producer.cfg.DeliveryTimeout))
			}
			return
		}
	}
}

// window is how many batches may be in flight. A broker that knows nothing of a producer takes
// whatever number comes first, so that the second batch would be written if the first got lost:
// until one has been accepted, one at a time.
func (pp *producerPartition) window() int {
	if !pp.accepted && !pp.topic.producer.cfg.NotIdempotent {
		return 1
	}
	return pp.topic.producer.cfg.MaxInFlight
}

// setAlarm has the partition looked at again at a time, or earlier.
func (pp *producerPartition) setAlarm(at time.Time) {
	if pp.alarmAt.IsZero() || at.Before(pp.alarmAt) {
		pp.alarmAt = at
		pp.topic.producer.alarms.set(at, pp)
	}
}

// send sends the first batch of the queue. It returns false when that must wait, for something
// that kicks the partition or for an alarm.
func (pp *producerPartition) send(b *batch, at time.Time) bool {
	p := pp.topic.producer
	if at.Before(pp.notBefore) {
		pp.setAlarm(pp.notBefore)
		return false
	}
	m := p.client.meta.Load()
	t := m.topics[pp.topic.name]
	if t == nil || t.err != nil {
		return pp.later(at, wire.UnknownTopicOrPartition)
	}
	addr, _ := m.leader(t.name, t.id, pp.index)
	if addr == "" {
		return pp.later(at, wire.LeaderNotAvailable)
	}
	c := p.client.connTo(addr)
	if c == nil {
		// A dial that is under way kicks the partition; a pause between dials does not.
		pp.setAlarm(at.Add(p.client.cfg.RetryBackoff))
		if err := p.client.linkError(addr); err != nil {
			pp.retry(err)
		}
		return false
	}
	if !pp.number(b) {
		return false
	}
	if len(b.data)+maxHeadBytes > c.welcome.MaxFrame {
		pp.queue = pp.queue[1:]
		pp.inFlight = append(pp.inFlight, b)
		b.answered = true
		pp.judge(b, Offset(-1), wire.Errorf(wire.MessageTooLarge, "the batch has %d bytes, a frame at most %d", len(b.data), c.welcome.MaxFrame))
		pp.proceed()
		return !pp.recovering
	}
	req := wire.ProduceRequest{Topic: t.id, Partition: pp.index, Acks: p.cfg.Acks, Timeout: p.client.cfg.RequestTimeout}
	done := func(f wire.Frame, err error) { pp.answered(b, t, f, err) }
	send := c.send
	if p.cfg.Acks == AcksNone {
		send = c.sendOnly
	}
	b.answered = false
	if err := send(wire.KindProduce, &req, b.data, done); err != nil {
		return pp.later(at, err)
	}
	pp.queue = pp.queue[1:]
	pp.inFlight = append(pp.inFlight, b)
	return true
}

// maxHeadBytes is more than a produce frame has besides the batch.
const maxHeadBytes = 256

// later notes why nothing can be sent now, asks for metadata, and pauses.
func (pp *producerPartition) later(at time.Time, err error) bool {
	pp.failures++
	pp.notBefore = at.Add(pp.topic.producer.client.backoff(pp.failures))
	pp.setAlarm(pp.notBefore)
	pp.topic.producer.client.refresh.ask()
	pp.retry(err)
	return false
}

// retry has OnRetry told of a failure, or with nil that it is over, and remembers the failure.
func (pp *producerPartition) retry(err error) {
	if err != nil {
		pp.lastErr = err
	}
	if err != nil || pp.troubled {
		pp.troubled = err != nil
		pp.topic.producer.client.cfg.OnRetry(pp.topic.name, pp.index, err)
	}
}

// number gives a batch its identity and sequence, once, and its bytes. It returns false when
// the producer's identity must be asked for first.
func (pp *producerPartition) number(b *batch) bool {
	p := pp.topic.producer
	switch {
	case b.data != nil && (b.numbered || p.cfg.NotIdempotent):
		return true
	case p.cfg.NotIdempotent:
		b.data = b.builder.Finish(wire.NoProducer, -1, -1)
		return true
	}
	if pp.who == nobody {
		who, ok := p.identity(pp.spent)
		if !ok {
			return false
		}
		pp.who, pp.next, pp.accepted = who, 0, false
	}
	b.who, b.sequence, b.numbered = pp.who, pp.next, true
	pp.next = pp.next.Next(int32(len(b.records)))
	if b.data == nil {
		b.data = b.builder.Finish(b.who.Producer, b.who.Epoch, b.sequence)
	} else {
		record.SetProducer(b.data, b.who.Producer, b.who.Epoch, b.sequence)
	}
	return true
}

// answered takes the answer to a batch, or the loss of its connection. It runs on the goroutine
// of the connection.
func (pp *producerPartition) answered(b *batch, t *topic, f wire.Frame, err error) {
	reply := wire.ProduceReply{BaseOffset: wire.NoOffset, Leader: wire.NoHint}
	if err == nil && f.Body != nil {
		if err = parseAnswer(f, wire.KindProduce, &reply); err == nil {
			err = reply.Err
		}
	}
	pp.mu.Lock()
	defer pp.mu.Unlock()
	if pp.abandoned {
		return
	}
	b.answered = true
	client := pp.topic.producer.client
	if client.hint(t.name, t.id, pp.index, reply.Leader) {
		pp.hinted = true
	} else if err != nil && staleMetadata(err) {
		client.refresh.ask()
	}
	pp.judge(b, reply.BaseOffset, err)
	pp.proceed()
	pp.drain()
}

// judge decides what the answer to a batch in flight means.
func (pp *producerPartition) judge(b *batch, base Offset, err error) {
	code := wire.Code(err)
	switch {
	case err == nil, code == wire.DuplicateSequenceNumber:
		b.settle(base, nil)
		pp.failures, pp.accepted = 0, true
		pp.retry(nil)
	case code == wire.OutOfOrderSequenceNumber && (pp.recovering || b != pp.inFlight[0]):
		pp.recovering = true // because of one before it
	case b.numbered && (code == wire.UnknownProducerID || code == wire.InvalidProducerEpoch):
		pp.recovering, pp.anew = true, true
		pp.retry(err)
	case retriable(err):
		b.doubtful = b.doubtful || !refusedBeforeAppend(code)
		pp.recovering = true
		pp.retry(err)
	default:
		b.settle(wire.NoOffset, fmt.Errorf("%s/%d: %w", pp.topic.name, pp.index, err))
		if b.numbered {
			pp.recovering, pp.anew = true, true
		}
	}
}

// refusedBeforeAppend says that a batch answered with this code is certainly not in the log.
func refusedBeforeAppend(code wire.ErrorCode) bool {
	switch code {
	case wire.NotEnoughReplicas, wire.UnknownTopicOrPartition, wire.UnknownTopicID, wire.ThrottlingQuotaExceeded,
		wire.CorruptMessage:
		return true
	default:
		return false
	}
}

// proceed finishes what can be finished, and ends a recovery once everything is answered.
func (pp *producerPartition) proceed() {
	pp.finishHead()
	if !pp.recovering {
		return
	}
	for _, b := range pp.inFlight {
		if !b.answered && !b.settled {
			return
		}
	}
	pp.queue = append(pp.inFlight, pp.queue...)
	pp.inFlight = nil
	pp.recovering = false
	if pp.anew {
		pp.beginAnew()
	}
	pp.failures++
	if !pp.hinted || pp.failures > 1 { // a leader that we are told of is tried at once, but not for ever
		pp.notBefore = now().Add(pp.topic.producer.client.backoff(pp.failures))
	}
	pp.hinted = false
}

// beginAnew gives up the identity, after a gap in the sequence. Nothing is in flight.
func (pp *producerPartition) beginAnew() {
	pp.anew = false
	pp.spent, pp.who = pp.who, nobody
	for _, b := range pp.queue {
		switch {
		case b.settled:
		case b.doubtful:
			b.settle(wire.NoOffset, pp.notDelivered("it may have been written"))
		default:
			b.numbered = false
		}
	}
}

// expire gives up batches that are too old, as long as nothing is in flight before them.
func (pp *producerPartition) expire(at time.Time) {
	timeout := pp.topic.producer.cfg.DeliveryTimeout
	if pp.open != nil && len(pp.queue) == 0 && !at.Before(pp.open.since.Add(timeout)) {
		pp.seal()
	}
	for len(pp.inFlight) == 0 && len(pp.queue) > 0 && !pp.queue[0].settled && !at.Before(pp.queue[0].since.Add(timeout)) {
		b := pp.queue[0]
		pp.queue = pp.queue[1:]
		how := "it was not written"
		if b.doubtful {
			how = "it may have been written"
		}
		b.settle(wire.NoOffset, pp.notDelivered(how))
		if b.numbered {
			pp.beginAnew()
		}
		pp.finish(b)
	}
}

func (pp *producerPartition) notDelivered(how string) error {
	last := pp.lastErr
	if last == nil {
		last = pp.topic.producer.identityError()
	}
	if last == nil {
		last = errors.New("there was no time to send it")
	}
	return fmt.Errorf("%w: %s/%d: %s: %w", ErrNotDelivered, pp.topic.name, pp.index, how, last)
}

// finishHead finishes the batches in flight that are settled, up to the first that is not.
func (pp *producerPartition) finishHead() {
	n := 0
	for n < len(pp.inFlight) && pp.inFlight[n].settled {
		pp.finish(pp.inFlight[n])
		pp.inFlight[n] = nil
		n++
	}
	pp.inFlight = pp.inFlight[n:]
}
