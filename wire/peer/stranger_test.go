package peer

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/troupe-mq/troupe/wire"
)

// stranger is the other end of two connections to a station, of which a test sends each byte.
type stranger struct{ control, bulk *conn }

// approach opens two connections and says a greeting on both.
func (n *station) approach(t *testing.T, greeting wire.LinkGreeting) *stranger {
	t.Helper()
	var s stranger
	for _, bulk := range []bool{false, true} {
		raw, err := net.Dial("tcp", n.address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { raw.Close() })
		c := newConn(raw, raw, time.Now)
		greeting.Bulk = bulk
		if _, err := raw.Write(Preface[:]); err != nil {
			t.Fatal(err)
		}
		if err := c.say(&greeting); err != nil {
			t.Fatal(err)
		}
		if bulk {
			s.bulk = c
		} else {
			s.control = c
		}
	}
	return &s
}

// welcome hears the answer on both connections.
func (s *stranger) welcome(t *testing.T) wire.LinkWelcome {
	t.Helper()
	var answers [2]wire.LinkWelcome
	for i, c := range []*conn{s.control, s.bulk} {
		if err := c.hear(&answers[i]); err != nil {
			t.Fatal(err)
		}
	}
	if answers[0] != answers[1] {
		t.Fatalf("the answers differ: %+v", answers)
	}
	return answers[0]
}

func (n *station) greetingFrom(self Identity) wire.LinkGreeting {
	return wire.LinkGreeting{MinProtocol: 1, MaxProtocol: 1, From: wire.LinkEnd(self), To: n.self.Broker, Nonce: newNonce()}
}

// link makes a pair with a stranger, who must be welcome.
func (n *station) link(t *testing.T, greeting wire.LinkGreeting) *stranger {
	t.Helper()
	s := n.approach(t, greeting)
	if w := s.welcome(t); w.Refusal.Reason != "" || w.Protocol != 1 || Identity(w.From) != n.self {
		t.Fatalf("the welcome is %+v", w)
	}
	if err := sayBoth(s.control, s.bulk, &wire.LinkConfirm{}); err != nil {
		t.Fatal(err)
	}
	if up := n.wait(t, "up"); up.incarnation != greeting.From.Incarnation {
		t.Fatalf("LinkUp of %d", up.incarnation)
	}
	return s
}

// isClosed waits until the station has closed the connection.
func (c *conn) isClosed(t *testing.T) {
	t.Helper()
	if err := c.raw.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 4096); ; {
		_, err := c.raw.Read(b)
		var network net.Error
		if errors.As(err, &network) && network.Timeout() {
			t.Fatal("the connection was not closed")
		}
		if err != nil {
			return
		}
	}
}

// counted reads a counter.
func counted(t *testing.T, c prometheus.Metric) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue() + m.GetGauge().GetValue()
}

// logbook is a log that may be written and read at once.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) lines(with string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, with) {
			n++
		}
	}
	return n
}

func TestASilentBrokerIsGivenUp(t *testing.T) {
	n := start(t, identity(5, 50), setting{cfg: Config{ReadTimeout: 20 * time.Millisecond}})
	s := n.link(t, n.greetingFrom(identity(2, 20)))
	if down := n.wait(t, "down"); !isTimeout(down.cause) {
		t.Errorf("the cause is %v", down.cause)
	}
	s.control.isClosed(t)
	s.bulk.isClosed(t)
}

func TestABrokerThatDoesNotReadIsGivenUp(t *testing.T) {
	n := start(t, identity(5, 50), setting{cfg: Config{ReadTimeout: time.Hour, WriteTimeout: 20 * time.Millisecond}})
	n.link(t, n.greetingFrom(identity(2, 20)))
	batches := make([]byte, 1<<20)
	for sent := 0; ; sent++ {
		err := n.Send(2, 20, true, wire.Envelope{To: "replica", Message: &wire.Append{Batches: batches}})
		if errors.Is(err, ErrFull) || errors.Is(err, ErrDown) {
			break
		}
		if err != nil || sent == 1000 {
			t.Fatalf("Send %d = %v", sent, err)
		}
	}
	if down := n.wait(t, "down"); !isTimeout(down.cause) {
		t.Errorf("the cause is %v", down.cause)
	}
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}

func TestAFullQueueTellsWhenThereIsRoom(t *testing.T) {
	n := start(t, identity(5, 50), setting{cfg: Config{
		BulkQueueBytes: 1 << 20, ReadTimeout: time.Hour, WriteTimeout: time.Hour,
	}})
	s := n.link(t, n.greetingFrom(identity(2, 20)))
	batches := make([]byte, 100<<10)
	sent := 0
	for {
		err := n.Send(2, 20, true, wire.Envelope{To: "replica", Message: &wire.Append{PrevOffset: wire.Offset(sent), Batches: batches}})
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil || sent == 1000 {
			t.Fatalf("Send %d = %v", sent, err)
		}
		sent++
		if bytes, limit := n.Queued(2); bytes > limit || limit != 1<<20 {
			t.Fatalf("%d of %d bytes are queued", bytes, limit)
		}
	}
	if err := n.Send(2, 20, false, wire.Envelope{To: "controller", Message: &wire.Heartbeat{}}); err != nil {
		t.Errorf("on the link for control Send = %v", err)
	}
	s.bulk.frames.Limit(1 << 20)
	for i := 0; i < sent; {
		b, err := s.bulk.frames.Next()
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Bytes) == 0 {
			continue // a ping
		}
		e, err := wire.ParsePeer(b, 5)
		if m, ok := e.Message.(*wire.Append); err != nil || !ok || m.PrevOffset != wire.Offset(i) {
			t.Fatalf("frame %d is %+v, %v", i, e.Message, err)
		}
		i++
	}
	n.wait(t, "room")
	if err := n.Send(2, 20, true, wire.Envelope{To: "replica", Message: &wire.Append{Batches: batches}}); err != nil {
		t.Errorf("with room Send = %v", err)
	}
	n.stop(t)
	if full := counted(t, n.metrics.Full.WithLabelValues("bulk")); full != 1 || n.count("room") != 1 {
		t.Errorf("%v times full was counted, %d times room was told", full, n.count("room"))
	}
}

