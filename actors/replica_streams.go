package actors

import (
	"errors"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/replica"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/peer"
)

// This file is how a leading replica sends its log to its followers: each produced batch at once to
// those who are at the tail, in the same bytes; and to those who are behind, what the log has, read
// outside of the actor so that a slow disk holds up nobody.

// streams is a leader's account of what it sends. Whom to send what is the rules' business.
type streams struct {
	all       []*stream // in the order of the replicas, without this one
	tick      *time.Timer
	tickAt    time.Time // when the rules are to look at the clock; zero: no leaderTick is armed
	announce  *time.Timer
	announced bool // an announceTick is armed
}

// stream is what is sent to one follower.
type stream struct {
	broker   wire.BrokerID
	pid      *actor.PID
	inFlight int          // bytes sent and not acknowledged
	sent     []sentAppend // oldest first
	reading  bool         // a catchUpRead is on its way
	full     bool         // the link has no room; it says when it has
	adding   bool         // a reassignment brings the follower in: it is filled at a limited rate
}

type sentAppend struct {
	end   wire.Offset
	bytes int
}

const (
	// streamWindow bounds what is on its way to one follower of one partition. What is produced
	// beyond goes out later, from the log, in larger pieces.
	streamWindow = 8 << 20
	// catchUpBytes is how much of the log is read at once.
	catchUpBytes = 1 << 20
	// throttleLook is how often a follower that is filled at a limited rate has its turn.
	throttleLook = 500 * time.Millisecond
	// announceInterval is how long a follower may wait for a high watermark that moved without
	// anything to send.
	announceInterval = 5 * time.Millisecond
	// minTickPause keeps ticks apart that are due already.
	minTickPause = 10 * time.Millisecond
	// readAgainAfter is how long a log is left alone that could not be read for a follower.
	readAgainAfter = time.Second
)

// follow takes who the followers are, and returns the streams that begin: another run of a broker is
// another stream.
func (s *streams) follow(msg *becomeLeader) (begun []*stream) {
	before := s.all
	s.all = nil
	for i, pid := range msg.replicas {
		id := msg.leadership.Replicas[i]
		if id == msg.leadership.Self || pid == nil {
			continue
		}
		next := &stream{broker: id, pid: pid}
		for _, old := range before {
			if old.broker == id && old.pid.Address == pid.Address {
				next = old
			}
		}
		next.adding = slices.Contains(msg.adding, id)
		if s.all = append(s.all, next); !slices.Contains(before, next) {
			begun = append(begun, next)
		}
	}
	return begun
}

// meet tells the rules whether there is a link to followers that are new in an epoch: it may have
// come up before the image told of that run.
func (r *replicaActor) meet(begun []*stream) {
	for _, s := range begun {
		if r.linked(s.pid) {
			r.perform(r.leader.LinkUp(s.broker, r.now()))
		} else {
			r.leader.LinkDown(s.broker)
		}
	}
}

func (s *streams) of(b wire.BrokerID) *stream {
	for _, st := range s.all {
		if st.broker == b {
			return st
		}
	}
	return nil
}

// end forgets everything, at the end of an epoch.
func (s *streams) end() {
	if s.tick != nil {
		s.tick.Stop()
	}
	if s.announce != nil {
		s.announce.Stop()
	}
	*s = streams{}
}

// restart forgets what was sent: it is lost, or will be answered anew.
func (s *stream) restart() {
	s.inFlight, s.sent, s.full = 0, nil, false
}

// sendTo sends a Probe or a Truncate. What was sent before it does not count any more.
func (r *replicaActor) sendTo(m replica.Directed) {
	s := r.streams.of(m.To)
	if s == nil {
		return
	}
	s.restart()
	if err := r.remotes.post(s.pid, r.self.Id, m.Message); errors.Is(err, peer.ErrDown) {
		r.leader.LinkDown(m.To)
	}
}

// pushTail sends a batch that was just appended to all whose logs end where it begins.
func (r *replicaActor) pushTail(m *produceMsg, end wire.Offset) {
	for _, s := range r.streams.all {
		from, _, due := r.leader.Due(s.broker)
		if !due || from != m.base || s.reading || s.full || s.inFlight >= streamWindow {
			continue
		}
		buffer := m.Buffer
		if buffer != nil {
			buffer.Retain()
		}
		r.sendAppend(s, m.Batches, buffer, end, r.leader.LeaderEpoch())
	}
}

// streamAll reads on for all who are behind.
func (r *replicaActor) streamAll() {
	for _, s := range r.streams.all {
		r.catchUp(s)
	}
}

// catchUp reads what follows for a follower that is behind the tail, if there is room for it.
func (r *replicaActor) catchUp(s *stream) {
	from, _, due := r.leader.Due(s.broker)
	if !due || s.reading || s.full || s.inFlight >= streamWindow {
		return
	}
	s.reading = true
	read := &catchUpRead{generation: r.generation, epoch: r.epoch, broker: s.broker, from: from}
	log, end, self, send := r.log, r.log.EndOffset(), r.self, r.send
	job := func() {
		read.buffer, read.next, read.lastEpoch, read.err = log.ReadBuffer(from, end, catchUpBytes)
		send(self, read)
	}
	if s.adding {
		if pause := r.reassignments.wait(r.now()); pause > 0 {
			// Nothing was read: it is tried again then. The rate may have been changed by that time.
			time.AfterFunc(min(pause, throttleLook), func() { send(self, read) })
			return
		}
	}
	r.background(job)
}

