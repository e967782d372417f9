package replica

import (
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// follower is what a leader knows of another replica.
//
//	unmatched --Position, its log is a prefix of the leader's--> matched, streaming
//	   ^   |                                                        |
//	   |   +--Position, it is not--> Truncate, and a Position again |
//	   |                                                            v
//	   +--another run speaks------------------------ matched, probed: a new link, or no progress;
//	                                                 what it acknowledged goes on counting
type follower struct {
	broker     wire.BrokerID
	registered wire.Incarnation // as the image has it
	eligible   bool             // may be proposed for the ISR
	inSync     bool             // is in the committed ISR
	joining    bool             // would be in the pending one

	linked bool

	// A run of the follower's replica, and what that has of this leader's log. It only grows, so that
	// a late or repeated acknowledgement is harmless.
	matched      bool
	confirmed    bool // it will not be deleted by what its image has not heard yet
	incarnation  wire.Incarnation
	run          uint64
	end, flushed wire.Offset
	start        wire.Offset // when it was matched

	// The stream: all below sent was handed to the link, the last batch of it in sentEpoch.
	streaming     bool
	sent          wire.Offset
	sentEpoch     wire.LeaderEpoch
	sentWatermark wire.Offset // the newest high watermark that was sent; NoOffset: none
	sentStart     wire.Offset

	asked     int       // how often, since it last answered
	askedAt   time.Time // when it was probed, or told to truncate, last
	ordered   wire.Truncate
	orderedAt time.Time
	movedAt   time.Time // when it last acknowledged more, or began to have something to acknowledge
	awaited   wire.Offset
	awaiting  bool      // awaited is not acknowledged yet
	since     time.Time // when the leader's log ended at awaited
}

// repeatAfter is how long an answer may be outstanding before the question is asked again, and at
// first before a follower is probed again; it then waits twice as long each time, up to sixteen
// times. Nothing is lost on a link that lives, so that this is rare: a broker whose image does not
// have the partition yet, a controller that failed.
const (
	repeatAfter = 500 * time.Millisecond
	maxDoubling = 4
)

// stalledAfter is how long a follower that was sent something may not acknowledge any of it before
// the leader asks where it stands, or half of the time after which it is removed from the ISR for
// that, if this is sooner. A slow disk answers with where it stood, and nothing is sent twice.
const stalledAfter = 2 * time.Second

// Epochs is what matching needs to know of a log: the largest epoch that is not above one, and where
// it ends. *storage.Log has it.
type Epochs interface {
	EpochEnd(epoch wire.LeaderEpoch) wire.EpochEnd
}

// Outranks says whether a message of a leader makes a replica follow its sender: whatever the
// replica is, and before its own image says so. A lower epoch is the past and is ignored.
func Outranks(own, other wire.LeaderEpoch) bool { return other > own }

// takeReplicas takes over who the followers are, and what the image says of each.
func (l *Leader) takeReplicas(next Leadership, now time.Time, effects *Effects) {
	followers := make([]follower, 0, len(next.Replicas))
	for i, b := range next.Replicas {
		if b == next.Self {
			continue
		}
		f := l.find(b)
		isNew := f == nil
		if isNew {
			f = &follower{broker: b, linked: true}
			f.forget()
		}
		if i < len(next.Incarnations) {
			f.registered = next.Incarnations[i]
		}
		f.eligible = i < len(next.Eligible) && next.Eligible[i]
		if inSync := slices.Contains(next.ISR, b); inSync != f.inSync {
			f.inSync, f.awaiting = inSync, false // who joins has all of the time that a member has
			f.await(l, now)
		}
		f.joining = l.pending != nil && slices.Contains(l.pending.Joining, b)
		followers = append(followers, *f)
		if isNew {
			f = &followers[len(followers)-1]
			f.await(l, now)
			l.probe(f, now, effects)
		}
	}
	l.followers = followers
}

func (l *Leader) find(b wire.BrokerID) *follower {
	for i := range l.followers {
		if l.followers[i].broker == b {
			return &l.followers[i]
		}
	}
	return nil
}

// forget takes back all that is known of the follower's log: another run of its replica speaks now.
func (f *follower) forget() {
	f.matched, f.streaming, f.confirmed = false, false, false
	f.incarnation, f.run = 0, 0
	f.end, f.flushed, f.start = wire.NoOffset, wire.NoOffset, wire.NoOffset
}

// LinkUp is told that a link to a broker began. Nothing that was sent before counts: the follower is
// asked where it stands.
func (l *Leader) LinkUp(b wire.BrokerID, now time.Time) (effects Effects) {
	if f := l.find(b); f != nil {
		f.linked, f.asked = true, 0
		l.probe(f, now, &effects)
	}
	return effects
}

// LinkDown is told that there is no link to a broker: nothing is sent to it.
func (l *Leader) LinkDown(b wire.BrokerID) {
	if f := l.find(b); f != nil {
		f.linked, f.streaming = false, false
	}
}

// probe stops a stream and asks the follower where it stands.
func (l *Leader) probe(f *follower, now time.Time, effects *Effects) {
	f.streaming = false
	f.asked, f.askedAt = f.asked+1, now
	effects.Send = append(effects.Send, Directed{f.broker, &wire.Probe{
		Topic: l.leadership.Topic, Partition: l.leadership.Partition, LeaderEpoch: l.leadership.LeaderEpoch,
	}})
}

// Positioned takes a follower's word on where its log ends, and begins to stream if that log is a
// prefix of the leader's: when the leader has the follower's last epoch too, and it goes on there at
// least to the follower's end. Otherwise the follower is told what to cut (KIP-101, KIP-279). Who
// ends below the leader's log start has nothing that can be gone on from, and begins anew there.
func (l *Leader) Positioned(m *wire.Position, log Epochs, now time.Time) (effects Effects) {
	f := l.find(m.Sender)
	if f == nil || m.LeaderEpoch != l.leadership.LeaderEpoch || m.LogStartOffset < 0 ||
		m.LogEndOffset < m.LogStartOffset || m.FlushedOffset > m.LogEndOffset {
		return Effects{}
	}
	same := f.matched && f.incarnation == m.Incarnation && f.run == m.Run
	if same && (f.streaming || m.LogEndOffset < f.end) {
		l.confirm(f, m.Confirmed, now, &effects)
		return effects // a late answer
	}
	f.asked = 0
	if !same {
		f.forget()
		f.await(l, now)
	}
	if order := l.compare(m, log); order != nil {
		if *order == f.ordered && now.Sub(f.orderedAt) < repeatAfter {
			return Effects{} // it was told so a moment ago
		}
		f.ordered, f.orderedAt, f.askedAt = *order, now, now
		effects.Send = append(effects.Send, Directed{f.broker, order})
		return effects
	}
	f.matched, f.incarnation, f.run = true, m.Incarnation, m.Run
	f.confirmed = f.confirmed || m.Confirmed
	f.end, f.flushed = max(f.end, m.LogEndOffset), max(f.flushed, m.FlushedOffset)
	f.start = m.LogStartOffset
	f.streaming, f.movedAt = f.linked, now
	f.sent, f.sentEpoch = m.LogEndOffset, m.LastEpoch
	f.sentWatermark, f.sentStart = wire.NoOffset, wire.NoOffset
	l.progressed(f, now, &effects)
	return effects
}

// compare returns what a follower has to cut, or nil if its log is a prefix of the leader's. That it was
// one before says nothing: the Position may be a late one, from before that.
func (l *Leader) compare(m *wire.Position, log Epochs) *wire.Truncate {
	order := &wire.Truncate{
		Topic: l.leadership.Topic, Partition: l.leadership.Partition, LeaderEpoch: l.leadership.LeaderEpoch,
		Incarnation: m.Incarnation, Run: m.Run, LastEpoch: wire.NoEpoch,
	}
	// Whose log ends in the epoch of an unclean election or later was cut then.
	order.Unclean = l.leadership.UncleanEpoch > 0 && m.LastEpoch < l.leadership.UncleanEpoch
	common := log.EpochEnd(m.LastEpoch)
	empty := m.LastEpoch == wire.NoEpoch
	switch {
	case m.LogEndOffset < l.start:
		order.To, order.Reset = l.start, true
	case empty && m.LogEndOffset <= l.end:
		return nil // nothing in it can be another
	case empty:
		order.To, order.Reset = l.end, true
	case common.LeaderEpoch == m.LastEpoch && m.LogEndOffset <= common.EndOffset:
		return nil
	case common.LeaderEpoch == wire.NoEpoch || common.EndOffset < l.start || common.EndOffset < m.LogStartOffset:
		// What both have in common, if anything, lies before one of the logs begins.
		order.To, order.Reset = max(l.start, min(common.EndOffset, l.end)), true
	default:
		order.To, order.LastEpoch = min(common.EndOffset, m.LogEndOffset), common.LeaderEpoch
	}
	return order
}

// Acknowledged takes a follower's progress. It counts for the run that was matched, and for no
// other: another one has to be matched first.
func (l *Leader) Acknowledged(m *wire.Appended, now time.Time) (effects Effects) {
	f := l.find(m.Sender)
	if f == nil || m.LeaderEpoch != l.leadership.LeaderEpoch || m.LogEndOffset > l.end || m.FlushedOffset > m.LogEndOffset {
		return Effects{}
	}
	if !f.matched || f.incarnation != m.Incarnation || f.run != m.Run {
		return Effects{}
	}
	if m.LogEndOffset <= f.end && m.FlushedOffset <= f.flushed {
		l.confirm(f, m.Confirmed, now, &effects)
		return effects
	}
	f.confirmed = f.confirmed || m.Confirmed
	f.end, f.flushed = max(f.end, m.LogEndOffset), max(f.flushed, m.FlushedOffset)
	f.movedAt = now
	if f.streaming && f.sent < f.end {
		l.probe(f, now, &effects) // it has more than this stream brought, and after which epoch is not said
	}
	l.progressed(f, now, &effects)
	return effects
}

// confirm takes a follower's word that its image has reached this epoch, after which it may join.
func (l *Leader) confirm(f *follower, confirmed bool, now time.Time, effects *Effects) {
	if confirmed && !f.confirmed {
		f.confirmed = true
		l.propose(now, effects)
	}
}

// progressed draws the conclusions from what a follower has acknowledged.
func (l *Leader) progressed(f *follower, now time.Time, effects *Effects) {
	if f.awaiting && l.acknowledged(f) >= f.awaited {
		f.awaiting = false
		f.await(l, now)
	}
	l.advance(effects)
	if !f.inSync {
		l.propose(now, effects)
	}
	l.look(effects)
}

// Lacking returns the followers whose logs begin above the leader's, so that nobody may be sent there to
// read; normally nil. One that led once may have been alone in deleting records.
func (l *Leader) Lacking() (lacking []wire.BrokerID) {
	for i := range l.followers {
		if f := &l.followers[i]; f.start > l.start {
			lacking = append(lacking, f.broker)
		}
	}
	return lacking
}

// acknowledged is how far a follower counts. Nothing counts before it is matched.
func (l *Leader) acknowledged(f *follower) wire.Offset {
	if !f.matched {
		return wire.NoOffset
	}
	return l.has(f.end, f.flushed)
}

// await starts the clock on the leader's present end, unless one is running or there is nothing to
// acknowledge.
func (f *follower) await(l *Leader, now time.Time) {
	if f.awaiting || l.acknowledged(f) >= l.end {
		return
	}
	f.awaiting, f.awaited, f.since = true, l.end, now
}

// look says whether some follower is due, or is to be told something.
func (l *Leader) look(effects *Effects) {
	for i := range l.followers {
		f := &l.followers[i]
		effects.Stream = effects.Stream || l.due(f)
		effects.Announce = effects.Announce || l.announce(f)
	}
}

func (l *Leader) due(f *follower) bool { return f.streaming && f.sent < l.end }

func (l *Leader) announce(f *follower) bool {
	return f.streaming && f.sent == l.end && (f.sentWatermark < l.highWatermark || f.sentStart < l.start)
}

// Due says whether there is more of the log to send to a broker, and where it goes on: after the
// batch that ends at from, which is of prevEpoch.
func (l *Leader) Due(b wire.BrokerID) (from wire.Offset, prevEpoch wire.LeaderEpoch, due bool) {
	f := l.find(b)
	if f == nil || !l.due(f) {
		return 0, wire.NoEpoch, false
	}
	return f.sent, f.sentEpoch, true
}

// Announce says whether a follower to which nothing is due knows an older high watermark or log
// start than the leader's: an empty Append is to be sent.
func (l *Leader) Announce(b wire.BrokerID) bool {
	f := l.find(b)
	return f != nil && l.announce(f)
}

// Header fills in all of the next Append to a broker but its batches.
func (l *Leader) Header(b wire.BrokerID, m *wire.Append) {
	f := l.find(b)
	m.Topic, m.Partition, m.LeaderEpoch = l.leadership.Topic, l.leadership.Partition, l.leadership.LeaderEpoch
	m.Incarnation, m.Run = f.incarnation, f.run
	m.PrevOffset, m.PrevEpoch = f.sent, f.sentEpoch
	m.HighWatermark, m.LogStartOffset = l.highWatermark, l.start
}

// Sent is told that an Append with the Header as it is was handed to the link, with batches up to
// upTo, the last one of lastEpoch. One without batches ends where it begins.
func (l *Leader) Sent(b wire.BrokerID, upTo wire.Offset, lastEpoch wire.LeaderEpoch) {
	f := l.find(b)
	if upTo > f.sent {
		f.sent, f.sentEpoch = upTo, lastEpoch
	}
	f.sentWatermark, f.sentStart = l.highWatermark, l.start
}

// Unacknowledged returns what a follower was sent and has not acknowledged: nothing unless it is
// streamed to.
func (l *Leader) Unacknowledged(b wire.BrokerID) (from, upTo wire.Offset) {
	f := l.find(b)
	if f == nil || !f.streaming {
		return 0, 0
	}
	return min(l.acknowledged(f), f.sent), f.sent
}