func TestAnUnknownKindIsCountedAndPassedOver(t *testing.T) {
	log := new(logbook)
	received := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "received"}, []string{"kind"})
	n := start(t, identity(5, 50), setting{metrics: &Metrics{Received: received}, log: slog.New(slog.NewTextHandler(log, nil))})
	s := n.link(t, n.greetingFrom(identity(2, 20)))
	newer := []byte{0, 0, 0, 9, 0x95, 0xa1, 'a', 0xa0, 0x7f, 0x02, 0x90, 'x', 'y'}
	known := wire.AppendPeerFrame(nil, "controller", "", &wire.Heartbeat{ID: 3}, 0)
	if _, err := s.control.Write(append(append(bytes.Clone(newer), newer...), known...)); err != nil {
		t.Fatal(err)
	}
	if id := heartbeatID(t, n.wait(t, "deliver")); id != 3 {
		t.Errorf("delivered was heartbeat %d", id)
	}
	n.stop(t)
	if got := counted(t, received.WithLabelValues("unknown")); got != 2 || log.lines("unknown kind") != 1 {
		t.Errorf("%v were counted, %d logged", got, log.lines("unknown kind"))
	}
}

func TestWhatCannotBeReadEndsTheLinksAndNothingElse(t *testing.T) {
	for name, frame := range map[string][]byte{
		"garbage":             []byte("GET / HTTP/1.1\r\n\r\n"),
		"no message":          {0, 0, 0, 1, 0x05},
		"a lying payload":     {0, 0, 0, 7, 0x95, 0xa0, 0xa0, 0x50, 0xcd, 0xff, 0xff},
		"a frame of 17 MiB":   {0x01, 0x10, 0, 1},
		"a frame of 4 GiB":    {0xff, 0xff, 0xff, 0xff},
		"a kind of a client":  {0, 0, 0, 6, 0x95, 0xa0, 0xa0, 0x02, 0x00, 0xc1},
		"an empty topic's id": {0, 0, 0, 9, 0x95, 0xa0, 0xa0, 0x40, 0x00, 0x93, 0xc4, 0x00, 0x00},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, identity(5, 50), setting{})
			s := n.link(t, n.greetingFrom(identity(2, 20)))
			if _, err := s.control.Write(frame); err != nil {
				t.Fatal(err)
			}
			if name == "a kind of a client" {
				if _, err := s.control.Write([]byte{0, 0, 0, 1, 0x05}); err != nil {
					t.Fatal(err)
				}
			}
			n.wait(t, "down")
			s.bulk.isClosed(t)
			if n.count("deliver") != 0 {
				t.Errorf("told was%s", n.calls())
			}
			n.link(t, n.greetingFrom(identity(2, 20)))
		})
	}
}

func TestGarbageInPlaceOfAGreetingIsCounted(t *testing.T) {
	n := start(t, identity(5, 50), setting{})
	for _, b := range [][]byte{{0, 0, 0, 1, 0xc1}, {0xff, 0xff, 0xff, 0xff}, {0, 0, 0x10, 0x01}, {0, 0, 0, 0}} {
		raw, err := net.Dial("tcp", n.address())
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		if _, err := raw.Write(append(Preface[:], b...)); err != nil {
			t.Fatal(err)
		}
		newConn(raw, raw, time.Now).isClosed(t)
	}
	n.stop(t)
	if got := counted(t, n.metrics.Refused.WithLabelValues(reasonMalformed)); got != 4 {
		t.Errorf("%v were counted", got)
	}
}

func TestConnectionsWithoutTheirSisterKeepNobodyOut(t *testing.T) {
	n := start(t, identity(5, 50), setting{cfg: Config{HandshakeTimeout: time.Hour}})
	for range maxArrivals + 10 {
		raw, err := net.Dial("tcp", n.address())
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		c := newConn(raw, raw, time.Now)
		greeting := n.greetingFrom(identity(2, 20))
		if _, err := raw.Write(Preface[:]); err != nil {
			t.Fatal(err)
		}
		if err := c.say(&greeting); err != nil {
			t.Fatal(err)
		}
	}
	other := start(t, identity(6, 60), setting{cfg: Config{RedialMax: time.Millisecond}})
	other.know(n)
	n.wait(t, "up")
}

// panicky is a handler with a bug.
type panicky struct{ *recorder }

func (p panicky) Deliver(from Identity, e wire.Envelope) {
	if e.To == "bug" {
		panic("a bug")
	}
	p.recorder.Deliver(from, e)
}

func TestABugInHandlingAMessageEndsTheLinksAndNotTheProcess(t *testing.T) {
	n := start(t, identity(5, 50), setting{})
	n.Attach(panicky{n.recorder})
	s := n.link(t, n.greetingFrom(identity(2, 20)))
	if _, err := s.control.Write(wire.AppendPeerFrame(nil, "bug", "", &wire.Watch{}, 0)); err != nil {
		t.Fatal(err)
	}
	if down := n.wait(t, "down"); !errors.Is(down.cause, errPanic) {
		t.Errorf("the cause is %v", down.cause)
	}
	if got := counted(t, n.metrics.Broken.WithLabelValues("panic")); got != 1 {
		t.Errorf("%v were counted", got)
	}
}
