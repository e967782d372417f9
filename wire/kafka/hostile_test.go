package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

func prefixed(length int32, body ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(length)), body...)
}

// request is a frame with a header of the old form and that body.
func rawRequest(key, version int16, body ...byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = append(b, 0, 0, 0, 1, 0xff, 0xff) // correlation id, no client id
	b = append(b, body...)
	return append(prefixed(int32(len(b))), b...)
}

// Each closes the connection, is counted, and troubles nobody else.
func TestHostileFramesCloseTheConnection(t *testing.T) {
	huge := []byte{0x7f, 0xff, 0xff, 0xff}
	for name, c := range map[string]struct {
		bytes []byte
		kind  refusal
	}{
		"length 0":                 {prefixed(0), badFrameSize},
		"length -1":                {prefixed(-1), badFrameSize},
		"length 2^31-1":            {prefixed(1<<31-1, 0, 18), badFrameSize},
		"length above the first":   {prefixed(firstFrameMax+1, 0, 18), badFrameSize},
		"length below a header":    {prefixed(7, 0, 18, 0, 0, 0, 0, 0), badFrameSize},
		"HTTP":                     {[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), badFrameSize},
		"TLS":                      {[]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, badFrameSize},
		"unknown api":              {rawRequest(999, 0), badAPI},
		"negative api":             {rawRequest(-1, 0), badAPI},
		"api not advertised":       {rawRequest(24, 0), badAPI},
		"version too high":         {rawRequest(3, 14), badVersion},
		"version too low":          {rawRequest(1, 3), badVersion},
		"negative version":         {rawRequest(3, -1), badVersion},
		"client id too long":       {append(prefixed(12), 0, 3, 0, 0, 0, 0, 0, 1, 0x7f, 0xff, 1, 2), badHeader},
		"topic count":              {rawRequest(3, 1, huge...), badBody},
		"negative topic count":     {rawRequest(3, 1, 0xff, 0xff, 0xff, 0xfe), badBody},
		"produce topic count":      {rawRequest(0, 3, append([]byte{0xff, 0xff, 0, 1, 0, 0, 0, 0}, huge...)...), badBody},
		"produce records too long": {rawRequest(0, 3, append([]byte{0xff, 0xff, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 'a', 0, 0, 0, 1, 0, 0, 0, 0}, huge...)...), badBody},
		"produce without a body":   {rawRequest(0, 3), badBody},
		"fetch without a body":     {rawRequest(1, 11), badBody},
		"header tags":              {rawRequest(3, 12, 0xff, 0xff, 0xff, 0xff, 0x0f), badHeader},
	} {
		t.Run(name, func(t *testing.T) {
			backend, topic := fakeBroker()
			h := start(t, backend)
			other := h.dial(t)
			client := h.dial(t)
			client.write(c.bytes)
			client.expectClosed()
			if got := counted(t, h.metrics, c.kind); got != 1 {
				t.Errorf("%s is counted %v times", c.kind, got)
			}
			if line := h.log.String(); !strings.Contains(line, "kind="+string(c.kind)) {
				t.Errorf("log: %q", line)
			}
			if a := produced(t, other.ask(produceOf(9, topic, -1, batchOf(1, 10)))); a.ErrorCode != 0 {
				t.Errorf("another client is answered %v", wire.ErrorCode(a.ErrorCode))
			}
		})
	}
}

