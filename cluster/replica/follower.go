package replica

import (
	"fmt"

	"github.com/troupe-mq/troupe/wire"
)

// Self is who a follower is when it speaks to its leader.
type Self struct {
	Topic       wire.TopicID
	Partition   int32
	Broker      wire.BrokerID
	Incarnation wire.Incarnation
	Run         uint64 // of the replica actor; another one with every spawn in a process
}

// FollowerLog is where a follower's log stands.
type FollowerLog struct {
	Start, End, Flushed wire.Offset
	HighWatermark       wire.Offset // the last one known
	LastEpoch           wire.LeaderEpoch
}

// Follower is the rules of a replica that follows in one leader epoch.
//
//	unmatched --Append that applies--> matched: reports its ends, takes the high watermark
//	   |   ^
//	   v   | Cut
//	 cutting    a Truncate is being carried out: nothing else of this epoch counts
//
// A log may end in what the leader of this epoch does not have. So nothing is acknowledged, and no
// high watermark taken, before an Append has shown that all of it is the leader's; and nothing is
// cut afterwards, since what was acknowledged may be committed.
type Follower struct {
	self   Self
	leader wire.BrokerID // NoBroker while nobody leads
	epoch  wire.LeaderEpoch
	fsync  bool

	log         FollowerLog
	leaderStart wire.Offset // the leader's log start, as last heard in this epoch; NoOffset: not yet
	matched     bool
	cutting     bool
	// confirmed says that the image has reached this epoch. A leader may be heard before: then what the image still has to
	// tell may be that this replica is to go, even if a later one has it come again, empty.
	confirmed bool
	// reported is what the leader was last told in this epoch: how far this replica counts.
	reported wire.Offset
}

// NewFollower begins to follow a leader, or nobody, on a log. The leader is told where the log ends,
// unasked: its Probe may have come to whatever this replica was before. Confirmed says that it is the image that has it
// follow, and not a message of the leader.
func NewFollower(self Self, leader wire.BrokerID, epoch wire.LeaderEpoch, log FollowerLog, fsync, confirmed bool) (*Follower, FollowerEffects) {
	f := &Follower{self: self, leader: leader, epoch: epoch, fsync: fsync, log: log, leaderStart: wire.NoOffset, confirmed: confirmed}
	f.log.HighWatermark = max(log.Start, min(log.HighWatermark, log.End))
	f.check()
	effects := none()
	effects.Sync = fsync && log.Flushed < log.End
	effects.Reply = f.position()
	return f, effects
}

// Confirm is told that the image has reached the epoch, and tells the leader.
func (f *Follower) Confirm() FollowerEffects {
	effects := none()
	if f.confirmed {
		return effects
	}
	f.confirmed = true
	switch {
	case f.cutting: // what it tells then says so
	case f.matched:
		effects.Reply = f.appended()
	default:
		effects.Reply = f.position()
	}
	return effects
}

// Leader is who is followed, or wire.NoBroker.
func (f *Follower) Leader() wire.BrokerID { return f.leader }

// LeaderEpoch is the epoch that the rules follow in.
func (f *Follower) LeaderEpoch() wire.LeaderEpoch { return f.epoch }

// HighWatermark is the end of what is known to be committed (exclusive).
func (f *Follower) HighWatermark() wire.Offset { return f.log.HighWatermark }

// LogStartOffset is the first offset still kept.
func (f *Follower) LogStartOffset() wire.Offset { return f.log.Start }

// Gone is the offset below which the leader has nothing either, as far as this follower has heard;
// NoOffset before it has heard anything in this epoch. This log may begin above it, if the follower led once and
// was alone in deleting records.
func (f *Follower) Gone() wire.Offset { return min(f.log.Start, f.leaderStart) }

// Matched says that the whole log is known to be the leader's.
func (f *Follower) Matched() bool { return f.matched }

// Probe answers where the log ends.
func (f *Follower) Probe(m *wire.Probe) FollowerEffects {
	effects := none()
	if m.LeaderEpoch == f.epoch && !f.cutting {
		effects.Reply = f.position()
	}
	return effects
}

// Truncate cuts what the leader does not have: all from To on, and all of later epochs than
// LastEpoch, of which log, the follower's own, tells where they begin. It is obeyed only before the
// first Append that applied. An order to begin anew at the log's end or beyond is obeyed at any time:
// all that it takes away lies below the leader's log start.
//
// Going by epochs alone, never by the high watermark, is KIP-101; asking for epochs until a common one is
// found, KIP-279.
func (f *Follower) Truncate(m *wire.Truncate, log Epochs) FollowerEffects {
	effects := none()
	if !f.obeys(m.LeaderEpoch, m.Incarnation, m.Run) || m.To < 0 {
		return effects
	}
	to := m.To
	if !m.Reset {
		if end := log.EpochEnd(m.LastEpoch); end.LeaderEpoch == wire.NoEpoch {
			to = f.log.Start
		} else {
			to = max(f.log.Start, min(to, end.EndOffset))
		}
	}
	obeyed := !f.matched && to < f.log.End
	if m.Reset {
		// A log whose records were all deleted remembers the epoch of the last one, of which the leader may know nothing.
		emptied := f.log.Start == to && f.log.End == to && f.log.LastEpoch == wire.NoEpoch
		late := to < f.log.Start && !m.Unclean // the log has begun anew further on since
		obeyed = !emptied && !late && (!f.matched || to >= f.log.End)
	}
	if !obeyed {
		effects.Reply = f.position()
		return effects
	}
	cut := &Cut{To: to, Reset: m.Reset, Below: wire.NoOffset}
	if to < f.log.HighWatermark {
		if !m.Unclean {
			panic(fmt.Sprintf("replica: the leader of epoch %d has this log cut at %d, below the high watermark %d",
				f.epoch, to, f.log.HighWatermark))
		}
		cut.Below = f.log.HighWatermark
	}
	f.cutting = true
	effects.Cut = cut
	return effects
}

