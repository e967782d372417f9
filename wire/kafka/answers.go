package kafka

import (
	"sync"

	"github.com/troupe-mq/troupe/wire"
)

// maxPipelined is how many Produce requests may be in flight on one connection, whatever their
// bytes. Kafka's clients pipeline five.
const maxPipelined = 256

// answers is the queue of a connection's Produce requests, in the order of their arrival, and
// decides who writes their answers:
//
//	finished while the reader submitted it   the reader, at once and without a wake-up
//	finished later, by an actor              the writer goroutine, which is poked
//
// Whoever writes has set writing; others leave what they finished to that one, which looks again
// before it stops.
type answers struct {
	mu      sync.Mutex
	changed sync.Cond     // the queue got shorter, or closed; awaited by the reader alone
	queue   []*production // in flight, the oldest first
	spare   []*production // to be used again
	held    int64         // bytes of what is in the queue
	writing bool
	waiting bool // the reader waits for changed
	closed  bool // nothing is written any more

	poke chan struct{} // wakes the writer goroutine
}

// next returns an unused production.
func (a *answers) next(c *conn) *production {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.spare); n > 0 {
		p := a.spare[n-1]
		a.spare = a.spare[:n-1]
		return p
	}
	return &production{conn: c}
}

// add appends p to the queue.
func (a *answers) add(p *production) {
	a.mu.Lock()
	a.queue = append(a.queue, p)
	a.held += p.bytes
	a.mu.Unlock()
}

// awaitRoom returns once the queue holds less than limit bytes and another request may join. It is
// false when the connection ends meanwhile.
func (a *answers) awaitRoom(limit int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !a.closed && (a.held >= limit || len(a.queue) >= maxPipelined) {
		a.wait()
	}
	return !a.closed
}

// awaitEmpty returns once everything before is answered, so that the reader may write itself.
func (a *answers) awaitEmpty() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !a.closed && (len(a.queue) > 0 || a.writing) {
		a.wait()
	}
	return !a.closed
}

func (a *answers) wait() {
	a.waiting = true
	a.changed.Wait()
	a.waiting = false
}

// close lets the reader go and drops the answers that have not been written.
func (a *answers) close() {
	a.mu.Lock()
	a.closed = true
	a.changed.Broadcast()
	a.mu.Unlock()
}

// finished is called once for each production, when nothing of it is in flight any more. It is true
// when the caller should see to it that flush is called.
func (a *answers) finished(p *production) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	p.ready = true
	return a.queue[0] == p && !a.writing
}

// flush writes the answers that are ready at the head of the queue, all in one write, until there
// are none. encode appends an answer to b; write sends b.
func (a *answers) flush(encode func(b []byte, p *production) []byte, write func(b []byte) error) {
	var done [16]*production
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.writing {
		return
	}
	a.writing = true
	for {
		n := 0
		for n < len(a.queue) && n < len(done) && a.queue[n].ready {
			done[n] = a.queue[n]
			n++
		}
		if n == 0 {
			break
		}
		if !a.closed {
			a.mu.Unlock()
			failed := a.write(done[:n], encode, write)
			a.mu.Lock()
			a.closed = a.closed || failed
		}
		a.retire(n)
	}
	a.writing = false
	if a.waiting {
		a.changed.Signal()
	}
}

func (a *answers) write(done []*production, encode func([]byte, *production) []byte, write func([]byte) error) (failed bool) {
	out := wire.NewBuffer(1) // the smallest class; answers are some tens of bytes
	defer out.Release()
	b := out.Bytes[:0]
	for _, p := range done {
		b = encode(b, p)
	}
	return len(b) > 0 && write(b) != nil
}

// retire takes the first n off the queue.
func (a *answers) retire(n int) {
	for _, p := range a.queue[:n] {
		a.held -= p.bytes
		p.reset()
		a.spare = append(a.spare, p)
	}
	rest := copy(a.queue, a.queue[n:])
	clear(a.queue[rest:])
	a.queue = a.queue[:rest]
	if a.waiting {
		a.changed.Signal()
	}
}
