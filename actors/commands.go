package actors

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// This file is how a broker has the controller decide something, wherever that is. The controller of
// this broker is asked in its mailbox (a lone broker knows no other way); that of another broker with a
// wire.Propose, whose answer is only passed on once the effect can be seen here as well.
//
// It is asked again, or another one is, until somebody decides or the caller's time is up. What may
// have been decided without our hearing of it is asked again only if that does no harm. Else the
// caller is told that the outcome is not known.

const (
	firstAskPause = 10 * time.Millisecond
	maxAskPause   = 100 * time.Millisecond
	// askPatience is how long one broker may take over a command that may be asked again.
	askPatience = 5 * time.Second
)

// errOutcomeUnknown says that a command may have been decided, or may yet be.
var errOutcomeUnknown = wire.Errorf(wire.RequestTimedOut, "the controller was lost before it answered: whether it has acted is not known")

// ask has the controller decide a command and waits until its effect is visible here.
func (b *Broker) ask(ctx context.Context, command metadata.Command) (any, error) {
	turn := int(b.cfg.ID)
	for pause := firstAskPause; ; pause = min(2*pause, maxAskPause) {
		p := b.askSomebody(ctx, command, &turn)
		again := errors.Is(p.err, wire.NotController) && !p.open || p.open && repeatable(command)
		if !again || b.isEnding() || b.lost.Err() != nil {
			return p.reply, p.err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			continue
		case <-ctx.Done():
			p.err = wire.RequestTimedOut
		case <-b.ending:
		case <-b.lost.Done():
		}
		timer.Stop()
		return nil, p.err
	}
}

// repeatable says that it does no harm to decide a command twice: the second time finds the work done, or
// finds that the state it was meant for is gone.
func repeatable(command metadata.Command) bool {
	switch c := command.(type) {
	case metadata.FoundCluster, metadata.RegisterBroker, metadata.ChangeBrokers, metadata.AlterPartitions,
		metadata.AllocateProducerIDs, metadata.FailDirectories, metadata.FailReplicas, metadata.MoveReplica,
		metadata.ReplicaRestarted, metadata.AlterReassignments, metadata.CompleteReassignments,
		metadata.ReportReplicas, metadata.ElectReported, metadata.LoseTails,
		metadata.RemoveBroker, metadata.BalanceLeaders, metadata.GrowInternalTopics, metadata.CreateInternalTopic:
		return true
	case metadata.CreateTopics:
		return c.ValidateOnly
	case metadata.CreatePartitions:
		return c.ValidateOnly
	case metadata.AlterConfigs:
		return c.ValidateOnly
	}
	return false
}

// askSomebody asks who is thought to be the controller. While nobody is known, each broker that is linked has
// its turn: it may be the one.
func (b *Broker) askSomebody(ctx context.Context, command metadata.Command, turn *int) proposed {
	leader := b.image.Load().Controller()
	if b.peers == nil || leader == b.cfg.ID {
		return b.askHere(ctx, command)
	}
	if leader != wire.NoBroker {
		return b.askThere(ctx, leader, command)
	}
	p := b.askHere(ctx, command)
	if ids := b.peers.ids(); len(ids) > 0 && errors.Is(p.err, wire.NotController) && !p.open {
		*turn++
		return b.askThere(ctx, ids[*turn%len(ids)], command)
	}
	return p
}

// askHere asks this broker's controller.
func (b *Broker) askHere(ctx context.Context, command metadata.Command) proposed {
	reply := make(chan proposed, 1)
	gone, pid := b.controller.present()
	if pid == nil {
		return proposed{err: wire.NotController}
	}
	b.root.Send(pid, &propose{command: command, reply: reply})
	select {
	case p := <-reply:
		return p
	case <-gone:
		return proposed{err: wire.NotController, open: true}
	case <-ctx.Done():
		return proposed{err: wire.RequestTimedOut}
	}
}

