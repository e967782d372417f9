package group

import (
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// stands lets time pass in which the process is stopped: what became due is late, and what was sent waits.
func (d *desk) stands(still time.Duration) {
	d.t.Helper()
	d.now = d.now.Add(still)
	d.effect(d.g.Tick(d.view, d.now))
}

func TestMembersThatACoordinatorCouldNotHearAreNotTakenOut(t *testing.T) {
	d := newDesk(t)
	members := d.form(3)
	d.stands(time.Minute)
	d.wantState(wire.GroupStable)
	for _, m := range members[:2] {
		wantError(t, d.beat(m), wire.None)
	}
	d.pass(9 * time.Second)
	for _, m := range members[:2] {
		wantError(t, d.beat(m), wire.None)
	}
	d.pass(time.Second) // the third one has been silent since
	d.wantState(wire.GroupPreparingRebalance)
	if d.g.classic.member(members[2]) != nil {
		t.Error("the silent one is still a member")
	}
}

func TestMembersThatJoinWhileTheCoordinatorStandsStillAreWaitedFor(t *testing.T) {
	d := newDesk(t)
	members := d.form(2)
	newcomer := d.call(joining(""))
	d.stands(10 * time.Minute)
	d.waits(newcomer)
	first, second := d.call(joining(members[0])), d.call(joining(members[1]))
	for _, call := range []Call{first, second, newcomer} {
		if joined := answered[*wire.JoinedGroup](d, call); joined.Err != nil || joined.Generation != 2 {
			t.Errorf("%+v", joined)
		}
	}
}

func TestAssignmentsThatComeWhileTheCoordinatorStandsStillAreWaitedFor(t *testing.T) {
	d := newDesk(t)
	members := d.completing(2)
	d.stands(10 * time.Minute)
	follower := d.call(syncing(members[1], 1))
	wantError(t, ask[*wire.SyncedGroup](d, syncing(members[0], 1)).Err, wire.None)
	wantError(t, answered[*wire.SyncedGroup](d, follower).Err, wire.None)
}

func TestWhoWasToldItsIdWhileTheCoordinatorStandsStillIsExpected(t *testing.T) {
	d := newDesk(t)
	id := d.told().Member
	d.stands(time.Minute)
	d.waits(d.call(joining(id)))
}

func TestMembersOfTheConsumerProtocolThatCouldNotBeHeardAreNotFenced(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 4})
	one, two, three := b.client("a", "t").join(), b.client("b", "t").join(), b.client("c", "t").join()
	b.settle(one, two, three)
	b.now = b.now.Add(10 * time.Minute)
	b.took(b.g.Tick(b.view, b.now))
	for range 10 {
		one.beat()
		two.beat()
		if one.err != nil || two.err != nil {
			t.Fatalf("after the pause: %v, %v", one.err, two.err)
		}
		b.pass(5 * time.Second)
	}
	three.beat()
	three.wants(wire.UnknownMemberID)
}

func TestWhoIsToGivePartitionsUpHasTimeForItAfterThePause(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	old := b.client("old", "t").join()
	old.adopt()
	b.client("young", "t").join()
	old.beat() // it is to give one up
	b.now = b.now.Add(10 * time.Minute)
	b.took(b.g.Tick(b.view, b.now))
	old.beat()
	if old.err != nil {
		t.Error(old.err)
	}
}
