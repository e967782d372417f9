package peer

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/troupe-mq/troupe/wire"
)

// broker is what is known of another broker. Its fields are guarded by Links.mu, but for live.
type broker struct {
	id   wire.BrokerID
	live atomic.Pointer[pair] // on which messages can be sent

	// slot is the pair that stands, or that is being agreed on. One that has failed is as good as none.
	slot *pair
	last chan struct{} // the done of the pair that was launched last; closed when there was none
	lost uint64        // the nonce of the pair that ended last

	broken wire.Incarnation // the run whose links have broken, while nobody knows what became of it

	registered wire.Incarnation   // the run that SetPeer told last; 0 when it never did
	latest     wire.Incarnation   // the run that was linked last
	former     []wire.Incarnation // those that were linked before

	addresses []string
	reached   string        // where the run that was linked last was dialled; "" when it did
	changed   chan struct{} // of capacity 1: SetPeer has told something new
	forget    context.CancelFunc
}

// maxFormer is how many former runs of a broker are remembered.
const maxFormer = 16

func newBroker(id wire.BrokerID) *broker {
	b := &broker{id: id, last: make(chan struct{}), changed: make(chan struct{}, 1)}
	close(b.last)
	return b
}

// current returns the pair that stands or is being agreed on.
func (b *broker) current() *pair {
	if b.slot == nil || b.slot.isFailed() {
		return nil
	}
	return b.slot
}

// admit says why a pair may not take the place of the one that is there.
//
// The runs of a broker have no order: a number says nothing about which of two processes is the
// newer one. So while a run's links live, another run is refused, unless it is the one that the
// cluster has registered; and a run that has been followed by another does not come back.
func (b *broker) admit(p *pair, confirmed bool) *refusal {
	run := p.remote.Incarnation
	if run != b.registered && slices.Contains(b.former, run) {
		return refuse(reasonFormer, "this run of broker %d has been followed by another", b.id)
	}
	here := b.current()
	switch {
	case here == nil || here == p:
		return nil
	case here.remote.Incarnation != run:
		if run == b.registered {
			return nil
		}
		return refuse(reasonImpostor, "another process is linked as broker %d", b.id)
	case confirmed, p.lost == here.nonce:
		return nil
	}
	return refuse(reasonLinked, "broker %d is linked already", b.id)
}

// claim gives a pair the slot if it is admitted. It is launched or abandoned after that.
func (b *broker) claim(p *pair, confirmed bool) *refusal {
	if r := b.admit(p, confirmed); r != nil {
		return r
	}
	if here := b.current(); here != nil && here != p {
		here.fail(errReplaced)
	}
	b.slot = p
	return nil
}

// linked notes which run of the broker is linked now.
func (b *broker) linked(run wire.Incarnation) {
	b.former = slices.DeleteFunc(b.former, func(r wire.Incarnation) bool { return r == run })
	if b.latest != 0 && b.latest != run {
		b.former = append(b.former, b.latest)
		b.former = b.former[max(0, len(b.former)-maxFormer):]
	}
	b.latest = run
}

// inUse says that something is to be remembered of the broker.
func (b *broker) inUse() bool {
	select {
	case <-b.last:
		return b.forget != nil || b.slot != nil
	default:
		return true // a pair has not ended yet
	}
}

// claim gives a pair its broker's slot, unless ctx has ended: then the broker may have been
// forgotten.
func (l *Links) claim(ctx context.Context, p *pair, confirmed bool) (*broker, *refusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		return nil, refuse(reasonClosed, "broker %d has given up", l.self.Broker)
	}
	b := l.brokers[p.remote.Broker]
	if b == nil {
		b = newBroker(p.remote.Broker)
	}
	if r := b.claim(p, confirmed); r != nil {
		return nil, r
	}
	l.brokers[b.id] = b
	return b, nil
}

// admit is claim without claiming.
func (l *Links) admit(p *pair) *refusal {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.brokers[p.remote.Broker]; b != nil {
		return b.admit(p, false)
	}
	return nil
}

// launch starts a pair that has claimed its broker's slot.
func (l *Links) launch(b *broker, p *pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.before, b.last = b.last, p.done
	b.linked(p.remote.Incarnation)
	b.broken, b.reached = 0, p.address
	if l.closed {
		p.fail(errClosed)
	}
	l.goroutines.Go(func() { l.run(b, p) })
}

// abandon gives up a pair that was not launched.
func (l *Links) abandon(b *broker, p *pair, cause error) {
	p.fail(cause)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.vacate(b, p)
}

// ended is the last of a pair that was launched. It stood if LinkUp was called.
func (l *Links) ended(b *broker, p *pair, stood bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if stood {
		b.lost = p.nonce
		if b.current() == nil {
			b.broken = p.remote.Incarnation
		}
	}
	l.vacate(b, p)
}

// vacate leaves the slot to another pair.
func (l *Links) vacate(b *broker, p *pair) {
	if b.slot == p {
		b.slot = nil
	}
	close(p.done)
	if !b.inUse() && l.brokers[b.id] == b {
		delete(l.brokers, b.id)
	}
}
