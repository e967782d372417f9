package peer

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// relay stands between two brokers and loses what goes one way, without a word to either.
type relay struct {
	listener net.Listener
	to       string
	lossy    [2]atomic.Bool // there, and back
	copying  sync.WaitGroup
}

const (
	there = 0
	back  = 1
)

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, to: to}
	r.copying.Go(r.accept)
	t.Cleanup(func() {
		listener.Close()
		r.copying.Wait()
	})
	return r
}

func (r *relay) accept() {
	for {
		from, err := r.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", r.to)
		if err != nil {
			from.Close()
			continue
		}
		r.copying.Go(func() { r.copy(to, from, there) })
		r.copying.Go(func() { r.copy(from, to, back) })
	}
}

func (r *relay) copy(to, from net.Conn, way int) {
	defer to.Close()
	for b := make([]byte, 4096); ; {
		n, err := from.Read(b)
		if n > 0 && !r.lossy[way].Load() {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func TestALineThatLosesOneWayIsNoticedAtBothEndsAndUsedAgainLater(t *testing.T) {
	cfg := Config{
		PingInterval: 20 * time.Millisecond, ReadTimeout: 400 * time.Millisecond,
		HandshakeTimeout: 200 * time.Millisecond, RedialMax: 20 * time.Millisecond,
	}
	for way, name := range []string{"there", "back"} {
		t.Run(name, func(t *testing.T) {
			one, two := start(t, identity(1, 10), setting{cfg: cfg}), start(t, identity(2, 20), setting{cfg: cfg})
			line := newRelay(t, two.address())
			one.SetPeer(2, 0, line.listener.Addr().String())
			one.wait(t, "up")
			two.wait(t, "up")
			line.lossy[way].Store(true)
			one.wait(t, "down")
			two.wait(t, "down")
			line.lossy[way].Store(false)
			one.wait(t, "up")
			two.wait(t, "up")
			one.stop(t)
			two.stop(t)
		})
	}
}

// scripted is a connection of which everything that will be read is known.
type scripted struct {
	net.Conn
	script io.Reader
}

func (c *scripted) Read(p []byte) (int, error)       { return c.script.Read(p) }
func (c *scripted) Write(p []byte) (int, error)      { return len(p), nil }
func (c *scripted) Close() error                     { return nil }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }
func (c *scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// Whatever comes over a link, reading it ends with an error and nothing else, and whoever is told
// something is told it whole.
func FuzzLinkReader(f *testing.F) {
	heartbeat := wire.AppendPeerFrame(nil, "controller", "membership", &wire.Heartbeat{ID: 1}, 0)
	batches := append(wire.AppendPeerFrame(nil, "replica", "", &wire.Append{PrevOffset: 5}, 7), "batches"...)
	f.Add(append(append([]byte{0, 0, 0, 0}, heartbeat...), batches...))
	f.Add([]byte{0, 0, 0, 9, 0x95, 0xa1, 'a', 0xa0, 0x7f, 0x02, 0x90, 'x', 'y', 0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, told := quietLinks(), newRecorder()
		n.Attach(told)
		raw := &scripted{script: &oneByOne{b: b}}
		p := n.newPair(identity(2, 20), 1, 0, newConn(raw, raw, time.Now), newConn(raw, raw, time.Now))
		if err := p.control.read(); err == nil || errors.Is(err, errPanic) {
			t.Errorf("read = %v", err)
		}
		for _, e := range told.events {
			if e.envelope.Message == nil {
				t.Error("delivered was nothing")
			}
		}
	})
}

// Whatever comes in place of a greeting, nothing is linked and nobody waits.
func FuzzGreeting(f *testing.F) {
	n := quietLinks()
	for _, change := range []func(*wire.LinkGreeting){
		func(*wire.LinkGreeting) {}, func(g *wire.LinkGreeting) { g.Bulk = true }, func(g *wire.LinkGreeting) { g.From.ClusterID = "" },
	} {
		greeting := (&station{self: n.self}).greetingFrom(identity(2, 20))
		change(&greeting)
		m := wire.AppendMessage(nil, &greeting)
		f.Add(append([]byte{0, 0, 0, byte(len(m))}, m...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, told := quietLinks(), newRecorder()
		n.Attach(told)
		n.Serve(&scripted{script: &oneByOne{b: b}})
		if told.count("up") != 0 || len(n.arrivals) != 0 {
			t.Error("somebody was linked, or is waited for")
		}
	})
}

func quietLinks() *Links {
	return New(identity(5, 50), Config{HandshakeTimeout: time.Millisecond}, NetDialer{}, discard, nil, time.Now)
}

// oneByOne gives its bytes in reads of one, as a slow line does.
type oneByOne struct{ b []byte }

func (r *oneByOne) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	p[0] = r.b[0]
	r.b = r.b[1:]
	return 1, nil
}
