package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// counter is a handler that gives back what it gets, and tells when it was enough.
type counter struct {
	*recorder
	left   int
	enough chan struct{}
	room   chan struct{}
}

func (c *counter) Deliver(_ Identity, e wire.Envelope) {
	if m, ok := e.Message.(*wire.Append); ok {
		m.Buffer.Release()
	}
	if c.left--; c.left == 0 {
		close(c.enough)
	}
}

func (c *counter) LinkRoom(Identity) { c.room <- struct{}{} }

var benchmarkSizes = []int{100, 1 << 10, 16 << 10, 256 << 10, 1 << 20}

// What a link moves from one broker to another, beside what a bare writev loop moves.
func BenchmarkLink(b *testing.B) {
	for _, size := range benchmarkSizes {
		b.Run(fmt.Sprintf("payload=%d", size), func(b *testing.B) {
			one, two := benchmarkStation(b, 1), benchmarkStation(b, 2)
			from, to := &counter{recorder: one.recorder, room: make(chan struct{}, 1)}, &counter{recorder: two.recorder, enough: make(chan struct{}), left: b.N}
			one.Attach(from)
			two.Attach(to)
			one.SetPeer(2, 0, two.address())
			for one.live(2) == nil {
				<-one.more
			}
			buffer := wire.NewBuffer(size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				e := wire.Envelope{To: "replica/AQIDBAUGBwgJCgsMDQ4PEA/3", Message: &wire.Append{
					PrevOffset: wire.Offset(i), Batches: buffer.Bytes, Buffer: buffer.Retain(),
				}}
				for {
					err := one.Send(2, 0, true, e)
					if err == nil {
						break
					}
					if !errors.Is(err, ErrFull) {
						b.Fatal(err)
					}
					<-from.room
				}
			}
			<-to.enough
		})
	}
}

func benchmarkStation(b *testing.B, id wire.BrokerID) *station {
	b.Helper()
	return start(b, identity(id, wire.Incarnation(id)), setting{})
}

func BenchmarkBareWritev(b *testing.B) {
	for _, size := range benchmarkSizes {
		b.Run(fmt.Sprintf("payload=%d", size), func(b *testing.B) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer listener.Close()
			done := make(chan error, 1)
			go func() { done <- readBare(listener, b.N) }()
			c, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			payload, head := make([]byte, size), make([]byte, lengthBytes)
			binary.BigEndian.PutUint32(head, uint32(size))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				pieces := net.Buffers{head, payload}
				if _, err := pieces.WriteTo(c); err != nil {
					b.Fatal(err)
				}
			}
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}

// readBare reads so many frames into one piece of memory.
func readBare(l net.Listener, frames int) error {
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	head, payload := make([]byte, lengthBytes), make([]byte, 1<<20)
	for range frames {
		if _, err := io.ReadFull(c, head); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, payload[:binary.BigEndian.Uint32(head)]); err != nil {
			return err
		}
	}
	return nil
}