// askThere asks another broker's.
func (b *Broker) askThere(ctx context.Context, broker wire.BrokerID, command metadata.Command) proposed {
	encoded := metadata.EncodeCommand(command)
	if len(encoded) > metadata.MaxCommandBytes {
		return proposed{err: wire.Errorf(wire.InvalidRequest, "a command of %d bytes, more than %d", len(encoded), metadata.MaxCommandBytes)}
	}
	reply := make(chan proposed, 1)
	id := b.proposals.Add(1)
	gone, pid := b.controller.present()
	if pid == nil {
		gone = nil
	}
	b.root.Send(b.commands, &proposeThere{id: id, broker: broker, command: command, encoded: encoded, reply: reply})
	patience := time.NewTimer(askPatience)
	defer patience.Stop()
	late := patience.C
	if !repeatable(command) {
		late = nil
	}
	unknown := proposed{err: errOutcomeUnknown, open: true}
	select {
	case p := <-reply:
		return p
	case <-gone: // the one that would have said that the effect can be seen
	case <-late:
	case <-b.ending:
	case <-ctx.Done():
		unknown = proposed{err: wire.RequestTimedOut}
	}
	b.root.Send(b.commands, &forgetProposal{id: id})
	return unknown
}

// proposeThere asks the commands actor to have another broker decide.
type proposeThere struct {
	id      uint64
	broker  wire.BrokerID
	command metadata.Command
	encoded []byte
	reply   chan<- proposed // of capacity 1
}

// forgetProposal says that nobody waits for a reply any more.
type forgetProposal struct{ id uint64 }

// commands keeps who waits for the answer of another broker. It comes exactly once, or not at all if that one's
// controller stops or the link goes down: so it is watched.
type commands struct {
	*Broker
	outstanding map[uint64]outstanding
	watched     map[string]bool // by the address of the broker
}

func newCommands(b *Broker) actor.Actor {
	return &commands{Broker: b, outstanding: make(map[uint64]outstanding), watched: make(map[string]bool)}
}

type outstanding struct {
	*proposeThere
	address string // of the broker that was asked
}

const (
	commandsName   = "commands"
	controllerName = "controller"
	membershipName = "membership"
)

// Receive implements actor.Actor.
func (c *commands) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *proposeThere:
		c.onPropose(ctx, msg)
	case *wire.Proposed:
		c.onProposed(msg)
	case *actor.Terminated:
		c.onTerminated(msg)
	case *forgetProposal:
		delete(c.outstanding, msg.id)
	case *actor.Stopping:
		for _, o := range c.outstanding {
			o.reply <- proposed{err: errOutcomeUnknown, open: true}
		}
	}
}

func (c *commands) onPropose(ctx actor.Context, msg *proposeThere) {
	incarnation, linked := c.peers.incarnation(msg.broker)
	to := c.remotePID(msg.broker, incarnation, controllerName)
	if linked {
		if !c.watched[to.Address] {
			c.watched[to.Address] = true
			ctx.Watch(to)
		}
		linked = c.remotes.post(to, commandsName, &wire.Propose{ID: msg.id, Command: msg.encoded}) == nil
	}
	if !linked {
		msg.reply <- proposed{err: wire.NotController}
		return
	}
	c.outstanding[msg.id] = outstanding{msg, to.Address}
}

// onProposed passes an answer on by way of this broker's controller, which knows when the effect can be
// seen here.
func (c *commands) onProposed(msg *wire.Proposed) {
	o, waits := c.outstanding[msg.ID]
	if !waits || o.broker != msg.Sender {
		return
	}
	delete(c.outstanding, msg.ID)
	if msg.Err != nil {
		o.reply <- proposed{err: msg.Err, open: errors.Is(msg.Err, wire.RequestTimedOut)}
		return
	}
	reply, err := metadata.DecodeReply(o.command, msg.Reply)
	if err != nil {
		c.logger.Error("the controller's answer cannot be read", "peer", msg.Sender, "err", err)
		o.reply <- proposed{err: wire.Errorf(wire.UnknownServerError, "the controller's answer cannot be read: %v", err)}
		return
	}
	_, pid := c.controller.present()
	if pid == nil { // nobody knows when the effect can be seen
		o.reply <- proposed{err: errOutcomeUnknown, open: true, decided: true}
		return
	}
	c.root.Send(pid, &awaitIndex{index: msg.Index, reached: func() { o.reply <- proposed{reply: reply} }})
}

// onTerminated answers those who had asked that controller: whether it has acted is not known.
func (c *commands) onTerminated(msg *actor.Terminated) {
	delete(c.watched, msg.Who.Address)
	for id, o := range c.outstanding {
		if o.address == msg.Who.Address {
			delete(c.outstanding, id)
			o.reply <- proposed{err: errOutcomeUnknown, open: true}
		}
	}
}
