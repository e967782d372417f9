package actors

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// This file is how a shard appends what its groups emit.

// groupEmitted is what came of one event of a group: records to append, and the answers that wait for these or
// for earlier ones.
type groupEmitted struct {
	run     *groupRun
	number  uint64 // of the emission with records, counted by its coordinator; the last one's where there are none
	records []group.Record
	answers []heldAnswer
	gone    bool // nothing is left of the group once the records are committed
}

// heldAnswer is an answer that is not to be known yet.
type heldAnswer struct {
	to     chan<- wire.GroupReply // of capacity 1, and empty
	answer wire.GroupReply
}

// offsetsAppends is the batches of a shard that are not committed.
type offsetsAppends struct {
	queue    []*offsetsBatch // the first one is on its way, if onItsWay
	onItsWay bool
	numbered uint64 // the last batch
	done     uint64 // the last one that is committed
	free     []*offsetsBatch
	retry    *time.Timer
}

// offsetsBatch becomes one record batch: all of it is in the log, or nothing.
type offsetsBatch struct {
	number  uint64
	since   time.Time   // when it was first tried
	end     wire.Offset // of the log, when it was tried last
	builder record.Builder
	emitted []emission // the last one of each group
	answers []heldAnswer
}

type emission struct {
	run    *groupRun
	number uint64
	gone   bool
}

// offsetsAppended is the outcome of an append.
type offsetsAppended struct {
	batch *offsetsBatch
	reply wire.ProduceReply
}

// appendTick tries again to append what the leader has refused.
type appendTick struct{ batch *offsetsBatch }

const (
	// maxOffsetsBatch is the size from which on a batch takes nothing more. What one event of a group emits is never
	// divided, so that a batch may be larger.
	maxOffsetsBatch = 1 << 20
	// appendPatience is how long a batch may take to be committed: longer than a follower that does not answer stays in
	// sync. Kafka: offsets.commit.timeout.ms, 5 s, after which the caller is told so and the group goes on.
	appendPatience = 15 * time.Second
	// appendPause is the pause before a batch that was refused is tried again.
	appendPause = 50 * time.Millisecond
	// keptBatches is how many batches are kept to be used again.
	keptBatches = 2
)

// onEmitted queues records, and answers whatever waits for nothing.
func (s *groupsShard) onEmitted(ctx actor.Context, msg *groupEmitted) {
	if s.children[msg.run.pid.Id] != msg.run || s.run.over() {
		return // its coordinator has ended, and the callers know
	}
	if len(msg.records) == 0 {
		s.hold(msg)
		return
	}
	b := s.batchFor(msg.records)
	now := s.now().UnixMilli()
	before := b.builder.Len()
	for _, r := range msg.records {
		b.builder.Append(now, r.Key, r.Value, nil)
	}
	s.run.queued.Add(int64(b.builder.Len() - before))
	b.add(msg)
	s.metrics.groupRecords(msg.records)
	s.flush(ctx)
}

// add notes whose records a batch has, and the answers that wait for it.
func (b *offsetsBatch) add(msg *groupEmitted) {
	e := emission{run: msg.run, number: msg.number, gone: msg.gone}
	if msg.run.lastBatch == b.number {
		b.emitted[msg.run.place] = e
	} else {
		msg.run.lastBatch, msg.run.place = b.number, len(b.emitted)
		b.emitted = append(b.emitted, e)
	}
	b.answers = append(b.answers, msg.answers...)
}

// hold keeps answers back until the last records of their group are committed.
func (s *groupsShard) hold(msg *groupEmitted) {
	for _, b := range s.appends.queue {
		if b.number == msg.run.lastBatch {
			b.emitted[msg.run.place].gone = msg.gone
			b.answers = append(b.answers, msg.answers...)
			return
		}
	}
	for _, a := range msg.answers {
		a.to <- a.answer
	}
}

// batchFor returns the batch that takes records: the last one in the queue, if it has room and is not on its way.
func (s *groupsShard) batchFor(records []group.Record) *offsetsBatch {
	a := &s.appends
	if n := len(a.queue); n > 1 || n == 1 && !a.onItsWay {
		last := a.queue[n-1]
		bytes := last.builder.Len()
		for _, r := range records {
			bytes += len(r.Key) + len(r.Value)
		}
		if bytes <= maxOffsetsBatch {
			return last
		}
	}
	var b *offsetsBatch
	if n := len(a.free); n > 0 {
		b, a.free = a.free[n-1], a.free[:n-1]
	} else {
		b = new(offsetsBatch)
	}
	a.numbered++
	b.number = a.numbered
	b.builder.Reset(record.None, 0, false)
	a.queue = append(a.queue, b)
	return b
}

