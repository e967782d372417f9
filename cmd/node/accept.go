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
)

// acceptor accepts the connections of a port that several protocols share, and holds each until it
// has said which one it speaks.
type acceptor struct {
	listener  net.Listener
	whom      string // who connects, for messages
	log       *slog.Logger
	maxSilent int

	mu      sync.Mutex
	closed  bool
	waiting map[net.Conn]struct{} // have not said yet what they are
	serving sync.WaitGroup
}

func newAcceptor(l net.Listener, whom string, maxSilent int, log *slog.Logger) acceptor {
	return acceptor{listener: l, whom: whom, log: log, maxSilent: maxSilent, waiting: make(map[net.Conn]struct{})}
}

// accept hands every connection to route, each on a goroutine of its own, until close, or until
// the listener fails. Route calls spoken once it knows what the connection is.
func (a *acceptor) accept(route func(net.Conn)) error {
	for {
		c, err := a.listener.Accept()
		if err != nil {
			if a.isClosed() {
				return nil
			}
			if isCrowded(err) {
				a.log.Warn("no more connections can be accepted for now", "err", err)
				time.Sleep(acceptPause) //nolint:forbidigo // the kernel gives nothing to wait for
				continue
			}
			return fmt.Errorf("accept %s on %s: %w", a.whom, a.listener.Addr(), err)
		}
		if !a.admit(c) {
			_ = c.Close()
			continue
		}
		a.serving.Go(func() { route(c) })
	}
}

const acceptPause = 50 * time.Millisecond

// admit takes a connection in. Those who keep silent never keep others out: a further one takes the
// place of one of them.
func (a *acceptor) admit(c net.Conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	if len(a.waiting) >= a.maxSilent {
		for other := range a.waiting { // any: a map gives them in no order
			_ = other.Close()
			delete(a.waiting, other)
			break
		}
	}
	a.waiting[c] = struct{}{}
	return true
}

// spoken says that a connection waits no longer. It returns false when the port has been closed.
func (a *acceptor) spoken(c net.Conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, c)
	return !a.closed
}

func (a *acceptor) isClosed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closed
}

// close stops accepting and ends the connections that have said nothing. Those that are served
// are their servers' to end; wait returns when they have.
func (a *acceptor) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	_ = a.listener.Close()
	for c := range a.waiting {
		_ = c.Close()
	}
}

func (a *acceptor) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		a.serving.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isCrowded says that accepting failed for want of something that others may give back.
func isCrowded(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}
