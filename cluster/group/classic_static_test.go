package group

import (
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

func TestAStaticMemberThatIsBackHasItsPlaceWithoutARebalance(t *testing.T) {
	// KIP-345; and KIP-814: "skipAssignment" for a leader that understands it.
	for name, c := range map[string]struct {
		maySkip bool
		leader  bool
	}{
		"the leader, which can skip the assignment": {true, true},
		"the leader, which cannot":                  {false, true},
		"a follower":                                {true, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			members := d.stabilize([]Call{d.call(static("a", joining(""))), d.call(static("b", joining("")))})
			instance, old := "b", members[1]
			if c.leader {
				instance, old = "a", members[0]
			}
			q := static(instance, joining(""))
			q.MaySkipAssignment = c.maySkip
			back := ask[*wire.JoinedGroup](d, q)
			if back.Err != nil || back.Generation != 1 || back.Member == old {
				t.Fatalf("%+v", back)
			}
			d.wantState(wire.GroupStable)
			switch {
			case c.leader && c.maySkip:
				if !back.SkipAssignment || back.Leader != back.Member || len(back.Members) != 2 {
					t.Errorf("%+v", back)
				}
			case c.leader: // it is told that the one it was leads, or it would assign
				if back.SkipAssignment || back.Leader != old || len(back.Members) != 0 {
					t.Errorf("%+v", back)
				}
			default:
				if back.SkipAssignment || back.Leader != members[0] || len(back.Members) != 0 {
					t.Errorf("%+v", back)
				}
			}
			if synced := ask[*wire.SyncedGroup](d, syncing(back.Member, 1)); synced.Err != nil || len(synced.Assignment) == 0 {
				t.Errorf("%+v", synced)
			}
			fenced := &wire.GroupHeartbeat{Group: "g", Generation: 1, Member: old, Instance: instance}
			wantError(t, ask[*wire.GroupHeartbeatReply](d, fenced).Err, wire.FencedInstanceID)
			d.move() // the new id is in the log
			wantError(t, d.beat(back.Member), wire.None)
		})
	}
}

func TestAStaticMemberThatIsBackWithAnotherProtocolRebalances(t *testing.T) {
	d := newDesk(t)
	calls := []Call{d.call(static("a", joining("", "range", "sticky"))), d.call(static("b", joining("", "range", "sticky")))}
	d.stabilize(calls)
	call := d.call(static("b", joining("", "sticky")))
	d.waits(call)
	d.wantState(wire.GroupPreparingRebalance)
}

func TestAStaticMemberThatIsBackWithOtherTopicsRebalances(t *testing.T) {
	d := newDesk(t)
	d.stabilize([]Call{d.call(static("a", joining(""))), d.call(static("b", joining("")))})
	q := static("b", joining(""))
	q.Protocols[0].Metadata = subscribing("payments", "orders")
	d.waits(d.call(q))
	d.wantState(wire.GroupPreparingRebalance)
}

func TestAStaticMemberThatIsBackIsWaitedForLongerThanItsSession(t *testing.T) {
	d := newDesk(t)
	members := d.form(1)
	d.call(static("a", joining("")))
	back := d.call(static("a", joining("")))
	for range 4 {
		d.pass(9 * time.Second)
		wantError(t, d.beat(members[0]), wire.RebalanceInProgress)
	}
	d.waits(back)
}

func TestAbsentStaticMembersCostNoTickAfterTick(t *testing.T) {
	d := newDesk(t)
	q := static("a", joining(""))
	q.SessionTimeout, q.RebalanceTimeout = 10*time.Minute, time.Millisecond
	members := d.stabilize([]Call{d.call(q), d.call(joining(""))})
	ask[*wire.LeftGroup](d, &wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: members[1]}}})
	ticks := 0
	for end := d.now.Add(5 * time.Minute); !d.due.IsZero() && d.due.Before(end); ticks++ {
		d.now = d.due
		d.effect(d.g.Tick(d.view, d.now))
	}
	if ticks > 60 {
		t.Errorf("%d ticks in five minutes", ticks)
	}
}

func TestAStaticMemberThatIsBackRebalancesWhereAPartitionIsNobodys(t *testing.T) {
	// It may have been the one that was to give the partition up, and to join once more for that.
	d := newDesk(t)
	d.stabilize([]Call{d.call(static("a", joining(""))), d.call(static("b", joining("")))})
	d.view = clusterOf(map[string]int{"orders": 7})
	d.waits(d.call(static("b", joining(""))))
	d.wantState(wire.GroupPreparingRebalance)
}

