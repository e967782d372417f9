package group

import (
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
	if reply := m.beat(); reply.Assigned || len(b.last.Records) > 0 {
		t.Errorf("nothing happened, and it is told %+v, with %d records", reply, len(b.last.Records))
	}
}
