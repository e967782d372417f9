package metadata

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/troupe-mq/troupe/wire"
)

// watch is a cluster whose controller watches its brokers. Time passes by hand.
type watch struct {
	*cluster
	live *Liveness
	now  time.Time
}

func newWatch(t testing.TB, brokers int) *watch {
	w := &watch{cluster: newCluster(t, brokers), now: time.Unix(1_700_000_000, 0)}
	w.live = NewLiveness(w.now)
	w.live.Begin(w.img, w.now)
	return w
}

// healthy is the heartbeat of a broker that has nothing to complain about.
func (w *watch) healthy(id wire.BrokerID) *wire.Heartbeat {
	b, _ := w.img.Registration(id)
	return &wire.Heartbeat{Sender: id, ID: 1, Incarnation: b.Incarnation, Applied: w.img.Index(), DiskHealthy: true}
}

// heartbeat takes a heartbeat, and does what the controller would.
func (w *watch) heartbeat(m *wire.Heartbeat) wire.HeartbeatReply {
	w.t.Helper()
	reply, change := w.live.Heartbeat(m, w.img, w.now)
	if change != nil {
		if err := w.do(*change); err != nil {
			w.t.Fatal(err)
		}
	}
	return reply
}

func (w *watch) hint(h wire.Hint) {
	b, _ := w.img.Registration(h.Broker)
	if h.Incarnation == 0 {
		h.Incarnation = b.Incarnation
	}
	w.live.Hint(&h)
}

// tick does what a tick proposes, and returns who is fenced then.
func (w *watch) tick() (fenced []wire.BrokerID) {
	w.t.Helper()
	for _, cmd := range w.live.Tick(w.img, w.now) {
		if err := w.do(cmd); err != nil {
			w.t.Fatal(err)
		}
	}
	return w.fenced()
}

func (w *watch) fenced() (fenced []wire.BrokerID) {
	for _, b := range w.img.Brokers() {
		if b.Fenced {
			fenced = append(fenced, b.ID)
		}
	}
	return fenced
}

// pass lets time go by in ticks, with heartbeats of some brokers.
func (w *watch) pass(d time.Duration, alive ...wire.BrokerID) (fenced []wire.BrokerID) {
	w.t.Helper()
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(min(HeartbeatInterval, end.Sub(w.now)))
		for _, id := range alive {
			w.heartbeat(w.healthy(id))
		}
		fenced = w.tick()
	}
	return fenced
}

func expectFenced(t *testing.T, got []wire.BrokerID, want ...wire.BrokerID) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("fenced are %v, want %v", got, want)
	}
}

func TestABrokerThatIsSilentForASessionIsFenced(t *testing.T) {
	w := newWatch(t, 3)
	expectFenced(t, w.pass(SessionTimeout-time.Millisecond, 1, 2))
	expectFenced(t, w.pass(time.Millisecond, 1, 2), 3)
	expectFenced(t, w.pass(10*SessionTimeout, 1, 2), 3)
}

func TestBrokersWhoseSessionsEndTogetherAreFencedInOneEntry(t *testing.T) {
	w := newWatch(t, 4)
	id := w.assigned()
	w.pass(SessionTimeout-time.Millisecond, 3, 4)
	entries := len(w.log)
	expectFenced(t, w.pass(time.Millisecond, 3, 4), 1, 2)
	if len(w.log) != entries+1 {
		t.Errorf("%d entries", len(w.log)-entries)
	}
	w.expect(id, 0, want{3, [2]int32{1, 1}, ids{3}, nil})
}

func TestAProcessThatIsGoneIsFencedAtOnce(t *testing.T) {
	w := newWatch(t, 3)
	w.heartbeat(w.healthy(2))
	w.hint(wire.Hint{Broker: 2, Refused: true})
	expectFenced(t, w.tick(), 2)
}