func (r *replicaActor) onCatchUpRead(msg *catchUpRead) {
	s := r.streams.of(msg.broker)
	if s == nil || msg.generation != r.generation || msg.epoch != r.epoch {
		msg.buffer.Release()
		return
	}
	s.reading = false
	from, _, due := r.leader.Due(msg.broker)
	switch {
	case msg.err != nil:
		r.logger.Error("log cannot be read for a follower", "peer", msg.broker, "offset", msg.from, "err", msg.err)
		r.streams.tickAtLatest(r, r.now().Add(readAgainAfter)) // which tries again
		return
	case !due || from != msg.from || msg.buffer == nil:
		msg.buffer.Release()
	default:
		if s.adding {
			r.reassignments.spend(len(msg.buffer.Bytes), r.now())
		}
		r.sendAppend(s, msg.buffer.Bytes, msg.buffer, msg.next, msg.lastEpoch)
	}
	r.catchUp(s)
}

// sendAppend sends batches that end at next, and hands their buffer over.
func (r *replicaActor) sendAppend(s *stream, batches []byte, buffer *wire.Buffer, next wire.Offset, lastEpoch wire.LeaderEpoch) {
	m := &wire.Append{Batches: batches, Buffer: buffer}
	r.leader.Header(s.broker, m)
	switch err := r.remotes.post(s.pid, r.self.Id, m); {
	case err == nil:
		r.leader.Sent(s.broker, next, lastEpoch)
		if len(batches) > 0 {
			s.sent = append(s.sent, sentAppend{next, len(batches)})
			s.inFlight += len(batches)
		}
	case errors.Is(err, peer.ErrFull):
		s.full = true
	default:
		r.leader.LinkDown(s.broker)
		s.restart()
	}
}

func (r *replicaActor) onAppended(m *wire.Appended) {
	if s := r.streams.of(m.Sender); s != nil {
		done := 0
		for done < len(s.sent) && s.sent[done].end <= m.LogEndOffset {
			s.inFlight -= s.sent[done].bytes
			done++
		}
		if s.sent = s.sent[done:]; len(s.sent) == 0 {
			s.sent = nil
		}
	}
	r.perform(r.leader.Acknowledged(m, r.now()))
	if s := r.streams.of(m.Sender); s != nil {
		r.catchUp(s)
	}
}

func (r *replicaActor) onLinkUp(msg *linkUp) {
	if s := r.streams.of(msg.broker); s != nil && s.pid.Address == addressOf(msg.broker, msg.incarnation) {
		s.restart()
		r.perform(r.leader.LinkUp(msg.broker, r.now()))
	}
}

func (r *replicaActor) onLinkDown(msg *linkDown) {
	if s := r.streams.of(msg.broker); s != nil && s.pid.Address == addressOf(msg.broker, msg.incarnation) {
		s.restart()
		r.leader.LinkDown(msg.broker)
		r.streams.arm(r, false)
	}
}

func (r *replicaActor) onLinkRoom(msg *linkRoom) {
	if s := r.streams.of(msg.broker); s != nil {
		s.full = false
		r.catchUp(s)
		r.streams.arm(r, r.leader.Announce(s.broker))
	}
}

// arm sees to it that the rules look at the clock again while something is under way, and that
// followers hear of a high watermark that nothing else brings them.
func (s *streams) arm(r *replicaActor, announce bool) {
	if next := r.leader.NextTick(); !next.IsZero() {
		s.tickAtLatest(r, next)
	}
	if announce && !s.announced {
		self, send, epoch := r.self, r.send, r.epoch
		s.announced = true
		s.announce = time.AfterFunc(announceInterval, func() { send(self, &announceTick{epoch}) })
	}
}

// tickAtLatest has the rules look at the clock at some time, if they do not before.
func (s *streams) tickAtLatest(r *replicaActor, at time.Time) {
	if !s.tickAt.IsZero() && !at.Before(s.tickAt) {
		return
	}
	if s.tick != nil {
		s.tick.Stop()
	}
	self, send, epoch := r.self, r.send, r.epoch
	s.tickAt = at
	s.tick = time.AfterFunc(max(at.Sub(r.now()), minTickPause), func() { send(self, &leaderTick{epoch}) })
}

func (r *replicaActor) onLeaderTick(msg *leaderTick) {
	if msg.epoch != r.epoch {
		return
	}
	r.streams.tickAt = time.Time{}
	effects := r.leader.Tick(r.now())
	effects.Stream = true // what could not be read or sent before
	r.perform(effects)
}

func (r *replicaActor) onAnnounceTick(msg *announceTick) {
	if msg.epoch != r.epoch {
		return
	}
	r.streams.announced = false
	for _, s := range r.streams.all {
		if !r.leader.Announce(s.broker) || s.full {
			continue
		}
		m := &wire.Append{}
		r.leader.Header(s.broker, m)
		r.sendAppend(s, nil, nil, m.PrevOffset, m.PrevEpoch)
	}
}
