package group

import (
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

func TestOneRequestTakesOutSoManyMembersOfAGroupOfEitherProtocolAndNoMore(t *testing.T) {
	everybody := &wire.LeaveGroup{Group: "g", Members: make([]wire.LeavingMember, maxLeaving+1)}
	check := func(reply wire.GroupReply) {
		t.Helper()
		if left := reply.(*wire.LeftGroup); wire.Code(left.Err) != wire.InvalidRequest || len(left.Members) > 0 {
			t.Errorf("told %v of %d members", left.Err, len(left.Members))
		}
	}
	b := newConsumerBench(t, map[string]int{"t": 1})
	member := b.client("m", "t").join()
	check(b.ask(everybody))
	b.settle(member)
	member.has(0)

	d := newDesk(t)
	ids := d.form(1)
	check(answered[*wire.LeftGroup](d, d.call(everybody)))
	if err := d.beat(ids[0]); err != nil {
		t.Error(err)
	}
}