func TestTwoMembersWithOneInstanceAreOne(t *testing.T) {
	d := newDesk(t)
	first := d.call(static("a", joining("")))
	second := d.call(static("a", joining("")))
	wantError(t, answered[*wire.JoinedGroup](d, first).Err, wire.FencedInstanceID)
	d.pass(10 * time.Second)
	joined := answered[*wire.JoinedGroup](d, second)
	if len(joined.Members) != 1 || joined.Leader != joined.Member {
		t.Errorf("%+v", joined)
	}
	wantError(t, ask[*wire.JoinedGroup](d, static("a", joining("a-1"))).Err, wire.FencedInstanceID)
	wantError(t, ask[*wire.SyncedGroup](d, &wire.SyncGroup{Group: "g", Member: "a-1", Instance: "a", Generation: 1}).Err, wire.FencedInstanceID)
	leave := ask[*wire.LeftGroup](d, &wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: "a-1", Instance: "a"}}})
	wantError(t, leave.Members[0].Err, wire.FencedInstanceID)
}

func TestAStaticMemberThatIsBackBeforeTheAssignmentCameRebalances(t *testing.T) {
	d := newDesk(t)
	calls := []Call{d.call(static("a", joining(""))), d.call(static("b", joining("")))}
	d.pass(10 * time.Second)
	leader := answered[*wire.JoinedGroup](d, calls[0])
	follower := d.call(syncing(answered[*wire.JoinedGroup](d, calls[1]).Member, 1))
	back := d.call(static("b", joining("")))
	wantError(t, answered[*wire.SyncedGroup](d, follower).Err, wire.FencedInstanceID)
	wantError(t, d.beat(leader.Member), wire.RebalanceInProgress)
	d.waits(back)
}

func TestStaticMembersKeepTheirPartitionsUntilTheirSessionEnds(t *testing.T) {
	d := newDesk(t)
	members := d.stabilize([]Call{d.call(static("a", joining(""))), d.call(static("b", joining("")))})
	for range 2 { // a restart: it does not leave
		d.pass(4 * time.Second)
		wantError(t, d.beat(members[0]), wire.None)
		d.wantState(wire.GroupStable)
	}
	d.pass(2 * time.Second)
	d.wantState(wire.GroupPreparingRebalance)
}

func TestAnAbsentStaticMemberIsPartOfTheNextGeneration(t *testing.T) {
	d := newDesk(t)
	slow := static("b", joining(""))
	slow.SessionTimeout = 5 * time.Minute
	members := d.stabilize([]Call{d.call(static("a", joining(""))), d.call(slow)})
	call := d.call(static("a", joining(members[0])))
	d.pass(60 * time.Second)
	joined := answered[*wire.JoinedGroup](d, call)
	if joined.Generation != 2 || len(joined.Members) != 2 || joined.Members[1].Instance != "b" {
		t.Errorf("%+v", joined)
	}
}

func TestARebalanceWithoutAnybodyWaitsForAStaticMemberToComeBack(t *testing.T) {
	d := newDesk(t)
	slow := static("a", joining(""))
	slow.SessionTimeout = 3 * time.Minute
	members := d.stabilize([]Call{d.call(slow), d.call(joining(""))})
	d.pass(10 * time.Second) // the dynamic one is gone; the static one does not join
	d.wantState(wire.GroupPreparingRebalance)
	d.pass(100 * time.Second)
	d.wantState(wire.GroupPreparingRebalance)
	back := static("a", joining(""))
	back.SessionTimeout = 3 * time.Minute
	call := d.call(back)
	if joined := answered[*wire.JoinedGroup](d, call); joined.Generation != 2 || joined.Member == members[0] {
		t.Errorf("%+v", joined)
	}
}

func TestAnOperatorTakesAStaticMemberOutByItsInstance(t *testing.T) {
	d := newDesk(t)
	d.stabilize([]Call{d.call(static("a", joining("")))})
	reply := ask[*wire.LeftGroup](d, &wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Instance: "b"}, {Instance: "a"}}})
	wantError(t, reply.Members[0].Err, wire.UnknownMemberID)
	wantError(t, reply.Members[1].Err, wire.None)
	d.wantState(wire.GroupEmpty)
}
