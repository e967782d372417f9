package group

import (
	"slices"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

func (b *consumerBench) history() []wire.Rebalance {
	b.t.Helper()
	reply := b.ask(&wire.GroupHistory{Group: "g"}).(*wire.GroupRebalances)
	if reply.Err != nil {
		b.t.Fatal(reply.Err)
	}
	slices.Reverse(reply.Rebalances)
	return reply.Rebalances
}

// Of each rebalance it is on record what it was for, how many partitions moved, how long each belonged to nobody, and who
// was waited for.
func TestARebalanceOfKIP848IsOnRecord(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 4})
	old := b.client("old", "t").join()
	old.adopt()
	b.now = b.now.Add(time.Second)
	young := b.client("young", "t").join()
	b.now = b.now.Add(2 * time.Second)
	old.beat() // is told to give 2 and 3 up
	b.now = b.now.Add(3 * time.Second)
	old.adopt()
	old.beat() // has
	b.now = b.now.Add(4 * time.Second)
	young.beat()
	young.adopt()

	past := b.history()
	if len(past) != 2 {
		t.Fatalf("on record: %+v", past)
	}
	first, second := past[0], past[1]
	if first.Trigger != wire.MemberJoined || first.Cause != "old" || first.Moved != 0 || len(first.Pauses) > 0 || first.Took != 0 || !first.Complete ||
		first.Type != wire.ConsumerGroup || first.Generation != 1 || first.Members != 1 {
		t.Errorf("the first: %+v", first)
	}
	if second.Trigger != wire.MemberJoined || second.Cause != "young" || second.Moved != 2 || second.Took != 9*time.Second || !second.Complete ||
		second.Generation != 2 || second.Members != 2 || second.Slowest != "young" || second.SlowestTook != 9*time.Second {
		t.Errorf("the second: %+v", second)
	}
	want := []wire.PartitionPause{
		{Topic: "t", Partition: 2, Pause: 4 * time.Second, From: "old", To: "young"},
		{Topic: "t", Partition: 3, Pause: 4 * time.Second, From: "old", To: "young"},
	}
	if !slices.Equal(second.Pauses, want) {
		t.Errorf("pauses: %+v", second.Pauses)
	}
}

// Nobody consumes what a member had from when it was last heard of.
func TestThePauseOfADeadMembersPartitionsBeginsWhenItWasLastHeardOf(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	dead, stays := b.client("dead", "t").join(), b.client("stays", "t").join()
	b.settle(dead, stays)
	for range 10 {
		b.pass(5 * time.Second)
		stays.beat()
	}
	past := b.history()
	last := past[len(past)-1]
	if last.Trigger != wire.MemberExpired || last.Cause != "dead" || last.Moved != 1 || len(last.Pauses) != 1 || last.Pauses[0].Pause != 45*time.Second {
		t.Errorf("on record: %+v", last)
	}
}

func TestTheHistoryTellsWhatEachRebalanceWasFor(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	m, n := b.client("m", "t").join(), b.client("n", "t").join()
	b.settle(m, n)
	b.topics(map[string]int{"t": 3})
	b.settle(m, n)
	m.topics = []string{"t", "u"}
	q := m.request(m.epoch)
	q.Subscribed, q.Topics = true, m.topics
	m.send(q)
	b.settle(m, n)
	m.assignor = "range"
	q = m.request(m.epoch)
	q.Assignor = "range"
	m.send(q)
	b.settle(m, n)
	b.topics(map[string]int{"t": 1, "u": 1})
	b.settle(m, n)
	n.leave()
	b.settle(m)

	type entry struct {
		trigger wire.RebalanceTrigger
		cause   wire.MemberID
		detail  string
	}
	var got []entry
	for _, r := range b.history()[2:] {
		got = append(got, entry{r.Trigger, r.Cause, r.Detail})
	}
	want := []entry{
		{wire.TopicsChanged, "", "topic t: partitions 3"},
		{wire.SubscriptionChanged, "m", ""},
		{wire.AssignorChanged, "m", "range"},
		{wire.TopicsChanged, "", "topic t: partitions 1"},
		{wire.MemberLeft, "n", ""},
	}
	if !slices.Equal(got, want) {
		t.Errorf("on record:\n%+v\nwant:\n%+v", got, want)
	}
}

// A rebalance that another one overtakes did not end.
func TestARebalanceThatIsOvertakenIsIncomplete(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 3})
	one := b.client("one", "t").join()
	one.adopt()
	two := b.client("two", "t").join()
	three := b.client("three", "t").join()
	b.settle(one, two, three)
	var got []bool
	for _, r := range b.history() {
		got = append(got, r.Complete)
	}
	if !slices.Equal(got, []bool{true, false, true}) {
		t.Errorf("complete: %v", got)
	}
}
