package actors

import (
	"maps"
	"slices"
	"sync"

	"github.com/troupe-mq/troupe/wire"
)

// peers is which brokers are linked with this one, and which of their runs. The metadata tell of runs
// as well, but late: brokers that all restart at once must find each other before one of them can lead and
// have that written down.
type peers struct {
	mu     sync.Mutex
	linked map[wire.BrokerID]wire.Incarnation
}

func newPeers() *peers { return &peers{linked: make(map[wire.BrokerID]wire.Incarnation)} }

func (p *peers) up(id wire.BrokerID, incarnation wire.Incarnation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.linked[id] = incarnation
}

func (p *peers) down(id wire.BrokerID, incarnation wire.Incarnation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.linked[id] == incarnation {
		delete(p.linked, id)
	}
}

// incarnation returns the run of a broker that is linked now.
func (p *peers) incarnation(id wire.BrokerID) (wire.Incarnation, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	incarnation, linked := p.linked[id]
	return incarnation, linked
}

// ids returns the brokers that are linked now, in order.
func (p *peers) ids() []wire.BrokerID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.linked))
}
