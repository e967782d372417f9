package wire

import (
	"sync"
	"sync/atomic"
)

// Buffer is a frame's bytes, taken from a pool and counted, because several hold the same bytes
// at once: the append to the log, later the queue to each follower. Whoever hands a Buffer on to
// a further holder calls Retain first; every holder calls Release once and then forgets it.
//
// A holder that dies without releasing leaves the buffer to the garbage collector: it is lost to
// the pool, never given out twice.
type Buffer struct {
	Bytes []byte

	refs  atomic.Int32
	class int8 // of the pool it returns to; -1 when it is too large for any
}

// bufferClasses are 4 KiB times a power of four, up to 16 MiB.
const (
	bufferClasses  = 7
	minBufferBytes = 4 << 10
)

var bufferPools [bufferClasses]sync.Pool

// NewBuffer returns a buffer of n bytes with one holder. Its content is undefined.
func NewBuffer(n int) *Buffer {
	class, size := int8(0), minBufferBytes
	for size < n && class < bufferClasses {
		class++
		size <<= 2
	}
	if class == bufferClasses {
		b := &Buffer{Bytes: make([]byte, n), class: -1}
		b.refs.Store(1)
		return b
	}
	b, ok := bufferPools[class].Get().(*Buffer)
	if !ok {
		b = &Buffer{Bytes: make([]byte, size), class: class}
	}
	b.Bytes = b.Bytes[:n]
	b.refs.Store(1)
	return b
}

// Retain adds a holder and returns b.
func (b *Buffer) Retain() *Buffer {
	if b.refs.Add(1) <= 1 {
		panic("wire: a released buffer is retained")
	}
	return b
}

// Release takes a holder away; the last one returns the bytes to their pool. It does nothing to
// a nil buffer.
func (b *Buffer) Release() {
	if b == nil {
		return
	}
	switch left := b.refs.Add(-1); {
	case left < 0:
		panic("wire: a buffer is released twice")
	case left == 0 && b.class >= 0:
		b.Bytes = b.Bytes[:cap(b.Bytes)]
		bufferPools[b.class].Put(b)
	}
}