// Cut is told that a truncation has ended and where the log stands now. A batch that contained the
// offset is gone as a whole.
func (f *Follower) Cut(log FollowerLog) FollowerEffects {
	known := f.log.HighWatermark
	f.log, f.cutting = log, false
	f.log.HighWatermark = max(log.Start, min(known, log.End))
	f.reported = min(f.reported, f.has())
	f.check()
	effects := none()
	effects.Sync = f.fsync && log.Flushed < log.End
	effects.Reply = f.position()
	return effects
}

// Append says whether an Append applies: only if the log ends exactly where it goes on, after a batch
// of the same epoch. If it has batches, they are to be written, and Written is to be called. If it does
// not apply, nothing is written and the leader is told where the log ends.
func (f *Follower) Append(m *wire.Append) (apply bool, effects FollowerEffects) {
	effects = none()
	if !f.obeys(m.LeaderEpoch, m.Incarnation, m.Run) {
		return false, effects
	}
	if m.PrevOffset != f.log.End || m.PrevEpoch != f.log.LastEpoch {
		if f.matched {
			effects.Reply = f.appended()
		} else {
			effects.Reply = f.position()
		}
		return false, effects
	}
	if len(m.Batches) > 0 {
		return true, effects
	}
	f.accept(m, &effects)
	return true, effects
}

// Written is told that the batches of an Append are in the log, which now ends at end with a batch of
// lastEpoch.
func (f *Follower) Written(m *wire.Append, end wire.Offset, lastEpoch wire.LeaderEpoch) FollowerEffects {
	if end < f.log.End || lastEpoch < f.log.LastEpoch {
		panic(fmt.Sprintf("replica: the log went back from %d, epoch %d, to %d, epoch %d", f.log.End, f.log.LastEpoch, end, lastEpoch))
	}
	effects := none()
	f.log.End, f.log.LastEpoch = end, lastEpoch
	effects.Sync = f.fsync
	f.accept(m, &effects)
	return effects
}

// accept takes what an Append says besides its batches.
func (f *Follower) accept(m *wire.Append, effects *FollowerEffects) {
	first := !f.matched
	f.matched, f.leaderStart = true, m.LogStartOffset
	if watermark := min(m.HighWatermark, f.log.End); watermark > f.log.HighWatermark {
		f.log.HighWatermark = watermark
		effects.Advanced, effects.HighWatermark = true, watermark
	}
	// The leader may have deleted more than this log holds to be committed.
	if start := min(m.LogStartOffset, f.log.HighWatermark); start > f.log.Start {
		f.log.Start = start
		effects.LogStart = start
	}
	f.check()
	if first || f.has() > f.reported {
		effects.Reply = f.appended()
	}
}

// Synced is told that all below upTo is durable. One that comes late changes nothing.
func (f *Follower) Synced(upTo wire.Offset) FollowerEffects {
	effects := none()
	if f.cutting {
		return effects
	}
	f.log.Flushed = max(f.log.Flushed, min(upTo, f.log.End))
	if f.matched && f.has() > f.reported {
		effects.Reply = f.appended()
	}
	return effects
}

// obeys says whether a message is of this epoch and meant for this run, and may be looked at now.
func (f *Follower) obeys(epoch wire.LeaderEpoch, incarnation wire.Incarnation, run uint64) bool {
	return epoch == f.epoch && incarnation == f.self.Incarnation && run == f.self.Run && !f.cutting
}

// has is how far this replica counts, in the topic's own terms. Under fsync what is written is told
// to the leader when it is flushed: before, nothing follows from it.
func (f *Follower) has() wire.Offset {
	if f.fsync {
		return f.log.Flushed
	}
	return f.log.End
}

// position is the reply to a leader, if there is one.
func (f *Follower) position() wire.PeerMessage {
	if f.leader == wire.NoBroker {
		return nil
	}
	return &wire.Position{
		Sender: f.self.Broker, Topic: f.self.Topic, Partition: f.self.Partition,
		LeaderEpoch: f.epoch, Incarnation: f.self.Incarnation, Run: f.self.Run,
		LastEpoch: f.log.LastEpoch, LogStartOffset: f.log.Start, LogEndOffset: f.log.End, FlushedOffset: f.log.Flushed,
		Confirmed: f.confirmed,
	}
}

func (f *Follower) appended() wire.PeerMessage {
	f.reported = f.has()
	return &wire.Appended{
		Sender: f.self.Broker, Topic: f.self.Topic, Partition: f.self.Partition,
		LeaderEpoch: f.epoch, Incarnation: f.self.Incarnation, Run: f.self.Run,
		LogEndOffset: f.log.End, FlushedOffset: f.log.Flushed, Confirmed: f.confirmed,
	}
}

func none() FollowerEffects { return FollowerEffects{LogStart: wire.NoOffset} }

func (f *Follower) check() {
	if f.log.Start > f.log.HighWatermark || f.log.HighWatermark > f.log.End || f.log.Flushed > f.log.End {
		panic(fmt.Sprintf("replica: log start %d, high watermark %d, flushed %d, log end %d in leader epoch %d",
			f.log.Start, f.log.HighWatermark, f.log.Flushed, f.log.End, f.epoch))
	}
}
