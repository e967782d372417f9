package client

import (
	"bytes"
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
// All fields are guarded by mu. The methods from seal on are called with it held; what comes back is
// in producer_answers.go.
type producerPartition struct {
	topic *producerTopic
	index int32

	mu         sync.Mutex
	open       *batch    // takes records; nil when the next record makes one
	queue      []*batch  // to be sent, oldest first
	inFlight   []*batch  // sent, oldest first; a settled one waits for those before it
	recovering bool      // a batch in flight has failed; wait for the answers of all
	anew       bool      // and then begin anew
	sentTo     place     // where the partition was led when a batch was sent last
	movedAt    time.Time // when it was found to be led elsewhere, while a batch is in flight; zero otherwise
	who        wire.ProducerIdentity
	accepted   bool                  // the broker has a batch of who
	spent      wire.ProducerIdentity // the identity before, if the partition began anew
	next       wire.Sequence
	failures   int       // in a row
	notBefore  time.Time // the end of a pause, unless the partition is led elsewhere by then
	blamed     place     // where it was led when the failure came that the pause is for
	lastErr    error
	alarmAt    time.Time // the earliest alarm that is set; zero without one
	troubled   bool      // OnRetry has been told of a failure, and not that it is over
	abandoned  bool
}

func newProducerPartition(t *producerTopic, index int32) *producerPartition {
	return &producerPartition{topic: t, index: index, who: nobody, spent: nobody, sentTo: wire.NoHint, blamed: wire.NoHint}
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
	if pp.abandoned {
		return
	}
	at := now()
	if pp.moved(at) || pp.recovering {
		return // answered goes on, or the alarm that moved has set
	}
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
	m := p.client.meta.Load()
	t := m.topics[pp.topic.name]
	if t == nil || t.err != nil {
		return pp.later(at, wire.NoHint, wire.UnknownTopicOrPartition)
	}
	addr, led := m.leader(t.name, t.id, pp.index)
	if at.Before(pp.notBefore) && led == pp.blamed {
		pp.setAlarm(pp.notBefore)
		return false
	}
	if addr == "" {
		return pp.later(at, led, wire.LeaderNotAvailable)
	}
	c := p.client.connTo(addr)
	if c == nil {
		c = p.client.relay(addr, at)
	}
	if c == nil {
		// A dial that is under way kicks the partition; a pause between dials does not.
		pause, err := p.client.unconnected(addr, at)
		pp.setAlarm(at.Add(pause))
		if err != nil {
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
	b.attempt++
	attempt := b.attempt
	done := func(f wire.Frame, err error) { pp.answered(b, attempt, t, f, err) }
	send := c.send
	if p.cfg.Acks == AcksNone {
		send = c.sendOnly
	}
	b.answered = false
	if err := send(wire.KindProduce, &req, b.data, done); err != nil {
		return pp.later(at, led, err)
	}
	pp.sentTo = led
	pp.queue = pp.queue[1:]
	pp.inFlight = append(pp.inFlight, b)
	return true
}

// maxHeadBytes is more than a produce frame has besides the batch.
const maxHeadBytes = 256

// later notes why nothing can be sent now, asks for metadata, and pauses.
func (pp *producerPartition) later(at time.Time, led place, err error) bool {
	pp.failures++
	pp.blamed = led
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
		pp.topic.producer.client.retried(pp.topic.name, pp.index, err)
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
		if b.lent {
			b.data = bytes.Clone(b.data)
		}
		record.SetProducer(b.data, b.who.Producer, b.who.Epoch, b.sequence)
	}
	return true
}