func TestGossipIsBelievedOnlyWhenTheHeartbeatIsOverdue(t *testing.T) {
	w := newWatch(t, 3)
	w.heartbeat(w.healthy(2))
	w.hint(wire.Hint{Broker: 2, Failed: true})
	expectFenced(t, w.pass(overdue, 1, 3))
	expectFenced(t, w.pass(time.Millisecond, 1, 3), 2)
}

func TestAHintAboutAnotherIncarnationOrBrokerSaysNothing(t *testing.T) {
	w := newWatch(t, 3)
	w.hint(wire.Hint{Broker: 2, Incarnation: 77, Refused: true, Failed: true})
	w.live.Hint(&wire.Hint{Broker: 9, Incarnation: 1, Refused: true})
	expectFenced(t, w.pass(time.Second, 1, 3))
	w.hint(wire.Hint{Broker: 2, Refused: true})
	w.do(registration(2, 2)) // it was the process before
	expectFenced(t, w.tick())
}

func TestAHeartbeatDisprovesAHint(t *testing.T) {
	w := newWatch(t, 3)
	w.hint(wire.Hint{Broker: 2, Refused: true})
	w.heartbeat(w.healthy(2))
	expectFenced(t, w.tick())
	// Whoever says so again cannot reach it, but it is there.
	w.hint(wire.Hint{Broker: 2, Refused: true})
	expectFenced(t, w.pass(overdue, 1, 3))
	expectFenced(t, w.pass(time.Millisecond, 1, 3), 2)
}

