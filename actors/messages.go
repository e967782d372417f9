package actors

import (
	"github.com/troupe-mq/troupe/cluster/replica"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// Messages between the actors of one broker. Those that a connection's goroutine waits for carry
// a reply channel of capacity 1.

// becomeLeader tells a replica to lead in an epoch of the metadata log. An epoch that it was
// told of before, or an older one, is ignored.
type becomeLeader struct {
	leadership replica.Leadership
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

// park makes a replica wake w once something is readable at or beyond an offset.
type park struct {
	w      *wire.Waiter
	beyond wire.Offset
}

// unpark forgets w.
type unpark struct{ w *wire.Waiter }

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

// deadlineTick is a replica's reminder that a parked producer's time may be up.
type deadlineTick struct{}

// replicaReady tells the topic actor that a replica leads, or that its log cannot be opened.
type replicaReady struct {
	partition int32
	run       uint64
	epoch     wire.LeaderEpoch
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
