package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// KIP-848: a member joins with epoch 0 and is told its epoch, its assignment and how often to say that it is there.
func TestTheFirstMemberHasEverythingAtOnce(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 3})
	m := b.client("m", "t")
	q := m.request(0)
	q.OwnedTold, q.Subscribed, q.Topics, q.RebalanceTimeout = true, true, []string{"t"}, time.Minute
	reply := m.send(q)
	if m.err != nil || reply.MemberEpoch != 1 || !reply.Assigned || reply.HeartbeatInterval != 5*time.Second {
		t.Fatalf("told %+v", reply)
	}
	m.has(0, 1, 2)
	if got := b.g.state(); got != wire.GroupStable {
		t.Errorf("the group is %s", got)
	}
	m.adopt()
	if reply := m.beat(); reply.Assigned || len(b.last.Records) > 0 {
		t.Errorf("nothing happened, and it is told %+v, with %d records", reply, len(b.last.Records))
	}
}

// Somebody else may have had the answer: the same member, by a connection that broke.
func TestAnAssignmentIsToldUntilTheMemberSaysThatItHasIt(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 3})
	m := b.client("m", "t").join()
	for range 2 {
		if reply := m.send(m.request(m.epoch)); !reply.Assigned {
			t.Fatal("it has not said what it has, and is told nothing")
		}
	}
	m.adopt()
	m.beat()
	if reply := m.send(m.request(m.epoch)); reply.Assigned {
		t.Fatalf("it has all, and is told %v", reply.Assignment)
	}
}

// KIP-848: a partition goes to its new owner only when the old one no longer tells that it owns it; the rest is consumed
// all the while.
func TestAPartitionGoesOnWhenItWasGivenUp(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 4})
	old := b.client("old", "t").join()
	old.adopt()
	young := b.client("young", "t").join()
	young.has() // nothing is free
	if old.beat(); old.epoch != 1 {
		t.Fatalf("it has not given anything up, and is at epoch %d", old.epoch)
	}
	old.has(0, 1) // the rest it is to give up
	for range 3 { // it takes its time, and consumes what it keeps
		old.beat()
		if err := old.commit(); err != nil {
			t.Fatalf("commit while revoking: %v", err)
		}
		young.beat()
		young.has()
	}
	if got := b.g.state(); got != wire.GroupReconciling {
		t.Errorf("the group is %s", got)
	}
	old.adopt()
	if old.beat(); old.epoch != 2 {
		t.Fatalf("it has given up what it should, and is at epoch %d", old.epoch)
	}
	young.beat()
	young.has(2, 3)
	if got := b.g.state(); got != wire.GroupStable {
		t.Errorf("the group is %s", got)
	}
}

// A member that does not tell what it owns has not said that it gave something up.
func TestSilenceIsNotGivingUp(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	old := b.client("old", "t").join()
	young := b.client("young", "t").join()
	for range 3 {
		old.send(old.request(old.epoch))
		young.beat()
	}
	young.has()
}

func TestAMemberThatIsGoneFreesWhatItHad(t *testing.T) {
	for name, goes := range map[string]func(*consumerBench, *consumerClient, *consumerClient){
		"leaves": func(_ *consumerBench, gone, _ *consumerClient) { gone.leave() },
		"is not heard of": func(b *consumerBench, _, stays *consumerClient) {
			for range 9 {
				b.pass(5 * time.Second)
				stays.beat()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newConsumerBench(t, map[string]int{"t": 4})
			gone, stays := b.client("a", "t").join(), b.client("b", "t").join()
			b.settle(gone, stays)
			goes(b, gone, stays)
			stays.beat()
			stays.has(0, 1, 2, 3)
			gone.beat()
			gone.wants(wire.UnknownMemberID)
			if err := gone.commit(); wire.Code(err) != wire.UnknownMemberID {
				t.Errorf("it is gone, and its commit gets %v", err)
			}
		})
	}
}

// KIP-848: a member that does not give up what it should within its rebalance timeout is fenced, though it is alive.
func TestWhoDoesNotGiveUpInTimeIsFenced(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	old := b.client("old", "t").join()
	old.adopt()
	young := b.client("young", "t").join()
	old.beat() // from here on it has a minute
	for range 11 {
		b.pass(5 * time.Second)
		old.beat()
		young.beat()
		if old.err != nil {
			t.Fatalf("after %v: %v", b.now, old.err)
		}
	}
	b.pass(5 * time.Second)
	old.beat()
	old.wants(wire.UnknownMemberID)
	young.beat()
	young.has(0, 1)
}

