package actors

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/asynkron/protoactor-go/actor"
	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
)

// metadataLog writes the metadata log for the controller, whose child it is, so that the controller never
// waits for the disk. It is the one actor that syncs in its own turn: nobody else waits for it, and
// the syncs of one log cannot overlap anyway.
//
// Group commit: an append is queued and written by a flushWAL that the actor sends to itself, behind
// all that is in the mailbox by then. So while one sync runs, whatever arrives makes up the next.
type metadataLog struct {
	cfg    controllerConfig
	logger *slog.Logger

	wal      *storage.WAL
	queue    []*raftpb.Message
	flushing bool

	hardState *raftpb.HardState // the latest that raft has asked for
	written   *raftpb.HardState // the latest in the log
	snapshot  uint64            // index of the latest snapshot in the log
}

func newMetadataLog(cfg controllerConfig) actor.Actor {
	return &metadataLog{cfg: cfg, logger: cfg.logger, hardState: &raftpb.HardState{}, written: &raftpb.HardState{}}
}

// Receive implements actor.Actor.
func (l *metadataLog) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		l.onStarted(ctx)
	case *appendToWAL:
		l.onAppend(ctx, msg)
	case *keepCommit:
		l.onKeepCommit(ctx, msg)
	case *flushWAL:
		l.onFlush(ctx)
	case *saveSnapshot:
		l.onSaveSnapshot(ctx, msg)
	case *actor.Stopped:
		l.onStopped()
	}
}

func (l *metadataLog) onStarted(ctx actor.Context) {
	wal, state, err := storage.OpenWAL(l.cfg.fs, l.cfg.dir, l.cfg.wal)
	if err != nil {
		ctx.Send(ctx.Parent(), &walOpened{err: err})
		return
	}
	l.wal = wal
	if state.IsBlank() {
		if state, err = l.begin(); err != nil {
			ctx.Send(ctx.Parent(), &walOpened{err: err})
			return
		}
	}
	if err := proto.Unmarshal(state.HardState, l.written); err != nil {
		ctx.Send(ctx.Parent(), &walOpened{err: fmt.Errorf("read the hard state of the metadata log: %w", err)})
		return
	}
	l.hardState = proto.CloneOf(l.written)
	l.snapshot = state.Snapshot.Index
	ctx.Send(ctx.Parent(), &walOpened{state: state})
}

var errBlankLog = errors.New("the directory with the metadata (" + metadataLogDir + ") must be the first --data")

// begin gives a blank log its first content. A log that has been written to is never blank again: one that
// is, though this broker belongs to a cluster, has lost votes and entries that others may count on.
func (l *metadataLog) begin() (storage.WALState, error) {
	switch {
	case l.cfg.found:
		return l.found()
	case l.cfg.join:
		mark, err := proto.Marshal(&raftpb.HardState{Commit: proto.Uint64(0)})
		if err != nil {
			return storage.WALState{}, err
		}
		return storage.WALState{HardState: mark}, l.wal.Append(mark, nil)
	}
	return storage.WALState{}, fmt.Errorf("%s holds no metadata of cluster %s: %w", filepath.Dir(l.cfg.dir), l.cfg.cluster, errBlankLog)
}

// found makes a blank log that of a cluster with one voter: its first entry is a snapshot of nothing.
func (l *metadataLog) found() (state storage.WALState, err error) {
	const first = 1
	confState := &raftpb.ConfState{Voters: []uint64{l.cfg.raftID}}
	hardState, snapshot, err := oneVoter(metadata.NewImage(), confState, first, first)
	if err != nil {
		return state, err
	}
	state = storage.WALState{HardState: hardState, Snapshot: storage.WALSnapshot{Index: first, Term: first, Data: snapshot}}
	return state, l.wal.InstallSnapshot(state.HardState, state.Snapshot)
}

func (l *metadataLog) onAppend(ctx actor.Context, msg *appendToWAL) {
	if l.wal == nil {
		return // it failed, and the controller knows
	}
	l.queue = append(l.queue, msg.message)
	if !l.flushing {
		l.flushing = true
		ctx.Send(ctx.Self(), &flushWAL{})
	}
}

func (l *metadataLog) onFlush(ctx actor.Context) {
	l.flushing = false
	messages := l.queue
	l.queue = nil
	var entries []storage.WALEntry
	for _, m := range messages {
		if m.GetTerm() != 0 || m.GetVote() != 0 || m.GetCommit() != 0 {
			l.hardState = &raftpb.HardState{
				Term: proto.Uint64(m.GetTerm()), Vote: proto.Uint64(m.GetVote()), Commit: proto.Uint64(m.GetCommit()),
			}
		}
		if !raft.IsEmptySnap(m.GetSnapshot()) {
			entries = nil // it takes the place of the whole log
			if err := l.install(m.GetSnapshot()); err != nil {
				l.fail(ctx, err)
				return
			}
		}
		var err error
		if entries, err = appendWALEntries(entries, m.GetEntries()); err != nil {
			l.fail(ctx, err)
			return
		}
	}
	if err := l.write(entries); err != nil {
		l.fail(ctx, err)
		return
	}
	ctx.Send(ctx.Parent(), &walAppended{messages: messages})
}

