package node

import (
	"log/slog"
	"net"
	"testing"
	"time"
)

// startMux serves a port on which every Kafka client is sent one byte, so that it can be seen to
// be served.
func startMux(t *testing.T, tune func(*mux)) (*mux, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	greet := func(c net.Conn) {
		_, _ = c.Write([]byte{1})
		_ = c.Close()
	}
	m := newMux(l, greet, greet, slog.New(slog.DiscardHandler))
	tune(m)
	served := make(chan error, 1)
	go func() { served <- m.serve() }()
	t.Cleanup(func() {
		m.close()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := m.wait(t.Context()); err != nil {
			m.serving.Wait()
		}
	})
	return m, l.Addr().String()
}

func connect(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func expectServed(t *testing.T, c net.Conn) {
	t.Helper()
	var b [1]byte
	if _, err := c.Read(b[:]); err != nil {
		t.Fatalf("the client is not served: %v", err)
	}
}

func send(t *testing.T, c net.Conn, bytes ...byte) {
	t.Helper()
	if _, err := c.Write(bytes); err != nil {
		t.Fatal(err)
	}
}

func TestAClientIsServedHoweverItsFirstBytesAreCut(t *testing.T) {
	_, address := startMux(t, func(*mux) {})
	c := connect(t, address)
	for _, b := range []byte{0, 0, 0, 20} {
		send(t, c, b)
	}
	expectServed(t, c)
}

func TestClientsThatSayNothingKeepNobodyOut(t *testing.T) {
	m, address := startMux(t, func(m *mux) { m.maxSilent = 3 })
	for range 9 {
		send(t, connect(t, address), 0, 0) // not enough to say what it is
	}
	c := connect(t, address)
	send(t, c, 0, 0, 0, 20)
	expectServed(t, c)

	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) > m.maxSilent {
		t.Fatalf("%d silent clients are held, want at most %d", len(m.waiting), m.maxSilent)
	}
}

func TestAClientThatLeavesAfterItsFirstByteIsNotHeld(t *testing.T) {
	_, address := startMux(t, func(m *mux) { m.begunTimeout = time.Millisecond })
	c := connect(t, address)
	send(t, c, 0)
	var b [1]byte
	if _, err := c.Read(b[:]); err == nil || isTimeout(err) {
		t.Fatalf("a connection that began and went on with nothing: %v, want it closed", err)
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error) //nolint:errorlint // of a connection, never wrapped
	return ok && e.Timeout()
}
