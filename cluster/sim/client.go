package sim

import (
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// producer is a client that sends one batch after the other to a partition, and each again and
// again until it is acknowledged. Most are idempotent and ask for acks=all; what the others send
// is tail for elections to disagree about.
type producer struct {
	w         *World
	id        wire.ProducerID // below zero: not idempotent
	partition int
	acks      wire.Acks
	sequence  wire.Sequence
	current   *request
	leader    wire.BrokerID // who answered last; NoBroker: nobody

	acknowledgedSince int // the cluster began to heal
}

// request is a batch on its way.
type request struct {
	of       *producer
	b        batch
	offset   wire.Offset
	attempts int
}

func newProducer(w *World, i int) *producer {
	p := &producer{w: w, id: wire.ProducerID(i), partition: i % w.profile.Partitions, acks: wire.AcksAll, leader: wire.NoBroker}
	if i > 0 && w.Chance(40) {
		p.id, p.acks = wire.ProducerID(-1-i), wire.AcksLeader
	}
	p.think()
	return p
}

func (p *producer) idempotent() bool { return p.id >= 0 }

// think pauses before the next batch.
func (p *producer) think() {
	p.w.At(p.w.Between(5*time.Millisecond, 120*time.Millisecond), nil, func() {
		if p.w.stopped() {
			return
		}
		q := &request{of: p, b: batch{producer: p.id, sequence: p.sequence, count: int32(1 + p.w.Random.IntN(3))}}
		p.sequence = p.sequence.Next(q.b.count)
		p.current = q
		p.try(q)
	})
}

// try sends a batch to whom it takes for the leader, and again if there is no answer.
func (p *producer) try(q *request) {
	w := p.w
	q.attempts++
	attempt := q.attempts
	to := p.leader // as long as it answers
	if to == wire.NoBroker {
		to = w.controller.partition(p.partition).Leader
	}
	if w.Chance(10) || to == wire.NoBroker {
		to = w.machines[w.Random.IntN(len(w.machines))].id
	}
	m := w.machines[to-1]
	w.At(w.Between(100*time.Microsecond, 4*time.Millisecond), nil, func() {
		if m.process == nil {
			return
		}
		w.At(0, &m.process.Process, func() { m.process.produce(q) })
	})
	w.At(w.Between(300*time.Millisecond, 1500*time.Millisecond), nil, func() {
		if p.current == q && q.attempts == attempt {
			p.leader = wire.NoBroker
			p.try(q)
		}
	})
}

// answered is told what became of a batch; answers get lost as well.
func (q *request) answered(by wire.BrokerID, ok bool) {
	p := q.of
	w := p.w
	w.At(w.Between(100*time.Microsecond, 4*time.Millisecond), nil, func() {
		if p.current != q || w.Chance(2) && !w.Calm {
			return
		}
		p.leader = by
		if !ok {
			p.leader = wire.NoBroker
			attempt := q.attempts
			w.At(w.Between(20*time.Millisecond, 200*time.Millisecond), nil, func() {
				if p.current == q && q.attempts == attempt {
					p.try(q)
				}
			})
			return
		}
		p.current = nil
		if w.Calm {
			p.acknowledgedSince++
		}
		p.think()
	})
}

// produce is what a broker does with a batch.
func (p *process) produce(q *request) {
	r := p.replicas[q.of.partition]
	if r == nil || r.leader == nil || r.log.cutting || r.leader.Admit(q.of.acks) != nil {
		q.answered(p.machine.id, false)
		return
	}
	if q.of.idempotent() {
		duplicate, isDuplicate, err := r.producers.Check(producerBatch(q.b))
		if isDuplicate {
			p.machine.w.stats.Duplicates++
			at := *q
			at.offset = duplicate.LastOffset - wire.Offset(duplicate.OffsetDelta)
			if p.machine.w.mutant == DuplicateAcknowledgedAtOnce {
				r.acknowledge(&at)
				return
			}
			r.settle(&at, duplicate.LastOffset+1)
			return
		}
		if err != nil {
			r.note("refuses %+v: %v", q.b, err)
			if r.w.truths[r.partition].off {
				q.of.id += 1000 // what it had acknowledged is lost: it begins anew
				q.b.producer = q.of.id
			}
			q.answered(p.machine.id, false)
			return
		}
	}
	at := *q
	at.b.base, at.b.epoch, at.offset = r.log.cache.end, r.epoch, r.log.cache.end
	r.log.cache.append(at.b)
	r.producers.Appended(producerBatch(at.b), at.offset, 0)
	p.machine.w.stats.Appends++
	r.note("appends %+v", at.b)
	effects := r.leader.Appended(at.b.next(), p.machine.clock())
	r.perform(effects)
	r.settle(&at, at.b.next())
	r.mutateAppended()
}

func (r *replicaShell) settle(q *request, end wire.Offset) {
	if q.of.acks != wire.AcksAll || end <= r.leader.HighWatermark() {
		r.acknowledge(q)
		return
	}
	r.parked.Add(end, time.Time{}, q)
}

func (r *replicaShell) acknowledge(q *request) {
	if q.of.acks == wire.AcksAll {
		r.w.truths[r.partition].acknowledged(identity{q.b.producer, q.b.sequence}, q.offset)
	}
	q.of.currentAnswered(q, r.machine().id, true)
}

// currentAnswered passes an answer on to the request that was asked last with that batch.
func (p *producer) currentAnswered(q *request, by wire.BrokerID, ok bool) {
	if p.current != nil && p.current.b.sequence == q.b.sequence {
		p.current.answered(by, ok)
	}
}

func (r *replicaShell) answerParked() {
	for {
		q, ok := r.parked.Next(r.leader.HighWatermark())
		if !ok {
			return
		}
		r.acknowledge(q)
	}
}

func (r *replicaShell) failParked() {
	for _, q := range r.parked.Drain() {
		q.of.currentAnswered(q, r.machine().id, false)
	}
}
