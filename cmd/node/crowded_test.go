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
}

func (c *crowded) Accept() (net.Conn, error) {
	if len(c.failures) == 0 {
		return nil, net.ErrClosed
	}
	err := c.failures[0]
	c.failures = c.failures[1:]
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
}

func TestAWantOfDescriptorsDoesNotEndTheClusterListener(t *testing.T) {
	n := &Node{log: slog.New(slog.DiscardHandler), cluster: &crowded{failures: []error{syscall.EMFILE, syscall.ENFILE}}}
	if err := n.refuseBrokers(); err != nil {
		t.Fatal(err)
	}
}
