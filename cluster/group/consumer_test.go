package group

import (
	"fmt"
	"strings"
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
		"leaves": func(_ *consumerBench, gone, _ *consumerClient) { gone.send(gone.request(wire.MemberLeaves)) },
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

func TestEpochsFence(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 4})
	m := b.client("m", "t").join()
	m.adopt()
	other := b.client("other", "t").join()
	m.beat()
	m.adopt()
	m.beat()
	b.settle(m, other) // m is at epoch 2, and was at 1
	for _, test := range []struct {
		name  string
		epoch int32
		told  bool
		owned assignment
		want  wire.ErrorCode
	}{
		{"its own", 2, false, nil, wire.None},
		{"a newer one", 3, true, nil, wire.FencedMemberEpoch},
		// The answer that told it the new epoch may have been lost.
		{"the one before", 1, true, m.owned, wire.None},
		{"the one before, with nothing", 1, true, nil, wire.None},
		{"the one before, and does not tell what it owns", 1, false, nil, wire.FencedMemberEpoch},
		{"the one before, and owns what it may not", 1, true, other.owned, wire.FencedMemberEpoch},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := m.request(test.epoch)
			q.OwnedTold, q.Owned = test.told, test.owned
			reply := b.ask(q).(*wire.ConsumerHeartbeatReply)
			if wire.Code(reply.Err) != test.want {
				t.Errorf("told %v", reply.Err)
			}
			if test.want == wire.None && reply.MemberEpoch != 2 {
				t.Errorf("it is at epoch %d", reply.MemberEpoch)
			}
		})
	}
}

// A commit is accepted at the very epoch alone.
func TestACommitOfAnotherEpochIsStale(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 4})
	m, other := b.client("m", "t").join(), b.client("other", "t").join()
	b.settle(m, other)
	for epoch, want := range map[int32]wire.ErrorCode{
		-1: wire.StaleMemberEpoch, 0: wire.StaleMemberEpoch, 1: wire.StaleMemberEpoch, 2: wire.None, 3: wire.StaleMemberEpoch,
	} {
		m.epoch = epoch
		if err := m.commit(); wire.Code(err) != want {
			t.Errorf("commit at epoch %d: %v", epoch, err)
		}
	}
}

// KAFKA-19233: a member that was fenced joins again with its own id and epoch 0, and is told where it stands.
func TestAFencedMemberJoinsAgain(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 4})
	m, other := b.client("m", "t").join(), b.client("other", "t").join()
	b.settle(m, other)
	m.epoch = 7
	m.beat()
	m.wants(wire.FencedMemberEpoch)
	m.join()
	if m.err != nil || m.epoch != 2 || m.assigned.count() != 2 {
		t.Errorf("told %v, epoch %d, %v", m.err, m.epoch, m.assigned)
	}
}

func TestRequestsThatMakeNoSenseAreRefused(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 1})
	b.client("m", "t").join()
	join := func(change func(*wire.ConsumerHeartbeat)) *wire.ConsumerHeartbeat {
		q := &wire.ConsumerHeartbeat{
			Group: "g", Member: "x", OwnedTold: true, Subscribed: true, Topics: []string{"t"}, RebalanceTimeout: time.Second,
		}
		change(q)
		return q
	}
	pattern := "("
	for name, test := range map[string]struct {
		q    *wire.ConsumerHeartbeat
		want wire.ErrorCode
	}{
		"no rebalance timeout":  {join(func(q *wire.ConsumerHeartbeat) { q.RebalanceTimeout = 0 }), wire.InvalidRequest},
		"owns something":        {join(func(q *wire.ConsumerHeartbeat) { q.Owned = []wire.AssignedTopic{{Topic: topicID("t")}} }), wire.InvalidRequest},
		"owned is not told":     {join(func(q *wire.ConsumerHeartbeat) { q.OwnedTold = false }), wire.InvalidRequest},
		"tells no subscription": {join(func(q *wire.ConsumerHeartbeat) { q.Subscribed = false }), wire.InvalidRequest},
		"no such epoch":         {join(func(q *wire.ConsumerHeartbeat) { q.MemberEpoch = -3 }), wire.InvalidRequest},
		"no id":                 {join(func(q *wire.ConsumerHeartbeat) { q.MemberEpoch, q.Member = 1, "" }), wire.InvalidRequest},
		"pauses, not static":    {join(func(q *wire.ConsumerHeartbeat) { q.MemberEpoch = -2 }), wire.InvalidRequest},
		"unknown assignor":      {join(func(q *wire.ConsumerHeartbeat) { q.Assignor = "best" }), wire.UnsupportedAssignor},
		"bad pattern":           {join(func(q *wire.ConsumerHeartbeat) { q.Pattern = &pattern }), wire.InvalidRegularExpression},
		"says too much":         {join(func(q *wire.ConsumerHeartbeat) { q.Topics = []string{strings.Repeat("t", 1<<20)} }), wire.InvalidRequest},
		"another's instance":    {join(func(q *wire.ConsumerHeartbeat) { q.Member, q.Instance = "m", "i" }), wire.InvalidRequest},
		"unknown member":        {join(func(q *wire.ConsumerHeartbeat) { q.MemberEpoch = 1 }), wire.UnknownMemberID},
		"unknown instance":      {join(func(q *wire.ConsumerHeartbeat) { q.MemberEpoch, q.Instance = 1, "i" }), wire.UnknownMemberID},
		"unknown leaves":        {join(func(q *wire.ConsumerHeartbeat) { q.MemberEpoch = -1 }), wire.UnknownMemberID},
	} {
		t.Run(name, func(t *testing.T) {
			before := persisted(b.g)
			reply := b.ask(test.q).(*wire.ConsumerHeartbeatReply)
			if wire.Code(reply.Err) != test.want {
				t.Errorf("told %v, want %s", reply.Err, test.want.Name())
			}
			if after := persisted(b.g); after != before || len(b.last.Records) > 0 {
				t.Errorf("it changed\n%s\nto\n%s", before, after)
			}
		})
	}
}