func TestATruncatedFrameIsCounted(t *testing.T) {
	backend, topic := fakeBroker()
	h := start(t, backend)
	frame := frameOf(produceOf(9, topic, -1, batchOf(1, 1000)), 1)
	for cut := 1; cut < len(frame); cut += 97 {
		n, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = n.Write(frame[:cut])
		_ = n.(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(n); err != nil || len(b) > 0 {
			t.Errorf("cut at %d: %d bytes are answered, err %v", cut, len(b), err)
		}
		_ = n.Close()
	}
	if len(backend.stored(topic.ID, 0)) != 0 {
		t.Error("something was appended")
	}
	if got := counted(t, h.metrics, badTruncated); got == 0 {
		t.Error("nothing is counted")
	}
}

// A length alone must take no memory, however trusted the connection is.
func TestMemoryIsTakenForBytesThatCame(t *testing.T) {
	backend, _ := fakeBroker()
	h := start(t, backend)
	client := h.dial(t)
	client.ask(kmsg.NewPtrApiVersionsRequest())
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	client.write(prefixed(100<<20, make([]byte, 100_000)...))
	_ = client.net.(*net.TCPConn).CloseWrite()
	client.expectClosed()
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > trustedBytes+1<<20 {
		t.Errorf("%d bytes are allocated for 100,000 that came", took)
	}
}

func TestAVeryLargeFrameIsReadWhole(t *testing.T) {
	backend, _ := fakeBroker()
	topic := backend.create("large", 1)
	topic.Limits.MaxBatchBytes = 64 << 20
	h := start(t, backend)
	client := h.dial(t)
	client.ask(kmsg.NewPtrApiVersionsRequest())
	if a := produced(t, client.ask(produceOf(9, topic, -1, batchOf(1, 40<<20)))); a.ErrorCode != 0 {
		t.Errorf("error %v", wire.ErrorCode(a.ErrorCode))
	}
}

func TestBytesReadByTheCallerAreTheFirstOfTheConnection(t *testing.T) {
	backend, _ := fakeBroker()
	h := start(t, backend)
	near, far := net.Pipe()
	go h.ServeConn(far, rawRequest(18, 0)[:5])
	client := &rawClient{t: t, net: near}
	client.write(rawRequest(18, 0)[5:])
	client.receive(kmsg.NewPtrApiVersionsRequest(), 1)
	_ = near.Close()
}

func TestConnectionsAboveTheLimitAreClosed(t *testing.T) {
	backend, _ := fakeBroker()
	h := start(t, backend, func(c *Config) { c.MaxConnections = 1 })
	first := h.dial(t)
	first.ask(kmsg.NewPtrApiVersionsRequest())
	second := h.dial(t)
	second.expectClosed()
	first.ask(kmsg.NewPtrApiVersionsRequest())
}

func TestBadInputIsLoggedOncePerConnectionAndKind(t *testing.T) {
	backend, topic := fakeBroker()
	h := start(t, backend)
	bad := batchOf(1, 10)
	bad[len(bad)-1] ^= 1
	client := h.dial(t)
	for range 5 {
		client.ask(produceOf(9, topic, -1, bad))
	}
	if n := strings.Count(h.log.String(), "bad input refused"); n != 1 {
		t.Errorf("%d lines", n)
	}
	if got := counted(t, h.metrics, badBatch); got != 5 {
		t.Errorf("counted %v times", got)
	}
	for range 3 * refusalsLogged {
		client := h.dial(t)
		client.write(prefixed(-1))
		client.expectClosed()
	}
	if n := strings.Count(h.log.String(), "bad input refused"); n > refusalsLogged {
		t.Errorf("%d lines within one window", n)
	}
}

func TestABugMetByOneClientDoesNotTakeDownTheOthers(t *testing.T) {
	backend, topic := fakeBroker()
	backend.broken = true
	h := start(t, backend)
	client, other := h.dial(t), h.dial(t)
	q := requestFor(2, topic)
	q.SetVersion(5)
	client.send(q)
	client.expectClosed()
	if !strings.Contains(h.log.String(), "connection crashed") {
		t.Error("it is not logged")
	}
	other.ask(kmsg.NewPtrApiVersionsRequest())
}

// inBubble serves one connection over a pipe, in virtual time.
func inBubble(t *testing.T, f func(s *Server, client net.Conn), tune ...func(*Config)) {
	synctest.Test(t, func(t *testing.T) {
		backend, _ := fakeBroker()
		cfg := DefaultConfig()
		for _, f := range tune {
			f(&cfg)
		}
		s := New(cfg, backend, quiet, NewMetrics(nil), time.Now)
		near, far := net.Pipe()
		go s.ServeConn(addressed{far}, nil)
		f(s, near)
		_ = near.Close()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// addressed is a pipe with an address.
type addressed struct{ net.Conn }

func (addressed) RemoteAddr() net.Addr { return &net.TCPAddr{} }

func TestAnIdleConnectionIsClosed(t *testing.T) {
	inBubble(t, func(_ *Server, client net.Conn) {
		began := time.Now()
		_, err := client.Read(make([]byte, 1))
		if idle := time.Since(began); !errors.Is(err, io.EOF) || idle < 10*time.Minute || idle > 13*time.Minute {
			t.Errorf("after %v: %v", idle, err)
		}
	})
}

func TestARequestThatTakesTooLongToArriveClosesTheConnection(t *testing.T) {
	inBubble(t, func(s *Server, client net.Conn) {
		began := time.Now()
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() {
			for _, b := range rawRequest(18, 0) { // a byte now and then keeps it from being idle
				if _, err := client.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(20 * time.Second)
			}
		})
		_, err := client.Read(make([]byte, 1))
		if took := time.Since(began); !errors.Is(err, io.EOF) || took < time.Minute || took > 2*time.Minute {
			t.Errorf("after %v: %v", took, err)
		}
		if got := counted(t, s.metrics, slowRequest); got != 1 {
			t.Errorf("counted %v times", got)
		}
	})
}

// The bubble fails the test when a goroutine outlives it.
func TestAConnectionLeavesNoGoroutineBehind(t *testing.T) {
	inBubble(t, func(s *Server, client net.Conn) {
		backend := s.backend.(*fakeBackend)
		backend.async = true
		topic, _ := backend.View().Topic("orders")
		c := &rawClient{t: t, net: client}
		for range 3 {
			c.ask(produceOf(9, topic, -1, batchOf(1, 10))) // starts the writer
		}
		q := fetchOf(12, topic, 3, 1) // and the timer
		q.MaxWaitMillis = 500
		began := time.Now()
		c.ask(q)
		if waited := time.Since(began); waited != 500*time.Millisecond {
			t.Errorf("the long poll took %v", waited)
		}
		backend.hold = true
		c.send(produceOf(9, topic, -1, batchOf(1, 10))) // is never answered
		synctest.Wait()
		_ = client.Close()
		synctest.Wait()
		backend.release(0) // completes into a connection that is gone
		backend.working.Wait()
	})
}

// FuzzFrame feeds a connection whatever comes to mind. It may be answered or closed; it may not
// panic, hang or keep a file or bytes.
func FuzzFrame(f *testing.F) {
	_, topic := fakeBroker()
	eachVersion(func(a *api, version int16) {
		q := requestFor(a.key, topic)
		q.SetVersion(version)
		f.Add(frameOf(q, 1))
	})
	f.Add(prefixed(-1))
	f.Add(rawRequest(3, 1, 0x7f, 0xff, 0xff, 0xff))
	f.Fuzz(func(t *testing.T, stream []byte) {
		backend, _ := fakeBroker()
		backend.autoErr = wire.UnknownTopicOrPartition
		s := New(DefaultConfig(), tame{backend}, quiet, NewMetrics(nil), time.Now)
		s.serveStream(&sink{}, stream)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := counted(t, s.metrics, crashed); got != 0 {
			t.Error("the connection crashed")
		}
		if backend.lent != 0 || s.budget.used.Load() != 0 {
			t.Errorf("%d files and %d bytes are kept", backend.lent, s.budget.used.Load())
		}
	})
}

// serveStream serves stream as if the client had sent it and then closed.
func (s *Server) serveStream(out *sink, stream []byte) {
	s.ServeConn(&replay{sink: out, stream: stream}, nil)
}

// replay is a connection from which a stream is read, three bytes to begin with.
type replay struct {
	*sink
	stream []byte
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.stream) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 3)], r.stream)
	if len(r.stream) > 40 {
		n = copy(p, r.stream)
	}
	r.stream = r.stream[n:]
	return n, nil
}

// tame creates no topic that a fuzzer asks for and never lets a fetch wait.
type tame struct{ *fakeBackend }

func (tame) CreateTopics(_ context.Context, topics []wire.NewTopic, _ bool) []wire.CreatedTopic {
	return make([]wire.CreatedTopic, len(topics))
}

func (b tame) Park(w *wire.Waiter, _ wire.TopicID, _ int32, _ wire.Offset) { w.Wake() }

// Nobody notices that a client is gone while its fetch is parked: it must not keep its place among the
// connections for as many days as it said.
func TestAFetchThatWouldWaitForDaysEndsWithItsIdleConnection(t *testing.T) {
	inBubble(t, func(s *Server, client net.Conn) {
		_, topic := fakeBroker()
		q := fetchOf(12, topic, 0, 1)
		q.MaxWaitMillis = math.MaxInt32
		if _, err := client.Write(frameOf(q, 1)); err != nil {
			t.Fatal(err)
		}
		_ = client.Close()
		time.Sleep(2 * s.config.IdleTimeout)
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if n := len(s.conns); n != 0 {
			t.Errorf("%d connections are still there", n)
		}
	})
}
