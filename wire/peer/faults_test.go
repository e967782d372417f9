package peer

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// dialFunc dials TCP, and is called before.
type dialFunc func()

func (f dialFunc) Dial(ctx context.Context, address string) (net.Conn, error) {
	f()
	return NetDialer{}.Dial(ctx, address)
}

// cuttable dials TCP and can cut what it has dialled, or lead into nowhere.
type cuttable struct {
	mu    sync.Mutex
	conns []net.Conn
	black map[string]bool // addresses at which nobody answers
}

func (d *cuttable) Dial(ctx context.Context, address string) (net.Conn, error) {
	d.mu.Lock()
	black := d.black[address]
	d.mu.Unlock()
	if black {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c, err := NetDialer{}.Dial(ctx, address)
	if err == nil {
		d.mu.Lock()
		d.conns = append(d.conns, c)
		d.mu.Unlock()
	}
	return c, err
}

// cut breaks every other connection, and with it every pair: its two links are dialled one after
// the other.
func (d *cuttable) cut(first int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := first; i < len(d.conns); i += 2 {
		d.conns[i].Close()
	}
}

func TestLinksThatAreCutAgainAndAgainConvergeAndKeepTheirOrder(t *testing.T) {
	cfg := Config{RedialMin: time.Millisecond, RedialMax: 5 * time.Millisecond}
	faults := [2]*cuttable{{}, {}}
	one := start(t, identity(1, 10), setting{cfg: cfg, dialer: faults[0]})
	two := start(t, identity(2, 20), setting{cfg: cfg, dialer: faults[1]})
	one.know(two)
	two.know(one)
	for round := range 60 {
		// Whoever is linked says so, until it has come through.
		for sent := false; !sent; {
			one.wait(t, "up")
			sent = one.Send(2, 20, false, wire.Envelope{To: "round", Message: &wire.Heartbeat{ID: uint64(round)}}) == nil
		}
		for _, f := range faults {
			f.cut(round % 2)
		}
	}
	// Left alone, one pair stays.
	for _, n := range []*station{one, two} {
		for n.count("up") == n.count("down") {
			n.wait(t, "up")
		}
	}
	one.stop(t)
	two.stop(t)
	last := -1
	for _, e := range two.events {
		if e.call != "deliver" {
			continue
		}
		if id := int(heartbeatID(t, e)); id <= last {
			t.Errorf("heartbeat %d came after %d", id, last)
		} else {
			last = id
		}
	}
	for _, n := range []*station{one, two} {
		if n.count("up") != n.count("down") {
			t.Errorf("broker %d was told%s", n.self.Broker, n.calls())
		}
	}
}

func TestOnlyTheBrokerThatKnowsAnAddressDials(t *testing.T) {
	for _, ids := range [][2]wire.BrokerID{{1, 2}, {2, 1}} {
		knows, silent := start(t, identity(ids[0], 10), setting{}), start(t, identity(ids[1], 20), setting{})
		knows.know(silent)
		silent.wait(t, "up")
		knows.wait(t, "up")
		knows.tell(t, silent, 1)
		silent.tell(t, knows, 2)
		silent.wait(t, "deliver")
		knows.wait(t, "deliver")
	}
}

func TestABrokerIsFoundAtAnyOfItsAddresses(t *testing.T) {
	faults := &cuttable{black: map[string]bool{"nowhere:1": true}}
	one := start(t, identity(1, 10), setting{cfg: Config{DialTimeout: 10 * time.Millisecond}, dialer: faults})
	two := start(t, identity(2, 20), setting{})
	one.SetPeer(2, 0, "nowhere:1", two.address())
	one.wait(t, "up")
}

func TestANewAddressIsTriedAtOnce(t *testing.T) {
	dialled := make(chan struct{}, 10)
	one := start(t, identity(1, 10), setting{
		cfg: Config{RedialMin: time.Hour, RedialMax: time.Hour}, dialer: dialFunc(func() { dialled <- struct{}{} }),
	})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	one.SetPeer(2, 0, closed.Addr().String())
	<-dialled // and refused: the next would be in an hour
	two := start(t, identity(2, 20), setting{})
	one.know(two)
	one.wait(t, "up")
}

func TestAForgottenBrokerIsNotDialledAgain(t *testing.T) {
	dialled := make(chan struct{}, 100)
	one := start(t, identity(1, 10), setting{
		cfg: Config{RedialMin: time.Millisecond, RedialMax: time.Millisecond}, dialer: dialFunc(func() { dialled <- struct{}{} }),
	})
	two := start(t, identity(2, 20), setting{})
	one.know(two)
	one.wait(t, "up")
	one.ForgetPeer(2)
	if down := one.wait(t, "down"); !errors.Is(down.cause, errForgotten) {
		t.Errorf("the cause is %v", down.cause)
	}
	two.wait(t, "down")
	two.know(one) // but it is answered
	one.wait(t, "up")
	one.stop(t)
	if n := len(dialled); n != 2 {
		t.Errorf("%d connections were dialled", n)
	}
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	faults := &cuttable{black: map[string]bool{"nowhere:1": true}}
	n := start(t, identity(5, 50), setting{cfg: Config{HandshakeTimeout: time.Hour, DialTimeout: time.Hour}, dialer: faults})
	n.SetPeer(9, 0, "nowhere:1") // a dial that nobody answers
	linked := n.link(t, n.greetingFrom(identity(2, 20)))
	welcomed := n.approach(t, n.greetingFrom(identity(3, 30))) // a handshake without its last word
	welcomed.welcome(t)
	decided := n.approach(t, n.greetingFrom(identity(8, 80))) // the same, decided here
	decided.welcome(t)
	n.stop(t)
	for _, s := range []*stranger{linked, welcomed, decided} {
		s.control.isClosed(t)
		s.bulk.isClosed(t)
	}
	if err := n.Send(2, 20, false, wire.Envelope{Message: &wire.Watch{}}); !errors.Is(err, ErrDown) {
		t.Errorf("Send after Close: %v", err)
	}
	n.SetPeer(4, 0, n.address()) // too late
	client, server := net.Pipe()
	n.Serve(server)
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("a connection was served after Close")
	}
	if n.count("up") != 1 || n.count("down") != 1 {
		t.Errorf("told was%s", n.calls())
	}
}

