package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/peer"
)

// This file is what the links to other brokers tell a broker: it is their peer.Handler.

var _ peer.Handler = (*Broker)(nil)

// linkUp tells an actor that the links to a broker stand anew: nothing sent before has to be
// expected to arrive.
type linkUp struct {
	broker      wire.BrokerID
	incarnation wire.Incarnation
}

// linkDown tells an actor that the links to a broker are gone.
type linkDown struct {
	broker      wire.BrokerID
	incarnation wire.Incarnation
}

// linkRoom tells a replica that a link which was full has room again.
type linkRoom struct{ broker wire.BrokerID }

// peerRefused tells the membership actor that the process of a broker is gone.
type peerRefused struct {
	broker      wire.BrokerID
	incarnation wire.Incarnation
}

// LinkUp implements peer.Handler.
func (b *Broker) LinkUp(p peer.Identity) {
	b.logger.Info("link is up", "peer", p.Broker)
	b.peers.up(p.Broker, p.Incarnation)
	b.tellAll(&linkUp{p.Broker, p.Incarnation})
}

// LinkDown implements peer.Handler.
func (b *Broker) LinkDown(p peer.Identity, cause error) {
	b.logger.Info("link is down", "peer", p.Broker, "err", cause)
	b.peers.down(p.Broker, p.Incarnation)
	b.remotes.forget(addressOf(p.Broker, p.Incarnation))
	b.tellAll(&linkDown{p.Broker, p.Incarnation})
}

// LinkRoom implements peer.Handler.
func (b *Broker) LinkRoom(p peer.Identity) { b.tellReplicas(&linkRoom{p.Broker}) }

// Refused implements peer.Handler.
func (b *Broker) Refused(id wire.BrokerID, incarnation wire.Incarnation) {
	b.tellNamed("membership", &peerRefused{id, incarnation})
}

// Deliver implements peer.Handler.
func (b *Broker) Deliver(from peer.Identity, e wire.Envelope) { b.remotes.deliver(from, e) }

// tellAll tells everyone on this broker who speaks with others.
func (b *Broker) tellAll(message any) {
	for _, name := range []string{"controller", "membership", "commands", "forward"} {
		b.tellNamed(name, message)
	}
	b.tellReplicas(message)
}

func (b *Broker) tellNamed(name string, message any) {
	if local, there := b.system.ProcessRegistry.GetLocal(name); there {
		local.SendUserMessage(b.system.NewLocalPID(name), message)
	}
}

func (b *Broker) tellReplicas(message any) {
	b.routes.each(func(p *partition) bool {
		if pid := p.actor.Load(); pid != nil {
			b.root.Send(pid, message)
		}
		return true
	})
}

// remotePID is an actor of another broker.
func (b *Broker) remotePID(id wire.BrokerID, incarnation wire.Incarnation, actorID string) *actor.PID {
	return actor.NewPID(addressOf(id, incarnation), actorID)
}

// linked says that there is a link to the run of a broker that an actor belongs to.
func (b *Broker) linked(pid *actor.PID) bool {
	id, incarnation, ok := parseAddress(pid.Address)
	if !ok || b.peers == nil {
		return false
	}
	present, up := b.peers.incarnation(id)
	return up && present == incarnation
}
