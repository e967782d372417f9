package node

import (
	"slices"
	"sync"

	"github.com/troupe-mq/troupe/cluster/gossip"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/peer"
)

// addressBook is where the other brokers are, by all that anybody says:
//
//	the metadata log       where a broker was when it registered last          SetPeer
//	gossip                 where its processes are now                         alive, failed
//	a file, and whoever let this broker in: where brokers were once            remember
//
// None of them is right always: a broker that starts at another address is seen by gossip before it
// can register, and it can only register over links. So links try all of them.
type addressBook struct {
	mu      sync.Mutex
	brokers map[wire.BrokerID]*entry
	links   *peer.Links // nil before they are attached
	changed chan struct{}
}

// entry is what is known of one broker.
type entry struct {
	incarnation wire.Incarnation // that is registered; 0 when none is
	registered  string
	alive       []gossip.Member // its processes, the one that was seen last first
	remembered  string
	forgotten   bool // the cluster has removed it
}

func newAddressBook() *addressBook {
	return &addressBook{brokers: make(map[wire.BrokerID]*entry), changed: make(chan struct{}, 1)}
}

// addresses are where to look, the best first.
func (e *entry) addresses() []string {
	var list []string
	add := func(address string) {
		if address != "" && !slices.Contains(list, address) {
			list = append(list, address)
		}
	}
	for _, m := range e.alive {
		add(m.Address)
	}
	add(e.registered)
	add(e.remembered)
	return list
}

// update changes what is known of a broker, and tells the links.
func (b *addressBook) update(id wire.BrokerID, change func(*entry)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.brokers[id]
	if e == nil {
		e = &entry{}
		b.brokers[id] = e
	}
	change(e)
	b.tell(id, e)
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

func (b *addressBook) tell(id wire.BrokerID, e *entry) {
	if addresses := e.addresses(); b.links != nil && !e.forgotten && len(addresses) > 0 {
		b.links.SetPeer(id, e.incarnation, addresses...)
	}
}

// attach makes the links hear of everybody who is known, and of all changes.
func (b *addressBook) attach(links *peer.Links) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.links = links
	for id, e := range b.brokers {
		b.tell(id, e)
	}
}

// register takes over what the metadata log says.
func (b *addressBook) register(id wire.BrokerID, incarnation wire.Incarnation, addresses []string) {
	b.update(id, func(e *entry) {
		e.incarnation, e.forgotten = incarnation, false
		if len(addresses) > 0 {
			e.registered = addresses[0]
		}
	})
}

// forget takes a broker out that the cluster has removed.
func (b *addressBook) forget(id wire.BrokerID) {
	b.update(id, func(e *entry) { *e = entry{alive: e.alive, forgotten: true} })
}

// remember takes over what was known once.
func (b *addressBook) remember(members []wire.Member) {
	for _, m := range members {
		b.update(m.Broker, func(e *entry) { e.remembered = m.Address })
	}
}

// alive takes over that gossip sees a process.
func (b *addressBook) alive(m gossip.Member) {
	b.update(m.Broker, func(e *entry) {
		e.lose(m)
		e.alive = slices.Insert(e.alive, 0, m)
	})
}

// failed takes over that gossip sees a process no more. Where it was is remembered.
func (b *addressBook) failed(m gossip.Member) {
	b.update(m.Broker, func(e *entry) {
		if e.lose(m); len(e.alive) == 0 {
			e.remembered = m.Address
		}
	})
}

func (e *entry) lose(m gossip.Member) {
	e.alive = slices.DeleteFunc(e.alive, func(other gossip.Member) bool { return other.Incarnation == m.Incarnation })
}

// members lists the brokers of the cluster with their best addresses, by id.
func (b *addressBook) members() []wire.Member {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []wire.Member
	for id, e := range b.brokers {
		if addresses := e.addresses(); !e.forgotten && len(addresses) > 0 {
			list = append(list, wire.Member{Broker: id, Address: addresses[0]})
		}
	}
	slices.SortFunc(list, func(a, b wire.Member) int { return int(a.Broker) - int(b.Broker) })
	return list
}

// missing lists the brokers that are registered and that gossip does not see, by where they were.
func (b *addressBook) missing() []wire.Member {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []wire.Member
	for id, e := range b.brokers {
		if !e.forgotten && e.registered != "" && len(e.alive) == 0 {
			list = append(list, wire.Member{Broker: id, Address: e.registered})
		}
	}
	return list
}

// contacts are all addresses at which there may be a broker of the cluster, sorted.
func (b *addressBook) contacts() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []string
	for _, e := range b.brokers {
		if !e.forgotten {
			list = append(list, e.addresses()...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
