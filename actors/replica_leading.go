package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/replica"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

func (r *replicaActor) leading(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *produceMsg:
		r.onProduce(msg)
	case *logSynced:
		r.onLogSynced(msg)
	case *park:
		r.onPark(msg)
	case *deadlineTick:
		r.onDeadline()
	case *applyRetention:
		r.onApplyRetention()
	case *expireProducers:
		r.onExpireProducers()
	case *deleteRecords:
		r.onDeleteRecords(msg)
	case *describeProducers:
		msg.reply <- r.producers.States()
	case *becomeLeader:
		r.onBecomeLeader(ctx, msg)
	default:
		r.any(ctx)
	}
}

// onProduce appends, or says why not. With acks=all the answer waits for the high watermark; a
// duplicate of an idempotent batch waits like its original.
func (r *replicaActor) onProduce(m *produceMsg) {
	err := r.leader.Admit(m.Acks)
	var head record.Header
	if err == nil {
		head, err = record.ParseHeader(m.Batches)
	}
	if err == nil && head.HasProducer() {
		duplicate, isDuplicate, refusal := r.producers.Check(batchOf(head))
		if isDuplicate {
			m.Buffer.Release()
			r.metrics.duplicate()
			m.base = duplicate.LastOffset - wire.Offset(duplicate.OffsetDelta)
			r.settle(m, duplicate.LastOffset+1)
			return
		}
		err = refusal
	}
	var end wire.Offset
	if err == nil {
		m.base, end, err = r.log.Append(m.Batches, r.leader.LeaderEpoch())
	}
	m.Buffer.Release()
	if err != nil {
		r.metrics.refuse(wire.Code(err))
		m.answer(refused(err))
		return
	}
	if head.HasProducer() {
		r.producers.Appended(batchOf(head), m.base, r.now().UnixMilli())
	}
	r.accounted = end
	r.partition.bytesIn.Add(m.bytes)
	r.partition.recordsIn.Add(int64(end - m.base))
	effects := r.leader.Appended(end, r.now())
	r.settle(m, end)
	r.perform(effects)
}

// settle answers a batch that is in the log up to end, or parks it until it may be answered.
func (r *replicaActor) settle(m *produceMsg, end wire.Offset) {
	if m.Acks != wire.AcksAll || end <= r.leader.HighWatermark() {
		r.acknowledge(m)
		return
	}
	r.parked.Add(end, m.Deadline, m)
	if r.deadline == nil && !m.Deadline.IsZero() {
		r.remind(m.Deadline)
	}
}

func (r *replicaActor) acknowledge(m *produceMsg) {
	m.answer(wire.ProduceReply{BaseOffset: m.base, LogStartOffset: r.leader.LogStartOffset(), Leader: wire.NoHint})
}

// perform carries out what the rules decided: persist, publish, answer, wake.
func (r *replicaActor) perform(effects replica.Effects) {
	if effects.Sync {
		r.log.RequestSync()
	}
	if !effects.Advanced {
		return
	}
	r.log.SetHighWatermark(effects.HighWatermark)
	r.publish()
	for {
		m, ok := r.parked.Next(effects.HighWatermark)
		if !ok {
			break
		}
		r.acknowledge(m)
	}
	for w, beyond := range r.waiters {
		if beyond < effects.HighWatermark {
			delete(r.waiters, w)
			w.Wake()
		}
	}
}

// onLogSynced hears from the directory's syncer. A failed fsync has taken the directory offline:
// nothing that was not acknowledged ever will be.
func (r *replicaActor) onLogSynced(msg *logSynced) {
	if msg.generation != r.generation {
		return
	}
	if msg.err != nil {
		r.failParked(wire.Errorf(wire.KafkaStorageError, "the log directory is offline"))
		return
	}
	r.perform(r.leader.Synced(msg.upTo))
}

func (r *replicaActor) onPark(msg *park) {
	if msg.beyond < r.leader.HighWatermark() {
		msg.w.Wake()
		return
	}
	if r.waiters == nil {
		r.waiters = make(map[*wire.Waiter]wire.Offset)
	}
	r.waiters[msg.w] = msg.beyond
}

func (r *replicaActor) remind(at time.Time) {
	self, send := r.self, r.send
	r.deadline = time.AfterFunc(at.Sub(r.now()), func() { send(self, &deadlineTick{}) })
}

func (r *replicaActor) onDeadline() {
	r.deadline = nil
	expired, next := r.parked.Expire(r.now())
	for _, m := range expired {
		m.answer(refused(wire.RequestTimedOut))
	}
	if !next.IsZero() {
		r.remind(next)
	}
}

func (r *replicaActor) onApplyRetention() {
	start, _, err := r.log.ApplyRetention(r.now(), r.leader.HighWatermark())
	if err != nil {
		r.logger.Error("retention failed", "err", err)
		return
	}
	r.startMoved(start)
}

// producerExpiry is how long an idempotent producer may be silent before it is forgotten
// (producer.id.expiration.ms).
const producerExpiry = 24 * time.Hour

func (r *replicaActor) onExpireProducers() {
	if expired := r.producers.Expire(r.now().Add(-producerExpiry).UnixMilli()); expired > 0 {
		r.logger.Debug("producers expired", "count", expired)
	}
}

func (r *replicaActor) onDeleteRecords(msg *deleteRecords) {
	before, err := r.leader.CheckDelete(msg.before)
	if err == nil {
		err = r.log.AdvanceStart(before)
	}
	if err != nil {
		msg.reply <- deletedRecords{start: wire.NoOffset, err: err}
		return
	}
	r.startMoved(before)
	msg.reply <- deletedRecords{start: before}
}

func (r *replicaActor) startMoved(start wire.Offset) {
	if start > r.leader.LogStartOffset() {
		r.perform(r.leader.StartMoved(start))
		r.publish()
	}
}
