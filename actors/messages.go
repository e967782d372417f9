package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/replica"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// Messages between the actors of one broker. Those that a connection's goroutine waits for carry
// a reply channel of capacity 1.

// becomeLeader tells a replica what the metadata log says of the epoch that it leads in. What is
// older than what it knows is ignored.
type becomeLeader struct {
	leadership replica.Leadership
	replicas   []*actor.PID // parallel to leadership.Replicas; nil for this one
	adding     []wire.BrokerID
}

// becomeFollower tells a replica who leads; wire.NoBroker, and no PID, when nobody does.
type becomeFollower struct {
	leadership replica.Leadership
	leader     wire.BrokerID
	pid        *actor.PID
	// unconfirmed says that it is a message of the leader that says so, and the image not yet.
	unconfirmed bool
}

// configure tells a replica of a changed topic configuration.
type configure struct {
	log    storage.LogConfig
	minISR int
}

// logOpened is the outcome of opening a replica's log.
type logOpened struct {
	log       *storage.Log
	producers *replica.Producers // recovered from it
	err       error
}

// logSynced is posted by the directory's syncer. Another generation's is dropped.
type logSynced struct {
	generation uint64
	upTo       wire.Offset
	err        error
}

type deleteRecords struct {
	before wire.Offset
	reply  chan<- deletedRecords
}

type deletedRecords struct {
	start wire.Offset
	err   error
}

type describeProducers struct {
	reply chan<- []wire.ProducerState
}

// applyRetention asks a replica to drop what its topic no longer keeps.
type applyRetention struct{}

// expireProducers asks a replica to forget the idempotent producers that have been silent for long.
type expireProducers struct{}

// logCut is posted by the directory's syncer once a log has been cut.
type logCut struct{ storage.Cut }

// producersRecovered carries what a log that was cut tells of its producers.
type producersRecovered struct {
	generation uint64
	producers  *replica.Producers
	err        error
}

// catchUpRead is what was read of a log for a follower that is behind its tail.
type catchUpRead struct {
	generation uint64
	epoch      wire.LeaderEpoch // that it was read in
	broker     wire.BrokerID    // for whom
	buffer     *wire.Buffer
	from, next wire.Offset
	lastEpoch  wire.LeaderEpoch // of the last batch
	err        error
}

// leaderTick has the rules of a leader look at the clock.
type leaderTick struct{ epoch wire.LeaderEpoch }

// announceTick has a leader tell followers of a high watermark that nothing else brings them.
type announceTick struct{ epoch wire.LeaderEpoch }

// deadlineTick is a replica's reminder that a parked producer's time may be up.
type deadlineTick struct{}

// replicaReady tells the topic actor that a replica has its log open, that it leads, or that its
// log cannot be used.
type replicaReady struct {
	partition int32
	run       uint64
	epoch     wire.LeaderEpoch // that it leads in, or NoEpoch
	lost      bool             // the log ends before what was durable
	err       error
}

// logClosed tells the topic actor that nobody uses the log of a replica that ended any more, so
// that the next one may open it.
type logClosed struct {
	partition int32
	run       uint64
	removed   bool // from the disk, its topic being gone
}

// respawnTick ends the pause before a replica is spawned again.
type respawnTick struct {
	partition int32
	run       uint64
}

// epochAsked is the outcome of asking the metadata log for a new leader epoch.
type epochAsked struct {
	partition int32
	run       uint64
	err       error
}

// partitionReady tells the broker actor that a partition can be used, or that it is known not to.
type partitionReady struct{ tp wire.TopicPartition }

// replicaLost tells the broker actor that a replica cannot be used before the next start.
type replicaLost struct{ tp wire.TopicPartition }
