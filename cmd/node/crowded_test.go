package node

import (
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"
)

// crowded is a listener that fails like one of a process without descriptors, and is then closed.
type crowded struct {
	net.Listener
	failures []error
	close    func()
}

func (c *crowded) Accept() (net.Conn, error) {
	if len(c.failures) == 0 {
		c.close()
		return nil, net.ErrClosed
	}
	err := c.failures[0]
	c.failures = c.failures[1:]
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
}

func (c *crowded) Close() error { return nil }

func TestAWantOfDescriptorsEndsNoListener(t *testing.T) {
	listener := &crowded{failures: []error{syscall.EMFILE, syscall.ENFILE}}
	a := newAcceptor(listener, "others", 1, slog.New(slog.DiscardHandler))
	listener.close = a.close
	if err := a.accept(func(net.Conn) {}); err != nil {
		t.Fatal(err)
	}
	if len(listener.failures) > 0 {
		t.Error("it ended at the first failure")
	}
}