// A coordinator that takes over gives the member its whole rebalance timeout once more, and no longer.
func TestTheRebalanceTimeoutOutlivesTheCoordinator(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	old := b.client("old", "t").join()
	old.adopt()
	young := b.client("young", "t").join()
	old.beat()
	b.restart()
	for range 12 {
		if old.beat(); old.err != nil {
			t.Fatal(old.err)
		}
		young.beat()
		b.pass(5 * time.Second)
	}
	old.beat()
	old.wants(wire.UnknownMemberID)
}

// What a member was told with an old epoch it may not know to be over: it is told its assignment with each new one. Here a
// heartbeat of it came twice, and it never heard what came of the second.
func TestANewEpochIsToldWithItsAssignment(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	m := b.client("m", "t").join() // has both, and does not use them yet
	twice := m.request(m.epoch)
	young := b.client("young", "t").join()
	b.ask(twice) // asks it to give 1 up
	m.beat()     // tells that it uses nothing
	m.has(0)
	m.adopt()
	young.beat()
	young.has(1)
}

// What a member has given up stays its own until it gets another epoch. Here it has not: the heartbeat that says so is an old
// one that comes once more, while it is to give up more.
func TestWhatIsGivenUpIsFreeWithTheNextEpochOnly(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 3, "u": 3})
	m := b.client("m", "t", "u").join()
	early := m.request(m.epoch) // of a time when it used u alone
	early.OwnedTold, early.Owned = true, assignment{{Topic: topicID("u"), Partitions: []int32{0, 1, 2}}}
	b.ask(early)
	m.adopt()
	young := b.client("young", "t").join()
	m.beat() // is to give up what young is to have of t
	b.client("third", "u").join()
	b.ask(early) // now it is to give up some of u, too

	got := b.g.consumer.byID["m"]
	if got.state != memberUnrevokedPartitions || got.epoch != m.epoch || !got.revoking.holdsAll(young.target()) {
		t.Fatalf("it is %+v, and young is to have %v", got.standing, young.target())
	}
	young.beat()
	young.has()
	if err := m.commit(); err != nil {
		t.Errorf("it does not know that it has given anything up, and its commit gets %v", err)
	}
}

// What a dead member had is another's at once when its session ends, though heartbeats are 5 s apart: the others are told to come
// just after that.
func TestWhatADeadMemberHadIsSoonTaken(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 30})
	dead := b.client("dead", "t").join()
	others := make([]*consumerClient, 9)
	for i := range others {
		others[i] = b.client(fmt.Sprint("m", i), "t").join()
	}
	b.settle(append(others, dead)...)
	died := b.now
	next := make([]time.Time, len(others))
	for i := range others { // they come at various times
		next[i] = b.now.Add(time.Duration(i) * 500 * time.Millisecond)
	}
	b.folds = false
	coming := map[time.Duration]int{}
	for b.now.Sub(died) < 50*time.Second {
		for i, m := range others {
			if b.now.Before(next[i]) {
				continue
			}
			reply := m.beat()
			m.adopt()
			next[i] = b.now.Add(reply.HeartbeatInterval)
			coming[next[i].Sub(died).Truncate(100*time.Millisecond)]++
		}
		taken := 0
		for _, m := range others {
			taken += m.owned.count()
		}
		if after := b.now.Sub(died); taken < 30 && after > 46*time.Second {
			t.Fatalf("%v after the death %d partitions are nobody's", after, 30-taken)
		}
		b.pass(10 * time.Millisecond)
	}
	for at, n := range coming {
		if n > 5 {
			t.Errorf("%d members come %v after the death", n, at)
		}
	}
}

func TestAMemberThatWaitsComesMoreOften(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	old, young := b.client("old", "t").join(), b.client("young", "t").join()
	old.adopt()
	if got := young.beat().HeartbeatInterval; got != time.Second {
		t.Errorf("it waits, and is to come after %v", got)
	}
	b.settle(old, young)
	if got := young.beat().HeartbeatInterval; got != 5*time.Second {
		t.Errorf("it has all that it is to have, and is to come after %v", got)
	}
}

