package native

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// Config holds the listener's limits.
type Config struct {
	Version string // of this software, told in the greeting

	MaxFrameBytes    int // of a request, its length not counted
	MaxRequestBytes  int // of a request other than produce: small things in it become large ones in memory
	MaxFetchBytes    int // of records in one answer, whatever the client allows
	MaxInFlight      int // requests of a connection that are not answered yet
	MaxInFlightBytes int // of these requests and their answers; then the connection is not read
	MaxFetches       int // of a connection, that wait for records
	MaxCalls         int // of a connection, that wait for the controller; then it is not read

	GreetingTimeout time.Duration // from the accepted connection to its greeting
	IdleTimeout     time.Duration // without a request, ping included
	WriteTimeout    time.Duration // of one write: a client that does not read is left
	CallTimeout     time.Duration // of one call to the controller
	MaxFetchWait    time.Duration // the longest that a fetch may wait
}

// DefaultConfig returns limits in which Kafka's own defaults are found again.
func DefaultConfig() Config {
	return Config{
		MaxFrameBytes:    100 << 20, // socket.request.max.bytes
		MaxRequestBytes:  4 << 20,
		MaxFetchBytes:    55 << 20, // fetch.max.bytes
		MaxInFlight:      1024,
		MaxInFlightBytes: 128 << 20,
		MaxFetches:       64,
		MaxCalls:         8,
		GreetingTimeout:  10 * time.Second,
		IdleTimeout:      10 * time.Minute, // connections.max.idle.ms
		WriteTimeout:     30 * time.Second,
		CallTimeout:      30 * time.Second, // request.timeout.ms
		MaxFetchWait:     5 * time.Minute,
	}
}

// Validate says what is wrong with the configuration.
func (c *Config) Validate() error {
	for _, limit := range []struct {
		name  string
		value int64
	}{
		{"MaxFrameBytes", int64(c.MaxFrameBytes)},
		{"MaxRequestBytes", int64(c.MaxRequestBytes)},
		{"MaxFetchBytes", int64(c.MaxFetchBytes)},
		{"MaxInFlight", int64(c.MaxInFlight)},
		{"MaxInFlightBytes", int64(c.MaxInFlightBytes)},
		{"MaxFetches", int64(c.MaxFetches)},
		{"MaxCalls", int64(c.MaxCalls)},
		{"GreetingTimeout", int64(c.GreetingTimeout)},
		{"IdleTimeout", int64(c.IdleTimeout)},
		{"WriteTimeout", int64(c.WriteTimeout)},
		{"CallTimeout", int64(c.CallTimeout)},
		{"MaxFetchWait", int64(c.MaxFetchWait)},
	} {
		if limit.value <= 0 {
			return fmt.Errorf("native listener: %s is %d and must be positive", limit.name, limit.value)
		}
	}
	return nil
}

// Server serves native clients.
type Server struct {
	cfg     Config
	backend Backend
	forward Forwarder // the backend too; nil when it forwards nothing
	log     *slog.Logger
	metrics Metrics
	now     func() time.Time

	mu        sync.Mutex
	stopping  bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	serving   sync.WaitGroup // ServeConn
}

// New returns a Server that serves nobody yet. The configuration must be valid.
func New(cfg Config, backend Backend, log *slog.Logger, metrics Metrics, now func() time.Time) *Server {
	forward, _ := backend.(Forwarder)
	return &Server{
		cfg: cfg, backend: backend, forward: forward, log: log, metrics: metrics.complete(), now: now,
		listeners: make(map[net.Listener]struct{}), conns: make(map[*conn]struct{}),
	}
}

// ErrServerClosed is returned by Serve and ServeConn after Shutdown.
var ErrServerClosed = errors.New("native listener: closed")

// Serve accepts connections that speak nothing but the native protocol, until Shutdown or until
// the listener fails. A broker whose port is shared with Kafka calls ServeConn instead.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	var accepted sync.WaitGroup
	defer accepted.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.stopping {
				return ErrServerClosed
			}
			return fmt.Errorf("native listener: accept: %w", err)
		}
		accepted.Go(func() { s.ServeConn(c) })
	}
}

// ServeConn serves one connection until it ends, and closes it. The connection's first bytes are
// the magic: whoever looked at them to find out the protocol gives a connection that reads them
// again. It returns when no goroutine of the connection is left.
func (s *Server) ServeConn(nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		_ = nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.serving.Add(1)
	s.mu.Unlock()
	s.metrics.Connections.Inc()
	defer func() {
		s.metrics.Connections.Dec()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		s.serving.Done()
	}()
	err := c.serve()
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		c.log.Debug("native connection closed")
	default:
		s.metrics.Broken.Inc()
		c.log.Warn("native connection broken off", "err", err)
	}
}

// Shutdown stops accepting and reading, lets what is in flight be answered, and closes every
// connection. When ctx ends first, they are closed at once and its error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopping = true
	for l := range s.listeners {
		_ = l.Close()
	}
	for c := range s.conns {
		c.stop()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serving.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		c.abort()
	}
	s.mu.Unlock()
	return ctx.Err() // a reader may still be held at a partition's door, which opens when that is shut
}

// welcome is the answer to a greeting, or an error when no version is common.
func (s *Server) welcome(g *wire.Greeting) (*wire.Welcome, error) {
	version := min(g.MaxProtocol, wire.MaxProtocol)
	if version < g.MinProtocol || version < wire.MinProtocol {
		return nil, wire.Errorf(wire.UnsupportedVersion,
			"this broker speaks the native protocol %d to %d", wire.MinProtocol, wire.MaxProtocol)
	}
	return &wire.Welcome{
		Protocol: version, Software: "troupe", Version: s.cfg.Version,
		ClusterID: s.backend.View().ClusterID(), Broker: s.backend.Self(),
		MaxFrame: s.cfg.MaxFrameBytes, MaxInFlight: s.cfg.MaxInFlight, MaxFetches: s.cfg.MaxFetches,
	}, nil
}

// buffered reads through a buffer, so that small frames share a read.
func buffered(nc net.Conn) io.Reader { return bufio.NewReaderSize(nc, readBufferBytes) }

const readBufferBytes = 64 << 10
