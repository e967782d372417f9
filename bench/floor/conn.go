package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

const maxFrameBytes = 100 << 20

// conn is one client. Its goroutine reads a frame, does what it asks, and answers.
type conn struct {
	broker  *broker
	tcp     *net.TCPConn
	raw     syscall.RawConn
	answers chan *answer // to the writing goroutine; nil without group commit
	scratch answer       // used again and again where answers is nil
}

// answer is a response on its way out: bytes, with stretches of log files between them.
type answer struct {
	bytes     []byte
	stretches []stretch
	after     []chan struct{} // syncs to wait for before it leaves
}

// stretch is part of a log file that follows bytes[:cut] of the answer.
type stretch struct {
	cut         int
	file        *partition
	position, n int64
}

func newConn(b *broker, tcp *net.TCPConn) *conn {
	raw, err := tcp.SyscallConn()
	if err != nil {
		panic(err) // it fails only for a closed connection, and this one is new
	}
	return &conn{broker: b, tcp: tcp, raw: raw}
}

func (c *conn) serve() {
	defer c.tcp.Close() //nolint:errcheck // nobody reads it any more
	if c.broker.groupCommit {
		// The next requests are read while earlier ones wait for their sync, so that the
		// requests of one connection can share one.
		c.answers = make(chan *answer, 64)
		defer close(c.answers)
		go c.write()
	}
	in := bufio.NewReaderSize(c.tcp, 64<<10)
	var length [4]byte
	for {
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint32(length[:]))
		if n < 10 || n > maxFrameBytes {
			return
		}
		frame := takeFrame(n)
		_, err := io.ReadFull(in, (*frame)[:n])
		if err == nil {
			err = c.handle((*frame)[:n])
		}
		giveFrame(frame)
		if err != nil {
			return
		}
	}
}

// write sends the answers in the order of their requests.
func (c *conn) write() {
	for a := range c.answers {
		for _, synced := range a.after {
			<-synced
		}
		if c.send(a) != nil {
			c.tcp.Close() //nolint:errcheck // the reading goroutine sees it and ends
		}
	}
}

// newAnswer begins an answer with room for its length.
func (c *conn) newAnswer(correlation int32) *answer {
	a := &c.scratch
	if c.answers != nil {
		a = &answer{}
	}
	a.stretches, a.after = a.stretches[:0], a.after[:0]
	a.bytes = binary.BigEndian.AppendUint32(append(a.bytes[:0], 0, 0, 0, 0), uint32(correlation))
	return a
}

func (c *conn) emit(a *answer) error {
	if c.answers == nil {
		return c.send(a)
	}
	c.answers <- a
	return nil
}

func (c *conn) send(a *answer) error {
	n := int64(len(a.bytes) - 4)
	for _, s := range a.stretches {
		n += s.n
	}
	binary.BigEndian.PutUint32(a.bytes, uint32(n))
	sent := 0
	for _, s := range a.stretches {
		if err := c.sendFile(a.bytes[sent:s.cut], s); err != nil {
			return err
		}
		sent = s.cut
	}
	if sent == len(a.bytes) {
		return nil
	}
	_, err := c.tcp.Write(a.bytes[sent:])
	return err
}

// sendFile sends header and then the stretch. The explicit offset lets connections share a
// partition's descriptor.
func (c *conn) sendFile(header []byte, s stretch) error {
	var failed error
	err := c.raw.Write(func(fd uintptr) (done bool) {
		for len(header) > 0 || s.n > 0 {
			var n int
			var err error
			if len(header) > 0 {
				n, err = unix.SendmsgN(int(fd), header, nil, nil, unix.MSG_MORE)
			} else {
				position := s.position
				n, err = unix.Sendfile(int(fd), int(s.file.file.Fd()), &position, int(s.n))
			}
			switch {
			case errors.Is(err, unix.EAGAIN):
				return false
			case errors.Is(err, unix.EINTR):
			case err != nil:
				failed = err
				return true
			case len(header) > 0:
				header = header[n:]
			case n == 0:
				failed = io.ErrUnexpectedEOF // the topic was deleted meanwhile
				return true
			default:
				s.position += int64(n)
				s.n -= int64(n)
			}
		}
		return true
	})
	return errors.Join(err, failed)
}

// versions is what floor speaks: all with the old header, but for ApiVersions.
var versions = []struct{ key, lowest, highest int16 }{
	{0, 3, 8},  // Produce
	{1, 4, 11}, // Fetch
	{2, 1, 5},  // ListOffsets
	{3, 0, 8},  // Metadata
	{18, 0, 3}, // ApiVersions
	{19, 0, 4}, // CreateTopics
	{20, 0, 3}, // DeleteTopics
	{22, 0, 1}, // InitProducerId
}

// handle answers one request. The frame is used again afterwards.
func (c *conn) handle(frame []byte) error {
	key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
	body := frame[10:]
	if clientID := int16(binary.BigEndian.Uint16(frame[8:])); clientID > 0 {
		if int(clientID) > len(body) {
			return io.ErrUnexpectedEOF
		}
		body = body[clientID:]
	}
	a := c.newAnswer(int32(binary.BigEndian.Uint32(frame[4:])))
	switch key {
	case 0:
		return c.produce(a, version, body)
	case 1:
		return c.fetch(a, version, body)
	case 18:
		return c.apiVersions(a, version)
	}
	request := kmsg.RequestForKey(key)
	if request == nil {
		return fmt.Errorf("unknown API key %d", key)
	}
	request.SetVersion(version)
	if err := request.ReadFrom(body); err != nil {
		return err
	}
	response := c.broker.answer(request)
	if response == nil {
		return fmt.Errorf("API key %d is not served", key)
	}
	response.SetVersion(version)
	a.bytes = response.AppendTo(a.bytes)
	return c.emit(a)
}

// frames holds read buffers by size: 4 KiB times a power of two.
var frames [18]sync.Pool

const smallestFrame = 4 << 10

func takeFrame(n int) *[]byte {
	class := bits.Len(uint(max(n, smallestFrame)-1) / smallestFrame)
	if class >= len(frames) {
		frame := make([]byte, n)
		return &frame
	}
	if frame, ok := frames[class].Get().(*[]byte); ok {
		return frame
	}
	frame := make([]byte, smallestFrame<<class)
	return &frame
}

func giveFrame(frame *[]byte) {
	class := bits.Len(uint(len(*frame)-1) / smallestFrame)
	if class < len(frames) && len(*frame) == smallestFrame<<class {
		frames[class].Put(frame)
	}
}
