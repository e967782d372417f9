package peer

import (
	"bytes"
	"errors"
	"fmt"
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

func TestWhoDoesNotBelongHereIsRefusedWithAReason(t *testing.T) {
	for _, c := range []struct {
		reason string
		says   string
		change func(*wire.LinkGreeting)
	}{
		{reasonCluster, `belongs to cluster "foreign", broker 5 to "cluster"`, func(g *wire.LinkGreeting) { g.From.ClusterID = "foreign" }},
		{reasonSelf, "both ends are broker 5", func(g *wire.LinkGreeting) { g.From.Broker = 5 }},
		{reasonSelf, "both ends are broker 5", func(g *wire.LinkGreeting) { g.From.Broker, g.To = 5, 2 }},
		{reasonBroker, "broker 4 was expected, this is broker 5", func(g *wire.LinkGreeting) { g.To = 4 }},
		{reasonRecovery, "recovery epoch 0", func(g *wire.LinkGreeting) { g.From.RecoveryEpoch = 0 }},
		{reasonRecovery, "recovery epoch 2", func(g *wire.LinkGreeting) { g.From.RecoveryEpoch = 2 }},
		{reasonProtocol, "versions 2 to 9", func(g *wire.LinkGreeting) { g.MinProtocol, g.MaxProtocol = 2, 9 }},
		{reasonMalformed, "is no broker", func(g *wire.LinkGreeting) { g.From.Incarnation = 0 }},
		{reasonMalformed, "is no broker", func(g *wire.LinkGreeting) { g.From.Broker = -7 }},
	} {
		t.Run(c.says, func(t *testing.T) {
			log := new(logbook)
			n := start(t, identity(5, 50), setting{log: slog.New(slog.NewTextHandler(log, nil))})
			for range 3 {
				greeting := n.greetingFrom(identity(2, 20))
				c.change(&greeting)
				s := n.approach(t, greeting)
				if r := s.welcome(t).Refusal; r.Reason != c.reason || !strings.Contains(r.Sentence, c.says) {
					t.Errorf("it was refused for %q: %s", r.Reason, r.Sentence)
				}
				s.control.isClosed(t)
				s.bulk.isClosed(t)
			}
			n.stop(t)
			if refused := counted(t, n.metrics.Refused.WithLabelValues(c.reason)); refused != 3 {
				t.Errorf("%v refusals were counted", refused)
			}
			if logged := log.lines("a link was refused"); logged != 1 {
				t.Errorf("it was logged %d times", logged)
			}
			if n.count("up") != 0 {
				t.Error("there was a link")
			}
		})
	}
}

func TestARefusalIsLoggedOnceByTheBrokerThatDialledToo(t *testing.T) {
	log := new(logbook)
	foreign := identity(2, 20)
	foreign.ClusterID = "foreign"
	two := start(t, foreign, setting{})
	refused := make(chan struct{}, 100)
	one := start(t, identity(1, 10), setting{
		cfg: Config{RedialMax: time.Millisecond}, log: slog.New(slog.NewTextHandler(log, nil)),
		dialer: dialFunc(func() { refused <- struct{}{} }),
	})
	one.know(two)
	for range 10 { // two connections each, one after the other
		select {
		case <-refused:
		case <-time.After(patience):
			t.Fatal("it was not dialled again")
		}
	}
	one.stop(t)
	if n := log.lines(`belongs to cluster`); n != 1 {
		t.Errorf("it was logged %d times", n)
	}
	if n := counted(t, one.metrics.Refused.WithLabelValues(reasonCluster)); n < 3 {
		t.Errorf("%v refusals were counted", n)
	}
}

func TestAnImpostorIsRefusedWhileTheBrokerIsLinked(t *testing.T) {
	for _, id := range []wire.BrokerID{2, 8} { // one lets the other decide, or decides
		t.Run(fmt.Sprintf("broker %d", id), func(t *testing.T) {
			n := start(t, identity(5, 50), setting{})
			real := n.link(t, n.greetingFrom(identity(id, 20)))
			for _, c := range []struct {
				reason string
				run    wire.Incarnation
			}{{reasonLinked, 20}, {reasonImpostor, 19}, {reasonImpostor, 21}} {
				if r := n.approach(t, n.greetingFrom(identity(id, c.run))).welcome(t).Refusal; r.Reason != c.reason {
					t.Errorf("run %d was refused for %q: %s", c.run, r.Reason, r.Sentence)
				}
			}
			if err := n.Send(id, 20, false, wire.Envelope{To: "a", Message: &wire.Terminated{}}); err != nil {
				t.Errorf("Send to the broker itself: %v", err)
			}
			real.control.frames.Limit(1 << 20)
			if b, err := real.control.frames.Next(); err != nil || len(b.Bytes) == 0 {
				t.Errorf("the broker itself got %v, %v", b, err)
			}
			if n.count("up") != 1 || n.count("down") != 0 {
				t.Errorf("told was%s", n.calls())
			}
		})
	}
}

func TestARecordedGreetingIsWorthNothing(t *testing.T) {
	n := start(t, identity(5, 50), setting{})
	greeting := n.greetingFrom(identity(2, 20))
	n.link(t, greeting)
	if r := n.approach(t, greeting).welcome(t).Refusal; r.Reason != reasonLinked {
		t.Errorf("said again, it was refused for %q", r.Reason)
	}
}

func TestTheRunThatTheClusterHasRegisteredTakesTheLinksOver(t *testing.T) {
	n := start(t, identity(5, 50), setting{})
	n.link(t, n.greetingFrom(identity(2, 20)))
	n.SetPeer(2, 21)
	n.link(t, n.greetingFrom(identity(2, 21)))
	if r := n.approach(t, n.greetingFrom(identity(2, 20))).welcome(t).Refusal; r.Reason != reasonFormer {
		t.Errorf("the run that was there before is refused for %q", r.Reason)
	}
	n.stop(t)
	if n.count("up") != 2 || n.count("down") != 2 {
		t.Errorf("told was%s", n.calls())
	}
}

func TestARunThatWasFollowedByAnotherDoesNotComeBack(t *testing.T) {
	n := start(t, identity(5, 50), setting{})
	n.know(&station{self: identity(2, 0), listener: n.listener}) // of whom something is remembered
	for _, run := range []wire.Incarnation{20, 21} {
		s := n.link(t, n.greetingFrom(identity(2, run)))
		s.control.close()
		n.wait(t, "down")
	}
	if r := n.approach(t, n.greetingFrom(identity(2, 20))).welcome(t).Refusal; r.Reason != reasonFormer {
		t.Errorf("it was refused for %q", r.Reason)
	}
}

func TestABrokerThatLostItsLinksUnnoticedGetsNewOnesAtOnce(t *testing.T) {
	for _, id := range []wire.BrokerID{2, 8} {
		t.Run(fmt.Sprintf("broker %d", id), func(t *testing.T) {
			n := start(t, identity(5, 50), setting{cfg: Config{ReadTimeout: time.Hour, WriteTimeout: time.Hour}})
			first := n.greetingFrom(identity(id, 20))
			n.link(t, first)
			second := n.greetingFrom(identity(id, 20))
			second.Lost = first.Nonce
			n.link(t, second)
			if n.count("up") != 2 || n.count("down") != 1 {
				t.Errorf("told was%s", n.calls())
			}
		})
	}
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
