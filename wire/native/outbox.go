package native

import (
	"sync"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// answer is one request's answer, ready to be written. At most one of its three forms is set;
// with none (acks=0) nothing is written and only the admission ends.
type answer struct {
	admitted int // what the request took at the door, or unasked
	frame    []byte
	produce  *produceCall
	fetch    *fetchCall
}

// unasked is the admission of an answer that no request at the door asked for.
const unasked = -1

// outbox holds the answers that the writer has not taken yet. The door bounds it, since an
// answer's request is in flight until it is written. put never blocks: replicas call it.
type outbox struct {
	mu      sync.Mutex
	changed sync.Cond
	ready   []answer
	spare   []answer
	writing bool
	closed  bool
}

func (o *outbox) init() { o.changed.L = &o.mu }

// put queues an answer. After close it drops it.
func (o *outbox) put(a answer) {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		a.release()
		return
	}
	o.ready = append(o.ready, a)
	first := len(o.ready) == 1
	o.mu.Unlock()
	if first {
		o.changed.Broadcast()
	}
}

// take waits for answers and returns all there are; nil once the outbox has closed. What it
// returned before is not used any more.
func (o *outbox) take() []answer {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writing {
		o.writing = false
		o.changed.Broadcast()
	}
	for len(o.ready) == 0 && !o.closed {
		o.changed.Wait()
	}
	if o.closed {
		return nil
	}
	taken := o.ready
	o.ready, o.spare = o.spare[:0], taken
	o.writing = true
	return taken
}

// finish waits until everything that was put has been written, or the outbox has closed.
func (o *outbox) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.closed && (o.writing || len(o.ready) > 0) {
		o.changed.Wait()
	}
}

func (o *outbox) close() {
	o.mu.Lock()
	left := o.ready
	o.ready, o.closed = nil, true
	o.mu.Unlock()
	o.changed.Broadcast()
	for i := range left {
		left[i].release()
	}
}

// release gives back what an answer holds that is not going to be written.
func (a *answer) release() {
	if a.fetch != nil {
		a.fetch.release()
	}
}

// maxScratchBytes is the writer's memory that is kept between writes.
const maxScratchBytes = 256 << 10

// write is the writer: it encodes all answers that are ready into one write. A connection that
// cannot be written to is aborted, which ends its reader.
func (c *conn) write() {
	w := newAnswerWriter(c)
	for {
		answers := c.out.take()
		if answers == nil {
			return
		}
		requests, admitted, failed := 0, 0, error(nil)
		for i := range answers {
			a := &answers[i]
			if failed == nil {
				failed = w.append(a)
			}
			a.release()
			if a.admitted != unasked {
				requests++
				admitted += a.admitted
			}
			*a = answer{}
		}
		if failed == nil {
			failed = w.flush()
		}
		c.door.leaveAll(requests, admitted)
		if failed != nil {
			c.log.Debug("native connection cannot be written to", "err", failed)
			c.abort()
			return
		}
	}
}

// answerWriter gathers answers and writes them to the socket.
type answerWriter struct {
	c       *conn
	file    *fileSender // nil where records cannot be sent from file to socket
	scratch []byte
}

func newAnswerWriter(c *conn) *answerWriter {
	return &answerWriter{c: c, file: newFileSender(c.net)}
}

func (w *answerWriter) append(a *answer) error {
	switch {
	case a.frame != nil:
		w.scratch = append(w.scratch, a.frame...)
	case a.produce != nil:
		a.produce.reply.Err = w.c.edge(wire.KindProduce, a.produce.reply.Err)
		w.scratch = wire.AppendFrame(w.scratch, a.produce.correlation, wire.KindProduce, &a.produce.reply, 0)
	case a.fetch != nil:
		return w.appendFetch(a.fetch)
	}
	return nil
}

func (w *answerWriter) flush() error {
	if len(w.scratch) == 0 {
		return nil
	}
	w.deadline()
	n, err := w.c.net.Write(w.scratch)
	w.c.s.metrics.SentBytes.Add(float64(n))
	if cap(w.scratch) > maxScratchBytes {
		w.scratch = nil
	}
	w.scratch = w.scratch[:0]
	return err
}

func (w *answerWriter) deadline() {
	_ = w.c.net.SetWriteDeadline(w.c.s.now().Add(w.c.s.cfg.WriteTimeout))
}

// minSendfileBytes is the length from which copying records through user space costs more than
// the calls that avoid it.
const minSendfileBytes = 64 << 10

// maxGatherBytes bounds what is copied into one write.
const maxGatherBytes = 128 << 10

// appendFetch appends a fetch's answer: short stretches of records are copied behind the head,
// long ones go from file to socket.
func (w *answerWriter) appendFetch(f *fetchCall) error {
	total := 0
	for i := range f.reply.Partitions {
		total += f.reply.Partitions[i].Records.Length
		f.reply.Partitions[i].Err = w.c.edge(wire.KindFetch, f.reply.Partitions[i].Err)
	}
	w.scratch = wire.AppendFrame(w.scratch, f.correlation, wire.KindFetch, &f.reply, total)
	for i := range f.reply.Partitions {
		r := &f.reply.Partitions[i].Records
		if r.Length == 0 {
			continue
		}
		if err := w.appendRecords(r); err != nil {
			return err
		}
	}
	return nil
}

func (w *answerWriter) appendRecords(r *wire.Records) error {
	if w.file != nil && r.Length >= minSendfileBytes {
		if fd, ok := r.File.Descriptor(); ok {
			w.deadline()
			head := w.scratch
			w.scratch = w.scratch[:0]
			w.c.s.metrics.SentBytes.Add(float64(len(head) + r.Length))
			return w.file.send(head, fd, r.Position, r.Length)
		}
	}
	// In pieces, so that a large stretch on a connection without sendfile needs little memory.
	for rest := *r; rest.Length > 0; {
		piece := rest
		piece.Length = min(rest.Length, maxGatherBytes)
		at := len(w.scratch)
		w.scratch = append(w.scratch, make([]byte, piece.Length)...)
		if err := piece.ReadInto(w.scratch[at:]); err != nil {
			w.c.log.Error("records cannot be read for a fetch", "err", err)
			return err
		}
		rest.Position += int64(piece.Length)
		rest.Length -= piece.Length
		if len(w.scratch) >= maxGatherBytes {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// now in whole milliseconds, as record batches count.
func millis(t time.Time) int64 { return t.UnixMilli() }