func TestHeartbeatsOfAGroupThatIsNotThere(t *testing.T) {
	for _, epoch := range []int32{1, wire.MemberLeaves} {
		b := newConsumerBench(t, map[string]int{"t": 1})
		m := b.client("m", "t")
		m.send(m.request(epoch))
		m.wants(wire.UnknownMemberID)
		if !b.last.Gone {
			t.Error("a group is left")
		}
	}
}

func TestAFullGroupTakesNobodyMore(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 4})
	b.configure(func(c *Config) { c.ConsumerMaxSize = 2 })
	first := b.client("first", "t").join()
	static := b.client("static", "t")
	static.instance = "i"
	static.join()
	third := b.client("third", "t").join()
	third.wants(wire.GroupMaxSizeReached)
	first.join() // who is in may join again
	if first.err != nil {
		t.Error(first.err)
	}
	static.send(static.request(wire.StaticMemberPauses))
	static.id = "static-2"
	static.join() // and so may the next with an instance that is
	if static.err != nil {
		t.Error(static.err)
	}
}

// A change of the topics is found with the next heartbeat: the group gets another epoch.
func TestNewPartitionsAreSharedOut(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2, "other": 1})
	m, n := b.client("m", "t"), b.client("n", "t", "not-yet")
	m.join()
	n.join()
	b.settle(m, n)
	b.topics(map[string]int{"t": 2, "other": 5})
	if m.beat(); m.epoch != 2 {
		t.Fatalf("a topic that nobody wants has changed, and the epoch is %d", m.epoch)
	}
	b.topics(map[string]int{"t": 6, "other": 5})
	if m.beat(); m.epoch != 3 {
		t.Fatalf("a topic has more partitions, and the epoch is %d", m.epoch)
	}
	b.settle(m, n)
	if m.assigned.count() != 3 || n.assigned.count() != 3 {
		t.Errorf("they have %v and %v", m.assigned, n.assigned)
	}
	b.topics(map[string]int{"t": 6, "not-yet": 1})
	b.settle(m, n)
	if n.assigned.partitionsOf(topicID("not-yet")) == nil {
		t.Errorf("the topic is there, and it has %v", n.assigned)
	}
	b.topics(map[string]int{"not-yet": 1})
	b.settle(m, n)
	if m.assigned.count() != 0 || n.assigned.count() != 1 {
		t.Errorf("they have %v and %v", m.assigned, n.assigned)
	}
}

func TestANewTopicThatAPatternMatchesIsConsumed(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 1, "__consumer_offsets": 5})
	m := b.client("m")
	m.pattern = "t.*|__.*"
	m.join()
	m.has(0)
	b.topics(map[string]int{"t": 1, "t-new": 2, "u": 1, "__consumer_offsets": 5})
	b.settle(m)
	if m.assigned.count() != 3 {
		t.Errorf("it has %v", m.assigned)
	}
	q := m.request(m.epoch)
	none := ""
	q.Pattern, q.Subscribed, q.Topics = &none, true, []string{"u"}
	m.send(q)
	m.adopt()
	b.settle(m)
	if m.assigned.count() != 1 || len(b.g.consumer.recorded) > 0 {
		t.Errorf("it has %v, and patterns %v", m.assigned, b.g.consumer.recorded)
	}
}

