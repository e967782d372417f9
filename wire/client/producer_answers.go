package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// answered takes the answer to a batch, or the loss of its connection. It runs on the goroutine
// of the connection.
func (pp *producerPartition) answered(b *batch, attempt int, t *topic, f wire.Frame, err error) {
	reply := wire.ProduceReply{BaseOffset: wire.NoOffset, Leader: wire.NoHint}
	if err == nil && f.Body != nil {
		if err = parseAnswer(f, wire.KindProduce, &reply); err == nil {
			err = reply.Err
		}
	}
	pp.mu.Lock()
	defer pp.mu.Unlock()
	if pp.abandoned || b.attempt != attempt || b.answered {
		return // nobody waits for it any more: see moved
	}
	b.answered = true
	client := pp.topic.producer.client
	if !client.hint(t.name, t.id, pp.index, reply.Leader) && err != nil && staleMetadata(err) {
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
	pp.recovering, pp.movedAt = false, time.Time{}
	if pp.anew {
		pp.beginAnew()
	}
	pp.failures++
	pp.blamed = pp.sentTo
	pp.notBefore = now().Add(pp.topic.producer.client.backoff(pp.failures))
}

// answerGrace is how long a leader that has been replaced may take to answer what it was sent. It
// usually refuses it at once; one that the others have lost does not know.
const answerGrace = 200 * time.Millisecond

var errMoved = fmt.Errorf("%w: the partition is led by another broker now", errConnection)

// moved says that what is in flight went to a broker that leads no more: nothing is sent to the next
// one before it has been answered, or left unanswered for answerGrace. Then it goes out again, like
// after a lost connection.
func (pp *producerPartition) moved(at time.Time) bool {
	if len(pp.inFlight) == 0 {
		pp.movedAt = time.Time{}
		return false
	}
	t := pp.topic
	m := t.producer.client.meta.Load()
	known := m.topics[t.name]
	if known == nil {
		return false
	}
	addr, led := m.leader(t.name, known.id, pp.index)
	switch {
	case addr == "" || led.Broker == pp.sentTo.Broker || led.LeaderEpoch <= pp.sentTo.LeaderEpoch:
		return false
	case pp.movedAt.IsZero():
		pp.movedAt = at
	}
	if grace := pp.movedAt.Add(answerGrace); at.Before(grace) {
		pp.setAlarm(grace)
		return true
	}
	for _, b := range pp.inFlight {
		if !b.answered && !b.settled {
			b.answered, b.lent = true, true
			pp.judge(b, wire.NoOffset, errMoved)
		}
	}
	pp.proceed()
	return false
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
