package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/troupe-mq/troupe/wire"
)

const (
	chunkBytes     = 64 << 10 // read at once; frames within it are not copied
	firstFrameMax  = 64 << 10 // of a connection that has not yet sent a valid request
	trustedBytes   = 4 << 20  // taken for a frame before more than its first chunk has arrived
	minFrameBytes  = 8        // key, version, correlation id
	frameSizeBytes = 4
)

var errFrameSize = errors.New("frame size is out of range")

// frame is one request. Its bytes lie in buffer, which whoever keeps them longer retains.
type frame struct {
	bytes  []byte
	buffer *wire.Buffer
}

// frames cuts a connection's stream into frames. What it reads goes into a pooled chunk, in which
// small frames stay: a Produce retains the chunk and nothing is copied. A larger frame gets a buffer
// of its own, into which its rest is read directly. A plain TCP connection that waits for a client
// holds no memory: the chunk is taken only when there is something to read.
type frames struct {
	conn     net.Conn
	raw      syscall.RawConn       // nil unless conn is plain TCP
	readable func(fd uintptr) bool // readNow as a value, made once

	chunk      *wire.Buffer
	start, end int  // of what is read and not yet cut, in the chunk
	shared     bool // somebody else may hold a part of the chunk before start

	target []byte // what the callbacks read into; nil: the chunk
	n      int    // and what came of it
	err    error

	max     int          // the largest frame taken
	arrived atomic.Int64 // bytes read, for the idle check
	cut     atomic.Int64 // frames returned
	partial atomic.Bool  // in the middle of a frame
}

// newFrames begins with the bytes that somebody has read from conn already.
func newFrames(conn net.Conn, first []byte, maxFrame int) *frames {
	f := &frames{conn: conn, max: min(maxFrame, firstFrameMax)}
	if tcp, ok := conn.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			f.raw, f.readable = raw, f.readNow
		}
	}
	if len(first) > 0 {
		f.chunk = wire.NewBuffer(chunkBytes)
		f.end = copy(f.chunk.Bytes, first)
	}
	return f
}

// next returns the next frame, which is valid until the call after it unless its buffer is
// retained. io.EOF says that the client has closed the connection between two frames.
func (f *frames) next() (frame, error) {
	f.reuse()
	if err := f.fill(frameSizeBytes); err != nil {
		return frame{}, err
	}
	size := int(int32(binary.BigEndian.Uint32(f.chunk.Bytes[f.start:])))
	if size < minFrameBytes || size > f.max {
		return frame{}, fmt.Errorf("%w: %d", errFrameSize, size)
	}
	if frameSizeBytes+size > chunkBytes {
		return f.large(size)
	}
	if err := f.fill(frameSizeBytes + size); err != nil {
		return frame{}, unexpected(err)
	}
	at := f.start + frameSizeBytes
	f.start = at + size
	f.cutOne()
	return frame{bytes: f.chunk.Bytes[at:f.start:f.start], buffer: f.chunk.Retain()}, nil
}

// peek waits until a byte of the next frame is there. The frame only begins to arrive once somebody asks
// for it: before that, no time runs for it.
func (f *frames) peek() error {
	err := f.fill(1)
	f.partial.Store(false)
	return err
}

func (f *frames) cutOne() {
	f.cut.Add(1)
	f.partial.Store(false)
}

// reuse makes the space of frames that nobody holds any more available again.
func (f *frames) reuse() {
	if f.chunk == nil || f.start < f.end {
		return
	}
	if f.shared {
		f.release()
		return
	}
	f.start, f.end = 0, 0
}

// keep says that the chunk is shared from now on: what lies before start stays as it is.
func (f *frames) keep(of *wire.Buffer) {
	if of == f.chunk {
		f.shared = true
	}
}

func (f *frames) release() {
	f.chunk.Release()
	f.chunk, f.start, f.end, f.shared = nil, 0, 0, false
}

// fill reads until n bytes are there to cut; n is at most chunkBytes.
func (f *frames) fill(n int) error {
	if f.end-f.start >= n {
		return nil
	}
	f.partial.Store(f.end > f.start)
	if f.start+n > chunkBytes { // move what is there to the front of a chunk
		rest := f.chunk.Bytes[f.start:f.end]
		if f.shared {
			fresh := wire.NewBuffer(chunkBytes)
			f.end = copy(fresh.Bytes, rest)
			f.chunk.Release()
			f.chunk, f.shared = fresh, false
		} else {
			f.end = copy(f.chunk.Bytes, rest)
		}
		f.start = 0
	}
	for f.end-f.start < n {
		read, err := f.read(nil)
		f.end += read
		if err != nil {
			if f.end > f.start {
				err = unexpected(err)
			}
			return err
		}
		f.partial.Store(f.end > f.start)
	}
	return nil
}

// large reads a frame that does not fit into a chunk. A very large one gets its memory as it
// arrives, so that a length alone takes nothing.
func (f *frames) large(size int) (frame, error) {
	f.start += frameSizeBytes
	f.partial.Store(true)
	b := wire.NewBuffer(min(size, trustedBytes))
	have := copy(b.Bytes, f.chunk.Bytes[f.start:f.end])
	f.start = f.end
	for have < size {
		if have == len(b.Bytes) {
			grown := wire.NewBuffer(min(size, 4*have))
			copy(grown.Bytes, b.Bytes)
			b.Release()
			b = grown
		}
		n, err := f.read(b.Bytes[have:])
		have += n
		if err != nil {
			b.Release()
			return frame{}, unexpected(err)
		}
	}
	f.cutOne()
	return frame{bytes: b.Bytes, buffer: b}, nil
}

// read reads what is there into p, or behind the end of the chunk when p is nil.
func (f *frames) read(p []byte) (int, error) {
	if f.raw == nil {
		if p == nil {
			if f.chunk == nil {
				f.chunk = wire.NewBuffer(chunkBytes)
			}
			p = f.chunk.Bytes[f.end:]
		}
		n, err := f.conn.Read(p)
		f.arrived.Add(int64(n))
		return n, err
	}
	f.target, f.n, f.err = p, 0, nil
	err := f.raw.Read(f.readable)
	f.target = nil
	if err == nil {
		err = f.err
	}
	f.arrived.Add(int64(f.n))
	return f.n, err
}

// readNow is called by the runtime's poller when the socket may have something, and says whether
// it had.
func (f *frames) readNow(fd uintptr) bool {
	p := f.target
	if p == nil {
		if f.chunk == nil {
			f.chunk = wire.NewBuffer(chunkBytes)
		}
		p = f.chunk.Bytes[f.end:]
	}
	for {
		n, err := unix.Read(int(fd), p)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			if f.start == f.end && f.target == nil {
				f.release()
			}
			return false
		case err != nil:
			f.err = err
		case n == 0:
			f.err = io.EOF
		}
		f.n = max(n, 0)
		return true
	}
}

// close gives the chunk back.
func (f *frames) close() {
	if f.chunk != nil {
		f.release()
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
