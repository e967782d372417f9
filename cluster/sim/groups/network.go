package groups

import (
	"errors"
	"fmt"
	"time"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/wire"
)

// errDisconnected is the end of a connection before an answer, of which there may have been one.
var errDisconnected = errors.New("disconnected")

// call is a request on its way, and its answer on the way back.
type call struct {
	of      *client
	request wire.GroupRequest
	on      func(wire.GroupReply, error)

	at     *coordinator // who handles it
	handle group.Call
	// over says that nobody waits any more: it was answered, or its connection ended.
	over bool

	asked  time.Duration
	shared bool            // the answer is that of a group of KIP-848, which it need not be any more when it comes
	floor  map[place]known // of a FetchOffsets: what was acknowledged when it was asked
}

// ask sends a request to whom the client takes for the coordinator. The answer, or the reason that there is none, comes once.
func (c *client) ask(q wire.GroupRequest, timeout time.Duration, on func(wire.GroupReply, error)) {
	w := c.w
	sent := &call{of: c, request: q, on: on, asked: w.Now(), floor: w.truth(q.Of()).floor(q)}
	if c.to == nil {
		c.to = w.log.leader
		if c.to == nil || w.faulty(w.profile.Lossy, 10) {
			c.to = w.brokers[w.Random.IntN(len(w.brokers))]
		}
	}
	to := c.to
	delay := w.delay()
	w.At(delay, nil, func() { w.deliver(sent, to) })
	if w.faulty(w.profile.Duplicates, 4) && repeatable(q) {
		// It was sent before, by a connection that broke; that one is only read now.
		w.stats.Duplicates++
		late := &call{of: c, request: q, over: true, asked: w.Now(), floor: sent.floor}
		w.At(w.Between(0, 4*time.Second), nil, func() {
			if _, join := q.(*wire.JoinGroup); !join || w.truth(q.Of()).repeatable() {
				w.deliver(late, to)
			}
		})
	}
	if w.faulty(w.profile.Lossy, 2) {
		w.stats.Disconnects++
		w.At(delay+w.Between(-delay, 200*time.Millisecond), c.run, func() { sent.disconnect() })
	}
	w.At(timeout, c.run, func() { sent.disconnect() })
}

// repeatable says whether a coordinator can cope with a request that was sent long ago. Not with a JoinGroup that tells what
// its member had then: nothing in it says that it is an old one, and leaders go by it.
func repeatable(q wire.GroupRequest) bool {
	j, join := q.(*wire.JoinGroup)
	return !join || j.Protocols[0].Name != cooperative
}

// repeatable says the same of a JoinGroup in the group as it is. Not of one in a group of KIP-848: its answer, which nobody hears,
// ends the wait for partitions that have become free; and where the coordinator moves before it misses the SyncGroup that
// is to follow, the next one takes the member for one that has them. Kafka: the same.
func (t *truth) repeatable() bool { return t.present == nil || t.classic() }

func (w *World) delay() time.Duration {
	if w.faulty(w.profile.Lossy, 3) {
		return w.Between(5*time.Millisecond, 900*time.Millisecond)
	}
	return w.Between(100*time.Microsecond, 3*time.Millisecond)
}

func (w *World) deliver(c *call, to *broker) {
	if to.run == nil {
		w.At(w.delay(), c.of.run, func() { c.disconnect() })
		return
	}
	w.At(0, to.run, func() { to.receive(c) })
}

// disconnect ends the connection: by a client that waits no longer, or by whatever is between the two.
func (c *call) disconnect() {
	if c.over {
		return
	}
	c.over = true
	c.of.to = nil
	c.broken()
	c.on(nil, errDisconnected)
}

// broken tells the coordinator, sooner or later, that whoever asked is gone.
func (c *call) broken() {
	w := c.of.w
	after := w.Between(0, 30*time.Millisecond)
	if w.faulty(w.profile.Lossy, 20) {
		after = w.Between(time.Second, 20*time.Second) // half open
	}
	w.At(after, nil, func() {
		if at := c.at; at != nil {
			w.At(0, at.s.b.run, func() { at.cancel(c) })
		}
	})
}

// answer is what a broker says.
func (c *call) answer(b *broker, reply wire.GroupReply) {
	w := c.of.w
	if w.Traced() {
		w.Note(b.name(), "to %s: %s", c.of.name, show(reply))
	}
	if c.over || c.of.run.Dead {
		return
	}
	if w.faulty(w.profile.Lossy, 2) {
		w.stats.Disconnects++
		w.At(w.delay(), c.of.run, func() { c.disconnect() })
		return
	}
	w.At(w.delay(), c.of.run, func() {
		if !c.over {
			c.over = true
			c.on(reply, nil)
		}
	})
}

// fail is an answer that comes from the shell. Without an error the broker is dead, and the connection ends.
func (c *call) fail(b *broker, err error) {
	w := c.of.w
	delete(w.open, c.handle)
	c.at = nil
	if w.Traced() {
		w.Note(b.name(), "to %s: %v", c.of.name, err)
	}
	if c.over || c.of.run.Dead {
		return
	}
	w.At(w.delay(), c.of.run, func() {
		switch {
		case c.over:
		case err == nil:
			c.disconnect()
		default:
			c.over = true
			c.on(nil, err)
		}
	})
}

func show(m any) string { return fmt.Sprintf("%T%+v", m, m) }
