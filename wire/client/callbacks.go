package client

import (
	"bytes"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

// callbacks calls callbacks in the order in which they were put, on one goroutine: whoever puts them may hold locks, and what is
// called may call the client, even what waits for callbacks. That asks mine, and leaves the one out that it is called by.
type callbacks struct {
	// most is how many may wait, or 0 for any number; then the oldest is dropped.
	most int

	mu        sync.Mutex
	changed   sync.Cond
	queue     []func()
	closed    bool
	goroutine occupant // that runs
}

func (c *callbacks) init() { c.changed.L = &c.mu }

func (c *callbacks) put(f func()) {
	c.mu.Lock()
	if c.most > 0 && len(c.queue) == c.most {
		c.queue = slices.Delete(c.queue, 0, 1)
	}
	c.queue = append(c.queue, f)
	c.mu.Unlock()
	c.changed.Signal()
}

// close has run return once everything that was put has been called.
func (c *callbacks) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.changed.Signal()
}

func (c *callbacks) run() {
	c.goroutine.enter()
	defer c.goroutine.leave()
	var taken []func()
	for {
		c.mu.Lock()
		for len(c.queue) == 0 && !c.closed {
			c.changed.Wait()
		}
		taken, c.queue = c.queue, taken[:0]
		c.mu.Unlock()
		if len(taken) == 0 {
			return
		}
		for i, f := range taken {
			f()
			taken[i] = nil
		}
	}
}

// mine says that the caller is one of the callbacks.
func (c *callbacks) mine() bool { return c.goroutine.mine() }

// occupant is the goroutine that is in some code, if one is.
type occupant struct{ id atomic.Uint64 }

func (o *occupant) enter() { o.id.Store(goroutine()) }

func (o *occupant) leave() { o.id.Store(0) }

// mine says that it is the caller's.
func (o *occupant) mine() bool {
	id := o.id.Load()
	return id != 0 && id == goroutine()
}

// goroutine returns the number of the calling goroutine. Go hides it, so that programs do not hang their state on it; here it only
// keeps a callback from waiting for itself, which would be for ever.
func goroutine() uint64 {
	var b [64]byte
	first, _, _ := bytes.Cut(b[len("goroutine "):runtime.Stack(b[:], false)], []byte(" "))
	id, _ := strconv.ParseUint(string(first), 10, 64)
	return id
}
