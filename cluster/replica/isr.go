package replica

import (
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// propose asks for the in-sync replicas as they should be, if they are not so and nothing else has
// been asked for.
//
// A follower may join when it has all that is committed and all that the leader began its epoch with:
// the high watermark of a new leader may be an old one. It joins in the incarnation that has
// acknowledged this, and no other (KIP-903), and in a copy that stays: a broker whose image is behind may
// yet hear that the copy was taken off the assignment. That raises the leader epoch, so that a broker which has heard of
// this epoch has heard of it.
func (l *Leader) propose(now time.Time, effects *Effects) {
	if l.pending != nil || !l.mayPropose() {
		return
	}
	changes := false
	for i := range l.followers {
		f := &l.followers[i]
		changes = changes || !f.inSync && l.qualifies(f) || f.inSync && l.lags(f, now)
	}
	if !changes {
		return
	}
	p := &Proposal{LeaderEpoch: l.leadership.LeaderEpoch, PartitionEpoch: l.leadership.PartitionEpoch}
	for i, b := range l.leadership.Replicas {
		f := l.find(b)
		switch {
		case f == nil:
			p.ISR = append(p.ISR, Member{b, l.leadership.Incarnations[i]})
		case f.inSync && l.lags(f, now):
			p.Leaving = append(p.Leaving, b)
		case f.inSync:
			p.ISR = append(p.ISR, Member{b, f.registered})
		case l.qualifies(f):
			f.joining = true
			p.ISR = append(p.ISR, Member{b, f.incarnation})
			p.Joining = append(p.Joining, b)
		}
	}
	l.pending, l.askedAt = p, now
	effects.Propose = p
}

// mayPropose says whether a proposal can be accepted at all: not if a member that stays is shut out. The
// image will say soon what becomes of it. The leader itself may be shutting down: it goes on until
// somebody has joined who can take over.
func (l *Leader) mayPropose() bool {
	for i := range l.followers {
		if f := &l.followers[i]; f.inSync && !f.eligible {
			return false
		}
	}
	return true
}

func (l *Leader) qualifies(f *follower) bool {
	return f.eligible && f.linked && f.matched && f.confirmed && f.incarnation == f.registered &&
		l.acknowledged(f) >= max(l.highWatermark, l.epochStart)
}

// lags says that a member has for too long not acknowledged an end that the leader's log had. Time
// begins when that end was reached, and is taken by samples: the next end is looked at when this
// one has been acknowledged. Where all is acknowledged there is no clock.
//
// Kafka: a follower that cannot be reached is given as long as a slow one.
func (l *Leader) lags(f *follower, now time.Time) bool {
	return f.awaiting && now.Sub(f.since) > l.patience(f)
}

// patience is how long a member may not acknowledge something. One without a link will not, and all
// producers wait for it; a link that only broke for a moment is back before.
func (l *Leader) patience(f *follower) time.Duration {
	if f.linked {
		return l.leadership.MaxLag
	}
	return min(l.leadership.MaxLag, unlinkedLag)
}

const unlinkedLag = time.Second

// Tick does what time brings: members that lag are proposed for removal, what was not answered is
// asked again, and so is a proposal, as it was. NextTick says when.
func (l *Leader) Tick(now time.Time) (effects Effects) {
	for i := range l.followers {
		if f := &l.followers[i]; f.linked && !now.Before(l.nextQuestion(f)) {
			l.probe(f, now, &effects)
		}
	}
	if l.pending != nil && !now.Before(l.askedAt.Add(repeatAfter)) {
		l.askedAt = now
		effects.Propose = l.pending
	}
	l.propose(now, &effects)
	return effects
}

// never is later than any tick.
var never = time.Unix(1<<60, 0)

// nextQuestion is when a linked follower is to be asked again where it stands. One that was matched in
// another incarnation than the registered one cannot join: it was a late word of a process that
// is gone, or the image is about to tell of it. One whose image is behind says so itself when it no longer is, and is
// asked all the same: for what it says may be lost, and there may be nothing else for it to say.
func (l *Leader) nextQuestion(f *follower) time.Time {
	switch {
	case !f.streaming || f.incarnation != f.registered:
		return f.askedAt.Add(repeatAfter << min(max(f.asked-1, 0), maxDoubling))
	case l.acknowledged(f) < f.sent || !f.confirmed:
		return f.movedAt.Add(min(stalledAfter, l.leadership.MaxLag/2))
	}
	return never
}

// NextTick returns when Tick has something to do. It is zero while there is no clock running at all:
// where everything is acknowledged and answered.
func (l *Leader) NextTick() time.Time {
	next := never
	sooner := func(at time.Time) {
		if at.Before(next) {
			next = at
		}
	}
	for i := range l.followers {
		f := &l.followers[i]
		if f.linked {
			sooner(l.nextQuestion(f))
		}
		if f.inSync && f.awaiting && l.pending == nil && l.mayPropose() {
			sooner(f.since.Add(l.patience(f) + 1))
		}
	}
	if l.pending != nil {
		sooner(l.askedAt.Add(repeatAfter))
	}
	if next.Equal(never) {
		return time.Time{}
	}
	return next
}

// Idle says that no tick is needed.
func (l *Leader) Idle() bool { return l.NextTick().IsZero() }

// Pending returns the proposal of unknown outcome, or nil.
func (l *Leader) Pending() *Proposal { return l.pending }

// Follower returns what a leader knows of a broker's log: how far it is acknowledged, and whether
// it is matched at all.
func (l *Leader) Follower(b wire.BrokerID) (end, flushed wire.Offset, matched bool) {
	f := l.find(b)
	if f == nil || !f.matched {
		return wire.NoOffset, wire.NoOffset, false
	}
	return f.end, f.flushed, true
}
