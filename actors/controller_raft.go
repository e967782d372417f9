package actors

import (
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/troupe-mq/troupe/cluster/metadata"
)

// pump sees to it that what raft has ready is handled, behind what is in the mailbox already.
func (c *controller) pump(ctx actor.Context) {
	if c.node != nil && !c.pumping && !c.ended && c.node.HasReady() {
		c.pumping = true
		ctx.Send(ctx.Self(), &pumpRaft{})
	}
}

func (c *controller) onPump(ctx actor.Context) {
	c.pumping = false
	for !c.ended && c.node.HasReady() {
		rd := c.node.Ready()
		if rd.SoftState != nil {
			c.onRole(ctx, rd.SoftState)
		}
		c.confirmReads(ctx, rd.ReadStates)
		for _, m := range rd.Messages {
			switch m.GetTo() {
			case raft.LocalAppendThread:
				c.quorum.disk.asked(c.cfg.now())
				ctx.Send(c.log, &appendToWAL{message: m})
			case raft.LocalApplyThread:
				c.apply(ctx, m)
			default:
				c.transmit(m)
			}
		}
	}
	if !c.ended {
		c.snapshotIfDue(ctx)
	}
}

func (c *controller) transmit(m *raftpb.Message) {
	sent := c.cfg.transport != nil && c.cfg.transport.Send(m)
	switch {
	case m.GetType() == raftpb.MsgSnap:
		c.snapshotSent(m.GetTo(), sent)
	case !sent:
		c.node.ReportUnreachable(m.GetTo())
	}
}

// onRole follows raft's role. A leader that led before in another term begins anew.
func (c *controller) onRole(ctx actor.Context, soft *raft.SoftState) {
	leading := soft.RaftState == raft.StateLeader
	term := c.node.BasicStatus().GetTerm()
	if soft.Lead != c.lead {
		c.lead, c.quiet = soft.Lead, 0
	}
	if leading == c.leading && (!leading || term == c.term) {
		c.tellController(ctx)
		return
	}
	if c.leading {
		c.abandon(ctx)
		c.logger.Info("controller stopped leading", "term", c.term)
	}
	c.leading, c.term, c.current = leading, term, false
	c.overseer.early = nil
	if leading {
		c.logger.Info("controller leads", "term", term)
	}
	c.tellController(ctx)
}

// onStep gives raft a message from another voter.
func (c *controller) onStep(m *raftpb.Message) {
	if c.node == nil || c.ended {
		return
	}
	if m.GetFrom() == c.lead {
		c.quiet = 0
	}
	if c.leading && c.quorum.heard != nil {
		c.quorum.heard[m.GetFrom()] = c.cfg.now()
	}
	if err := c.node.Step(m); err != nil {
		c.logger.Debug("raft message dropped", "peer", m.GetFrom(), "err", err)
	}
}

// onWALAppended takes over what is durable now, and lets raft know.
func (c *controller) onWALAppended(ctx actor.Context, msg *walAppended) {
	if c.ended {
		return
	}
	c.quorum.disk.answered(len(msg.messages), c.cfg.now())
	for _, m := range msg.messages {
		if !raft.IsEmptySnap(m.GetSnapshot()) {
			before := c.image
			if err := c.takeSnapshot(m.GetSnapshot()); err != nil {
				c.fail(ctx, err)
				return
			}
			ctx.Send(c.cfg.broker, &imageApplied{
				image: c.image, delta: metadata.Diff(before, c.image), index: c.seen, controller: c.controllerID,
				replies: c.arrived(),
			})
			c.tellController(ctx)
		}
		if err := c.storage.Append(m.GetEntries()); err != nil {
			c.fail(ctx, fmt.Errorf("take over appended entries: %w", err))
			return
		}
		for _, response := range m.GetResponses() {
			if response.GetTo() == c.cfg.raftID {
				c.step(response)
			} else {
				c.transmit(response)
			}
		}
	}
}

// step gives raft a message of its own, which it cannot refuse.
func (c *controller) step(m *raftpb.Message) {
	if err := c.node.Step(m); err != nil {
		panic(fmt.Sprintf("actors: raft refuses its own %v: %v", m.GetType(), err))
	}
}

// apply brings the image to the end of the committed entries of one MsgStorageApply, tells the
// broker of all of them at once, and goes on with what was held.
func (c *controller) apply(ctx actor.Context, m *raftpb.Message) {
	before, changes := c.image, 0
	out := &imageApplied{}
	for _, e := range m.GetEntries() {
		changed, err := c.applyEntry(e, &out.delta)
		if err != nil {
			// Not decided on this state: going on would spread it.
			c.fail(ctx, fmt.Errorf("apply entry %d of the metadata log: %w", e.GetIndex(), err))
			return
		}
		if changed {
			changes++
		}
		out.replies = append(out.replies, c.settle(ctx, e)...)
	}
	for _, response := range m.GetResponses() {
		c.step(response)
	}
	if c.regrouped != 0 {
		ctx.Send(c.log, &keepCommit{index: c.regrouped})
		c.regrouped = 0
	}
	if changes > 1 {
		out.delta = metadata.Diff(before, c.image)
	}
	out.replies = append(out.replies, c.arrived()...)
	if len(out.delta.Brokers) > 0 {
		c.publishQuorum() // whose the votes are
	}
	if changes > 0 || len(out.replies) > 0 {
		out.image, out.index, out.controller = c.image, c.seen, c.controllerID
		ctx.Send(c.cfg.broker, out)
	}
	if changes > 0 {
		c.tellController(ctx)
	}
	if len(c.pending) == 0 && c.current {
		c.next = c.image // they are the same, and now share memory
	}
	c.releasePolls(ctx)
	c.snapshotIfDue(ctx)
	c.campaignIfAlone(ctx)
	c.oversee(ctx) // one that has just begun to decide may know of dead brokers
	c.decideHeld(ctx)
}

