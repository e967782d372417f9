package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// errClose ends a connection whose fault has been counted and logged already.
var errClose = errors.New("connection is to be closed")

// conn is one client's connection. All of it belongs to the goroutine in serve, except answers, which
// completions and the writer goroutine share, and what is atomic in frames.
type conn struct {
	server  *Server
	net     net.Conn
	in      *frames
	request request // the one being served
	answers answers
	encode  func(b []byte, p *production) []byte // methods as values, made once
	send    func(b []byte) error

	writer  sync.WaitGroup
	writes  bool          // the writer goroutine was started
	ended   chan struct{} // closed when serve ends
	names   names
	places  map[wire.TopicPartition]int // scratch of refuseDuplicates
	fetch   fetchState
	large   share // of the answer to an OffsetFetch
	refused []refusal
	idle    idleness
}

// request is what is known of a frame behind its header.
type request struct {
	api         *api
	version     int16
	correlation int32
	clientID    []byte
	body        []byte
	frame       frame
	received    time.Time
}

func newConn(s *Server, n net.Conn, first []byte) *conn {
	c := &conn{server: s, net: n, in: newFrames(n, first, s.config.MaxRequestBytes), ended: make(chan struct{})}
	c.answers.changed.L = &c.answers.mu
	c.answers.poke = make(chan struct{}, 1)
	c.fetch.share.room, c.large.room = s.wide, s.wide
	c.encode, c.send = c.encodeProduced, c.write
	return c
}

func (c *conn) peer() string { return c.net.RemoteAddr().String() }

// serve answers the requests of the connection until it ends.
func (c *conn) serve() {
	defer c.end()
	defer func() {
		// A bug that one client's input finds must not take down the others.
		if r := recover(); r != nil {
			c.refuse(crashed, fmt.Errorf("%v", r))
			c.server.log.Error("connection crashed", "peer", c.peer(), "err", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	for {
		f, err := c.in.next()
		if err != nil {
			c.readFailed(err)
			return
		}
		err = c.serveFrame(f)
		f.buffer.Release()
		if err != nil {
			return
		}
	}
}

// readFailed decides whether the end of reading is worth a word, and lets what is in flight be
// answered.
func (c *conn) readFailed(err error) {
	c.request = request{}
	switch {
	case errors.Is(err, errFrameSize):
		c.refuse(badFrameSize, err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		c.refuse(badTruncated, err)
	case errors.Is(err, os.ErrDeadlineExceeded): // Shutdown
		c.answers.awaitEmpty()
	case errors.Is(err, io.EOF): // the client may have closed only its own direction
		c.answers.awaitEmpty()
	}
}

// end gives everything back. Productions in flight complete later and find the queue closed.
func (c *conn) end() {
	c.answers.close()
	close(c.ended)
	_ = c.net.Close()
	c.writer.Wait()
	if s := c.fetch.single; s != nil {
		s.empty(nil) // a fetch that crashed has left it as it was
	}
	c.fetch.share.giveBack()
	c.large.giveBack()
	c.in.close()
}

// serveFrame reads the header and serves the request. An error closes the connection.
func (c *conn) serveFrame(f frame) error {
	s := c.server
	s.metrics.received.Add(float64(frameSizeBytes + len(f.bytes)))
	c.request = request{frame: f, received: s.now()}
	if err := c.readHeader(); err != nil {
		return err
	}
	r := &c.request
	s.metrics.perAPI[r.api.index].requests.Inc()
	if r.api.key != keyProduce && !c.answers.awaitEmpty() {
		return errClose
	}
	err := r.api.serve(c)
	c.large.giveBack()
	switch {
	case err == nil:
		c.in.max = s.config.MaxRequestBytes
		if r.api.key != keyProduce {
			s.metrics.perAPI[r.api.index].duration.Observe(s.now().Sub(r.received).Seconds())
		}
	case errors.Is(err, errMalformed):
		c.refuse(badBody, err)
	}
	return err
}

// errMalformed is a request that is not laid out as its version demands.
var errMalformed = errors.New("request is malformed")

// readHeader finds the API and the version. Kafka closes the connection for what it does not know,
// except for a version of ApiVersions.
func (c *conn) readHeader() error {
	r := &c.request
	d := decoder{rest: r.frame.bytes}
	key, version := d.int16(), d.int16()
	r.correlation = d.int32()
	r.api = apiOf(key)
	if r.api == nil {
		c.refuse(badAPI, fmt.Errorf("api key %d is not supported", key))
		return errClose
	}
	r.version = version
	if version < r.api.min || version > r.api.max {
		if key == keyAPIVersions {
			r.body = nil // its layout is unknown
			return nil
		}
		c.refuse(badVersion, fmt.Errorf("version %d of %s is not supported", version, r.api.name))
		return errClose
	}
	r.clientID, _ = d.nullable(d.stringLength())
	d.flexible = version >= r.api.shape.flexible
	d.skipTags()
	if d.bad {
		c.refuse(badHeader, fmt.Errorf("header of %s version %d is malformed", r.api.name, version))
		return errClose
	}
	r.body = d.rest
	return nil
}

// begin starts an answer to the request being served.
func (c *conn) begin(b []byte) []byte {
	r := &c.request
	// Clients must be able to read the answer to ApiVersions before they know what the broker
	// speaks, so its header never has tagged fields.
	flexible := r.version >= r.api.shape.flexible && r.api.key != keyAPIVersions
	return beginAnswer(b, r.correlation, flexible)
}

// write sends b whole.
func (c *conn) write(b []byte) error {
	n, err := c.net.Write(b)
	c.server.metrics.sent.Add(float64(n))
	c.idle.wrote.Add(int64(n))
	if err != nil {
		_ = c.net.Close() // wakes the reader
	}
	return err
}

// writeLater runs the writer goroutine from the first production on that outlasts its reading.
func (c *conn) writeLater() {
	if c.writes {
		return
	}
	c.writes = true
	c.writer.Go(func() {
		for {
			select {
			case <-c.answers.poke:
				c.answers.flush(c.encode, c.send)
			case <-c.ended:
				return
			}
		}
	})
}

// context returns one for a request that names its own time limit. An idle connection does not outlast it.
func (c *conn) context(millis int32) (context.Context, context.CancelFunc) {
	limit := min(time.Duration(max(millis, 0))*time.Millisecond, c.server.config.IdleTimeout)
	return context.WithTimeout(c.server.context, limit)
}

// names keeps one copy of each topic name that a connection uses, so that requests allocate none.
type names struct{ known map[string]string }

const namesKept = 4096

func (n *names) of(b []byte) string {
	if s, ok := n.known[string(b)]; ok {
		return s
	}
	s := string(b)
	if n.known == nil || len(n.known) >= namesKept {
		n.known = make(map[string]string)
	}
	n.known[s] = s
	return s
}
