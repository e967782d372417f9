package actors

import (
	"errors"
	"sync"
	"testing"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/peer"
)

// memoryNetwork carries messages between brokers of one test process, in order on each of two
// links per pair, as package peer does. Links can be cut, one way or both ways.
type memoryNetwork struct {
	mu      sync.Mutex
	brokers map[wire.BrokerID]*memoryLinks
	cuts    map[[2]wire.BrokerID]bool
	work    sync.WaitGroup
	room    int // how many messages wait at most on a link for bulk
}

func newMemoryNetwork() *memoryNetwork {
	return &memoryNetwork{room: memoryQueue, brokers: make(map[wire.BrokerID]*memoryLinks), cuts: make(map[[2]wire.BrokerID]bool)}
}

// memoryLinks is one broker's end of the network. It implements Links.
type memoryLinks struct {
	net     *memoryNetwork
	self    peer.Identity
	handler peer.Handler
	gone    bool
	out     map[wire.BrokerID]*memoryPair // by peer
}

// memoryPair is what one broker sends to another, on two links.
type memoryPair struct {
	from, to *memoryLinks
	queue    [2]chan wire.Envelope
	ended    chan struct{}
	once     sync.Once

	mu    sync.Mutex
	room  int
	stuck bool // there is no room, whatever waits
	full  bool // somebody was turned away since there was room
}

const memoryQueue = 10_000

var errCut = errors.New("the link was cut")

// join gives a broker its end; what an earlier run of that broker had is gone.
func (n *memoryNetwork) join(id wire.BrokerID, incarnation wire.Incarnation) *memoryLinks {
	n.leave(id)
	l := &memoryLinks{
		net:  n,
		self: peer.Identity{ClusterID: "cluster", Broker: id, Incarnation: incarnation},
		out:  make(map[wire.BrokerID]*memoryPair),
	}
	n.mu.Lock()
	n.brokers[id] = l
	n.mu.Unlock()
	return l
}

// Attach implements Links: from now on the broker is connected.
func (l *memoryLinks) Attach(h peer.Handler) {
	l.net.mu.Lock()
	l.handler = h
	var ups []func()
	for _, other := range l.net.brokers {
		if other != l && other.handler != nil {
			ups = append(ups, l.net.connect(l, other)...)
		}
	}
	l.net.mu.Unlock()
	for _, up := range ups {
		up()
	}
}

// connect sets two brokers' links up. The caller holds the mutex, and calls what is returned after.
func (n *memoryNetwork) connect(a, b *memoryLinks) []func() {
	if a.gone || b.gone || n.cuts[[2]wire.BrokerID{a.self.Broker, b.self.Broker}] || n.cuts[[2]wire.BrokerID{b.self.Broker, a.self.Broker}] || a.out[b.self.Broker] != nil {
		return nil
	}
	var ups []func()
	for _, ends := range [][2]*memoryLinks{{a, b}, {b, a}} {
		from, to := ends[0], ends[1]
		p := &memoryPair{from: from, to: to, ended: make(chan struct{}), room: n.room}
		from.out[to.self.Broker] = p
		ups = append(ups, func() {
			to.handler.LinkUp(from.self)
			for i := range p.queue {
				n.work.Go(func() { p.carry(from.self, i) })
			}
		})
		for i := range p.queue {
			p.queue[i] = make(chan wire.Envelope, memoryQueue)
		}
	}
	return ups
}

func (p *memoryPair) carry(from peer.Identity, link int) {
	for {
		select {
		case <-p.ended:
			return
		default:
		}
		select {
		case e := <-p.queue[link]:
			p.to.handler.Deliver(from, copyOf(e, from.Broker))
			p.tellRoom()
		case <-p.ended:
			return
		}
	}
}

// tellRoom tells who was turned away that there is room.
func (p *memoryPair) tellRoom() {
	p.mu.Lock()
	room := p.full && !p.stuck && len(p.queue[1]) <= p.room/2
	if room {
		p.full = false
	}
	p.mu.Unlock()
	if room {
		p.from.handler.LinkRoom(p.to.self)
	}
}

// put queues a message, unless there is no room.
func (p *memoryPair) put(link int, e wire.Envelope) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if link == 1 && (p.stuck || len(p.queue[link]) >= p.room) {
		p.full = true
		return peer.ErrFull
	}
	select {
	case p.queue[link] <- e:
		return nil
	default:
		return peer.ErrFull
	}
}

// narrow bounds what waits on the links for bulk, also on those that stand.
func (n *memoryNetwork) narrow(room int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.room = room
	for _, l := range n.brokers {
		for _, p := range l.out {
			p.mu.Lock()
			p.room = room
			p.mu.Unlock()
		}
	}
}

// jam leaves no room on the link for bulk from one broker to another, or lets it have room again.
func (n *memoryNetwork) jam(from, to wire.BrokerID, stuck bool) {
	n.mu.Lock()
	p := n.brokers[from].out[to]
	n.mu.Unlock()
	p.mu.Lock()
	p.stuck = stuck
	p.mu.Unlock()
	p.tellRoom()
}

