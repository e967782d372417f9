package replica

import (
	"fmt"

	"github.com/troupe-mq/troupe/wire"
)

// Leadership is what the metadata image says of a partition to the broker that leads it.
type Leadership struct {
	Self           wire.BrokerID
	LeaderEpoch    wire.LeaderEpoch
	PartitionEpoch wire.PartitionEpoch
	Replicas       []wire.BrokerID
	ISR            []wire.BrokerID
	MinISR         int  // min.insync.replicas of the topic
	Fsync          bool // durability=fsync: a replica has what it has flushed
}

// LogState is where the log stands when leading begins.
type LogState struct {
	Start, End, Flushed wire.Offset
	// HighWatermark is the last one known, from a checkpoint or from having followed.
	HighWatermark wire.Offset
}

// Leader is the rules of the replica that leads a partition in one leader epoch.
//
// An ISR of one is the whole of it so far: the leader alone says what is committed. What further
// members will change is confined to safe.
type Leader struct {
	leadership    Leadership
	epochStart    wire.Offset
	start         wire.Offset
	end           wire.Offset
	flushed       wire.Offset
	highWatermark wire.Offset
}

// NewLeader begins an epoch on a log. The high watermark never starts above the log's end: a log
// that lost its unflushed tail has committed no more than it holds.
func NewLeader(leadership Leadership, log LogState) (*Leader, Effects) {
	l := &Leader{
		leadership:    leadership,
		epochStart:    log.End,
		start:         log.Start,
		end:           log.End,
		flushed:       log.Flushed,
		highWatermark: max(log.Start, min(log.HighWatermark, log.End)),
	}
	l.check()
	effects := l.advance()
	effects.Sync = leadership.Fsync && l.flushed < l.end
	return l, effects
}

// LeaderEpoch is the epoch that the rules lead in.
func (l *Leader) LeaderEpoch() wire.LeaderEpoch { return l.leadership.LeaderEpoch }

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

// Appended is told that the leader's own log now ends at end.
func (l *Leader) Appended(end wire.Offset) Effects {
	if end < l.end {
		panic(fmt.Sprintf("replica: the log end went back from %d to %d", l.end, end))
	}
	l.end = end
	effects := l.advance()
	effects.Sync = l.leadership.Fsync
	return effects
}

// Synced is told that all below upTo is durable in the leader's own log. One that comes late
// changes nothing.
func (l *Leader) Synced(upTo wire.Offset) Effects {
	l.flushed = max(l.flushed, min(upTo, l.end))
	return l.advance()
}

// StartMoved is told that the log now starts at start, by retention or because records were
// deleted. It is never moved beyond the high watermark: CheckDelete says no before.
func (l *Leader) StartMoved(start wire.Offset) Effects {
	l.start = max(l.start, start)
	l.check()
	return Effects{}
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

// Configure takes a changed min.insync.replicas.
func (l *Leader) Configure(minISR int) Effects {
	l.leadership.MinISR = minISR
	return l.advance()
}

func (l *Leader) advance() Effects {
	safe := l.safe()
	if !l.enough() || safe <= l.highWatermark {
		return Effects{}
	}
	l.highWatermark = safe
	l.check()
	return Effects{Advanced: true, HighWatermark: safe}
}

// safe is the end of what every member of the in-sync replicas has, in the topic's own terms.
func (l *Leader) safe() wire.Offset {
	if l.leadership.Fsync {
		return l.flushed
	}
	return l.end
}

func (l *Leader) needed() int { return min(max(l.leadership.MinISR, 1), len(l.leadership.Replicas)) }

func (l *Leader) enough() bool { return len(l.leadership.ISR) >= l.needed() }

func (l *Leader) check() {
	if l.start > l.highWatermark || l.highWatermark > l.end || l.flushed > l.end {
		panic(fmt.Sprintf("replica: log start %d, high watermark %d, flushed %d, log end %d in leader epoch %d",
			l.start, l.highWatermark, l.flushed, l.end, l.leadership.LeaderEpoch))
	}
}
