package peer

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// Links are the links of one broker to all others.
type Links struct {
	self    Identity
	cfg     Config
	dialer  Dialer
	log     *slog.Logger
	metrics *Metrics
	now     func() time.Time
	handler Handler
	told    onceSet

	life       context.Context // over at Close
	end        context.CancelFunc
	goroutines sync.WaitGroup

	mu       sync.RWMutex
	closed   bool
	brokers  map[wire.BrokerID]*broker
	arrivals map[arrivalKey]*arrival
}

// New returns links that belong to self. Attach must follow before anything else.
func New(self Identity, cfg Config, dialer Dialer, log *slog.Logger, metrics *Metrics, now func() time.Time) *Links {
	life, end := context.WithCancel(context.Background())
	return &Links{
		self: self, cfg: cfg.complete(), dialer: dialer, log: log, metrics: metrics.complete(), now: now, life: life, end: end,
		brokers: make(map[wire.BrokerID]*broker), arrivals: make(map[arrivalKey]*arrival),
	}
}

// Attach tells who hears from the links, once and before Serve and SetPeer.
func (l *Links) Attach(h Handler) { l.handler = h }

// SetPeer says where a broker can be reached: at one of the addresses, which are tried in turn.
// From then on links to it are kept up. The incarnation is the run of it that is registered, or 0
// when that is not known.
func (l *Links) SetPeer(id wire.BrokerID, incarnation wire.Incarnation, addresses ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || id == l.self.Broker {
		return
	}
	b := l.brokers[id]
	if b == nil {
		b = newBroker(id)
		l.brokers[id] = b
	}
	if b.forget != nil && slices.Equal(b.addresses, addresses) && (incarnation == 0 || incarnation == b.registered) {
		return
	}
	b.addresses = slices.Clone(addresses)
	if incarnation != 0 {
		b.registered = incarnation
	}
	if b.forget != nil {
		select {
		case b.changed <- struct{}{}:
		default:
		}
		return
	}
	var life context.Context
	life, b.forget = context.WithCancel(l.life)
	l.goroutines.Go(func() { l.keep(life, b) })
}

// ForgetPeer ends the links to a broker. It is not dialled any more; if it dials, it is answered.
func (l *Links) ForgetPeer(id wire.BrokerID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.brokers[id]
	if b == nil {
		return
	}
	if b.forget != nil {
		b.forget()
		b.forget = nil
	}
	if b.slot != nil {
		b.slot.fail(errForgotten)
	}
	if !b.inUse() {
		delete(l.brokers, id)
	}
}

// Send queues a message for a run of a broker, on the link for bulk or on that for control. It
// never blocks. On an error the caller still owns the buffers in e: ErrDown, there is no link to
// that run; ErrFull, LinkRoom will tell when to try again; or an ErrTooLarge. Incarnation 0 stands
// for whichever run is linked.
func (l *Links) Send(to wire.BrokerID, incarnation wire.Incarnation, bulk bool, e wire.Envelope) error {
	p := l.live(to)
	if p == nil || incarnation != 0 && incarnation != p.remote.Incarnation {
		return ErrDown
	}
	return p.send(bulk, e, l.metrics)
}

// Queued returns how many bytes wait on the link for bulk, and how many may.
func (l *Links) Queued(to wire.BrokerID) (bytes, limit int) {
	if p := l.live(to); p != nil {
		bytes = p.bulk.queue.queued()
	}
	return bytes, l.cfg.BulkQueueBytes
}

func (l *Links) live(id wire.BrokerID) *pair {
	l.mu.RLock()
	b := l.brokers[id]
	l.mu.RUnlock()
	if b == nil {
		return nil
	}
	return b.live.Load()
}

// Close ends all links. When it has returned nil, nothing is running and nobody is told anything.
func (l *Links) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	l.end()
	for _, b := range l.brokers {
		if b.slot != nil {
			b.slot.fail(errClosed)
		}
	}
	l.mu.Unlock()
	done := make(chan struct{})
	go func() {
		l.goroutines.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter counts a goroutine that Close waits for, unless it is too late.
func (l *Links) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.goroutines.Add(1)
	return true
}
