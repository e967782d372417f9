package native_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/native"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
	"github.com/troupe-mq/troupe/wire/record"
)

// peer is a client by hand: it sends and reads frames, valid or not.
type peer struct {
	t      testing.TB
	net    net.Conn
	frames *wire.FrameReader
	next   uint32
}

// bubble runs a test with a server in virtual time. The server must leave no goroutine behind.
func bubble(t *testing.T, change func(*native.Config), f func(t *testing.T, b *nativetest.Broker, s *native.Server, connect func() *peer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := nativetest.New()
		b.Advertise("localhost", 9092)
		cfg := native.DefaultConfig()
		if change != nil {
			change(&cfg)
		}
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		s := native.New(cfg, b, slog.New(slog.DiscardHandler), native.Metrics{}, time.Now)
		var serving sync.WaitGroup
		f(t, b, s, func() *peer {
			near, far := net.Pipe()
			serving.Go(func() { s.ServeConn(far) })
			return newPeer(t, near)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_ = s.Shutdown(ctx)
		serving.Wait()
	})
}

func newPeer(t testing.TB, nc net.Conn) *peer {
	p := &peer{t: t, net: nc, frames: wire.NewFrameReader(nc, 1<<30)}
	t.Cleanup(func() { _ = nc.Close() })
	return p
}

func (p *peer) write(b ...byte) {
	p.t.Helper()
	if _, err := p.net.Write(b); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// greet opens the connection properly.
func (p *peer) greet() *peer {
	p.t.Helper()
	return p.greetBroker(1)
}

func (p *peer) greetBroker(id wire.BrokerID) *peer {
	p.t.Helper()
	p.write(wire.AppendFrame(wire.Magic[:], 0, wire.KindGreeting, &wire.Greeting{MinProtocol: 1, MaxProtocol: 1, Software: "test"}, 0)...)
	var welcome wire.Welcome
	p.magic()
	p.parse(p.read(), wire.KindGreeting, &welcome)
	if welcome.Protocol != 1 || welcome.Broker != id || welcome.MaxFrame == 0 {
		p.t.Errorf("welcome %+v", welcome)
	}
	p.frames.Limit(1 << 30)
	return p
}

func (p *peer) magic() {
	p.t.Helper()
	var magic [4]byte
	if _, err := io.ReadFull(p.net, magic[:]); err != nil || magic != wire.Magic {
		p.t.Fatalf("the answer opens with % x, %v", magic, err)
	}
}

// send sends a request and returns its correlation id.
func (p *peer) send(kind wire.Kind, m wire.Message, payload ...byte) uint32 {
	p.t.Helper()
	p.next++
	p.write(append(wire.AppendFrame(nil, p.next, kind, m, len(payload)), payload...)...)
	return p.next
}

// read reads one frame; its memory is the test's.
func (p *peer) read() wire.Frame {
	p.t.Helper()
	buf, err := p.frames.Next()
	if err != nil {
		p.t.Fatalf("read: %v", err)
	}
	f, err := wire.ParseFrame(buf.Bytes)
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

func (p *peer) parse(f wire.Frame, kind wire.Kind, m wire.Message) {
	p.t.Helper()
	if f.Kind != kind {
		p.t.Fatalf("the answer is a %s", f.Kind)
	}
	if err := wire.Parse(f.Body, m); err != nil {
		p.t.Fatal(err)
	}
}

// ask sends a request and reads its answer, which must be the next.
func (p *peer) ask(kind wire.Kind, req, reply wire.Message, payload ...byte) wire.Frame {
	p.t.Helper()
	id := p.send(kind, req, payload...)
	f := p.read()
	if f.Correlation != id {
		p.t.Fatalf("the answer is to request %d", f.Correlation)
	}
	p.parse(f, kind, reply)
	return f
}

// refused reads an answer that says that a request failed as a whole.
func (p *peer) refused(id uint32, code wire.ErrorCode) {
	p.t.Helper()
	var failure wire.Failure
	f := p.read()
	p.parse(f, wire.KindFailed, &failure)
	if f.Correlation != id || !errors.Is(failure.Err, code) {
		p.t.Errorf("request %d failed with %v, want request %d and %v", f.Correlation, failure.Err, id, code)
	}
}

// gone expects that the server has closed the connection.
func (p *peer) gone() {
	p.t.Helper()
	if _, err := p.frames.Next(); !errors.Is(err, io.EOF) {
		p.t.Errorf("the connection is not closed: %v", err)
	}
}

func (p *peer) alive() {
	p.t.Helper()
	p.ask(wire.KindPing, &wire.Empty{}, &wire.Empty{})
}

// batch is a record batch of one record.
func batch(value string) []byte {
	var b record.Builder
	b.Reset(record.None, 0, false)
	b.Append(time.Now().UnixMilli(), nil, []byte(value), nil)
	return b.Finish(wire.NoProducer, -1, -1)
}

func produceTo(topic wire.TopicID) *wire.ProduceRequest {
	return &wire.ProduceRequest{Topic: topic, Acks: wire.AcksAll, Timeout: time.Second}
}

func fetchOf(topic wire.TopicID, offset wire.Offset, wait time.Duration) *wire.FetchRequest {
	return &wire.FetchRequest{MaxWait: wait, MinBytes: 1, MaxBytes: 1 << 20, Partitions: []wire.Fetch{{
		Topic: topic, FetchOffset: offset, MaxBytes: 1 << 20, CurrentEpoch: wire.NoEpoch, LastFetchedEpoch: wire.NoEpoch,
	}}}
}
