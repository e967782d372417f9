package actors

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/wire"
)

// door stands before a replica's mailbox. It bounds the bytes in flight, and it remembers every
// Produce that has no answer yet: what is queued in an actor that stops vanishes without a trace,
// so the door answers in its place.
//
// It is used by the connections' goroutines (enter), by the replica actor (leave) and by the
// topic actor (open, shut); hence the lock.
type door struct {
	mu       sync.Mutex
	changed  sync.Cond // room was made, or the door opened or shut
	state    doorState
	why      error // what everyone is told while it is shut
	hint     wire.LeaderHint
	pid      *actor.PID // while open
	inFlight int64      // bytes
	limit    int64
	first    produceMsg // sentinel of the ring of messages without an answer

	moved func() // told whenever the door was opened or shut; nil where nobody wants to know
}

type doorState int8

const (
	doorWaiting doorState = iota // the first replica actor is still opening its log: wait
	doorOpen
	doorShut
)

func (d *door) init(limit int64) {
	d.changed.L = &d.mu
	d.limit = limit
	d.first.next, d.first.prev = &d.first, &d.first
}

// produceMsg is a Produce on its way through a replica's mailbox.
type produceMsg struct {
	*wire.Produce
	door       *door
	bytes      int64
	base       wire.Offset      // once appended
	fenced     bool             // it may be appended in this epoch only:
	epoch      wire.LeaderEpoch //
	prev, next *produceMsg      // in the ring of its door; nil once answered
}

var produceMsgs = sync.Pool{New: func() any { return new(produceMsg) }}

// enter takes p over and returns the message to send to pid. It waits while too much is in
// flight, unless nothing is: a batch larger than the limit passes alone. While the door is shut
// it answers p itself and returns nil.
func (d *door) enter(p *wire.Produce) (*produceMsg, *actor.PID) {
	bytes := int64(len(p.Batches))
	d.mu.Lock()
	for d.state == doorWaiting || d.state == doorOpen && d.inFlight > 0 && d.inFlight+bytes > d.limit {
		d.changed.Wait()
	}
	if d.state == doorShut {
		why, hint := d.why, d.hint
		d.mu.Unlock()
		p.Buffer.Release()
		p.Done.ProduceDone(p.Slot, wire.ProduceReply{Err: why, BaseOffset: wire.NoOffset, LogStartOffset: wire.NoOffset, Leader: hint})
		return nil, nil
	}
	m, pid := d.admit(p), d.pid
	d.mu.Unlock()
	return m, pid
}

// admit makes the message of p and puts it into the ring. The caller holds the mutex.
func (d *door) admit(p *wire.Produce) *produceMsg {
	m := produceMsgs.Get().(*produceMsg)
	m.Produce, m.door, m.bytes = p, d, int64(len(p.Batches))
	m.prev, m.next = d.first.prev, &d.first
	m.prev.next, m.next.prev = m, m
	d.inFlight += m.bytes
	return m
}

// enterNow is enter for an actor, which must not wait: too much in flight is an error. The batches are only appended
// by a leader of that epoch.
func (d *door) enterNow(p *wire.Produce, epoch wire.LeaderEpoch) (*produceMsg, *actor.PID) {
	d.mu.Lock()
	refusal := refused(wire.NotLeaderOrFollower)
	switch {
	case d.state != doorOpen:
	case d.inFlight > 0 && d.inFlight+int64(len(p.Batches)) > d.limit:
		refusal.Err = wire.ThrottlingQuotaExceeded
	default:
		m, pid := d.admit(p), d.pid
		m.fenced, m.epoch = true, epoch
		d.mu.Unlock()
		return m, pid
	}
	d.mu.Unlock()
	p.Buffer.Release()
	p.Done.ProduceDone(p.Slot, refusal)
	return nil, nil
}

// leave takes m out of the ring; false says that it was answered already.
func (d *door) leave(m *produceMsg) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.next == nil {
		return false
	}
	m.prev.next, m.next.prev = m.next, m.prev
	m.prev, m.next = nil, nil
	d.inFlight -= m.bytes
	d.changed.Broadcast()
	return true
}

// answer gives the one reply to m and ends it. Only the replica actor calls it.
func (m *produceMsg) answer(reply wire.ProduceReply) {
	if !m.door.leave(m) {
		return // the door has answered; the message is left to the garbage collector
	}
	p := m.Produce
	*m = produceMsg{}
	produceMsgs.Put(m)
	p.Done.ProduceDone(p.Slot, reply)
}

// open lets messages through to the replica actor pid.
func (d *door) open(pid *actor.PID) {
	d.mu.Lock()
	d.state, d.pid = doorOpen, pid
	d.changed.Broadcast()
	d.mu.Unlock()
	d.tell()
}

func (d *door) tell() {
	if d.moved != nil {
		d.moved()
	}
}

// shut answers everyone who waits, and everyone who comes until the door opens again, with why.
func (d *door) shut(why error, hint wire.LeaderHint) {
	d.mu.Lock()
	d.state, d.why, d.hint, d.pid = doorShut, why, hint, nil
	var waiting []*produceMsg
	for m := d.first.next; m != &d.first; {
		next := m.next
		m.prev, m.next = nil, nil
		waiting = append(waiting, m)
		m = next
	}
	d.first.next, d.first.prev = &d.first, &d.first
	d.inFlight = 0
	d.changed.Broadcast()
	d.mu.Unlock()
	d.tell()
	for _, m := range waiting {
		m.Done.ProduceDone(m.Slot, wire.ProduceReply{Err: why, BaseOffset: wire.NoOffset, LogStartOffset: wire.NoOffset, Leader: hint})
	}
}

// bytesInFlight is for the metrics.
func (d *door) bytesInFlight() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inFlight
}

// address is the replica actor behind the door, or nil.
func (d *door) address() *actor.PID {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pid
}

// reason says why there is no view of the partition, and who may have one.
func (d *door) reason() (wire.LeaderHint, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state == doorShut {
		return d.hint, d.why
	}
	return wire.NoHint, wire.NotLeaderOrFollower
}
