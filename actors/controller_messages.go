package actors

import (
	"github.com/asynkron/protoactor-go/actor"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// Messages to and from the controller, and between it and its children.

// propose asks the controller to decide a command. It gets exactly one reply, or none if the controller
// has stopped before it came to the message: whoever asks must also watch for that.
type propose struct {
	command metadata.Command
	reply   chan<- proposed // of capacity 1; nil if nobody on this broker waits
	remote  *remoteAsker    // who waits on another broker, or nil
}

// remoteAsker is who has sent a wire.Propose.
type remoteAsker struct {
	from *actor.PID
	id   uint64
}

// proposed answers propose. With err nil the reply is the command's own, which may be a refusal, and the broker
// actor has made its effect visible here.
type proposed struct {
	reply any
	err   error
	open  bool // with an error: the command was already in the log, and may yet be committed

	decided bool // with an error: another broker did decide, but when that can be seen here is not known
}

// refuse answers that nothing came of a command.
func (p *propose) refuse(ctx actor.Context, err error) {
	if p.reply != nil {
		p.reply <- proposed{err: err}
	}
	if p.remote != nil {
		ctx.Send(p.remote.from, &wire.Proposed{ID: p.remote.id, Err: err})
	}
}

// leaveOpen answers that the controller lost its place before it knew what came of a command.
func (p *propose) leaveOpen(ctx actor.Context) {
	if p.reply != nil {
		p.reply <- proposed{err: wire.NotController, open: true}
	}
	if p.remote != nil {
		ctx.Send(p.remote.from, &wire.Proposed{ID: p.remote.id, Err: wire.RequestTimedOut})
	}
}

// awaitIndex has the controller call reached, by way of the broker actor, once the image of this broker
// has come to an index.
type awaitIndex struct {
	index   uint64
	reached func() // does not block
}

// handOver asks a controller that leads to let another voter lead.
type handOver struct{}

// imageApplied tells the broker actor that entries of the metadata log were applied, and who waited for
// them: it brings the broker to the new image, and then calls the replies in order. Without a
// change there are only replies.
type imageApplied struct {
	image      *metadata.Image
	delta      metadata.Delta // since the image sent before
	index      uint64         // that the image stands for
	controller wire.BrokerID  // who leads, as far as is known
	replies    []func()       // none of them blocks
}

// controllerFailed tells the broker actor why the controller has ended, and is to be stopped.
type controllerFailed struct{ err error }

// metadataDiskError says that the metadata log could not be read or written. Unless the disk was
// only full, nothing on it is tried again.
type metadataDiskError struct{ cause error }

func (e *metadataDiskError) Error() string { return e.cause.Error() }
func (e *metadataDiskError) Unwrap() error { return e.cause }

// stepRaft is a raft message from another voter.
type stepRaft struct{ message *raftpb.Message }

// pumpRaft is the controller's reminder to see what raft wants done. It goes to the end of the
// mailbox, so that all that is queued by then is stepped first and written together.
type pumpRaft struct{}

// raftTick is raft's clock. The next one is armed when one is handled: ticks never queue.
type raftTick struct{}

// walOpened tells the controller what the metadata log holds.
type walOpened struct {
	state storage.WALState
	err   error
}

// appendToWAL asks the metadata log to make durable what a MsgStorageAppend carries.
type appendToWAL struct{ message *raftpb.Message }

// keepCommit asks the metadata log to remember that all up to index is committed. Raft asks for that only
// along with other things, since a leader would tell it anew. But a change of the voters counts once it is
// applied: voters that restart without their leader, and have forgotten that it was committed, would take
// themselves for learners and elect nobody.
type keepCommit struct{ index uint64 }

// flushWAL is the metadata log's reminder to write all that is queued under one sync.
type flushWAL struct{}

// walAppended answers a number of appendToWAL, in their order.
type walAppended struct{ messages []*raftpb.Message }

// encodeSnapshot asks for the image in bytes.
type encodeSnapshot struct {
	image    *metadata.Image
	metadata *raftpb.SnapshotMetadata
}

// encodeForObserver asks for the image in bytes for a broker that observes.
type encodeForObserver struct {
	image *metadata.Image
	index uint64
	to    *actor.PID
	reply *wire.MetadataFetched // but for the data
}

// saveSnapshot asks the metadata log to keep a snapshot.
type saveSnapshot struct{ snapshot *raftpb.Snapshot }

// snapshotSaved answers saveSnapshot.
type snapshotSaved struct{ snapshot *raftpb.Snapshot }

// walFailed tells the controller that the metadata log cannot be written any more.
type walFailed struct{ err error }

// killActor makes an actor panic. Those who try out what happens then send it.
type killActor struct{}
