package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// event is a call that a Handler was told.
type event struct {
	call        string // up, down, deliver, room or refused
	broker      wire.BrokerID
	incarnation wire.Incarnation
	envelope    wire.Envelope
	cause       error
}

// recorder is a Handler that keeps what it is told, in order. A broker's own calls never wait.
type recorder struct {
	mu     sync.Mutex
	events []event
	more   chan struct{} // of capacity 1
	next   int           // the first that wait has not looked at
}

func newRecorder() *recorder { return &recorder{more: make(chan struct{}, 1)} }

func (r *recorder) add(e event) {
	r.mu.Lock()
	r.events = append(r.events, e)
	r.mu.Unlock()
	select {
	case r.more <- struct{}{}:
	default:
	}
}

func (r *recorder) LinkUp(p Identity) {
	r.add(event{call: "up", broker: p.Broker, incarnation: p.Incarnation})
}

func (r *recorder) LinkDown(p Identity, cause error) {
	r.add(event{call: "down", broker: p.Broker, incarnation: p.Incarnation, cause: cause})
}

func (r *recorder) Deliver(from Identity, e wire.Envelope) {
	r.add(event{call: "deliver", broker: from.Broker, incarnation: from.Incarnation, envelope: e})
}

func (r *recorder) LinkRoom(p Identity) {
	r.add(event{call: "room", broker: p.Broker, incarnation: p.Incarnation})
}

func (r *recorder) Refused(b wire.BrokerID, incarnation wire.Incarnation) {
	r.add(event{call: "refused", broker: b, incarnation: incarnation})
}

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// wait returns the next event of the kind, passing over others, each of which is looked at once.
func (r *recorder) wait(t *testing.T, call string) event {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		r.mu.Lock()
		for r.next < len(r.events) {
			e := r.events[r.next]
			r.next++
			if e.call == call {
				r.mu.Unlock()
				return e
			}
		}
		r.mu.Unlock()
		select {
		case <-r.more:
		case <-timeout.C:
			t.Fatalf("no %q came; there were %s", call, r.calls())
		}
	}
}

// calls is all that was told, for a message.
func (r *recorder) calls() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := ""
	for _, e := range r.events {
		s += fmt.Sprintf(" %s(%d@%d %v)", e.call, e.broker, e.incarnation, e.cause)
	}
	return s
}

func (r *recorder) count(call string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, e := range r.events {
		if e.call == call {
			n++
		}
	}
	return n
}

// inOrder checks that up, deliveries and down of each broker come in the order that is promised.
func (r *recorder) inOrder(t testing.TB) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	linked := make(map[wire.BrokerID]wire.Incarnation)
	for i, e := range r.events {
		switch run := linked[e.broker]; {
		case e.call == "up" && run == 0:
			linked[e.broker] = e.incarnation
		case e.call == "down" && run == e.incarnation:
			delete(linked, e.broker)
		case e.call == "deliver" && run == e.incarnation, e.call == "room" && run == e.incarnation:
		case e.call == "refused" && run != e.incarnation:
		default:
			t.Errorf("event %d, %s of %d@%d, while %d is linked", i, e.call, e.broker, e.incarnation, run)
		}
	}
}

// station is one broker's links, their listener and what they told.
type station struct {
	*Links
	*recorder
	self     Identity
	listener net.Listener
	serving  sync.WaitGroup
}

var discard = slog.New(slog.DiscardHandler)

type setting struct {
	cfg      Config
	dialer   Dialer
	listener net.Listener
	metrics  *Metrics
	log      *slog.Logger
}

func identity(id wire.BrokerID, run wire.Incarnation) Identity {
	return Identity{ClusterID: "cluster", Broker: id, Directory: fmt.Sprintf("dir-%d", id), Incarnation: run, RecoveryEpoch: 1}
}

// start starts a broker's links. They are closed when the test ends, at the latest.
func start(t testing.TB, self Identity, s setting) *station {
	t.Helper()
	if s.dialer == nil {
		s.dialer = NetDialer{}
	}
	// A machine that is busy with other things must not look like a broker that hangs.
	for _, timeout := range []*time.Duration{&s.cfg.ReadTimeout, &s.cfg.WriteTimeout} {
		if *timeout == 0 {
			*timeout = patience
		}
	}
	if s.log == nil {
		s.log = discard
	}
	if s.listener == nil {
		var err error
		if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	n := &station{
		Links: New(self, s.cfg, s.dialer, s.log, s.metrics, time.Now), recorder: newRecorder(),
		self: self, listener: s.listener,
	}
	n.Attach(n.recorder)
	n.serving.Go(n.accept)
	t.Cleanup(func() { n.stop(t) })
	return n
}

// accept does what a broker's cluster port does: it reads the preface.
func (n *station) accept() {
	for {
		c, err := n.listener.Accept()
		if err != nil {
			return
		}
		n.serving.Go(func() {
			var preface [4]byte
			if _, err := io.ReadFull(c, preface[:]); err != nil || preface != Preface {
				c.Close()
				return
			}
			n.Serve(c)
		})
	}
}

// stop ends it as a process ends: the listener is gone and the connections break.
func (n *station) stop(t testing.TB) {
	t.Helper()
	n.listener.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Errorf("Close = %v", err)
	}
	n.serving.Wait()
	n.inOrder(t)
}

func (n *station) address() string { return n.listener.Addr().String() }

// know tells a broker where another is.
func (n *station) know(other *station) { n.SetPeer(other.self.Broker, 0, other.address()) }