// The assignment is told on joining, when it changes, and to who tells everything: it may not have heard of it.
func TestWhoTellsEverythingIsToldTheAssignment(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 1})
	m := b.client("m", "t").join()
	q := m.request(m.epoch)
	q.OwnedTold, q.Owned, q.Subscribed, q.Topics, q.RebalanceTimeout = true, nil, true, []string{"t"}, time.Minute
	if reply := m.send(q); !reply.Assigned || len(reply.Assignment) != 1 {
		t.Errorf("told %+v", reply)
	}
}

// Members of version 0 of the request have no id of their own.
func TestAMemberWithoutAnIDIsGivenOne(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 1})
	m := b.client("", "t").join()
	if m.err != nil || m.id == "" {
		t.Errorf("it is %q: %v", m.id, m.err)
	}
	m.beat()
	if m.err != nil {
		t.Error(m.err)
	}
}

func TestAnotherCoordinatorGoesOnWhereTheFirstEnded(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 4})
	old, young := b.client("old", "t").join(), b.client("young", "t")
	old.adopt()
	young.join()
	old.beat()
	b.restart()
	if b.last.Deadline.IsZero() {
		t.Fatal("nobody is waited for")
	}
	if err := old.commit(); err != nil {
		t.Errorf("the coordinator moved, and a commit gets %v", err)
	}
	young.beat()
	young.has()
	b.pass(44 * time.Second) // sessions begin anew
	old.beat()
	old.adopt()
	b.settle(old, young)
	b.restart()
	b.pass(45 * time.Second)
	if got := b.g.state(); got != wire.GroupEmpty {
		t.Errorf("nobody was heard of, and the group is %s", got)
	}
}

func TestDescribeTellsWhoHasWhat(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	old, young := b.client("old", "t").join(), b.client("young", "t")
	old.adopt()
	young.join()
	d := b.ask(&wire.DescribeGroup{Group: "g"}).(*wire.GroupDescription)
	if d.Type != wire.ConsumerGroup || d.State != wire.GroupReconciling || d.Epoch != 2 || d.AssignmentEpoch != 2 || len(d.Members) != 2 {
		t.Fatalf("%+v", d)
	}
	if m := d.Members[0]; m.Member != "old" || m.Epoch != 1 || len(m.Assigned[0].Partitions) != 2 || len(m.Target[0].Partitions) != 1 ||
		m.Target[0].Topic != "t" || m.SubscribedTopics[0] != "t" || m.Classic {
		t.Errorf("%+v", m)
	}
	if m := d.Members[1]; m.Member != "young" || m.Epoch != 2 || len(m.Assigned) > 0 || len(m.Target[0].Partitions) != 1 {
		t.Errorf("%+v", m)
	}
	young.leave()
	if got := b.g.Listed().State; got != wire.GroupAssigning {
		t.Errorf("a member left, and the group is %s", got)
	}
}

// A group that is deleted leaves nothing in the log.
func TestADeletedGroupLeavesNothing(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 1})
	m := b.client("m", "t")
	m.pattern = "u.*"
	m.join()
	if reply := b.ask(&wire.DeleteGroup{Group: "g"}); wire.Code(reply.Failure()) != wire.NonEmptyGroup {
		t.Errorf("it has a member, and its deletion gets %v", reply.Failure())
	}
	m.leave()
	if reply := b.ask(&wire.DeleteGroup{Group: "g"}); reply.Failure() != nil || !b.last.Gone {
		t.Errorf("it is empty, and its deletion gets %v", reply.Failure())
	}
	for _, r := range compacted(b.log) {
		if r.Value != nil {
			t.Errorf("left in the log: %x", r.Key)
		}
	}
}

// A group that nobody is in and that has no offsets is forgotten.
func TestAnEmptyGroupIsForgotten(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 1})
	m := b.client("m", "t").join()
	m.leave()
	for i := 0; !b.last.Gone; i++ {
		if b.last.Deadline.IsZero() || i > 5 {
			t.Fatalf("it is not, and nothing is due: %v", b.last.Deadline)
		}
		b.pass(b.last.Deadline.Sub(b.now))
	}
}
