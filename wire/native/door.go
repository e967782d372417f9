package native

import "sync"

// door bounds what one connection has in flight: requests that are read and whose answer is not
// yet written. The reader enters with each request and waits while there is no room; who has
// written the answer, or found the client gone, leaves. A single request larger than all the room
// enters alone.
type door struct {
	mu       sync.Mutex
	room     sync.Cond
	requests int
	bytes    int
	closed   bool

	maxRequests, maxBytes int
}

func (d *door) init(maxRequests, maxBytes int) {
	d.room.L = &d.mu
	d.maxRequests, d.maxBytes = maxRequests, maxBytes
}

// enter waits for room. It returns false when the door has closed.
func (d *door) enter(n int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.closed && d.requests > 0 && (d.requests >= d.maxRequests || d.bytes+n > d.maxBytes) {
		d.room.Wait()
	}
	if d.closed {
		return false
	}
	d.requests++
	d.bytes += n
	return true
}

// grow counts n more bytes for a request that has entered. It does not wait.
func (d *door) grow(n int) {
	d.mu.Lock()
	d.bytes += n
	d.mu.Unlock()
}

func (d *door) leave(n int) { d.leaveAll(1, n) }

func (d *door) leaveAll(requests, bytes int) {
	d.mu.Lock()
	d.requests -= requests
	d.bytes -= bytes
	d.mu.Unlock()
	d.room.Broadcast()
}

// drained waits until nothing is in flight or the door has closed.
func (d *door) drained() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.closed && d.requests > 0 {
		d.room.Wait()
	}
}

func (d *door) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.room.Broadcast()
}