// solelyMine says that nobody but the test, which has one hold on each, holds the buffers.
func solelyMine(t *testing.T, buffers []*wire.Buffer) {
	t.Helper()
	for i, b := range buffers {
		b.Release()
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("buffer %d is still held by somebody", i)
				}
			}()
			b.Release()
		}()
	}
}

func TestEveryBufferIsGivenBack(t *testing.T) {
	n := start(t, identity(5, 50), setting{cfg: Config{BulkQueueBytes: 4 << 20, ReadTimeout: time.Hour, WriteTimeout: time.Hour}})
	s := n.link(t, n.greetingFrom(identity(2, 20)))
	var buffers []*wire.Buffer
	send := func() error {
		b := wire.NewBuffer(64 << 10)
		buffers = append(buffers, b)
		err := n.Send(2, 20, true, wire.Envelope{To: "replica", Message: &wire.Append{Batches: b.Bytes, Buffer: b.Retain()}})
		if err != nil {
			b.Release() // it is the sender's
		}
		return err
	}
	for range 3 { // which go out
		if err := send(); err != nil {
			t.Fatal(err)
		}
	}
	s.bulk.frames.Limit(1 << 20)
	for range 3 {
		b, err := s.bulk.frames.Next()
		if err != nil {
			t.Fatal(err)
		}
		b.Release()
	}
	var err error
	for err == nil { // which are written in part, or queued, when the link goes down
		err = send()
	}
	s.control.close()
	n.wait(t, "down")
	if err := send(); !errors.Is(err, ErrDown) {
		t.Errorf("Send = %v", err)
	}
	n.stop(t)
	solelyMine(t, buffers)
}

func TestAProcessIsKnownToBeGoneFromWhereItWasReached(t *testing.T) {
	faults := &cuttable{black: map[string]bool{"nowhere:1": true}}
	one := start(t, identity(1, 10), setting{cfg: Config{DialTimeout: 50 * time.Millisecond}, dialer: faults})
	two := start(t, identity(2, 20), setting{})
	one.SetPeer(2, 0, "nowhere:1", two.address())
	one.wait(t, "up")
	two.stop(t)
	if gone := one.wait(t, "refused"); gone.incarnation != 20 {
		t.Errorf("Refused was told of %d@%d", gone.broker, gone.incarnation)
	}
}

func TestAProcessThatHasDialledIsGoneWhenItIsAtNoneOfItsAddresses(t *testing.T) {
	one, three := start(t, identity(1, 10), setting{}), start(t, identity(3, 30), setting{})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close()
	two := start(t, identity(2, 20), setting{listener: closed})
	two.know(one)
	one.wait(t, "up")
	one.SetPeer(2, 0, three.address(), two.address()) // once it was where broker 3 is now
	two.stop(t)
	if gone := one.wait(t, "refused"); gone.incarnation != 20 {
		t.Errorf("Refused was told of %d@%d", gone.broker, gone.incarnation)
	}
}

func TestABrokerThatDoesNotAnswerIsNotKnownToBeGone(t *testing.T) {
	for _, c := range []struct {
		attempts []error
		gone     bool
	}{
		{[]error{syscall.ECONNREFUSED, syscall.ECONNREFUSED}, true},
		{[]error{context.DeadlineExceeded, syscall.ECONNREFUSED, syscall.ECONNREFUSED}, true},
		{[]error{context.DeadlineExceeded, context.DeadlineExceeded, context.DeadlineExceeded}, false},
		{[]error{syscall.ECONNREFUSED, context.DeadlineExceeded, syscall.ECONNREFUSED}, false},
		{[]error{refuse(reasonCluster, "no"), refuse(reasonCluster, "no")}, false},
	} {
		cfg := DefaultConfig()
		for _, missed := range []bool{true, false} {
			r := redials{cfg: &cfg, pause: cfg.RedialMin}
			for i, err := range c.attempts {
				wait, gone := r.afterFailure(err, missed)
				if last := i+1 == len(c.attempts); gone != (c.gone && last && missed) {
					t.Errorf("after %v, missed %v: gone is %v", c.attempts[:i+1], missed, gone)
				}
				if wait < cfg.RedialMin/2 || wait > cfg.RedialMax {
					t.Errorf("after %v the next attempt is in %v", c.attempts[:i+1], wait)
				}
			}
		}
	}
}

func TestRedialsBackOffUnlessAPairHasStood(t *testing.T) {
	cfg := DefaultConfig()
	r := redials{cfg: &cfg, pause: cfg.RedialMin}
	for range 10 {
		if wait := r.afterPair(time.Millisecond); wait == 0 {
			t.Fatal("a pair that broke at once is dialled again at once")
		}
	}
	if wait := r.afterPair(time.Millisecond); wait < cfg.RedialMax/2 {
		t.Errorf("after ten the pause is %v", wait)
	}
	if wait := r.afterPair(cfg.RedialMax); wait != 0 {
		t.Errorf("a pair that stood is dialled again after %v", wait)
	}
}