// applyEntry applies one committed entry. What an observed image has already is passed over.
func (c *controller) applyEntry(e *raftpb.Entry, delta *metadata.Delta) (changed bool, err error) {
	switch {
	case e.GetType() != raftpb.EntryNormal:
		err = c.applyConfChange(e)
	case isRecords(e) && e.GetIndex() > c.seen:
		changed, err = c.applyRecords(e.GetIndex(), e.GetData(), delta)
	case len(e.GetData()) == 0 && c.leading && e.GetTerm() == c.term && !c.current:
		// A leader's first entry is empty.
		c.current, c.next, c.proposedUpTo = true, c.image, e.GetIndex()
		c.beginOverseeing()
	}
	c.applied = e.GetIndex()
	c.seen = max(c.seen, c.applied)
	c.unsnapshotted += len(e.GetData()) + entryOverheadBytes
	return changed, err
}

func (c *controller) applyRecords(index uint64, data []byte, delta *metadata.Delta) (changed bool, err error) {
	records, err := metadata.DecodeRecords(data)
	if err != nil {
		return false, err
	}
	image, changes, err := c.image.Apply(index, records)
	if err != nil {
		return false, err
	}
	c.image, *delta = image, changes
	return true, nil
}

func (c *controller) applyConfChange(e *raftpb.Entry) error {
	var change raftpb.ConfChangeI
	if e.GetType() == raftpb.EntryConfChange {
		v1 := &raftpb.ConfChange{}
		if err := proto.Unmarshal(e.GetData(), v1); err != nil {
			return err
		}
		change = v1
	} else {
		v2 := &raftpb.ConfChangeV2{}
		if err := proto.Unmarshal(e.GetData(), v2); err != nil {
			return err
		}
		change = v2
	}
	c.confState = c.node.ApplyConfChange(change)
	c.storage.joined = e.GetIndex()
	c.regrouped = e.GetIndex()
	c.overseer.due = time.Time{} // there may be more to change
	if e.GetIndex() > c.restored {
		c.logger.Info("voters of the metadata log changed", "voters", c.brokersOf(c.confState.GetVoters()),
			"outgoing", c.brokersOf(c.confState.GetVotersOutgoing()), "learners", c.brokersOf(c.confState.GetLearners()))
	}
	return nil
}

// settle answers those who waited for an entry. The replies are left to the broker actor.
func (c *controller) settle(ctx actor.Context, e *raftpb.Entry) (replies []func()) {
	if len(c.pending) == 0 || c.pending[0].index != e.GetIndex() {
		return nil
	}
	p := c.pending[0]
	c.pending[0] = pending{}
	c.pending = c.pending[1:]
	c.pendingBytes -= p.bytes
	return c.give(ctx, p.answers)
}

// snapshotIfDue takes a snapshot when the log has grown, or when raft misses one that knows of those who have joined.
// An image that was observed is not what the log has led to, so that has to catch up first.
func (c *controller) snapshotIfDue(ctx actor.Context) {
	due := c.unsnapshotted >= c.cfg.snapshotBytes || c.storage.wanted
	if c.snapshotting || !due || c.seen > c.applied {
		return
	}
	c.storage.wanted = false
	term, err := c.storage.Term(c.applied)
	if err != nil {
		panic(fmt.Sprintf("actors: entry %d was applied and is not in storage: %v", c.applied, err))
	}
	c.snapshotting, c.unsnapshotted = true, 0
	ctx.Send(c.encoder, &encodeSnapshot{image: c.image, metadata: &raftpb.SnapshotMetadata{
		Index: proto.Uint64(c.applied), Term: proto.Uint64(term), ConfState: proto.CloneOf(c.confState),
	}})
}

// onSnapshotSaved forgets the entries that a snapshot on disk stands for.
func (c *controller) onSnapshotSaved(ctx actor.Context, msg *snapshotSaved) {
	c.snapshotting = false
	if c.ended {
		return
	}
	index := msg.snapshot.GetMetadata().GetIndex()
	_, err := c.storage.CreateSnapshot(index, msg.snapshot.GetMetadata().GetConfState(), msg.snapshot.GetData())
	if errors.Is(err, raft.ErrSnapOutOfDate) {
		return // one from the leader has overtaken it
	}
	if err == nil {
		err = c.storage.compact(index, c.cfg.keepBytes)
	}
	if err != nil {
		c.fail(ctx, fmt.Errorf("compact the metadata log at %d: %w", index, err))
		return
	}
	c.logger.Info("snapshot of the metadata taken", "index", index, "bytes", len(msg.snapshot.GetData()))
	c.snapshotIfDue(ctx)
}
