package group

import (
	"strings"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

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