func TestMostVotesChooseTheAssignor(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 6, "u": 6})
	var all []*consumerClient
	for i, assignor := range []string{"", "range", "range", "uniform"} {
		m := b.client(fmt.Sprint("m", i), "t", "u")
		m.assignor = assignor
		all = append(all, m.join())
	}
	b.settle(all...)
	if d := b.ask(&wire.DescribeGroup{Group: "g"}).(*wire.GroupDescription); d.Protocol != "range" {
		t.Errorf("%q is used", d.Protocol)
	}
	all[2].assignor = "uniform"
	all[2].join()
	b.settle(all...)
	if d := b.ask(&wire.DescribeGroup{Group: "g"}).(*wire.GroupDescription); d.Protocol != "uniform" {
		t.Errorf("%q is used", d.Protocol)
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

// A change of the topics that happened while nobody coordinated is found too.
func TestTopicsThatChangedMeanwhileAreFound(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 1})
	m := b.client("m", "t").join()
	b.view = clusterOf(map[string]int{"t": 2})
	b.restart()
	m.beat()
	m.has(0, 1)
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
	young.send(young.request(wire.MemberLeaves))
	if got := b.g.Listed().State; got != wire.GroupAssigning {
		t.Errorf("a member left, and the group is %s", got)
	}
}

func TestOffsetsOfSubscribedTopicsAreNotDeleted(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 1, "p": 1, "u": 1})
	m := b.client("m", "t")
	m.pattern = "p"
	m.join()
	for topic, want := range map[string]wire.ErrorCode{"t": wire.GroupSubscribedToTopic, "p": wire.GroupSubscribedToTopic, "u": wire.None} {
		reply := b.ask(&wire.DeleteOffsets{Group: "g", Topics: []wire.NamedPartitions{{Topic: topic, Partitions: []int32{0}}}}).(*wire.CommittedOffsets)
		if wire.Code(reply.Errs[0]) != want {
			t.Errorf("topic %s: %v", topic, reply.Errs[0])
		}
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
	m.send(m.request(wire.MemberLeaves))
	if reply := b.ask(&wire.DeleteGroup{Group: "g"}); reply.Failure() != nil || !b.last.Gone {
		t.Errorf("it is empty, and its deletion gets %v", reply.Failure())
	}
	for _, r := range b.compacted() {
		if r.Value != nil {
			t.Errorf("left in the log: %x", r.Key)
		}
	}
}

// A group that nobody is in and that has no offsets is forgotten.
func TestAnEmptyGroupIsForgotten(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 1})
	m := b.client("m", "t").join()
	m.send(m.request(wire.MemberLeaves))
	for i := 0; !b.last.Gone; i++ {
		if b.last.Deadline.IsZero() || i > 5 {
			t.Fatalf("it is not, and nothing is due: %v", b.last.Deadline)
		}
		b.pass(b.last.Deadline.Sub(b.now))
	}
}

// No target is larger than a record may be.
func TestASingleMemberOfTooManyPartitionsGetsWhatARecordHolds(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 5000, "u": 5000})
	b.configure(func(c *Config) { c.MaxRecordBytes = 16 << 10 })
	m := b.client("m", "t", "u").join()
	if n := m.assigned.count(); n < 1000 || n > 4096/3*2 {
		t.Errorf("it has %d", n)
	}
	for _, r := range b.log {
		if len(r.Value) > 16<<10 {
			t.Errorf("a record has %d bytes", len(r.Value))
		}
	}
	other := b.client("other", "t", "u").join()
	b.settle(m, other)
	if m.assigned.count()+other.assigned.count() < 2000 {
		t.Errorf("they have %d and %d", m.assigned.count(), other.assigned.count())
	}
}

// A heartbeat to which nothing has happened costs a reply and no more.
func TestAnIdleHeartbeatAllocatesNextToNothing(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 1000})
	b.folds = false
	var all []*consumerClient
	for i := range 100 {
		all = append(all, b.client(fmt.Sprint("m", i), "t").join())
	}
	b.settle(all...)
	q := all[0].request(all[0].epoch)
	if n := testing.AllocsPerRun(100, func() { b.g.Handle(q, 1, b.view, b.now) }); n > 4 {
		t.Errorf("%v allocations", n)
	}
}
