package actors

import (
	"encoding/binary"

	"github.com/asynkron/protoactor-go/actor"
	"go.etcd.io/raft/v3"

	"github.com/troupe-mq/troupe/wire"
)

// reads are the answers to commands that had nothing to write. What they saw was the latest there is
// only if this one still led when it looked. With one voter that is so. With more, a round of
// heartbeats among them has to say so first (raft's ReadIndex; never a lease, which trusts clocks). One
// round is under way at a time: whoever comes meanwhile takes the next.
type reads struct {
	round   uint64   // counted, so that an answer to an earlier one is known as such
	asked   []answer // wait for the round under way
	waiting []answer // wait for the next
}

// read answers a command that has changed nothing once it is sure that this one leads.
func (c *controller) read(ctx actor.Context, a answer) {
	if len(c.confState.GetVoters())+len(c.confState.GetVotersOutgoing()) == 1 {
		c.answerReads(ctx, []answer{a})
		return
	}
	c.reads.waiting = append(c.reads.waiting, a)
	c.beginRound()
}

func (c *controller) beginRound() {
	if len(c.reads.asked) > 0 || len(c.reads.waiting) == 0 {
		return
	}
	c.reads.asked, c.reads.waiting = c.reads.waiting, nil
	c.reads.round++
	c.node.ReadIndex(binary.BigEndian.AppendUint64(nil, c.reads.round))
}

// confirmReads answers those whose round has come back. The entries that they saw were applied before.
func (c *controller) confirmReads(ctx actor.Context, states []raft.ReadState) {
	for _, s := range states {
		if len(s.RequestCtx) != 8 || binary.BigEndian.Uint64(s.RequestCtx) != c.reads.round {
			continue
		}
		confirmed := c.reads.asked
		c.reads.asked = nil
		c.answerReads(ctx, confirmed)
		c.beginRound()
	}
}

func (c *controller) answerReads(ctx actor.Context, answers []answer) {
	if replies := c.give(ctx, answers); len(replies) > 0 {
		ctx.Send(c.cfg.broker, &imageApplied{image: c.image, index: c.seen, controller: c.controllerID, replies: replies})
	}
}

// abandonReads refuses them: nothing came of those commands.
func (c *controller) abandonReads(ctx actor.Context) {
	for _, answers := range [][]answer{c.reads.asked, c.reads.waiting} {
		for _, a := range answers {
			a.propose.refuse(ctx, wire.NotController)
		}
	}
	c.reads.asked, c.reads.waiting = nil, nil
	c.reads.round++
}
