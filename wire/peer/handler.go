package peer

import (
	"errors"

	"github.com/troupe-mq/troupe/wire"
)

// Identity is who stands at one end of a link.
type Identity struct {
	ClusterID     string
	Broker        wire.BrokerID
	Directory     string // of the broker's first log directory
	Incarnation   wire.Incarnation
	RecoveryEpoch uint64
}

// Handler hears from the links. Its methods are called on the links' goroutines and must not
// block. For one peer the calls come in order: LinkUp, deliveries, LinkDown.
type Handler interface {
	// LinkUp says that both links to a broker stand.
	LinkUp(p Identity)
	// LinkDown says that they are gone, and with them all that was queued or on its way.
	LinkDown(p Identity, cause error)
	// Deliver hands over a message, and the buffers in it.
	Deliver(from Identity, e wire.Envelope)
	// LinkRoom says that after an ErrFull there is room again.
	LinkRoom(p Identity)
	// Refused says that the link to a broker broke, and that its address then refused
	// connections: the process is gone.
	Refused(b wire.BrokerID, incarnation wire.Incarnation)
}

// What Send returns when it does not take a message.
var (
	ErrDown = errors.New("there is no link to the broker")
	ErrFull = errors.New("the link has no room")
)
