package actors

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// observing is how a broker follows the committed log that is no voter, or has lost touch with the others
// that are: it polls one of those who have the log, and is answered when that grows.
//
// What it is told goes into the same image that raft's entries go into, and by the same rule: only what follows on
// it. So it does not matter how often a broker changes from one way to the other, or if both are at work.
type observing struct {
	leader wire.BrokerID // as the last answer said; who is asked next

	id       uint64 // of the last poll
	asked    wire.BrokerID
	asking   bool
	deadline time.Time // when the answer is given up, or, if none is awaited, before which nobody is asked again
	turn     int       // whose turn it is among those linked, if no leader is known
}

const (
	observeWait    = 500 * time.Millisecond // how long a poll may be held
	observeTimeout = 2 * time.Second        // after which another one is asked
	observePause   = 50 * time.Millisecond  // before the next one is asked when one could not help
)

func (o *observing) forget(id wire.BrokerID) {
	if o.leader == id {
		o.leader = wire.NoBroker
	}
	if o.asking && o.asked == id {
		o.asking, o.deadline = false, time.Time{}
	}
}

// observe polls, unless raft brings the log here or an answer is awaited.
func (c *controller) observe(ctx actor.Context) {
	o, now := &c.observing, c.cfg.now()
	if c.ended || c.node == nil || c.cfg.peers == nil || c.leading || c.following() || now.Before(o.deadline) {
		return
	}
	if o.asking { // in vain
		o.leader = wire.NoBroker
	}
	o.asking = false
	whom, found := c.observable()
	if !found {
		return
	}
	o.id++
	m := &wire.FetchMetadata{ID: o.id, Index: c.seen, MaxWaitMillis: int32(observeWait / time.Millisecond)}
	if c.cfg.post(whom, m) != nil {
		o.deadline = now.Add(observePause)
		return
	}
	o.asked, o.asking, o.deadline = whom, true, now.Add(observeTimeout)
	c.tellController(ctx)
}

// observable chooses whom to ask: who leads, or else everyone in turn. Those who cannot help tell who could.
func (c *controller) observable() (wire.BrokerID, bool) {
	if _, linked := c.cfg.peers.incarnation(c.observing.leader); linked {
		return c.observing.leader, true
	}
	ids := c.cfg.peers.ids()
	if len(ids) == 0 {
		return 0, false
	}
	c.observing.turn++
	return ids[c.observing.turn%len(ids)], true
}

// onFetched takes over what another broker's log has beyond the image, and polls on.
func (c *controller) onFetched(ctx actor.Context, msg *wire.MetadataFetched) {
	o := &c.observing
	if !o.asking || msg.ID != o.id || msg.Sender != o.asked {
		return // of a poll that was given up
	}
	o.asking, o.deadline, o.leader = false, time.Time{}, msg.Controller
	if o.leader == c.cfg.self {
		o.leader = wire.NoBroker // its raft node would know
	}
	if msg.Err != nil {
		if o.leader == wire.NoBroker || o.leader == msg.Sender {
			o.deadline = c.cfg.now().Add(observePause)
		}
	} else if err := c.takeOver(ctx, msg); err != nil {
		c.logger.Error("metadata from another broker cannot be used", "peer", msg.Sender, "err", err)
		o.leader, o.deadline = wire.NoBroker, c.cfg.now().Add(observeTimeout)
	}
	c.tellController(ctx)
	c.observe(ctx)
}

// takeOver brings the image to where an answer ends. A leader does not: it knows better.
func (c *controller) takeOver(ctx actor.Context, msg *wire.MetadataFetched) error {
	if c.leading || len(msg.Data) == 0 {
		return nil
	}
	before := c.image
	out := &imageApplied{}
	if msg.Snapshot {
		if msg.First <= c.seen {
			return nil
		}
		image, err := metadata.DecodeSnapshot(msg.Data)
		if err != nil {
			return err
		}
		c.image, c.seen = image, msg.First
		out.delta = metadata.Diff(before, c.image)
	} else if err := c.takeOverEntries(msg.Data, &out.delta); err != nil {
		return err
	}
	out.image, out.index, out.controller, out.replies = c.image, c.seen, c.controllerID, c.arrived()
	ctx.Send(c.cfg.broker, out)
	return nil
}

func (c *controller) takeOverEntries(data []byte, delta *metadata.Delta) error {
	entries, err := metadata.DecodeEntries(data)
	if err != nil {
		return err
	}
	before, seen, changes := c.image, c.seen, 0
	for _, e := range entries {
		if e.Index <= seen {
			continue
		}
		if e.Index != seen+1 {
			err = fmt.Errorf("entry %d after entry %d", e.Index, seen)
		} else if len(e.Records) > 0 {
			_, err = c.applyRecords(e.Index, e.Records, delta)
			changes++
		}
		if err != nil {
			c.image = before // the broker has been told of no more
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
		seen = e.Index
	}
	c.seen = seen
	if changes > 1 {
		*delta = metadata.Diff(before, c.image)
	}
	return nil
}
