package replica

import (
	"fmt"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// Leadership is what the metadata image says of a partition to the broker that leads it.
type Leadership struct {
	Self           wire.BrokerID
	Topic          wire.TopicID
	Partition      int32
	LeaderEpoch    wire.LeaderEpoch
	PartitionEpoch wire.PartitionEpoch
	Replicas       []wire.BrokerID
	// Incarnations and Eligible say of each of the Replicas in which incarnation its broker is
	// registered, and whether it may be proposed for the ISR: unfenced, not shutting down, its
	// replica usable.
	Incarnations []wire.Incarnation
	Eligible     []bool
	ISR          []wire.BrokerID
	// MinISR is min.insync.replicas, less where a reassignment is bringing replicas in: the controller
	// counts on it that fewer commit nothing.
	MinISR int
	Fsync  bool // durability=fsync: a replica has what it has flushed
	// UncleanEpoch is the last epoch that was begun by an unclean election, this or an earlier one; 0:
	// there was none. A follower whose log ends before it may have what was committed then and is lost.
	UncleanEpoch wire.LeaderEpoch
	MaxLag       time.Duration // replica.lag.time.max.ms
}

// LogState is where the log stands when leading begins.
type LogState struct {
	Start, End, Flushed wire.Offset
	// HighWatermark is the last one known, from a checkpoint or from having followed.
	HighWatermark wire.Offset
}

// Leader is the rules of the replica that leads a partition in one leader epoch.
//
// What it knows of each follower, and how that is learned, is in leader_followers.go; who is in
// sync, and when the controller is asked to change that, in isr.go.
type Leader struct {
	leadership    Leadership
	epochStart    wire.Offset
	start         wire.Offset
	end           wire.Offset
	flushed       wire.Offset
	highWatermark wire.Offset

	followers []follower // one for each other replica, in their order
	pending   *Proposal  // of unknown outcome
	askedAt   time.Time  // when pending was proposed last
}

// NewLeader begins an epoch on a log, and probes every follower: nothing is known of any yet. The
// high watermark never starts above the log's end: a log that lost its unflushed tail has committed
// no more than it holds.
func NewLeader(leadership Leadership, log LogState, now time.Time) (*Leader, Effects) {
	l := &Leader{
		leadership:    leadership,
		epochStart:    log.End,
		start:         log.Start,
		end:           log.End,
		flushed:       log.Flushed,
		highWatermark: max(log.Start, min(log.HighWatermark, log.End)),
	}
	l.check()
	var effects Effects
	l.takeReplicas(leadership, now, &effects)
	l.advance(&effects)
	effects.Sync = leadership.Fsync && l.flushed < l.end
	return l, effects
}

// LeaderEpoch is the epoch that the rules lead in.
func (l *Leader) LeaderEpoch() wire.LeaderEpoch { return l.leadership.LeaderEpoch }

// PartitionEpoch is that of the newest state of the partition that the leader was told.
func (l *Leader) PartitionEpoch() wire.PartitionEpoch { return l.leadership.PartitionEpoch }

// ISR returns the committed in-sync replicas. The result is not to be changed.
func (l *Leader) ISR() []wire.BrokerID { return l.leadership.ISR }

// HighWatermark is the end of what is committed (exclusive).
func (l *Leader) HighWatermark() wire.Offset { return l.highWatermark }

// LogStartOffset is the first offset still kept.
func (l *Leader) LogStartOffset() wire.Offset { return l.start }

// CaughtUp says that the high watermark has reached the epoch's start: only from then on is the
// latest offset known (KIP-207).
func (l *Leader) CaughtUp() bool { return l.highWatermark >= l.epochStart }

// Admit says whether a batch may be appended with this many acks. acks=all needs
// min.insync.replicas in-sync replicas, or all there are if the partition has fewer.
func (l *Leader) Admit(acks wire.Acks) error {
	if acks == wire.AcksAll && !l.enough() {
		return wire.Errorf(wire.NotEnoughReplicas, "%d replicas are in sync, %d are needed", len(l.leadership.ISR), l.needed())
	}
	return nil
}

// Changed takes a newer state of the partition in the same leader epoch, or of the brokers that
// have its replicas, from the image and in the order of the metadata log. The in-sync replicas
// change in no other way: the answer to a proposal carries no state.
func (l *Leader) Changed(next Leadership, now time.Time) (effects Effects) {
	switch {
	case next.LeaderEpoch != l.leadership.LeaderEpoch:
		panic(fmt.Sprintf("replica: a leader of epoch %d is told of epoch %d", l.leadership.LeaderEpoch, next.LeaderEpoch))
	case next.PartitionEpoch < l.leadership.PartitionEpoch:
		return Effects{}
	}
	if l.pending != nil && next.PartitionEpoch > l.pending.PartitionEpoch {
		l.pending = nil // done, or void: nothing can come of it any more
	}
	l.leadership = next
	l.takeReplicas(next, now, &effects)
	l.advance(&effects)
	l.propose(now, &effects)
	l.look(&effects)
	return effects
}

// Configure takes a changed min.insync.replicas.
func (l *Leader) Configure(minISR int) (effects Effects) {
	l.leadership.MinISR = minISR
	l.advance(&effects)
	l.look(&effects)
	return effects
}

// Appended is told that the leader's own log now ends at end.
func (l *Leader) Appended(end wire.Offset, now time.Time) (effects Effects) {
	if end < l.end {
		panic(fmt.Sprintf("replica: the log end went back from %d to %d", l.end, end))
	}
	for i := range l.followers {
		if f := &l.followers[i]; l.acknowledged(f) >= l.end {
			f.movedAt = now // until now it had nothing to acknowledge
		}
	}
	l.end = end
	for i := range l.followers {
		l.followers[i].await(l, now)
	}
	effects.Sync = l.leadership.Fsync
	l.advance(&effects)
	l.look(&effects)
	return effects
}

// Synced is told that all below upTo is durable in the leader's own log. One that comes late
// changes nothing.
func (l *Leader) Synced(upTo wire.Offset) (effects Effects) {
	l.flushed = max(l.flushed, min(upTo, l.end))
	l.advance(&effects)
	l.look(&effects)
	return effects
}

// StartMoved is told that the log now starts at start, by retention or because records were
// deleted. It is never moved beyond the high watermark: CheckDelete says no before.
func (l *Leader) StartMoved(start wire.Offset) (effects Effects) {
	l.start = max(l.start, start)
	l.check()
	for i := range l.followers {
		if f := &l.followers[i]; f.streaming && f.sent < l.start {
			l.probe(f, f.askedAt, &effects) // what it needs next is gone: it has to begin anew
		}
	}
	l.look(&effects)
	return effects
}

// CheckDelete resolves and checks the offset of a DeleteRecords request.
//
// Kafka: an offset beyond the high watermark is OFFSET_OUT_OF_RANGE; -1 means the high watermark.
func (l *Leader) CheckDelete(before wire.Offset) (wire.Offset, error) {
	if before == wire.NoOffset {
		return l.highWatermark, nil
	}
	if before < 0 || before > l.highWatermark {
		return 0, wire.Errorf(wire.OffsetOutOfRange, "records may be deleted up to the high watermark %d, not %d", l.highWatermark, before)
	}
	return max(before, l.start), nil
}

// advance moves the high watermark to what is safe, while the committed ISR is large enough. A
// pending expansion raises the minimum that is taken, never the number of members that is counted.
func (l *Leader) advance(effects *Effects) {
	if !l.enough() {
		return
	}
	safe := l.safe()
	if safe <= l.highWatermark {
		return
	}
	l.highWatermark = safe
	l.check()
	effects.Advanced, effects.HighWatermark = true, safe
}

// safe is the end of what every member of the maximal ISR has: the committed one, and whoever a
// pending proposal would take in, since it may be in force before the leader hears of it.
func (l *Leader) safe() wire.Offset {
	safe := l.has(l.end, l.flushed)
	for i := range l.followers {
		if f := &l.followers[i]; f.inSync || f.joining {
			safe = min(safe, l.acknowledged(f))
		}
	}
	return safe
}

// has says how far a replica counts, in the topic's own terms.
func (l *Leader) has(end, flushed wire.Offset) wire.Offset {
	if l.leadership.Fsync {
		return flushed
	}
	return end
}

func (l *Leader) needed() int { return min(max(l.leadership.MinISR, 1), len(l.leadership.Replicas)) }

func (l *Leader) enough() bool { return len(l.leadership.ISR) >= l.needed() }

func (l *Leader) check() {
	if l.start > l.highWatermark || l.highWatermark > l.end || l.flushed > l.end {
		panic(fmt.Sprintf("replica: log start %d, high watermark %d, flushed %d, log end %d in leader epoch %d",
			l.start, l.highWatermark, l.flushed, l.end, l.leadership.LeaderEpoch))
	}
}