// flush sends the first batch to the partition's leader, which is an actor of this broker, unless one is on its way.
func (s *groupsShard) flush(ctx actor.Context) {
	a := &s.appends
	if a.onItsWay || len(a.queue) == 0 {
		return
	}
	b := a.queue[0]
	if b.since.IsZero() {
		b.since = s.now()
	}
	a.onItsWay, b.end = true, s.log.EndOffset()
	batch := b.builder.Finish(wire.NoProducer, -1, -1)
	buffer := wire.NewBuffer(len(batch)) // the leader patches it, and followers may read it later on
	copy(buffer.Bytes, batch)
	flight := &appending{shard: ctx.Self(), send: s.send, batch: b, landed: make(chan struct{})}
	s.run.flight.Store(flight)
	m, pid := s.run.part.door.enterNow(&wire.Produce{
		Topic: s.run.part.tp.Topic, Partition: s.run.part.tp.Partition, Acks: wire.AcksAll, Deadline: b.since.Add(appendPatience),
		Batches: buffer.Bytes, Buffer: buffer, Done: flight,
	}, s.run.epoch)
	if m != nil {
		s.send(pid, m)
	}
}

// appending tells the shard the outcome of an append. It implements wire.ProduceDone.
type appending struct {
	shard *actor.PID
	send  func(to *actor.PID, message any)
	batch *offsetsBatch
	// landed is closed when the outcome is known: whatever comes of it in the log is there by then.
	landed chan struct{}
}

func (a *appending) ProduceDone(_ int, reply wire.ProduceReply) {
	close(a.landed)
	a.send(a.shard, &offsetsAppended{batch: a.batch, reply: reply})
}

// onAppended answers whoever waited for a batch.
func (s *groupsShard) onAppended(ctx actor.Context, msg *offsetsAppended) {
	a, b := &s.appends, msg.batch
	if s.run.over() || len(a.queue) == 0 || a.queue[0] != b {
		return
	}
	if err := msg.reply.Err; err != nil {
		if s.nothingOf(b, err) && s.now().Sub(b.since) < appendPatience {
			self := ctx.Self()
			a.retry = time.AfterFunc(appendPause, func() { s.send(self, &appendTick{batch: b}) })
			return
		}
		s.fail(ctx, fmt.Errorf("append what groups emitted: %w", err))
		return
	}
	a.queue[0] = nil
	a.queue = a.queue[1:]
	a.onItsWay, a.done = false, b.number
	s.end = msg.reply.BaseOffset + wire.Offset(b.builder.Count())
	s.run.queued.Add(-int64(b.builder.Len() - record.HeaderBytes))
	s.flush(ctx)
	for _, e := range b.emitted {
		e.run.committed.Store(e.number)
		if e.gone && !e.run.over() {
			ctx.Send(e.run.pid, &groupSettled{})
		}
	}
	for _, answer := range b.answers {
		answer.to <- answer.answer
	}
	a.reuse(b)
	s.refoldAppended(ctx)
}

// nothingOf says that an append has failed and left nothing of a batch in the log, for a reason that may pass: too few
// replicas are in sync, the disk is full, others have too much on its way.
func (s *groupsShard) nothingOf(b *offsetsBatch, err error) bool {
	switch wire.Code(err) {
	case wire.NotEnoughReplicas, wire.KafkaStorageError, wire.ThrottlingQuotaExceeded:
		return s.log.EndOffset() == b.end
	default:
		return false
	}
}

func (s *groupsShard) onAppendTick(ctx actor.Context, msg *appendTick) {
	if a := &s.appends; !s.run.over() && len(a.queue) > 0 && a.queue[0] == msg.batch {
		a.onItsWay = false
		s.flush(ctx)
	}
}

// reuse keeps the memory of a batch, unless it is a large one.
func (a *offsetsAppends) reuse(b *offsetsBatch) {
	if len(a.free) >= keptBatches || b.builder.Len() > 2*maxOffsetsBatch {
		return
	}
	clear(b.emitted)
	clear(b.answers)
	b.emitted, b.answers, b.since = b.emitted[:0], b.answers[:0], time.Time{}
	a.free = append(a.free, b)
}

func (a *offsetsAppends) stop() {
	if a.retry != nil {
		a.retry.Stop()
	}
}
