package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// errConnection is wrapped by the error of every request that a lost connection left unanswered:
// whether the broker has done it is unknown.
var errConnection = errors.New("connection lost")

// errHTTP is the error of a peer that is a web server, as the admin port of a broker is.
var errHTTP = fmt.Errorf("speaks HTTP: %w", ErrNotTroupe)

// greetingCorrelation is "\r\n\r\n". A web server that is greeted takes the greeting for a request
// that is malformed, and says so at once instead of waiting for the rest of it.
const greetingCorrelation = 0x0d0a0d0a

// conn is a connection to one broker. Any goroutine may send; a writer gathers what is sent into
// few writes, a reader hands each answer to the one who asked, and a watchman (conn_watch.go) finds
// out whether anybody is still there.
type conn struct {
	cfg     *Config
	addr    string
	owner   connOwner
	net     net.Conn
	welcome wire.Welcome

	mu      sync.Mutex
	queue   []outgoing
	pending map[uint32]request // without an answer, those in queue too
	sent    int                // of pending, how many are not in queue any more
	next    uint32
	err     error // why it ended; nil while it lives

	wake     chan struct{} // for the writer; holds one
	closed   chan struct{} // closed when it has ended
	received atomic.Int64  // when something came last, in nanoseconds of now
}

// connOwner hears what becomes of a connection. Its methods must not block.
type connOwner interface {
	connEnded() // once, after every request has been answered, if only by an error
	connSlow()  // now and then, while the broker owes an answer that it should have given
}

// request is what waits for an answer.
type request struct {
	kind wire.Kind
	at   time.Time // when it was queued
	done func(wire.Frame, error)
}

// outgoing is a frame to write. The payload is written from where it lies.
type outgoing struct {
	head    []byte
	payload []byte
	written func(wire.Frame, error) // for requests without an answer
	ahead   bool                    // of the broker's limit, for which roomForPings is kept
}

// dial connects and greets. The connection's goroutines are tasks.
func dial(ctx context.Context, cfg *Config, addr string, tasks *sync.WaitGroup, owner connOwner) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.DialTimeout)
	defer cancel()
	nc, err := cfg.Dial(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	c := &conn{
		cfg: cfg, addr: addr, owner: owner, net: nc, pending: make(map[uint32]request),
		wake: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	frames, err := c.greet()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = nc.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		if errors.Is(err, ErrNotTroupe) {
			return nil, fmt.Errorf("%s %w", addr, err)
		}
		return nil, fmt.Errorf("greet %s: %w", addr, err)
	}
	c.received.Store(now().UnixNano())
	written := make(chan struct{})
	tasks.Go(func() {
		defer close(written)
		c.write()
	})
	tasks.Go(c.watch)
	tasks.Go(func() {
		err := c.read(frames)
		c.fail(err)
		<-written // from here on nobody reads the payloads that were sent
		c.end()
		owner.connEnded()
	})
	return c, nil
}

func (c *conn) greet() (*wire.FrameReader, error) {
	greeting := wire.Greeting{
		MinProtocol: wire.MinProtocol, MaxProtocol: wire.MaxProtocol,
		Software: c.cfg.Software, Version: c.cfg.SoftwareVersion,
	}
	if _, err := c.net.Write(wire.AppendFrame(wire.Magic[:], greetingCorrelation, wire.KindGreeting, &greeting, 0)); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(c.net, readBufferBytes)
	var magic [len(wire.Magic)]byte
	if _, err := io.ReadFull(in, magic[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, ErrNotTroupe // what a Kafka broker does with the magic
		}
		return nil, err
	}
	switch {
	case string(magic[:]) == "HTTP":
		return nil, errHTTP
	case magic != wire.Magic:
		return nil, ErrNotTroupe
	}
	frames := wire.NewFrameReader(in, maxAnswerBytes)
	buf, err := frames.Next()
	if err != nil {
		return nil, err
	}
	defer buf.Release()
	frame, err := wire.ParseFrame(buf.Bytes)
	if err != nil {
		return nil, err
	}
	if err := parseAnswer(frame, wire.KindGreeting, &c.welcome); err != nil {
		return nil, err
	}
	frames.Limit(maxAnswerBytes)
	return frames, nil
}

const (
	readBufferBytes = 64 << 10
	maxAnswerBytes  = 256 << 20 // beyond any sensible answer; the buffer grows with what arrives
)

// parseAnswer reads the answer to a request of kind want into m.
func parseAnswer(f wire.Frame, want wire.Kind, m wire.Message) error {
	switch f.Kind {
	case want:
		return wire.Parse(f.Body, m)
	case wire.KindFailed:
		var failure wire.Failure
		if err := wire.Parse(f.Body, &failure); err != nil {
			return err
		}
		if failure.Err == nil {
			return fmt.Errorf("%w: a failure without an error", wire.ErrMalformed)
		}
		return failure.Err
	default:
		return fmt.Errorf("%w: a %s is answered by a %s", wire.ErrMalformed, want, f.Kind)
	}
}

// send queues a request and never blocks. done is called exactly once, unless send returns an
// error: with the answer, on the reader's goroutine, which it must not hold up, and whose frame is
// gone when it returns; or with an error that wraps errConnection.
func (c *conn) send(kind wire.Kind, m wire.Message, payload []byte, done func(wire.Frame, error)) error {
	return c.enqueue(kind, m, payload, done, withAnswer)
}

