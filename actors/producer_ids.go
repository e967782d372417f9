package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// producerIDs hands out producer ids, each once. It takes them in blocks from the metadata log,
// so that most requests cost no entry there; the rest of a block is lost when the broker stops.
type producerIDs struct {
	request func(command metadata.Command, answered func(any, error)) // asks the controller
	send    func(to *actor.PID, message any)
	self    wire.BrokerID

	next, end wire.ProducerID // the rest of the block
	asked     bool
	waiting   []chan<- allocatedID
}

type allocateID struct{ reply chan<- allocatedID }

type allocatedID struct {
	id  wire.ProducerID
	err error
}

// blockAllocated answers the request for a block.
type blockAllocated struct {
	first wire.ProducerID
	count int32
	err   error
}

// Receive implements actor.Actor.
func (p *producerIDs) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *allocateID:
		p.waiting = append(p.waiting, msg.reply)
	case *blockAllocated:
		p.asked = false
		if msg.err != nil {
			p.fail(msg.err)
			return
		}
		p.next, p.end = msg.first, msg.first+wire.ProducerID(msg.count)
	case *actor.Stopping:
		p.fail(wire.CoordinatorNotAvailable)
		return
	default:
		return
	}
	p.serve(ctx)
}

func (p *producerIDs) serve(ctx actor.Context) {
	for len(p.waiting) > 0 && p.next < p.end {
		p.waiting[0] <- allocatedID{id: p.next}
		p.waiting = p.waiting[1:]
		p.next++
	}
	if len(p.waiting) == 0 || p.asked {
		return
	}
	p.asked = true
	self := ctx.Self()
	p.request(metadata.AllocateProducerIDs{Broker: p.self}, func(reply any, err error) {
		block, _ := reply.(metadata.AllocatedProducerIDs)
		if err == nil {
			err = block.Err
		}
		p.send(self, &blockAllocated{first: block.First, count: block.Count, err: err})
	})
}

func (p *producerIDs) fail(err error) {
	for _, reply := range p.waiting {
		reply <- allocatedID{err: err}
	}
	p.waiting = nil
}
