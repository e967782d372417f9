package peer

import (
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/troupe-mq/troupe/wire"
)

// link is one of the two connections of a pair. One goroutine reads it and one writes it.
type link struct {
	links *Links
	pair  *pair
	name  string // bulk or control
	conn  *conn
	queue *queue

	maxFrame       int
	sent, received prometheus.Counter // bytes
	full           prometheus.Counter
}

func (l *Links) newLink(p *pair, c *conn, bulk bool) *link {
	k := &link{links: l, pair: p, name: "control", conn: c, maxFrame: l.cfg.MaxControlFrame}
	limit := l.cfg.ControlQueueBytes
	if bulk {
		k.name, limit, k.maxFrame = "bulk", l.cfg.BulkQueueBytes, l.cfg.MaxBulkFrame
	}
	k.queue = newQueue(limit, k.maxFrame)
	k.sent, k.received = l.metrics.SentBytes.WithLabelValues(k.name), l.metrics.ReceivedBytes.WithLabelValues(k.name)
	k.full = l.metrics.Full.WithLabelValues(k.name)
	return k
}

// errPanic is the cause when reading a message panicked: a bug of ours.
var errPanic = errors.New("a message could not be handled")

// read delivers what comes until the link ends.
func (k *link) read() error {
	k.conn.in.timeout = k.links.cfg.ReadTimeout
	k.conn.frames.Limit(k.maxFrame)
	for {
		n, err := k.conn.frames.Length()
		if err != nil {
			return err
		}
		k.received.Add(float64(n + lengthBytes))
		if n == 0 {
			continue // a ping, which has been heard
		}
		b, err := k.conn.frames.Read(n)
		if err != nil {
			return err
		}
		if err := k.deliver(b); err != nil {
			return err
		}
	}
}

// deliver hands over the message in a frame. A panic on the way is this link's end and not the
// process's: what came over the network has caused it.
func (k *link) deliver(b *wire.Buffer) (err error) {
	l := k.links
	defer func() {
		if reason := recover(); reason != nil {
			l.metrics.Broken.WithLabelValues("panic").Inc()
			l.log.Error("a message from a broker could not be handled", "peer", k.pair.remote.Broker, "reason", reason, "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	e, err := wire.ParsePeer(b, k.pair.remote.Broker)
	b.Release()
	switch {
	case errors.Is(err, wire.ErrUnknownKind):
		l.metrics.received[unknownKind].Inc()
		if l.told.first(told{k.pair.remote.Broker, err.Error()}) {
			l.log.Warn("a message of an unknown kind was passed over", "peer", k.pair.remote.Broker, "err", err)
		}
		return nil
	case err != nil:
		l.metrics.Broken.WithLabelValues("malformed").Inc()
		return err
	}
	l.metrics.received[e.Message.Kind()].Inc()
	l.handler.Deliver(k.pair.remote, e)
	return nil
}

// write writes what is queued, and a ping when there is nothing, until the link ends.
func (k *link) write() error {
	w := newWriter(k)
	pings := time.NewTicker(k.links.cfg.PingInterval)
	defer pings.Stop()
	for silent := true; ; {
		select {
		case <-k.pair.failed:
			return nil // and the cause is there already
		case <-pings.C:
			if silent {
				if err := w.ping(); err != nil {
					return err
				}
			}
			silent = true
		case <-k.queue.wake:
			silent = false
			for b := k.queue.take(); b != nil; b = k.queue.take() {
				if err := w.write(b); err != nil {
					return err
				}
				k.queue.recycle(b)
			}
		}
	}
}

// maxWriteBytes is the most that one write has, and so the least that a peer must take in within
// the write timeout.
const maxWriteBytes = 256 << 10

// writer turns batches into few writes. Payloads are not copied on plain TCP.
type writer struct {
	*link
	tcp     bool
	pieces  [][]byte
	vector  net.Buffers // the pieces that a write has still to write
	size    int         // of the pieces
	scratch []byte

	batch   *batch
	done    int // frames of the batch that are written
	current int // frames of the batch that are written or in the pieces
}

func newWriter(k *link) *writer {
	_, tcp := k.conn.Conn.(*net.TCPConn)
	return &writer{link: k, tcp: tcp}
}

// write writes a batch. Whatever happens, none of its frames holds a buffer afterwards.
func (w *writer) write(b *batch) error {
	w.batch, w.done, w.current = b, 0, 0
	defer func() { releaseAll(b.frames[w.done:]) }()
	head := 0
	for i := range b.frames {
		f := &b.frames[i]
		if len(f.payload) == 0 && f.headEnd-head < maxWriteBytes && i+1 < len(b.frames) {
			continue // its head goes in one piece with the next
		}
		if err := w.put(b.heads[head:f.headEnd]); err != nil {
			return err
		}
		if err := w.put(f.payload); err != nil {
			return err
		}
		head, w.current = f.headEnd, i+1
	}
	return w.flush()
}

// put adds bytes to the next write, and writes as soon as they are enough for one.
func (w *writer) put(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), maxWriteBytes-w.size)
		w.pieces = append(w.pieces, b[:n])
		w.size += n
		b = b[n:]
		if w.size == maxWriteBytes {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush writes the pieces. Of the frames that are whole then, the buffers are given back.
func (w *writer) flush() error {
	if err := w.conn.SetWriteDeadline(w.links.now().Add(w.links.cfg.WriteTimeout)); err != nil {
		return err
	}
	if err := w.writePieces(); err != nil {
		return err
	}
	w.sent.Add(float64(w.size))
	clear(w.pieces)
	w.pieces, w.size = w.pieces[:0], 0
	bytes := 0
	for _, f := range w.batch.frames[w.done:w.current] {
		bytes += f.size
	}
	releaseAll(w.batch.frames[w.done:w.current])
	w.done = w.current
	if w.queue.written(bytes) {
		w.links.handler.LinkRoom(w.pair.remote)
	}
	return nil
}

// writePieces writes them by writev. What TLS encrypts it copies anyhow, and would make a record of
// every piece.
func (w *writer) writePieces() error {
	if w.tcp {
		w.vector = w.pieces
		_, err := w.vector.WriteTo(w.conn.Conn)
		return err
	}
	w.scratch = w.scratch[:0]
	for _, piece := range w.pieces {
		w.scratch = append(w.scratch, piece...)
	}
	_, err := w.conn.Write(w.scratch)
	return err
}

// ping writes an empty frame.
func (w *writer) ping() error {
	if err := w.conn.SetWriteDeadline(w.links.now().Add(w.links.cfg.WriteTimeout)); err != nil {
		return err
	}
	_, err := w.conn.Write(make([]byte, lengthBytes))
	w.sent.Add(lengthBytes)
	return err
}

// cause says on which link something happened.
func (k *link) cause(err error) error {
	return fmt.Errorf("%s link to broker %s: %w", k.name, strconv.Itoa(int(k.pair.remote.Broker)), err)
}
