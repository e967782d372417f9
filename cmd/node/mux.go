package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// mux lets two protocols share the clients' port. It looks at the first four bytes of a
// connection without taking them: wire.Magic, which no Kafka client can send since it would be a
// negative length, or anything else.
type mux struct {
	listener net.Listener
	kafka    func(net.Conn)
	native   func(net.Conn)
	log      *slog.Logger

	mu      sync.Mutex
	closed  bool
	waiting map[net.Conn]struct{} // have said nothing yet
	serving sync.WaitGroup
}

// firstBytesTimeout is how long a connection may stay silent. Clients open connections ahead of
// need, so it is as long as an idle one is kept.
const firstBytesTimeout = 10 * time.Minute

// maxSilent bounds the connections that have said nothing yet; a further one is closed.
const maxSilent = 4096

func newMux(l net.Listener, kafka, native func(net.Conn), log *slog.Logger) *mux {
	return &mux{listener: l, kafka: kafka, native: native, log: log, waiting: make(map[net.Conn]struct{})}
}

// serve accepts until close, or until the listener fails.
func (m *mux) serve() error {
	for {
		c, err := m.listener.Accept()
		if err != nil {
			if m.isClosed() {
				return nil
			}
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				m.log.Warn("no more connections can be accepted for now", "err", err)
				time.Sleep(acceptPause) //nolint:forbidigo // the kernel gives nothing to wait for
				continue
			}
			return fmt.Errorf("accept clients on %s: %w", m.listener.Addr(), err)
		}
		if !m.admit(c) {
			_ = c.Close()
			continue
		}
		m.serving.Go(func() { m.route(c) })
	}
}

const acceptPause = 50 * time.Millisecond

func (m *mux) route(c net.Conn) {
	first, err := peek(c)
	m.mu.Lock()
	delete(m.waiting, c)
	closed := m.closed
	m.mu.Unlock()
	switch {
	case err != nil || closed:
		_ = c.Close()
	case first == wire.Magic:
		m.native(c)
	default:
		m.kafka(c)
	}
}

func (m *mux) admit(c net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || len(m.waiting) >= maxSilent {
		return false
	}
	m.waiting[c] = struct{}{}
	return true
}

func (m *mux) isClosed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

// close stops accepting and ends the connections that have said nothing. Those that are served
// are their servers' to end; wait returns when they have.
func (m *mux) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	_ = m.listener.Close()
	for c := range m.waiting {
		_ = c.Close()
	}
}

func (m *mux) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		m.serving.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// peek returns the first four bytes of a connection and leaves them there to be read.
func peek(c net.Conn) (first [4]byte, err error) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return first, fmt.Errorf("a %T cannot be peeked at", c)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return first, err
	}
	if err := tcp.SetReadDeadline(time.Now().Add(firstBytesTimeout)); err != nil { //nolint:forbidigo // a deadline of the kernel's clock
		return first, err
	}
	var n int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, _, failed = syscall.Recvfrom(int(fd), first[:], syscall.MSG_PEEK)
			if !errors.Is(failed, syscall.EINTR) {
				break
			}
		}
		if errors.Is(failed, syscall.EAGAIN) {
			return false
		}
		return failed != nil || n == 0 || n == len(first) // fewer: wait for more
	})
	switch {
	case err != nil:
		return first, err
	case failed != nil:
		return first, failed
	case n < len(first):
		return first, net.ErrClosed
	}
	return first, tcp.SetReadDeadline(time.Time{})
}
