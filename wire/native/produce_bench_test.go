package native_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
	"github.com/troupe-mq/troupe/wire/record"
)

// nullBackend takes what is produced and forgets it: what is left is the price of the listener.
type nullBackend struct {
	*nativetest.Broker

	later chan *wire.Produce // completed from there, as by an actor; nil: at once
}

func (b *nullBackend) Produce(p *wire.Produce) {
	if b.later != nil {
		b.later <- p
		return
	}
	complete(p)
}

func complete(p *wire.Produce) {
	p.Buffer.Release()
	p.Done.ProduceDone(p.Slot, wire.ProduceReply{Leader: wire.NoHint})
}

// batchOf is a batch of so many KiB, in records of one.
func batchOf(kib int) []byte {
	var b record.Builder
	b.Reset(record.None, 0, false)
	for range kib {
		b.Append(time.Now().UnixMilli(), nil, make([]byte, 1024-70), nil)
	}
	return b.Finish(wire.NoProducer, -1, -1)
}

// BenchmarkProduce asks what one request costs between the sockets, client included, when the
// Backend costs nothing.
func BenchmarkProduce(b *testing.B) {
	for _, actor := range []bool{false, true} {
		for _, kib := range []int{16, 1 << 10} {
			for _, window := range []int{1, 5} {
				b.Run(fmt.Sprintf("actor=%v/batch=%dKiB/inflight=%d", actor, kib, window), func(b *testing.B) {
					backend := &nullBackend{Broker: nativetest.New()}
					id := backend.CreateTopic("t", 1)
					if actor {
						backend.later = make(chan *wire.Produce, 100)
						go func() {
							for p := range backend.later {
								complete(p)
							}
						}()
						defer close(backend.later)
					}
					p := overTCP(b, backend).greet()
					frame := append(wire.AppendFrame(nil, 1, wire.KindProduce, produceTo(id), len(batchOf(kib))), batchOf(kib)...)
					answer := wire.AppendFrame(nil, 1, wire.KindProduce, &wire.ProduceReply{Leader: wire.NoHint}, 0)
					loop(b, p.net, frame, len(answer), window)
				})
			}
		}
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
