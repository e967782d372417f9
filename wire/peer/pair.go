package peer

import (
	"errors"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// pair is the two links to a broker. They are made, and end, together.
type pair struct {
	remote Identity
	nonce  uint64 // told by who dialled: what makes two connections a pair
	lost   uint64 // the nonce of the pair that the other end has lost

	address string // that was dialled; "" when the other end did

	control, bulk *link

	before <-chan struct{} // closed when the pair that was there before has ended; set by launch
	done   chan struct{}   // closed when nothing more comes from this one
	stood  time.Duration   // how long the links were up; set before done is closed

	once   sync.Once
	failed chan struct{} // closed by fail
	cause  error         // set before failed is closed
}

// What ends a pair besides what happens on its connections.
var (
	errReplaced  = errors.New("replaced by a newer pair of links")
	errForgotten = errors.New("the broker is not to be linked any more")
	errClosed    = errors.New("the links are closed")
)

func (l *Links) newPair(remote Identity, nonce, lost uint64, control, bulk *conn) *pair {
	p := &pair{remote: remote, nonce: nonce, lost: lost, done: make(chan struct{}), failed: make(chan struct{})}
	p.control, p.bulk = l.newLink(p, control, false), l.newLink(p, bulk, true)
	return p
}

// fail ends both links. The first cause is the one that is told.
func (p *pair) fail(cause error) {
	p.once.Do(func() {
		p.cause = cause
		close(p.failed)
		for _, k := range []*link{p.control, p.bulk} {
			k.queue.close()
			k.conn.close()
		}
	})
}

func (p *pair) isFailed() bool {
	select {
	case <-p.failed:
		return true
	default:
		return false
	}
}

// send queues a message on one of the links.
func (p *pair) send(bulk bool, e wire.Envelope, metrics *Metrics) error {
	k := p.control
	if bulk {
		k = p.bulk
	}
	err := k.queue.put(e)
	switch {
	case err == nil:
		metrics.sent[e.Message.Kind()].Inc()
	case errors.Is(err, ErrFull):
		k.full.Inc()
	}
	return err
}

// run is the life of a pair that both ends have agreed on. It begins when the one before has ended
// altogether, so that nothing of that one comes after this one's LinkUp.
func (l *Links) run(b *broker, p *pair) {
	<-p.before
	if p.isFailed() {
		l.ended(b, p, false)
		return
	}
	l.told.forget(b.id)
	began := l.now()
	l.metrics.Up.Inc()
	b.live.Store(p)
	l.handler.LinkUp(p.remote)
	var ends sync.WaitGroup
	for _, k := range []*link{p.control, p.bulk} {
		for _, work := range []func() error{k.read, k.write} {
			ends.Go(func() {
				if err := work(); err != nil {
					p.fail(k.cause(err))
				}
			})
		}
	}
	ends.Wait()
	p.stood = l.now().Sub(began)
	b.live.Store(nil)
	l.metrics.Up.Dec()
	p.control.queue.drop()
	p.bulk.queue.drop()
	l.handler.LinkDown(p.remote, p.cause)
	l.ended(b, p, true)
}
