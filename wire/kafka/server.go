package kafka

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Server serves Kafka clients on connections that it accepts or is given.
type Server struct {
	config  Config
	backend Backend
	log     *slog.Logger
	metrics *Metrics
	now     func() time.Time

	budget   *budget
	wide     *budget // for shares
	sessions *fetchSessions
	refusals refusalLog
	context  context.Context // of requests; ends when Shutdown loses its patience
	cancel   context.CancelFunc
	stopping chan struct{} // closed when Shutdown begins

	mu        sync.Mutex
	stopped   bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	running   sync.WaitGroup // connections, and the watch over idle ones
	watching  bool
}

// New returns a Server. It has no goroutines until there is a connection.
func New(cfg Config, backend Backend, log *slog.Logger, metrics *Metrics, now func() time.Time) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{
		config: cfg, backend: backend, log: log, metrics: metrics, now: now,
		budget: newBudget(cfg.MaxInFlightBytes), wide: newBudget(cfg.MaxWideBytes),
		sessions: newFetchSessions(cfg, metrics.fetch.sessionMetrics),
		context:  ctx, cancel: cancel, stopping: make(chan struct{}),
		listeners: make(map[net.Listener]struct{}), conns: make(map[*conn]struct{}),
	}
}

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("kafka listener is shut down")

// Serve accepts connections until Shutdown, or until the listener fails.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	for pause := time.Duration(0); ; {
		n, err := l.Accept()
		if err != nil {
			if s.isStopping() {
				return ErrServerClosed
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			// Out of file descriptors, or a connection that was reset before it was accepted.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log.Warn("accept failed", "err", err, "pause", pause)
			if !s.sleep(pause) {
				return ErrServerClosed
			}
			continue
		}
		pause = 0
		go s.ServeConn(n, nil) // owned by s.running
	}
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// sleep is false when the server stops meanwhile.
func (s *Server) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.stopping:
		return false
	}
}

// ServeConn serves one connection until it ends and closes it. first is what the caller has read
// from it already.
func (s *Server) ServeConn(n net.Conn, first []byte) {
	c := newConn(s, n, first)
	if !s.track(c) {
		_ = n.Close()
		return
	}
	defer s.untrack(c)
	c.serve()
}

func (s *Server) track(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	if len(s.conns) >= s.config.MaxConnections {
		c.refuse(tooManyConns, errors.New("too many connections"))
		return false
	}
	s.conns[c] = struct{}{}
	s.running.Add(1)
	s.metrics.connections.Inc()
	s.metrics.accepted.Inc()
	if !s.watching {
		s.watching = true
		s.running.Go(s.watch)
	}
	return true
}

func (s *Server) untrack(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.metrics.connections.Dec()
	s.running.Done()
}

// Shutdown stops accepting, lets requests that have arrived be answered, and closes all
// connections. When ctx ends first they are closed at once, and its error is returned without waiting
// further.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.stopped {
		s.stopped = true
		close(s.stopping)
	}
	for l := range s.listeners {
		_ = l.Close()
	}
	for c := range s.conns {
		_ = c.net.SetReadDeadline(time.Unix(1, 0)) // wakes those that wait for a request
	}
	s.mu.Unlock()

	done := make(chan struct{})
	go func() { // ends with the last connection
		s.running.Wait()
		close(done)
	}()
	defer s.cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.budget.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.answers.close()
		_ = c.net.Close()
	}
	return ctx.Err()
}

// take counts n bytes as in flight, once there is room for them. It is false when the server stops.
func (s *Server) take(n int64) bool {
	if !s.budget.take(n) {
		return false
	}
	s.metrics.inFlight.Add(float64(n))
	return true
}

func (s *Server) give(n int64) {
	s.budget.give(n)
	s.metrics.inFlight.Sub(float64(n))
}

// idleness is what the watch knows of a connection.
type idleness struct {
	wrote atomic.Int64 // bytes, counted by whoever writes

	// The rest belongs to the watch.
	seen  int64     // bytes read and written
	since time.Time // when that last changed
	frame int64     // the frame that was in the middle, by number
	began time.Time // when it was first seen so
}

// watch closes connections that say nothing for too long, or take too long for one request. It
// looks now and then, so that no request costs a timer.
func (s *Server) watch() {
	ticker := time.NewTicker(max(min(s.config.IdleTimeout, s.config.RequestTimeout)/4, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-s.stopping:
			return
		case <-ticker.C:
		}
		now := s.now()
		s.mu.Lock()
		for c := range s.conns {
			s.watchConn(c, now)
		}
		s.mu.Unlock()
	}
}

func (s *Server) watchConn(c *conn, now time.Time) {
	i := &c.idle
	if moved := c.in.arrived.Load() + i.wrote.Load(); moved != i.seen || i.since.IsZero() {
		i.seen, i.since = moved, now
	}
	frame, partial := c.in.cut.Load(), c.in.partial.Load()
	if !partial || i.began.IsZero() || frame != i.frame {
		i.frame, i.began = frame, now
	}
	switch {
	case partial && now.Sub(i.began) >= s.config.RequestTimeout:
		s.metrics.refused.WithLabelValues(string(slowRequest)).Inc()
		s.log.Info("connection closed, a request did not arrive whole in time", "peer", c.peer())
	case now.Sub(i.since) >= s.config.IdleTimeout:
		s.log.Debug("idle connection closed", "peer", c.peer())
	default:
		return
	}
	_ = c.net.Close()
}
