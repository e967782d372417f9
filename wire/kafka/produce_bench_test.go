package kafka

import (
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

// nullBackend takes what is produced and forgets it: what is left is the price of the listener.
type nullBackend struct {
	*fakeBackend
	later chan *wire.Produce // completed from there, as by an actor; nil: at once
}

func (b *nullBackend) Produce(p *wire.Produce) {
	if b.later != nil {
		b.later <- p
		return
	}
	b.done(p)
}

func (*nullBackend) done(p *wire.Produce) {
	p.Buffer.Release()
	p.Done.ProduceDone(p.Slot, wire.ProduceReply{Leader: wire.NoHint})
}

// actor completes until the channel is closed.
func (b *nullBackend) actor() {
	for p := range b.later {
		b.done(p)
	}
}

// loop sends one frame again and again and reads the answers of a fixed size, window at a time.
func loop(b *testing.B, client net.Conn, frame []byte, answer, window int) {
	b.Helper()
	in := make([]byte, answer)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	flying := 0
	for b.Loop() {
		if _, err := client.Write(frame); err != nil {
			b.Fatal(err)
		}
		if flying++; flying == window {
			if _, err := io.ReadFull(client, in); err != nil {
				b.Fatal(err)
			}
			flying--
		}
	}
	for ; flying > 0; flying-- {
		if _, err := io.ReadFull(client, in); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkProduce asks what one request costs between the sockets, client included, when the
// Backend costs nothing.
func BenchmarkProduce(b *testing.B) {
	for _, actor := range []bool{false, true} {
		for _, size := range []int{16 << 10, 1 << 20} {
			for _, window := range []int{1, 5} {
				b.Run(fmt.Sprintf("actor=%v/batch=%dKiB/inflight=%d", actor, size>>10, window), func(b *testing.B) {
					fake, topic := fakeBroker()
					backend := &nullBackend{fakeBackend: fake}
					if actor {
						backend.later = make(chan *wire.Produce, 100)
						go backend.actor()
						defer close(backend.later)
					}
					h := start(b, fake)
					h.Server.backend = backend
					client := h.dial(b)
					_ = client.net.SetDeadline(noDeadline)
					client.ask(kmsg.NewPtrApiVersionsRequest())
					q := produceOf(9, topic, -1, batchOf(size/1024, 1024-70))
					frame := frameOf(q, 1)
					client.write(frame)
					_, body, err := client.read()
					if err != nil {
						b.Fatal(err)
					}
					loop(b, client.net, frame, len(body)+8, window)
				})
			}
		}
	}
}

// The budget of the whole broker is 12 allocations and 1 KiB for a Produce request; this is what
// the listener takes of it: the messages. Pools forget a quarter under the race detector, hence 3.
func TestAProduceRequestAllocatesNextToNothing(t *testing.T) {
	fake, topic := fakeBroker()
	s := New(DefaultConfig(), &nullBackend{fakeBackend: fake}, quiet, NewMetrics(nil), now)
	for _, version := range []int16{3, 9, 13} {
		frame := frameOf(produceOf(version, topic, -1, batchOf(15, 1000), batchOf(15, 1000)), 1)
		c := newConn(s, discard{}, nil)
		serve := func() {
			c.in.chunk = wire.NewBuffer(chunkBytes)
			c.in.end = copy(c.in.chunk.Bytes, frame)
			f, err := c.in.next()
			if err == nil {
				err = c.serveFrame(f)
			}
			if err != nil {
				t.Fatal(err)
			}
			f.buffer.Release()
			c.in.close()
		}
		serve()
		if got := testing.AllocsPerRun(200, serve); got > 3 {
			t.Errorf("version %d: %v allocations for a request of two partitions", version, got)
		}
	}
}

// discard is a connection whose writes vanish.
type discard struct{ net.Conn }

func (discard) Write(b []byte) (int, error) { return len(b), nil }
