package peer

import (
	"errors"
	"fmt"
	"sync"

	"github.com/troupe-mq/troupe/wire"
)

// ErrTooLarge is wrapped by Send's error about a message that no link may carry.
var ErrTooLarge = errors.New("the message is too large for the link")

// frameOverhead is added to the bytes of every queued frame, so that a bound in bytes also bounds
// what many small ones take.
const frameOverhead = 64

// maxSpareHeads is the most that is kept of the memory for heads after a burst.
const maxSpareHeads = 1 << 20

// queue holds what waits to be written to one link. Whoever sends encodes the head of the frame
// into the batch that is being filled; the writer takes the whole batch and leaves an empty one.
type queue struct {
	limit    int
	maxFrame int
	wake     chan struct{} // of capacity 1: there is something to write

	mu      sync.Mutex
	filling *batch
	spare   *batch
	bytes   int  // queued, or taken and not written yet
	full    bool // a message was turned away since there was room
	closed  bool
}

// batch is frames in the order in which they were sent.
type batch struct {
	heads  []byte // one after the other
	frames []frame
}

type frame struct {
	headEnd int // in heads
	size    int // as it counts against the queue's limit
	payload []byte
	buffer  *wire.Buffer // that the payload lies in, or nil
}

func newQueue(limit, maxFrame int) *queue {
	return &queue{limit: limit, maxFrame: maxFrame, wake: make(chan struct{}, 1), filling: new(batch), spare: new(batch)}
}

// put queues a message and takes over its buffer, unless it returns an error. A message that is
// larger than the limit goes when nothing else waits.
func (q *queue) put(e wire.Envelope) error {
	payload, buffer := wire.PeerPayload(e.Message)
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.filling
	switch {
	case q.closed:
		return ErrDown
	case q.bytes > 0 && q.bytes+len(payload)+frameOverhead > q.limit:
		q.full = true
		return ErrFull
	case len(payload) > q.maxFrame: // before its length is written, which has 32 bits
		return fmt.Errorf("%w: a payload of %d bytes, at most %d are allowed", ErrTooLarge, len(payload), q.maxFrame)
	}
	start := len(b.heads)
	b.heads = wire.AppendPeerFrame(b.heads, e.To, e.From, e.Message, len(payload))
	size := len(b.heads) - start + len(payload)
	if size > q.maxFrame {
		b.heads = b.heads[:start]
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, size, q.maxFrame)
	}
	if q.bytes > 0 && q.bytes+size+frameOverhead > q.limit {
		b.heads = b.heads[:start]
		q.full = true
		return ErrFull
	}
	q.bytes += size + frameOverhead
	b.frames = append(b.frames, frame{headEnd: len(b.heads), size: size + frameOverhead, payload: payload, buffer: buffer})
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

// take returns what is queued, or nil. The caller gives the batch back by recycle.
func (q *queue) take() *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.filling.frames) == 0 {
		return nil
	}
	b := q.filling
	q.filling, q.spare = q.spare, nil
	return b
}

// recycle takes back an empty batch, from which the frames are gone.
func (q *queue) recycle(b *batch) {
	clear(b.frames)
	b.frames, b.heads = b.frames[:0], b.heads[:0]
	if cap(b.heads) > maxSpareHeads {
		b = new(batch)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.spare = b
}

// written says that so many bytes are on their way. It returns whether somebody who was turned
// away should be told that there is room again.
func (q *queue) written(bytes int) (room bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= bytes
	if !q.full || q.bytes >= q.limit/2 {
		return false
	}
	q.full = false
	return true
}

// close lets nothing more in. What is queued stays for drop.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

// drop gives back the buffers of what will never be written.
func (q *queue) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	releaseAll(q.filling.frames)
	q.filling, q.spare = new(batch), nil
}

func (q *queue) queued() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

func releaseAll(frames []frame) {
	for i := range frames {
		frames[i].buffer.Release()
		frames[i] = frame{}
	}
}
