package node

import (
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// clusterPort is the port for other brokers. Three protocols share it, each with a preface of four
// bytes: gossip, links, and the introduction of those who have neither yet. Here the preface is
// taken off the connection, because every broker sends it at once.
type clusterPort struct {
	acceptor
	timeout time.Duration
	now     func() time.Time
	unknown prometheus.Counter

	// Under mu:
	protocols map[[4]byte]func(net.Conn)
	told      time.Time // when a stranger was last worth a line
}

const (
	// prefaceTimeout is how long a connection may keep silent.
	prefaceTimeout = 5 * time.Second
	// maxSilentBrokers bounds those that have not said what they speak.
	maxSilentBrokers = 256
	// strangerInterval is how often strangers are worth a line in the log.
	strangerInterval = time.Minute
)

func newClusterPort(l net.Listener, log *slog.Logger, now func() time.Time, unknown prometheus.Counter) *clusterPort {
	return &clusterPort{
		acceptor: newAcceptor(l, "brokers", maxSilentBrokers, log), timeout: prefaceTimeout, now: now, unknown: unknown,
		protocols: make(map[[4]byte]func(net.Conn)),
	}
}

// handle gives the connections that begin with preface to serve, which takes them over. A
// protocol that nobody serves yet is a stranger's: other brokers come again.
func (p *clusterPort) handle(preface [4]byte, serve func(net.Conn)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.protocols[preface] = serve
}

// run accepts until close, or until the listener fails.
func (p *clusterPort) run() error { return p.accept(p.route) }

func (p *clusterPort) route(c net.Conn) {
	preface, err := readPreface(c, p.timeout)
	open := p.spoken(c)
	if err != nil || !open {
		_ = c.Close()
		return
	}
	p.mu.Lock()
	serve := p.protocols[preface]
	p.mu.Unlock()
	if serve == nil {
		p.refuse(c, preface)
		return
	}
	serve(c)
}

func readPreface(c net.Conn, timeout time.Duration) (preface [4]byte, err error) {
	if err := c.SetReadDeadline(time.Now().Add(timeout)); err != nil { //nolint:forbidigo // a deadline of the kernel's clock
		return preface, err
	}
	if _, err := io.ReadFull(c, preface[:]); err != nil {
		return preface, err
	}
	return preface, c.SetReadDeadline(time.Time{})
}

// refuse closes a connection of somebody who is no broker, or not one that is expected now.
func (p *clusterPort) refuse(c net.Conn, preface [4]byte) {
	_ = c.Close()
	p.unknown.Inc()
	p.mu.Lock()
	now := p.now()
	news := p.told.IsZero() || now.Sub(p.told) >= strangerInterval
	if news {
		p.told = now
	}
	p.mu.Unlock()
	if news {
		p.log.Warn("a connection to the cluster port speaks none of its protocols", "from", c.RemoteAddr().String(), "begins", preface[:])
	}
}
