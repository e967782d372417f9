package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

// network joins a client to brokers by pipes, within one synctest bubble: time is virtual, and
// the bubble fails when a goroutine is left over.
type network struct {
	t       *testing.T
	mu      sync.Mutex
	servers map[string]*native.Server
	down    map[string]bool
	hung    map[string]bool
	conns   []*mutable
	serving sync.WaitGroup
	dials   int // that were answered
}

// mutable is a connection that can be turned into one whose other end has vanished: nothing that
// is written arrives, nothing comes, and nothing tells.
type mutable struct {
	net.Conn

	addr string
	mute atomic.Bool
}

func (m *mutable) Write(b []byte) (int, error) {
	if m.mute.Load() {
		return len(b), nil
	}
	return m.Conn.Write(b)
}

func (m *mutable) Read(b []byte) (int, error) {
	for {
		if n, err := m.Conn.Read(b); err != nil || !m.mute.Load() {
			return n, err
		}
	}
}

// mute makes the other end of every connection vanish.
func (n *network) mute() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		c.mute.Store(true)
	}
}

// inNetwork runs a test in a bubble with one broker at b1:9092.
func inNetwork(t *testing.T, f func(t *testing.T, n *network, b *nativetest.Broker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &network{t: t, servers: make(map[string]*native.Server), down: make(map[string]bool), hung: make(map[string]bool)}
		b := nativetest.New()
		n.add("b1", b)
		f(t, n, b)
		for _, s := range n.servers {
			if err := s.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		}
		n.serving.Wait()
	})
}

func (n *network) add(host string, b *nativetest.Broker) { n.addWith(host, b, native.DefaultConfig()) }

func (n *network) addWith(host string, b interface {
	native.Backend
	Advertise(host string, port int32)
}, cfg native.Config,
) {
	b.Advertise(host, 9092)
	s := native.New(cfg, b, slog.New(slog.DiscardHandler), native.Metrics{}, time.Now)
	n.servers[net.JoinHostPort(host, "9092")] = s
}

// dial is the client's net.Dialer.
func (n *network) dial(_ context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.servers[addr]
	if s == nil || n.down[addr] {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	n.dials++
	c := &mutable{Conn: near, addr: addr}
	n.conns = append(n.conns, c)
	if n.hung[addr] { // a stopped process: the kernel accepts for it
		c.mute.Store(true)
		return c, nil
	}
	n.serving.Go(func() { s.ServeConn(far) })
	return c, nil
}

// kill makes a host refuse connections, and breaks those that there are.
func (n *network) kill(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	addr := net.JoinHostPort(host, "9092")
	n.down[addr] = true
	for _, c := range n.conns {
		if c.addr == addr {
			_ = c.Close()
		}
	}
}

// restart undoes kill.
func (n *network) restart(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down[net.JoinHostPort(host, "9092")] = false
}

// hang stops a host: it accepts connections and answers nothing on any.
func (n *network) hang(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	addr := net.JoinHostPort(host, "9092")
	n.hung[addr] = true
	for _, c := range n.conns {
		if c.addr == addr {
			c.mute.Store(true)
		}
	}
}

// cut breaks every connection.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		_ = c.Close()
	}
	n.conns = nil
}

func (n *network) setDown(down bool) {
	n.mu.Lock()
	n.down["b1:9092"] = down
	n.mu.Unlock()
	if down {
		n.cut()
	}
}

// client returns a client of b1. The caller closes it within the bubble.
func (n *network) client() *client.Client {
	c, err := client.NewWith(client.Config{Addrs: []string{"b1:9092"}, Dial: n.dial})
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}

// produce produces values to topic t, partition 0, and returns what the callbacks are told.
func produce(t *testing.T, p *client.Producer, values ...string) *outcomes {
	t.Helper()
	o := new(outcomes)
	for _, v := range values {
		if err := p.Produce(t.Context(), client.Record{Topic: "t", Value: []byte(v)}, o.done); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func newProducer(t *testing.T, c *client.Client, options ...client.ProducerOption) *client.Producer {
	t.Helper()
	p, err := c.NewProducer(options...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func closeAll(t *testing.T, p *client.Producer, c *client.Client) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func values(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s %d", prefix, i)
	}
	return list
}
