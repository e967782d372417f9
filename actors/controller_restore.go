package actors

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
)

// onWALOpened makes the raft node out of what the log holds. The only voter need not wait for anyone
// before it leads.
func (c *controller) onWALOpened(ctx actor.Context, msg *walOpened) {
	if c.ended {
		return
	}
	var err error
	if msg.err != nil {
		err = &metadataDiskError{msg.err}
	} else {
		err = c.restore(&msg.state)
	}
	if err != nil {
		c.fail(ctx, err)
		return
	}
	if msg.state.TornBytes > 0 {
		c.logger.Info("cut an unfinished write off the metadata log", "bytes", msg.state.TornBytes)
	}
	if msg.state.PassedBy != nil {
		c.logger.Error("newest snapshot of the metadata is unreadable, took the one before it", "err", msg.state.PassedBy)
	}
	before := c.cfg.known
	if before == nil {
		before = metadata.NewImage()
	}
	ctx.Send(c.cfg.broker, &imageApplied{
		image: c.image, delta: metadata.Diff(before, c.image), index: c.seen, controller: c.controllerID,
	})
	c.armTick(ctx)
	c.campaignIfAlone(ctx)
	c.observe(ctx)
}

// campaignIfAlone makes the only voter lead: there is nobody it would have to wait for. It is only sure of that
// when it has applied what it knows to be committed, or there may have been others since.
func (c *controller) campaignIfAlone(ctx actor.Context) {
	if c.ended || c.applied < c.restored || c.node.BasicStatus().RaftState != raft.StateFollower {
		return
	}
	if !c.alone() {
		c.refuseHeld(ctx)
		return
	}
	if err := c.node.Campaign(); err != nil {
		c.fail(ctx, fmt.Errorf("campaign: %w", err))
	}
}

func (c *controller) restore(state *storage.WALState) error {
	var hardState raftpb.HardState
	if err := proto.Unmarshal(state.HardState, &hardState); err != nil {
		return fmt.Errorf("read the hard state of the metadata log: %w", err)
	}
	entries := make([]*raftpb.Entry, len(state.Entries))
	for i, e := range state.Entries {
		entries[i] = &raftpb.Entry{}
		if err := proto.Unmarshal(e.Data, entries[i]); err != nil {
			return fmt.Errorf("read entry %d of the metadata log: %w", e.Index, err)
		}
		if entries[i].GetIndex() != e.Index || entries[i].GetTerm() != e.Term {
			return fmt.Errorf("read entry %d of the metadata log: it calls itself %d", e.Index, entries[i].GetIndex())
		}
	}
	// The log does not sync a commit index for its own sake, but a snapshot has committed entries only.
	if hardState.GetCommit() < state.Snapshot.Index {
		hardState.Commit = proto.Uint64(state.Snapshot.Index)
	}
	c.storage = &raftStorage{MemoryStorage: raft.NewMemoryStorage()}
	if err := errors.Join(c.restoreSnapshot(&state.Snapshot), c.storage.SetHardState(&hardState), c.storage.Append(entries)); err != nil {
		return fmt.Errorf("restore the metadata log: %w", err)
	}
	node, err := raft.NewRawNode(&raft.Config{
		ID:                        c.cfg.raftID,
		ElectionTick:              raftElectionTicks,
		HeartbeatTick:             raftHeartbeatTicks,
		Storage:                   c.storage,
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             1 << 20,
		MaxCommittedSizePerReady:  16 << 20,
		MaxUncommittedEntriesSize: maxPendingBytes + maxEntryBytes, // our own bound comes first
		MaxInflightMsgs:           256,
		MaxInflightBytes:          16 << 20,
		CheckQuorum:               true,
		PreVote:                   true,
		ReadOnlyOption:            raft.ReadOnlySafe,
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
		Logger:                    raftLogger{c.logger},
	})
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	c.node, c.restored = node, hardState.GetCommit()
	return nil
}

// restoreSnapshot begins with the snapshot on disk. Who has joined a cluster and was never a voter has none.
func (c *controller) restoreSnapshot(from *storage.WALSnapshot) error {
	if from.Index == 0 {
		return nil
	}
	snapshot := &raftpb.Snapshot{}
	if err := proto.Unmarshal(from.Data, snapshot); err != nil {
		return fmt.Errorf("read the snapshot of the metadata: %w", err)
	}
	if snapshot.GetMetadata().GetIndex() != from.Index {
		return errors.New("read the snapshot of the metadata: its index is not that of the file")
	}
	return c.takeSnapshot(snapshot)
}

// takeSnapshot makes image and storage what a snapshot says. An image that was observed may be ahead.
func (c *controller) takeSnapshot(snapshot *raftpb.Snapshot) error {
	if index := snapshot.GetMetadata().GetIndex(); index > c.seen {
		image, err := metadata.DecodeSnapshot(snapshot.GetData())
		if err != nil {
			return fmt.Errorf("read the snapshot of the metadata: %w", err)
		}
		c.image, c.seen = image, index
	}
	if err := c.storage.ApplySnapshot(snapshot); err != nil {
		return err
	}
	c.applied = snapshot.GetMetadata().GetIndex()
	c.confState = snapshot.GetMetadata().GetConfState()
	c.unsnapshotted = 0
	return nil
}