// write makes entries durable, and the hard state if it has to be: a commit index alone may get lost,
// and goes with the next write.
func (l *metadataLog) write(entries []storage.WALEntry) error {
	if len(entries) == 0 && !raft.MustSync(l.hardState, l.written, 0) {
		return nil
	}
	hardState, err := l.marshalHardState()
	if err != nil {
		return err
	}
	if err := l.wal.Append(hardState, entries); err != nil {
		return err
	}
	l.written = l.hardState
	return nil
}

func (l *metadataLog) onKeepCommit(ctx actor.Context, msg *keepCommit) {
	if l.wal == nil || l.written.GetCommit() >= msg.index {
		return
	}
	l.hardState = proto.CloneOf(l.hardState)
	l.hardState.Commit = proto.Uint64(max(l.hardState.GetCommit(), msg.index))
	hardState, err := l.marshalHardState()
	if err == nil {
		err = l.wal.Append(hardState, nil)
	}
	if err != nil {
		l.fail(ctx, err)
		return
	}
	l.written = l.hardState
}

// install puts a snapshot from the leader in the place of the log.
func (l *metadataLog) install(snapshot *raftpb.Snapshot) error {
	data, err := proto.Marshal(snapshot)
	if err != nil {
		return err
	}
	hardState, err := l.marshalHardState()
	if err != nil {
		return err
	}
	l.snapshot = snapshot.GetMetadata().GetIndex()
	l.written = l.hardState
	return l.wal.InstallSnapshot(hardState, storage.WALSnapshot{Index: l.snapshot, Term: snapshot.GetMetadata().GetTerm(), Data: data})
}

func (l *metadataLog) marshalHardState() ([]byte, error) {
	b, err := proto.Marshal(l.hardState)
	if err != nil {
		return nil, fmt.Errorf("encode the hard state: %w", err)
	}
	return b, nil
}

// appendWALEntries adds raft's entries to those about to be written; the first one takes the place
// of what is there from its index on.
func appendWALEntries(entries []storage.WALEntry, more []*raftpb.Entry) ([]storage.WALEntry, error) {
	if n := len(entries); n > 0 && len(more) > 0 {
		first := entries[0].Index
		entries = entries[:max(more[0].GetIndex(), first)-first]
	}
	for _, e := range more {
		data, err := proto.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("encode entry %d: %w", e.GetIndex(), err)
		}
		entries = append(entries, storage.WALEntry{Index: e.GetIndex(), Term: e.GetTerm(), Data: data})
	}
	return entries, nil
}

func (l *metadataLog) onSaveSnapshot(ctx actor.Context, msg *saveSnapshot) {
	index := msg.snapshot.GetMetadata().GetIndex()
	if l.wal == nil {
		return
	}
	if index > l.snapshot { // else one from the leader has overtaken it
		data, err := proto.Marshal(msg.snapshot)
		if err == nil {
			err = l.wal.SaveSnapshot(storage.WALSnapshot{Index: index, Term: msg.snapshot.GetMetadata().GetTerm(), Data: data})
		}
		if err != nil {
			l.fail(ctx, err)
			return
		}
		l.snapshot = index
	}
	ctx.Send(ctx.Parent(), &snapshotSaved{snapshot: msg.snapshot})
}

// fail gives up: an error of the disk is never tried again.
func (l *metadataLog) fail(ctx actor.Context, err error) {
	l.onStopped()
	ctx.Send(ctx.Parent(), &walFailed{err: err})
}

func (l *metadataLog) onStopped() {
	if l.wal == nil {
		return
	}
	if err := l.wal.Close(); err != nil {
		l.logger.Warn("metadata log was not closed", "err", err)
	}
	l.wal = nil
}

// snapshotEncoder turns images into bytes, which takes long for a large one, beside the controller and
// the log.
type snapshotEncoder struct {
	log  *actor.PID
	last *metadata.Image // that it has encoded for one who observes; the next one may want the same
	data []byte
}

// Receive implements actor.Actor.
func (e *snapshotEncoder) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *encodeSnapshot:
		ctx.Send(e.log, &saveSnapshot{snapshot: &raftpb.Snapshot{
			Data: msg.image.EncodeSnapshot(), Metadata: msg.metadata,
		}})
	case *encodeForObserver:
		if e.last != msg.image {
			e.last, e.data = msg.image, msg.image.EncodeSnapshot()
		}
		msg.reply.First, msg.reply.Data = msg.index, e.data
		ctx.Send(msg.to, msg.reply)
	}
}
