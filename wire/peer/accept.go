package peer

import (
	"context"
	"errors"
	"net"

	"github.com/troupe-mq/troupe/wire"
)

// arrival is a pair of which one connection has come, or both.
type arrival struct {
	greeting wire.LinkGreeting // but for Bulk
	control  *conn
	bulk     *conn
	settled  chan struct{} // closed when pair or err is set
	pair     *pair
	err      error
}

// arrivalKey is what two connections must have in common to be a pair.
type arrivalKey struct {
	broker      wire.BrokerID
	incarnation wire.Incarnation
	nonce       uint64
}

// maxArrivals bounds the connections that wait for their sister.
const maxArrivals = 256

var (
	errCrowded = errors.New("too many connections wait for their sister")
	errSisters = errors.New("two connections that do not make a pair")
)

// Serve answers a broker that has dialled and said the preface. It returns when the connection has
// ended.
func (l *Links) Serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	if !l.enter() {
		return
	}
	defer l.goroutines.Done()
	ctx, cancel := context.WithTimeout(l.life, l.cfg.HandshakeTimeout)
	defer cancel()
	p, err := l.answer(ctx, c)
	if err != nil {
		l.log.Debug("a connection did not become a link", "address", c.RemoteAddr().String(), "err", err)
		return
	}
	<-p.done
}

// answer hears one greeting. The second one of a pair goes on for both.
func (l *Links) answer(ctx context.Context, raw net.Conn) (*pair, error) {
	release := context.AfterFunc(ctx, func() { _ = raw.Close() })
	c, err := l.encrypt(ctx, raw, false, "")
	var greeting wire.LinkGreeting
	if err == nil {
		c.release = release
		err = c.hear(&greeting)
	}
	if err != nil {
		l.refused(wire.NoBroker, raw.RemoteAddr().String(), err)
		return nil, err
	}
	a, whole, err := l.arrive(c, greeting)
	switch {
	case err != nil:
		return nil, err
	case whole:
		a.pair, a.err = l.welcome(ctx, a)
		close(a.settled)
		var r *refusal
		if errors.As(a.err, &r) {
			l.refused(greeting.From.Broker, raw.RemoteAddr().String(), r)
		}
		return a.pair, a.err
	}
	select {
	case <-a.settled:
	case <-ctx.Done():
		if l.leave(a) {
			return nil, ctx.Err()
		}
		<-a.settled
	}
	return a.pair, a.err
}

// arrive puts a connection beside its sister, or lets it wait for her.
func (l *Links) arrive(c *conn, greeting wire.LinkGreeting) (a *arrival, whole bool, err error) {
	bulk := greeting.Bulk
	greeting.Bulk = false
	key := arrivalKey{greeting.From.Broker, greeting.From.Incarnation, greeting.Nonce}
	l.mu.Lock()
	defer l.mu.Unlock()
	a = l.arrivals[key]
	if whole = a != nil; whole {
		if bulk == (a.bulk != nil) || greeting != a.greeting {
			return nil, false, errSisters
		}
		delete(l.arrivals, key)
	} else {
		if len(l.arrivals) >= maxArrivals {
			l.evict()
		}
		a = &arrival{greeting: greeting, settled: make(chan struct{})}
		l.arrivals[key] = a
	}
	if bulk {
		a.bulk = c
	} else {
		a.control = c
	}
	return a, whole, nil
}

// evict gives up one that waits, any: a map gives them in no order. Those who never send a second
// greeting cannot keep out those who do so at once.
func (l *Links) evict() {
	for key, a := range l.arrivals {
		delete(l.arrivals, key)
		a.err = errCrowded
		close(a.settled)
		return
	}
}

// leave takes a connection back whose sister has not come.
func (l *Links) leave(a *arrival) bool {
	key := arrivalKey{a.greeting.From.Broker, a.greeting.From.Incarnation, a.greeting.Nonce}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.arrivals[key] != a {
		return false
	}
	delete(l.arrivals, key)
	return true
}

// welcome answers a pair. Of two brokers the one with the lower id decides which pair stands, so it
// claims the slot before it answers; the other one does when it has been told.
func (l *Links) welcome(ctx context.Context, a *arrival) (*pair, error) {
	p := l.newPair(Identity(a.greeting.From), a.greeting.Nonce, a.greeting.Lost, a.control, a.bulk)
	decides := l.self.Broker < p.remote.Broker
	var b *broker
	r := l.checkGreeting(&a.greeting)
	switch {
	case r != nil:
	case decides:
		b, r = l.claim(ctx, p, false)
	default:
		r = l.admit(p)
	}
	err := sayBoth(a.control, a.bulk, &wire.LinkWelcome{
		Refusal: r.words(), Protocol: maxProtocol, From: wire.LinkEnd(l.self),
	})
	if r != nil {
		return nil, r
	}
	if err == nil {
		err = hearConfirms(a.control, a.bulk)
	}
	if err == nil && !decides {
		if b, r = l.claim(ctx, p, true); r != nil {
			return nil, r
		}
	}
	switch {
	case b != nil:
		err = l.settle(b, p, err)
	case err != nil:
		return nil, err
	}
	return p, err
}

func hearConfirms(control, bulk *conn) error {
	for _, c := range []*conn{control, bulk} {
		var m wire.LinkConfirm
		if err := c.hear(&m); err != nil {
			return err
		}
		if r := refusedBy(m.Refusal); r != nil {
			return r
		}
	}
	return nil
}