func TestHintsAboutManyBrokersAreLeftToTheLeases(t *testing.T) {
	w := newWatch(t, 4)
	for id := range wire.BrokerID(3) {
		w.hint(wire.Hint{Broker: id + 1, Refused: true})
	}
	expectFenced(t, w.tick()) // two at most, in five seconds
	expectFenced(t, w.pass(SessionTimeout, 4), 1, 2, 3)

	w = newWatch(t, 10)
	all := ids{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for id := range wire.BrokerID(3) {
		w.hint(wire.Hint{Broker: id + 1, Refused: true})
	}
	expectFenced(t, w.tick(), 1, 2, 3) // three in ten may go
	w.hint(wire.Hint{Broker: 4, Refused: true})
	expectFenced(t, w.tick(), 1, 2, 3)
	expectFenced(t, w.pass(time.Second, all[4:]...), 1, 2, 3)

	w = newWatch(t, 10)
	for _, id := range all[:3] {
		w.hint(wire.Hint{Broker: id, Refused: true})
	}
	w.tick()
	w.pass(hintWindow, all[3:]...)
	w.hint(wire.Hint{Broker: 4, Refused: true})
	expectFenced(t, w.tick(), 1, 2, 3, 4)
}

func TestABrokerIsUnfencedByAHeartbeatThatKnowsItsRegistration(t *testing.T) {
	w := newWatch(t, 3)
	again := registration(2, 2)
	again.Fenced = true
	w.do(again)
	registered := w.img.Index()
	for name, change := range map[string]func(*wire.Heartbeat){
		"the process before":          func(m *wire.Heartbeat) { m.Incarnation = 1 },
		"one that lags":               func(m *wire.Heartbeat) { m.Applied = registered - 1 },
		"one whose disk hangs":        func(m *wire.Heartbeat) { m.DiskHealthy = false },
		"one that is about to stop":   func(m *wire.Heartbeat) { m.ShuttingDown = true },
		"a broker that is not there":  func(m *wire.Heartbeat) { m.Sender = 9 },
		"a broker that was not asked": func(m *wire.Heartbeat) { m.Sender = 1 },
	} {
		w := &watch{cluster: &cluster{t: t, img: w.img, env: w.env}, live: NewLiveness(w.now), now: w.now}
		m := w.healthy(2)
		change(m)
		w.heartbeat(m)
		if got := w.fenced(); !slices.Equal(got, ids{2}) {
			t.Errorf("after the heartbeat of %s fenced are %v", name, got)
		}
	}
	m := w.healthy(2)
	m.Applied = registered
	if reply := w.heartbeat(m); reply.Err != nil || !reply.Fenced || reply.ID != m.ID {
		t.Errorf("it learns of it with the next one: %+v", reply)
	}
	expectFenced(t, w.fenced())
	if reply := w.heartbeat(m); reply.Err != nil || reply.Fenced {
		t.Errorf("%+v", reply)
	}
}

func TestAHeartbeatOfAnotherIncarnationIsRefused(t *testing.T) {
	w := newWatch(t, 2)
	m := w.healthy(2)
	m.Incarnation = 7
	if reply := w.heartbeat(m); wire.Code(reply.Err) != wire.StaleBrokerEpoch {
		t.Errorf("%+v", reply)
	}
}

// It answers, but what it acknowledges would not be on its disk.
func TestABrokerWhoseDiskHangsLosesItsLease(t *testing.T) {
	w := newWatch(t, 2)
	m := w.healthy(2)
	m.DiskHealthy = false
	for range SessionTimeout / HeartbeatInterval {
		expectFenced(t, w.fenced())
		w.pass(HeartbeatInterval, 1)
		if reply := w.heartbeat(m); wire.Code(reply.Err) != wire.KafkaStorageError {
			t.Fatalf("%+v", reply)
		}
	}
	expectFenced(t, w.fenced(), 2)
}

func TestANewControllerGivesEverybodyTheirTime(t *testing.T) {
	w := newWatch(t, 3)
	w.pass(SessionTimeout-time.Millisecond, 1)
	w.live.Begin(w.img, w.now)
	expectFenced(t, w.pass(SessionTimeout-time.Millisecond, 1))
	expectFenced(t, w.pass(time.Millisecond, 1), 2, 3)
}

func TestAControllerThatStoodStillFencesNobodyForIt(t *testing.T) {
	w := newWatch(t, 3)
	w.pass(time.Second, 1, 2, 3)
	w.now = w.now.Add(time.Minute)
	expectFenced(t, w.tick())
	expectFenced(t, w.pass(SessionTimeout-2*HeartbeatInterval, 1, 2))
	expectFenced(t, w.pass(2*HeartbeatInterval, 1, 2), 3)
}

func TestABrokerThatStopsIsToldWhenItMay(t *testing.T) {
	w := newWatch(t, 3)
	id := w.assigned()
	alone := w.mustCreate("alone", 9, 1) // some of it on broker 1, and nobody else can lead that
	going := w.healthy(1)
	going.ShuttingDown = true
	if err := w.join(id, 1); err != nil { // the others lag
		t.Fatal(err)
	}
	if reply := w.heartbeat(going); reply.MayStop {
		t.Errorf("before it was asked: %+v", reply)
	}
	if reply := w.heartbeat(going); reply.MayStop || w.partition(id, 0).Leader != 1 {
		t.Errorf("while others could still take over: %+v", reply)
	}
	if err := w.join(id, 1, 3); err != nil {
		t.Fatal(err)
	}
	if p := w.partition(id, 0); p.Leader != 3 || !slices.Equal(p.ISR, ids{3}) {
		t.Errorf("%+v", p)
	}
	if reply := w.heartbeat(going); !reply.MayStop || reply.Err != nil {
		t.Errorf("%+v", reply)
	}
	leads := 0
	for n := range int32(9) {
		if w.partition(alone, n).Leader == 1 {
			leads++
		}
	}
	if leads == 0 {
		t.Error("what nobody else has is not led until the end")
	}
	if b, _ := w.img.Registration(1); !b.ShuttingDown || b.Fenced {
		t.Errorf("%+v", b)
	}
}

func TestABrokerWhoseDiskHasRoomAgainTakesPartAgain(t *testing.T) {
	w := newWatch(t, 3)
	id := w.assigned()
	full := w.healthy(1)
	full.ShuttingDown = true
	w.heartbeat(full)
	if p := w.partition(id, 0); p.Leader == 1 || slices.Contains(p.ISR, 1) {
		t.Errorf("while it is full: %+v", p)
	}
	w.heartbeat(w.healthy(1))
	if b, _ := w.img.Registration(1); b.ShuttingDown || b.Fenced {
		t.Errorf("%+v", b)
	}
	if err := w.join(id, 1, 2, 3); err != nil {
		t.Errorf("it may not join: %v", err)
	}
}

func TestItIsKnownHowLongABrokerIsFenced(t *testing.T) {
	w := newWatch(t, 3)
	w.pass(SessionTimeout, 1, 2)
	w.tick() // sees it
	w.pass(10*time.Second, 1, 2)
	if d := w.live.FencedFor(3, w.now); d != 10*time.Second {
		t.Errorf("%s", d)
	}
	if d := w.live.FencedFor(2, w.now); d != 0 {
		t.Errorf("%s", d)
	}
	w.heartbeat(w.healthy(3))
	w.tick()
	if d := w.live.FencedFor(3, w.now); d != 0 {
		t.Errorf("after it came back: %s", d)
	}
}

func TestALeaseRunsFromWhenTheHeartbeatWasSent(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	var l Lease
	if l.Held(start) {
		t.Error("held before any answer")
	}
	l.Sent(1, at(0))
	l.Sent(2, at(250))
	l.Answered(&wire.HeartbeatReply{ID: 1})
	if !l.Held(at(2399)) || l.Held(at(2400)) {
		t.Errorf("until %s", l.Until())
	}
	l.Answered(&wire.HeartbeatReply{ID: 2, Err: wire.NotController})
	if !l.Held(at(2399)) || l.Held(at(2400)) {
		t.Errorf("after an error until %s", l.Until())
	}
	l.Sent(3, at(500))
	l.Sent(4, at(750))
	l.Answered(&wire.HeartbeatReply{ID: 4})
	l.Answered(&wire.HeartbeatReply{ID: 3}) // late
	l.Answered(&wire.HeartbeatReply{ID: 99})
	if !l.Held(at(3149)) || l.Held(at(3150)) {
		t.Errorf("until %s", l.Until())
	}
	l.Sent(5, at(1000))
	l.Answered(&wire.HeartbeatReply{ID: 5, Fenced: true})
	if l.Held(at(1000)) {
		t.Error("held by a broker that is fenced")
	}
}

// Whatever heartbeats and answers are lost or late: while a broker holds its lease, the session has
// not ended for the controller.
func TestALeaseEndsBeforeTheSession(t *testing.T) {
	const step = 50 * time.Millisecond
	rapid.Check(t, func(rt *rapid.T) {
		w := newWatch(t, 2)
		var lease Lease
		arriving, answering := map[int][]*wire.Heartbeat{}, map[int][]wire.HeartbeatReply{}
		steps := rapid.SampledFrom([]int{0, 0, 1, 5, 20, 70})
		lossAt := rapid.IntRange(1, 50).Draw(rt, "the link is cut at")
		for i := range 150 {
			w.now = w.now.Add(step)
			if i%3 == 0 {
				m := w.healthy(2)
				m.ID = uint64(i + 1)
				lease.Sent(m.ID, w.now)
				if at := i + steps.Draw(rt, "way there"); at < lossAt {
					arriving[at] = append(arriving[at], m)
				}
			}
			for _, m := range arriving[i] {
				at := i + steps.Draw(rt, "way back")
				answering[at] = append(answering[at], w.heartbeat(m))
			}
			for _, reply := range answering[i] {
				lease.Answered(&reply)
			}
			w.heartbeat(w.healthy(1))
			before := w.fenced()
			if got := w.tick(); len(got) > len(before) && lease.Held(w.now) {
				rt.Fatalf("%v is fenced %s before its lease ends", got, lease.Until().Sub(w.now))
			}
		}
		expectFenced(t, w.fenced(), 2)
	})
}
