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

	maxSilent    int
	begunTimeout time.Duration

	mu      sync.Mutex
	closed  bool
	waiting map[net.Conn]struct{} // have not said yet what they are
	serving sync.WaitGroup
}

// silentTimeout is how long a connection may say nothing. Clients open connections ahead of need,
// so it is as long as an idle one is kept. Who has begun with a first byte has the others at hand.
const (
	silentTimeout = 10 * time.Minute
	begunTimeout  = 10 * time.Second
)

// maxSilent bounds the connections that have not said what they are. A further one takes the
// place of one of them, so that those who keep silent never keep others out.
const maxSilent = 4096

func newMux(l net.Listener, kafka, native func(net.Conn), log *slog.Logger) *mux {
	return &mux{
		listener: l, kafka: kafka, native: native, log: log,
		maxSilent: maxSilent, begunTimeout: begunTimeout, waiting: make(map[net.Conn]struct{}),
	}
}

// serve accepts until close, or until the listener fails.
func (m *mux) serve() error {
	for {
		c, err := m.listener.Accept()
		if err != nil {
			if m.isClosed() {
				return nil
			}
			if isCrowded(err) {
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
	first, err := peek(c, m.begunTimeout)
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
	if m.closed {
		return false
	}
	if len(m.waiting) >= m.maxSilent {
		for other := range m.waiting { // any: a map gives them in no order
			_ = other.Close()
			delete(m.waiting, other)
			break
		}
	}
	m.waiting[c] = struct{}{}
	return true
}

// isCrowded says that accepting failed for want of something that others may give back.
func isCrowded(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
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
func peek(c net.Conn, begunTimeout time.Duration) (first [4]byte, err error) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return first, fmt.Errorf("a %T cannot be peeked at", c)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return first, err
	}
	// That a client has gone after its first bytes cannot be seen by peeking, hence two deadlines.
	for _, wait := range []struct {
		bytes   int
		timeout time.Duration
	}{{1, silentTimeout}, {len(first), begunTimeout}} {
		if err := tcp.SetReadDeadline(time.Now().Add(wait.timeout)); err != nil { //nolint:forbidigo // a deadline of the kernel's clock
			return first, err
		}
		if err := peekAtLeast(raw, first[:], wait.bytes); err != nil {
			return first, err
		}
	}
	return first, tcp.SetReadDeadline(time.Time{})
}

// peekAtLeast waits until so many bytes are there to be read, and copies them.
func peekAtLeast(raw syscall.RawConn, to []byte, atLeast int) error {
	var n int
	var failed error
	err := raw.Read(func(fd uintptr) bool {
		for {
			n, _, failed = syscall.Recvfrom(int(fd), to, syscall.MSG_PEEK)
			if !errors.Is(failed, syscall.EINTR) {
				break
			}
		}
		if errors.Is(failed, syscall.EAGAIN) {
			return false
		}
		return failed != nil || n == 0 || n >= atLeast // fewer: wait for more
	})
	switch {
	case err != nil:
		return err
	case failed != nil:
		return failed
	case n < atLeast:
		return net.ErrClosed
	}
	return nil
}
