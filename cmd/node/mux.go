package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// mux lets two protocols share the clients' port. It looks at the first four bytes of a
// connection without taking them: wire.Magic, which no Kafka client can send since it would be a
// negative length, or anything else.
type mux struct {
	acceptor
	kafka        func(net.Conn)
	native       func(net.Conn)
	begunTimeout time.Duration
}

// silentTimeout is how long a connection may say nothing. Clients open connections ahead of need,
// so it is as long as an idle one is kept. Who has begun with a first byte has the others at hand.
const (
	silentTimeout = 10 * time.Minute
	begunTimeout  = 10 * time.Second
)

// maxSilent bounds the connections that have not said what they are.
const maxSilent = 4096

func newMux(l net.Listener, kafka, native func(net.Conn), log *slog.Logger) *mux {
	return &mux{acceptor: newAcceptor(l, "clients", maxSilent, log), kafka: kafka, native: native, begunTimeout: begunTimeout}
}

// serve accepts until close, or until the listener fails.
func (m *mux) serve() error { return m.accept(m.route) }

func (m *mux) route(c net.Conn) {
	first, err := peek(c, m.begunTimeout)
	open := m.spoken(c)
	switch {
	case err != nil || !open:
		_ = c.Close()
	case first == wire.Magic:
		m.native(c)
	default:
		m.kafka(c)
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