// sendOnly queues a request that gets no answer; done is called once it is written.
func (c *conn) sendOnly(kind wire.Kind, m wire.Message, payload []byte, done func(wire.Frame, error)) error {
	return c.enqueue(kind, m, payload, done, withoutAnswer)
}

// How a request is queued.
type queued int8

const (
	withAnswer queued = iota
	withoutAnswer
	ahead // of all others, which only a ping may be: they are in an order
)

func (c *conn) enqueue(kind wire.Kind, m wire.Message, payload []byte, done func(wire.Frame, error), how queued) error {
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return c.err
	}
	c.next++
	out := outgoing{head: wire.AppendFrame(nil, c.next, kind, m, len(payload)), payload: payload, ahead: how == ahead}
	if how == withoutAnswer {
		out.written = done
	} else {
		c.pending[c.next] = request{kind: kind, at: now(), done: done}
	}
	if how == ahead {
		c.queue = slices.Insert(c.queue, 0, out)
	} else {
		c.queue = append(c.queue, out)
	}
	c.mu.Unlock()
	signal(c.wake)
	return nil
}

// ask sends a request and waits for its answer or for ctx. After an error reply is undefined.
func (c *conn) ask(ctx context.Context, kind wire.Kind, req, reply wire.Message) error {
	answered := make(chan error, 1)
	var mu sync.Mutex
	left := false // the caller has gone, and reply with it
	err := c.send(kind, req, nil, func(f wire.Frame, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err == nil && !left {
			err = parseAnswer(f, kind, reply)
		}
		answered <- err
	})
	if err != nil {
		return err
	}
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		mu.Lock()
		left = true
		mu.Unlock()
		return ctx.Err()
	}
}

// write writes what is queued.
func (c *conn) write() {
	var taken []outgoing
	var buffers net.Buffers
	for {
		select {
		case <-c.closed:
			return
		case <-c.wake:
		}
		if taken = c.take(taken[:0]); len(taken) == 0 {
			continue
		}
		buffers = buffers[:0]
		for i := range taken {
			buffers = append(buffers, taken[i].head)
			if len(taken[i].payload) > 0 {
				buffers = append(buffers, taken[i].payload)
			}
		}
		_ = c.net.SetWriteDeadline(now().Add(c.cfg.RequestTimeout))
		whole := buffers
		if _, err := whole.WriteTo(c.net); err != nil {
			c.fail(err)
			c.giveBack(taken)
			return
		}
		for i := range taken {
			if taken[i].written != nil {
				taken[i].written(wire.Frame{}, nil)
			}
			taken[i] = outgoing{}
		}
	}
}

// take returns what may be written now, in the memory of list: no more requests than the broker
// wants to have unanswered at a time. It would stop reading, and seem dead because it reads no ping.
func (c *conn) take(list []outgoing) []outgoing {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for ; n < len(c.queue); n++ {
		if c.queue[n].written != nil {
			continue
		}
		if !c.queue[n].ahead && c.sent >= max(c.welcome.MaxInFlight-roomForPings, 1) {
			break
		}
		c.sent++
	}
	if n == len(c.queue) {
		list, c.queue = c.queue, list
		return list
	}
	list = append(list, c.queue[:n]...)
	c.queue = c.queue[n:]
	return list
}

const roomForPings = 8

// giveBack puts what was not written back, for end to fail.
func (c *conn) giveBack(taken []outgoing) {
	c.mu.Lock()
	c.queue = append(c.queue, taken...)
	c.mu.Unlock()
}

func (c *conn) read(frames *wire.FrameReader) error {
	for {
		buf, err := frames.Next()
		if err != nil {
			return err
		}
		c.received.Store(now().UnixNano())
		frame, err := wire.ParseFrame(buf.Bytes)
		if err != nil {
			return err
		}
		c.mu.Lock()
		asked, ok := c.pending[frame.Correlation]
		delete(c.pending, frame.Correlation)
		if ok {
			c.sent--
		}
		waiting := len(c.queue) > 0
		c.mu.Unlock()
		if waiting {
			signal(c.wake)
		}
		switch {
		case ok:
			asked.done(frame, nil)
		case frame.Correlation == 0 && frame.Kind == wire.KindPing: // it lives, and does not read just now
		case frame.Kind == wire.KindFailed:
			return parseAnswer(frame, wire.KindPing, &wire.Empty{}) // why the broker is about to close
		default:
			return fmt.Errorf("%w: an answer to request %d, which is not open", wire.ErrMalformed, frame.Correlation)
		}
		buf.Release()
	}
}

// fail ends the connection; the reader does the rest.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		// The cause is told but not wrapped: its code would be taken for each request's own.
		c.err = fmt.Errorf("%w: %s: %s", errConnection, c.addr, err.Error())
		close(c.closed)
	}
	c.mu.Unlock()
	_ = c.net.Close()
}

// end fails every request that has no answer, oldest first.
func (c *conn) end() {
	c.mu.Lock()
	pending, queue, err := c.pending, c.queue, c.err
	c.pending, c.queue = nil, nil
	c.mu.Unlock()
	for _, correlation := range slices.Sorted(maps.Keys(pending)) {
		pending[correlation].done(wire.Frame{}, err)
	}
	for i := range queue {
		if queue[i].written != nil {
			queue[i].written(wire.Frame{}, err)
		}
	}
}

// live says that the connection has not ended.
func (c *conn) live() bool {
	select {
	case <-c.closed:
		return false
	default:
		return true
	}
}
