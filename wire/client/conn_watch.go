package client

import (
	"fmt"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// A broker that is stopped, without power or behind a cut link closes no connection: it just falls
// silent. So a connection on which nothing has come in for PingInterval is pinged, and one that has
// been silent for DeadAfter is given up, which fails its requests and lets them go elsewhere. All of
// it happens on a goroutine of its own, since the writer may be held up by the very broker that is
// not there any more.

// watchesPerPing is how often in a PingInterval the watchman looks for answers that are overdue.
const watchesPerPing = 4

// watch is the watchman.
func (c *conn) watch() {
	patience := max(c.cfg.DeadAfter-c.cfg.PingInterval, c.cfg.PingInterval) // with a ping
	every := c.cfg.PingInterval / watchesPerPing
	timer := time.NewTimer(every)
	defer timer.Stop()
	var pinged time.Time // when the ping that is out was queued; zero without one
	for {
		select {
		case <-c.closed:
			return
		case <-timer.C:
		}
		at, last := now(), time.Unix(0, c.received.Load())
		if !last.Before(pinged) {
			pinged = time.Time{}
		}
		due := last.Add(c.cfg.PingInterval)
		switch {
		case !pinged.IsZero() && at.Sub(pinged) >= patience:
			c.fail(fmt.Errorf("%s has not answered a ping for %s", c.addr, patience))
			return
		case !pinged.IsZero():
			due = pinged.Add(patience)
		case !at.Before(due):
			pinged, due = at, at.Add(patience)
			_ = c.enqueue(wire.KindPing, &wire.Empty{}, nil, func(wire.Frame, error) {}, ahead)
		}
		if c.overdue(at) {
			c.owner.connSlow()
		}
		timer.Reset(min(every, due.Sub(at)))
	}
}

// overdue says that the broker owes the answer to a produce or a ping longer than is usual: it may
// not be the leader any more, without having heard of it.
func (c *conn) overdue(at time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.pending {
		if (r.kind == wire.KindProduce || r.kind == wire.KindPing) && at.Sub(r.at) >= c.cfg.PingInterval {
			return true
		}
	}
	return false
}

// silent says that the broker has left a ping unanswered for a while: others are to be preferred.
func (c *conn) silent(at time.Time) bool {
	return at.Sub(time.Unix(0, c.received.Load())) > c.cfg.PingInterval*3/2
}