// tell sends a small message on the link for control.
func (n *station) tell(t *testing.T, other *station, id uint64) {
	t.Helper()
	e := wire.Envelope{To: "controller", From: "membership", Message: &wire.Heartbeat{ID: id}}
	if err := n.Send(other.self.Broker, other.self.Incarnation, false, e); err != nil {
		t.Fatalf("Send = %v", err)
	}
}

func heartbeatID(t *testing.T, e event) uint64 {
	t.Helper()
	m, ok := e.envelope.Message.(*wire.Heartbeat)
	if !ok || m.Sender != e.broker {
		t.Fatalf("delivered was %+v from %d", e.envelope.Message, e.broker)
	}
	return m.ID
}

func TestTwoBrokersExchangeMessagesInOrder(t *testing.T) {
	one, two := start(t, identity(1, 10), setting{}), start(t, identity(2, 20), setting{})
	one.know(two)
	one.wait(t, "up")
	two.wait(t, "up")
	const messages = 500
	for i := range messages {
		one.tell(t, two, uint64(i))
		two.tell(t, one, uint64(i))
		for _, n := range []*station{one, two} {
			buffer := wire.NewBuffer(1000 * (i % 7))
			for j := range buffer.Bytes {
				buffer.Bytes[j] = byte(i + j)
			}
			other := map[*station]*station{one: two, two: one}[n]
			e := wire.Envelope{To: "replica", Message: &wire.Append{PrevOffset: wire.Offset(i), Batches: buffer.Bytes, Buffer: buffer}}
			if err := n.Send(other.self.Broker, 0, true, e); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, n := range []*station{one, two} {
		heartbeats, appends := 0, 0
		for heartbeats < messages || appends < messages {
			e := n.wait(t, "deliver")
			m, isAppend := e.envelope.Message.(*wire.Append)
			if !isAppend {
				if id := heartbeatID(t, e); id != uint64(heartbeats) || e.envelope.To != "controller" || e.envelope.From != "membership" {
					t.Fatalf("heartbeat %d came as number %d in %+v", id, heartbeats, e.envelope)
				}
				heartbeats++
				continue
			}
			if m.PrevOffset != wire.Offset(appends) || len(m.Batches) != 1000*(appends%7) {
				t.Fatalf("append %d has offset %d and %d bytes", appends, m.PrevOffset, len(m.Batches))
			}
			for j, b := range m.Batches {
				if b != byte(appends+j) {
					t.Fatalf("append %d: byte %d is %d", appends, j, b)
				}
			}
			m.Buffer.Release()
			appends++
		}
	}
}

func TestBrokersThatDialEachOtherAtOnceHaveOnePair(t *testing.T) {
	one, two := start(t, identity(1, 10), setting{}), start(t, identity(2, 20), setting{})
	var both sync.WaitGroup
	both.Go(func() { one.know(two) })
	both.Go(func() { two.know(one) })
	both.Wait()
	one.wait(t, "up")
	two.wait(t, "up")
	// What is sent on the one pair arrives, and no other pair comes in its place.
	one.tell(t, two, 1)
	two.tell(t, one, 2)
	if id := heartbeatID(t, two.wait(t, "deliver")); id != 1 {
		t.Errorf("delivered was heartbeat %d", id)
	}
	if id := heartbeatID(t, one.wait(t, "deliver")); id != 2 {
		t.Errorf("delivered was heartbeat %d", id)
	}
	for _, n := range []*station{one, two} {
		if n.count("up") != 1 || n.count("down") != 0 {
			t.Errorf("broker %d was told%s", n.self.Broker, n.calls())
		}
	}
}

func TestARestartedBrokerIsLinkedAfterItsEarlierLifeHasEnded(t *testing.T) {
	one, two := start(t, identity(1, 10), setting{}), start(t, identity(2, 20), setting{})
	one.know(two)
	two.know(one)
	one.wait(t, "up")
	two.wait(t, "up")
	two.stop(t)
	if down := one.wait(t, "down"); down.incarnation != 20 || down.cause == nil {
		t.Errorf("LinkDown of %d: %v", down.incarnation, down.cause)
	}
	if err := one.Send(2, 20, false, wire.Envelope{Message: &wire.Watch{}}); !errors.Is(err, ErrDown) {
		t.Errorf("Send to a run that is gone: %v", err)
	}
	again := start(t, identity(2, 21), setting{})
	again.know(one)
	if up := one.wait(t, "up"); up.incarnation != 21 {
		t.Errorf("LinkUp of %d", up.incarnation)
	}
	if err := one.Send(2, 20, false, wire.Envelope{Message: &wire.Watch{}}); !errors.Is(err, ErrDown) {
		t.Errorf("Send to the earlier run: %v", err)
	}
	again.wait(t, "up")
	one.tell(t, again, 5)
	if id := heartbeatID(t, again.wait(t, "deliver")); id != 5 {
		t.Errorf("delivered was heartbeat %d", id)
	}
}

func TestRefusedTellsOnceThatAProcessIsGone(t *testing.T) {
	one, two := start(t, identity(1, 10), setting{}), start(t, identity(2, 20), setting{})
	one.know(two)
	one.wait(t, "up")
	two.stop(t)
	one.wait(t, "down")
	if gone := one.wait(t, "refused"); gone.broker != 2 || gone.incarnation != 20 {
		t.Errorf("Refused was told of %d@%d", gone.broker, gone.incarnation)
	}
	listener, err := net.Listen("tcp", two.address())
	if err != nil {
		t.Skipf("the port was taken by somebody else: %v", err)
	}
	start(t, identity(2, 21), setting{listener: listener})
	one.wait(t, "up")
	if n := one.count("refused"); n != 1 {
		t.Errorf("it was told %d times", n)
	}
}
