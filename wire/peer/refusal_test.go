package peer

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

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
			itself := n.link(t, n.greetingFrom(identity(id, 20)))
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
			itself.control.frames.Limit(1 << 20)
			if b, err := itself.control.frames.Next(); err != nil || len(b.Bytes) == 0 {
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

// answerer is a listener that answers a pair of greetings as a test likes, and hears the last word.
func answerer(t *testing.T, answer func(greeting wire.LinkGreeting, bulk bool) wire.LinkWelcome) (address string, confirms chan wire.LinkConfirm) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	confirms = make(chan wire.LinkConfirm, 2)
	done := make(chan struct{})
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	go func() {
		defer close(done)
		var pair []*conn
		var greeting wire.LinkGreeting
		for range 2 {
			raw, err := listener.Accept()
			if err != nil {
				return
			}
			defer raw.Close()
			c := newConn(raw, raw, time.Now)
			if _, err := io.ReadFull(raw, make([]byte, len(Preface))); err != nil || c.hear(&greeting) != nil {
				return
			}
			pair = append(pair, c)
		}
		for i, c := range pair {
			welcome := answer(greeting, i == 1)
			if c.say(&welcome) != nil {
				return
			}
		}
		for _, c := range pair {
			var confirm wire.LinkConfirm
			if c.hear(&confirm) == nil {
				confirms <- confirm
			}
		}
	}()
	return listener.Addr().String(), confirms
}

func TestWhoAnswersInsteadOfTheBrokerIsRefused(t *testing.T) {
	for reason, change := range map[string]func(*wire.LinkWelcome, bool){
		reasonCluster:   func(m *wire.LinkWelcome, _ bool) { m.From.ClusterID = "foreign" },
		reasonBroker:    func(m *wire.LinkWelcome, _ bool) { m.From.Broker = 3 },
		reasonRecovery:  func(m *wire.LinkWelcome, _ bool) { m.From.RecoveryEpoch = 0 },
		reasonProtocol:  func(m *wire.LinkWelcome, _ bool) { m.Protocol = 2 },
		reasonSelf:      func(m *wire.LinkWelcome, _ bool) { m.From.Broker = 1 },
		reasonMalformed: func(m *wire.LinkWelcome, bulk bool) { m.From.Incarnation += map[bool]wire.Incarnation{true: 1}[bulk] },
	} {
		t.Run(reason, func(t *testing.T) {
			n := start(t, identity(1, 10), setting{})
			address, confirms := answerer(t, func(_ wire.LinkGreeting, bulk bool) wire.LinkWelcome {
				m := wire.LinkWelcome{Protocol: 1, From: wire.LinkEnd(identity(2, 20))}
				change(&m, bulk)
				return m
			})
			n.SetPeer(2, 0, address)
			for range 2 {
				select {
				case m := <-confirms:
					if m.Refusal.Reason != reason {
						t.Errorf("it was refused for %q: %s", m.Refusal.Reason, m.Refusal.Sentence)
					}
				case <-time.After(patience):
					t.Fatal("there was no last word")
				}
			}
			n.stop(t)
			if n.count("up") != 0 {
				t.Error("there was a link")
			}
		})
	}
}

func TestAReasonOfAnotherVersionIsNoNewLabel(t *testing.T) {
	n := start(t, identity(1, 10), setting{})
	address, _ := answerer(t, func(wire.LinkGreeting, bool) wire.LinkWelcome {
		return wire.LinkWelcome{Refusal: wire.LinkRefusal{Reason: "made up", Sentence: "who knows"}}
	})
	err := n.dialPair(t.Context(), 2, address, 0)
	if r := asRefusal(err); r == nil || r.reason != reasonOther || !r.theirs || !strings.Contains(err.Error(), "who knows") {
		t.Errorf("it was refused with %v", err)
	}
}
