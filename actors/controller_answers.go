package actors

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// pending is an entry in the log, and who gets an answer when it is applied: whoever proposed it, and
// those whose commands saw it and had nothing to add.
type pending struct {
	index   uint64
	bytes   int
	answers []answer
}

// answer is a reply that waits to be given.
type answer struct {
	propose *propose
	reply   any
}

// give answers those for whom an entry was applied, or whose commands needed none. The broker actor does
// it for its own broker, once the effect can be seen there: these are returned.
func (c *controller) give(ctx actor.Context, answers []answer) (replies []func()) {
	for _, a := range answers {
		switch p := a.propose; {
		case p.remote != nil:
			ctx.Send(p.remote.from, &wire.Proposed{
				ID: p.remote.id, Index: c.seen, Reply: metadata.EncodeReply(p.command, a.reply),
			})
		case p.reply != nil:
			replies = append(replies, func() { p.reply <- proposed{reply: a.reply} })
		}
	}
	return replies
}

// onAwaitIndex has something done once this broker is as far as the broker that decided.
func (c *controller) onAwaitIndex(ctx actor.Context, msg *awaitIndex) {
	if c.seen < msg.index && !c.ended {
		c.awaiting = append(c.awaiting, msg)
		return
	}
	ctx.Send(c.cfg.broker, &imageApplied{image: c.image, index: c.seen, controller: c.controllerID, replies: []func(){msg.reached}})
}

// arrived returns what waited for the image to come this far.
func (c *controller) arrived() (replies []func()) {
	c.awaiting = slices.DeleteFunc(c.awaiting, func(a *awaitIndex) bool {
		if a.index > c.seen {
			return false
		}
		replies = append(replies, a.reached)
		return true
	})
	return replies
}

// abandon answers everyone who waits for this one as the leader. What is in the log may still be committed.
func (c *controller) abandon(ctx actor.Context) {
	for _, p := range c.pending {
		for _, a := range p.answers {
			a.propose.leaveOpen(ctx)
		}
	}
	c.refuseHeld(ctx)
	c.abandonReads(ctx)
	c.pending, c.pendingBytes, c.next, c.current = nil, 0, nil, false
}

func (c *controller) refuseHeld(ctx actor.Context) {
	for _, msg := range c.held {
		msg.refuse(ctx, wire.NotController)
	}
	c.held = nil
}
