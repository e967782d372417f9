package testbed

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// Proxy is a line to a broker that can be cut, slowed down and made to lose what it carries, in
// either direction. A broker is reached by it that is told to advertise its address. It carries TCP.
//
// What is lost is lost for good, as if the network had taken it and the kernel had believed that it
// arrived: the stream behind it makes no sense any more, and whoever reads it has to notice.
type Proxy struct {
	listener net.Listener
	to       string
	carrying sync.WaitGroup
	ctx      context.Context // ends with the proxy
	cancel   context.CancelFunc

	mu    sync.Mutex
	ways  [2]way
	conns map[net.Conn]struct{}
	moved chan struct{} // closed and replaced when a way changes
}

// Direction is a way through a proxy.
type Direction int

// The directions.
const (
	ToBroker Direction = iota
	FromBroker
)

// way is what becomes of the bytes of a direction.
type way struct {
	stopped bool // they wait
	losing  bool
	delay   time.Duration
}

// NewProxy begins to carry connections to an address.
func NewProxy(to string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: listener, to: to, conns: make(map[net.Conn]struct{}), moved: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.carrying.Go(p.accept)
	return p, nil
}

// Address is where to connect to.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Stop makes the bytes of a direction wait until Heal: a cut that TCP gets over.
func (p *Proxy) Stop(d Direction) { p.change(func() { p.ways[d].stopped = true }) }

// Lose throws the bytes of a direction away until Heal.
func (p *Proxy) Lose(d Direction) { p.change(func() { p.ways[d].losing = true }) }

// Delay holds the bytes of a direction back for a while.
func (p *Proxy) Delay(d Direction, by time.Duration) { p.change(func() { p.ways[d].delay = by }) }

// Heal carries everything at once again.
func (p *Proxy) Heal() { p.change(func() { p.ways = [2]way{} }) }

// Break resets all connections. New ones are taken.
func (p *Proxy) Break() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // a reset, not an end; it may be closed already
		}
		_ = c.Close() // which is all there is to it
	}
}

// Close ends the proxy and all that it carries.
func (p *Proxy) Close() {
	p.cancel()
	_ = p.listener.Close() // which ends accept
	p.Break()
	p.carrying.Wait()
}

func (p *Proxy) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.moved)
	p.moved = make(chan struct{})
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.carrying.Go(func() { p.carry(c) })
	}
}

func (p *Proxy) carry(c net.Conn) {
	defer p.drop(c)
	broker, err := (&net.Dialer{}).DialContext(p.ctx, "tcp", p.to)
	if err != nil {
		return
	}
	defer p.drop(broker)
	if !p.keep(c, broker) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pass(c, broker, ToBroker) })
	both.Go(func() { p.pass(broker, c, FromBroker) })
	both.Wait()
}

// keep notes connections, unless the proxy has ended.
func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return p.ctx.Err() == nil
}

func (p *Proxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close() // it may be closed already
}

// pass carries one direction of a connection until either end closes it; then both do.
func (p *Proxy) pass(from, to net.Conn, d Direction) {
	defer func() {
		_ = to.Close() // the other direction may have closed it
		_ = from.Close()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			lost, waitErr := p.hold(d)
			if waitErr != nil {
				return
			}
			if !lost {
				if _, err := to.Write(buf[:n]); err != nil {
					return
				}
			}
		}
		if err != nil {
			return
		}
	}
}

// hold waits as long as the direction says, and tells whether the bytes are lost.
func (p *Proxy) hold(d Direction) (lost bool, err error) {
	for delayed := false; ; {
		p.mu.Lock()
		w, moved := p.ways[d], p.moved
		p.mu.Unlock()
		switch {
		case w.losing:
			return true, nil
		case w.stopped:
			select {
			case <-moved:
			case <-p.ctx.Done():
				return false, p.ctx.Err()
			}
		case w.delay > 0 && !delayed:
			delayed = true
			select {
			case <-time.After(w.delay):
			case <-p.ctx.Done():
				return false, p.ctx.Err()
			}
		default:
			return false, nil
		}
	}
}

// String names the line.
func (p *Proxy) String() string { return fmt.Sprintf("%s to %s", p.Address(), p.to) }
