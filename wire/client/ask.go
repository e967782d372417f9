package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// hedgeAfter is how long one broker is waited for before the next one is asked too: a stopped
// broker accepts connections and requests, and answers none.
const hedgeAfter = 100 * time.Millisecond

// askAny asks whichever broker answers: the connected ones first, then all that are known. It is
// for what may be asked twice.
func (cl *Client) askAny(ctx context.Context, kind wire.Kind, req, reply wire.Message) error {
	_, err := cl.askOf(ctx, cl.candidates(), kind, req, reply)
	return err
}

// askOf asks one of these until somebody answers. The first answer counts, be it a refusal; it
// returns whose that was.
func (cl *Client) askOf(ctx context.Context, addrs []string, kind wire.Kind, req, reply wire.Message) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // lets go of the answers that come too late
	outcomes := make(chan outcome, len(addrs))
	hedge := time.NewTimer(hedgeAfter)
	defer hedge.Stop()
	var last error
	for next, running := 0, 0; ; {
		if next < len(addrs) {
			addr := addrs[next]
			next, running = next+1, running+1
			if !cl.inBackground(func() { outcomes <- cl.attempt(ctx, addr, kind, req) }) {
				return "", ErrClosed
			}
			hedge.Reset(hedgeAfter)
		}
		if running == 0 {
			return "", last
		}
		select {
		case o := <-outcomes:
			if o.err == nil {
				return o.addr, parseAnswer(o.frame, kind, reply)
			}
			running--
			if ctx.Err() != nil || (!errors.Is(o.err, errConnection) && !errors.Is(o.err, ErrNotTroupe)) {
				return "", o.err
			}
			last = o.err
		case <-hedge.C:
		case <-ctx.Done():
			return "", giveUp(ctx.Err(), last)
		}
	}
}

// outcome is an answer, or why there is none.
type outcome struct {
	addr  string
	frame wire.Frame // in memory of its own
	err   error
}

func (cl *Client) attempt(ctx context.Context, addr string, kind wire.Kind, req wire.Message) outcome {
	c, err := cl.waitConn(ctx, addr)
	if err != nil {
		return outcome{err: err}
	}
	answered := make(chan outcome, 1)
	err = c.send(kind, req, nil, func(f wire.Frame, err error) {
		f.Body, f.Payload = bytes.Clone(f.Body), nil
		answered <- outcome{addr, f, err}
	})
	if err != nil {
		return outcome{err: err}
	}
	select {
	case o := <-answered:
		return o
	case <-ctx.Done():
		return outcome{err: ctx.Err()}
	}
}

// inBackground runs f on a goroutine that Close waits for. After Close it returns false.
func (cl *Client) inBackground(f func()) bool {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.closed {
		return false
	}
	cl.tasks.Go(f)
	return true
}

// askOnce asks one broker that can be reached, and does not ask again when the answer gets lost:
// it is for what must not be done twice.
func (cl *Client) askOnce(ctx context.Context, kind wire.Kind, req, reply wire.Message) error {
	ctx, cancel := context.WithTimeout(ctx, cl.cfg.RequestTimeout)
	defer cancel()
	for failures := 1; ; failures++ {
		var last error
		for _, addr := range cl.candidates() {
			c, err := cl.waitConn(ctx, addr)
			if err == nil {
				return c.ask(ctx, kind, req, reply)
			}
			last = err
		}
		if errors.Is(last, ErrNotTroupe) {
			return last
		}
		if err := cl.pause(ctx, failures); err != nil {
			return fmt.Errorf("%w: %w", err, last)
		}
	}
}

// candidates returns the addresses of all known brokers: first those with a connection that is not
// silent, then those that nothing is known against, last those that were hard to reach.
func (cl *Client) candidates() []string {
	connected, known, doubtful := cl.ranked()
	return slices.Concat(connected, known, doubtful)
}

// candidatesAfter is candidates for one who was at addr before and wants to hear another: whether
// there is a connection does not matter then.
func (cl *Client) candidatesAfter(addr string) []string {
	connected, known, doubtful := cl.ranked()
	good := slices.Sorted(slices.Values(slices.Concat(connected, known)))
	next, found := slices.BinarySearch(good, addr)
	if found {
		next++
	}
	return slices.Concat(good[next:], good[:next], doubtful)
}

func (cl *Client) ranked() (connected, known, doubtful []string) {
	m := cl.meta.Load()
	at := now()
	seen := make(map[string]bool)
	cl.mu.Lock()
	defer cl.mu.Unlock()
	add := func(addr string, fenced bool) {
		if seen[addr] {
			return
		}
		seen[addr] = true
		switch l := cl.links[addr]; {
		case l != nil && l.conn != nil && l.conn.live():
			if l.conn.silent(at) {
				doubtful = append(doubtful, addr)
			} else {
				connected = append(connected, addr)
			}
		case fenced, l != nil && (l.failures > 0 || l.dialing != nil && at.Sub(l.since) > hedgeAfter):
			doubtful = append(doubtful, addr)
		default:
			known = append(known, addr)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(m.brokers)) {
		addr, _ := m.addr(id)
		add(addr, m.brokers[id].Fenced)
	}
	for _, addr := range cl.cfg.Addrs {
		add(addr, false)
	}
	return connected, known, doubtful
}
