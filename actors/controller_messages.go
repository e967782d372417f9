package actors

import (
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
)

// Messages to and from the controller, and between it and its children.

// propose asks the controller to decide a command. It gets exactly one reply, or none if the controller
// has stopped before it came to the message: whoever asks must also watch for that.
type propose struct {
	command metadata.Command
	reply   chan<- proposed // of capacity 1
}

// proposed answers propose. With err nil the reply is the command's own, which may be a refusal, and the broker
// actor has made its effect visible here. wire.NotController: the outcome is unknown if the command
// was already in the log.
type proposed struct {
	reply any
	err   error
}

// imageApplied tells the broker actor that entries of the metadata log were applied, and who waited for
// them: it brings the broker to the new image, and then calls the replies in order. Without a
// change there are only replies.
type imageApplied struct {
	image   *metadata.Image
	delta   metadata.Delta // since the image sent before
	index   uint64         // of the last entry applied
	replies []func()       // none of them blocks
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

// flushWAL is the metadata log's reminder to write all that is queued under one sync.
type flushWAL struct{}

// walAppended answers a number of appendToWAL, in their order.
type walAppended struct{ messages []*raftpb.Message }

// encodeSnapshot asks for the image in bytes.
type encodeSnapshot struct {
	image    *metadata.Image
	metadata *raftpb.SnapshotMetadata
}

// saveSnapshot asks the metadata log to keep a snapshot.
type saveSnapshot struct{ snapshot *raftpb.Snapshot }

// snapshotSaved answers saveSnapshot.
type snapshotSaved struct{ snapshot *raftpb.Snapshot }

// walFailed tells the controller that the metadata log cannot be written any more.
type walFailed struct{ err error }