// copyOf is what arrives of a message: nothing is shared but its buffer.
func copyOf(e wire.Envelope, sender wire.BrokerID) wire.Envelope {
	switch m := e.Message.(type) {
	case *wire.Probe:
		c := *m
		c.Sender = sender
		e.Message = &c
	case *wire.Position:
		c := *m
		c.Sender = sender
		e.Message = &c
	case *wire.Truncate:
		c := *m
		c.Sender = sender
		e.Message = &c
	case *wire.Append:
		c := *m
		c.Sender = sender
		c.Batches = append([]byte{}, m.Batches...)
		c.Buffer = nil
		m.Buffer.Release()
		e.Message = &c
	case *wire.Appended:
		c := *m
		c.Sender = sender
		e.Message = &c
	case *wire.RaftStep:
		c := *m
		c.Sender = sender
		e.Message = &c
	case *wire.Propose:
		c := *m
		c.Sender = sender
		e.Message = &c
	case *wire.Proposed:
		c := *m
		c.Sender = sender
		e.Message = &c
	case *wire.FetchMetadata:
		c := *m
		c.Sender = sender
		e.Message = &c
	case *wire.MetadataFetched:
		c := *m
		c.Sender = sender
		e.Message = &c
	case *wire.Heartbeat:
		c := *m
		c.Sender = sender
		e.Message = &c
	case *wire.HeartbeatReply:
		c := *m
		c.Sender = sender
		e.Message = &c
	case *wire.Hint:
		c := *m
		c.Sender = sender
		e.Message = &c
	case *wire.Forward:
		c := *m
		c.Sender = sender
		c.Payload = append([]byte{}, m.Payload...)
		c.Buffer = nil
		m.Buffer.Release()
		e.Message = &c
	case *wire.Forwarded:
		c := *m
		c.Sender = sender
		c.Payload = append([]byte{}, m.Payload...)
		c.Buffer = nil
		m.Buffer.Release()
		e.Message = &c
	}
	return e
}

// Send implements Links.
func (l *memoryLinks) Send(to wire.BrokerID, incarnation wire.Incarnation, bulk bool, e wire.Envelope) error {
	l.net.mu.Lock()
	p := l.out[to]
	l.net.mu.Unlock()
	if p == nil || p.to.self.Incarnation != incarnation {
		return peer.ErrDown
	}
	link := 0
	if bulk {
		link = 1
	}
	return p.put(link, e)
}

// SetPeer implements Links: everybody is known here.
func (*memoryLinks) SetPeer(wire.BrokerID, wire.Incarnation, ...string) {}

// ForgetPeer implements Links.
func (*memoryLinks) ForgetPeer(wire.BrokerID) {}

// leave takes a broker off the network, as if its process were gone.
func (n *memoryNetwork) leave(id wire.BrokerID) {
	n.mu.Lock()
	l := n.brokers[id]
	if l == nil {
		n.mu.Unlock()
		return
	}
	l.gone = true
	delete(n.brokers, id)
	var tell []func()
	for other := range l.out {
		tell = append(tell, n.disconnect(l, n.brokers[other])...)
		if survivor := n.brokers[other]; survivor != nil {
			tell = append(tell, func() { survivor.handler.Refused(id, l.self.Incarnation) })
		}
	}
	n.mu.Unlock()
	for _, f := range tell {
		f()
	}
}

// disconnect ends the links of two brokers. The caller holds the mutex.
func (n *memoryNetwork) disconnect(a, b *memoryLinks) []func() {
	if b == nil || a.out[b.self.Broker] == nil {
		return nil
	}
	var downs []func()
	for _, ends := range [][2]*memoryLinks{{a, b}, {b, a}} {
		from, to := ends[0], ends[1]
		p := from.out[to.self.Broker]
		delete(from.out, to.self.Broker)
		p.once.Do(func() { close(p.ended) })
		if !to.gone {
			downs = append(downs, func() { to.handler.LinkDown(from.self, errCut) })
		}
	}
	return downs
}

// cut ends the links between two brokers until heal.
func (n *memoryNetwork) cut(a, b wire.BrokerID) {
	n.mu.Lock()
	n.cuts[[2]wire.BrokerID{a, b}] = true
	var downs []func()
	if l := n.brokers[a]; l != nil {
		downs = n.disconnect(l, n.brokers[b])
	}
	n.mu.Unlock()
	for _, down := range downs {
		down()
	}
}

// heal undoes cut.
func (n *memoryNetwork) heal(a, b wire.BrokerID) {
	n.mu.Lock()
	delete(n.cuts, [2]wire.BrokerID{a, b})
	delete(n.cuts, [2]wire.BrokerID{b, a})
	var ups []func()
	if x, y := n.brokers[a], n.brokers[b]; x != nil && y != nil && x.handler != nil && y.handler != nil {
		ups = n.connect(x, y)
	}
	n.mu.Unlock()
	for _, up := range ups {
		up()
	}
}

// end waits for the network's goroutines once every broker has left.
func (n *memoryNetwork) end(t *testing.T) {
	t.Helper()
	n.mu.Lock()
	left := len(n.brokers)
	n.mu.Unlock()
	if left > 0 {
		t.Errorf("%d brokers are still on the network", left)
	}
	n.work.Wait()
}
