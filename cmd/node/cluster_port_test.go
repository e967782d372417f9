package node

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/troupe-mq/troupe/wire"
)

// startClusterPort serves a port with one protocol, which greets with one byte.
func startClusterPort(t *testing.T, log io.Writer, tune func(*clusterPort)) (*clusterPort, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	clock := time.Unix(1, 0)
	p := newClusterPort(l, slog.New(slog.NewTextHandler(log, nil)), func() time.Time { return clock },
		prometheus.NewCounter(prometheus.CounterOpts{Name: "unknown"}))
	p.handle([4]byte{'T', 'E', 'S', 'T'}, func(c net.Conn) {
		_, _ = c.Write([]byte{1})
		_ = c.Close()
	})
	tune(p)
	served := make(chan error, 1)
	go func() { served <- p.run() }()
	t.Cleanup(func() {
		p.close()
		if err := errors.Join(<-served, p.wait(t.Context())); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return p, l.Addr().String()
}

func expectClosed(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := io.Copy(io.Discard, c); n > 0 || isTimeout(err) {
		t.Fatalf("the connection was answered %d bytes, %v; want it closed", n, err)
	}
}

func TestEveryProtocolOfTheClusterPortIsFoundByItsPreface(t *testing.T) {
	_, address := startClusterPort(t, io.Discard, func(*clusterPort) {})
	c := connect(t, address)
	for _, b := range []byte("TEST") {
		send(t, c, b)
	}
	expectServed(t, c)
}

func TestStrangersOnTheClusterPortAreCountedAndToldOnce(t *testing.T) {
	var log strings.Builder
	p, address := startClusterPort(t, &log, func(*clusterPort) {})
	for _, first := range []string{"GET / HTTP/1.1\r\n\r\n", "\x00\x00\x00\x20", string(wire.Magic[:]), "TESS", "\x16\x03\x01\x02"} {
		c := connect(t, address)
		send(t, c, []byte(first)...)
		expectClosed(t, c)
	}
	var counted dto.Metric
	if err := p.unknown.Write(&counted); err != nil || counted.Counter.GetValue() != 5 {
		t.Errorf("%v strangers were counted, want 5: %v", counted.Counter.GetValue(), err)
	}
	p.close()
	if err := p.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("strangers were told %d times, want once:\n%s", n, &log)
	}
}

func TestBrokersThatSayNothingAreNotHeld(t *testing.T) {
	_, address := startClusterPort(t, io.Discard, func(p *clusterPort) { p.timeout = time.Millisecond })
	expectClosed(t, connect(t, address))
	c := connect(t, address)
	send(t, c, 'T', 'E')
	expectClosed(t, c)
}

func TestBrokersThatSayNothingKeepNobodyOut(t *testing.T) {
	p, address := startClusterPort(t, io.Discard, func(p *clusterPort) { p.maxSilent, p.timeout = 3, time.Minute })
	for range 9 {
		send(t, connect(t, address), 'T')
	}
	c := connect(t, address)
	send(t, c, []byte("TEST")...)
	expectServed(t, c)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) > p.maxSilent {
		t.Errorf("%d silent connections are held, want at most %d", len(p.waiting), p.maxSilent)
	}
}
