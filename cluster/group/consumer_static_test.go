package group

import (
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// KIP-848 and KIP-345: a static member that leaves with epoch -2 keeps its partitions, and the next with its instance takes
// them over, without a rebalance.
func TestAStaticMemberThatComesBackHasWhatItHad(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 4})
	static, other := b.client("a", "t").as("i").join(), b.client("other", "t").join()
	b.settle(static, other)
	had := static.assigned
	epoch := b.g.consumer.epoch

	reply := static.pause()
	if static.err != nil || reply.MemberEpoch != wire.StaticMemberPauses {
		t.Fatalf("told %+v", reply)
	}
	b.pass(30 * time.Second)
	other.beat()
	if other.assigned.count() != 2 {
		t.Errorf("the other has %v", other.assigned)
	}

	back := b.client("b", "t").as("i").join()
	if back.err != nil || !back.assigned.equal(had) || back.epoch != epoch || b.g.consumer.epoch != epoch {
		t.Errorf("it is told %v, epoch %d, %v; the group is at %d", back.err, back.epoch, back.assigned, b.g.consumer.epoch)
	}
	if got := b.g.state(); got != wire.GroupStable {
		t.Errorf("the group is %s", got)
	}
	back.adopt()
	if err := back.commit(); err != nil {
		t.Errorf("its commit gets %v", err)
	}
	static.beat() // the one before
	static.wants(wire.FencedInstanceID)
	if err := static.commit(); wire.Code(err) != wire.UnknownMemberID {
		t.Errorf("the commit of the one before gets %v", err)
	}
}

func TestAStaticMemberThatPausesNeedNotTellItsInstance(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 4})
	static, dynamic := b.client("a", "t").as("i").join(), b.client("dynamic", "t").join()
	b.settle(static, dynamic)
	had := static.assigned
	pause := static.request(wire.StaticMemberPauses)
	pause.Instance = ""
	if static.send(pause); static.err != nil {
		t.Errorf("it is told %v", static.err)
	}
	back := b.client("b", "t").as("i").join()
	if back.err != nil || !back.assigned.equal(had) {
		t.Errorf("who comes back is told %v, and has %v", back.err, back.assigned)
	}
	dynamic.pause()
	dynamic.wants(wire.InvalidRequest)
}

func TestAStaticMemberThatStaysAwayLosesWhatItHad(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 4})
	static, other := b.client("a", "t").as("i").join(), b.client("other", "t").join()
	b.settle(static, other)
	static.pause()
	for range 9 {
		other.beat()
		b.pass(5 * time.Second)
	}
	other.beat()
	other.has(0, 1, 2, 3)
}

// While it pauses, its epoch is none that anybody has.
func TestAStaticMemberThatPausesCommitsNothing(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 1})
	static := b.client("a", "t").as("i").join()
	static.pause()
	for _, epoch := range []int32{1, -1, wire.StaticMemberPauses} {
		static.epoch = epoch
		if err := static.commit(); wire.Code(err) != wire.StaleMemberEpoch {
			t.Errorf("commit at epoch %d: %v", epoch, err)
		}
	}
	static.epoch = 1
	static.beat()
	static.wants(wire.FencedMemberEpoch)
}

func TestAnInstanceThatIsInUseIsNotGivenAway(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 1})
	static := b.client("a", "t").as("i").join()
	thief := b.client("b", "t").as("i").join()
	thief.wants(wire.UnreleasedInstanceID)
	thief.leave()
	thief.wants(wire.FencedInstanceID)
	if static.beat(); static.err != nil {
		t.Error(static.err)
	}
}

// A static member whose answer was lost, or that was fenced, joins again as itself.
func TestAStaticMemberMayJoinTwice(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	static := b.client("a", "t").as("i").join()
	static.join()
	if static.err != nil || static.epoch != 1 {
		t.Fatalf("told %v, epoch %d", static.err, static.epoch)
	}
	static.pause()
	static.join()
	if static.err != nil || static.epoch != 1 || static.assigned.count() != 2 {
		t.Errorf("told %v, epoch %d, %v", static.err, static.epoch, static.assigned)
	}
}

// A static member that left while it was to give something up uses that no more.
func TestWhatAPausingMemberWasToGiveUpIsFree(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	static := b.client("a", "t").as("i").join()
	static.adopt()
	young := b.client("young", "t").join()
	static.beat()
	young.has()
	static.pause()
	young.beat()
	young.has(1)
}
