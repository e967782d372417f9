package group

import (
	"strings"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

func (d *desk) history() []wire.Rebalance {
	d.t.Helper()
	reply := ask[*wire.GroupRebalances](d, &wire.GroupHistory{Group: "g"})
	wantError(d.t, reply.Err, wire.None)
	return reply.Rebalances
}

func TestTheHistorySaysWhatTriggeredARebalanceAndWhoWasWaitedFor(t *testing.T) {
	d := newDesk(t)
	wantError(t, ask[*wire.GroupRebalances](d, &wire.GroupHistory{Group: "g"}).Err, wire.GroupIDNotFound)
	members := d.form(2)
	q := joining("")
	q.Reason = "scaled out"
	calls := []Call{d.call(q)}
	began := d.now
	d.pass(time.Second)
	calls = append(calls, d.call(joining(members[0])))
	d.pass(3 * time.Second)
	calls = append(calls, d.call(joining(members[1])))
	answered[*wire.JoinedGroup](d, calls[0])
	d.pass(2 * time.Second) // the leader computes
	d.config.InitialRebalanceDelay = 0
	d.stabilize(calls)

	r := d.history()[0]
	want := wire.Rebalance{
		Number: 2, Began: r.Began, Took: 6 * time.Second, Type: wire.ClassicGroup, Generation: 2,
		Trigger: wire.MemberJoined, Cause: "client-3", Detail: "scaled out", Members: 3,
		Slowest: members[1], SlowestTook: 4 * time.Second, Moved: 4, Complete: true,
	}
	if !r.Began.Equal(began) || len(r.Pauses) != 6 {
		t.Errorf("began %v, pauses %+v", r.Began, r.Pauses)
	}
	r.Pauses = nil
	if diff := compareRebalances(r, want); diff {
		t.Errorf("%+v\nwant %+v", r, want)
	}
}

func compareRebalances(a, b wire.Rebalance) bool {
	a.Pauses, b.Pauses = nil, nil
	return a.Number != b.Number || !a.Began.Equal(b.Began) || a.Took != b.Took || a.Type != b.Type || a.Generation != b.Generation ||
		a.Trigger != b.Trigger || a.Cause != b.Cause || a.Detail != b.Detail || a.Members != b.Members ||
		a.Slowest != b.Slowest || a.SlowestTook != b.SlowestTook || a.Moved != b.Moved || a.Complete != b.Complete
}

// share ends a rebalance whose members have all joined by assigning partitions of orders.
func (d *desk) share(leader wire.MemberID, shares map[wire.MemberID][]int32) {
	d.t.Helper()
	var assignments []wire.MemberAssignment
	for m, partitions := range shares {
		assignments = append(assignments, wire.MemberAssignment{Member: m, Assignment: assigning(partitions...)})
	}
	wantError(d.t, ask[*wire.SyncedGroup](d, syncing(leader, d.generation(), assignments...)).Err, wire.None)
	for m := range shares {
		wantError(d.t, ask[*wire.SyncedGroup](d, syncing(m, d.generation())).Err, wire.None)
	}
}

// alone has a first member join that gets two partitions.
func (d *desk) alone(q *wire.JoinGroup) wire.MemberID {
	d.t.Helper()
	call := d.call(q)
	d.pass(0)
	m := answered[*wire.JoinedGroup](d, call).Member
	d.share(m, map[wire.MemberID][]int32{m: {0, 1}})
	return m
}

// cooperative is a JoinGroup of a member that keeps partitions of orders while it joins; none is told by consumers that keep none.
func cooperative(member wire.MemberID, owned ...int32) *wire.JoinGroup {
	q := joining(member)
	q.Protocols[0].Metadata = owning(topicPartitions{"orders", owned})
	return q
}

func TestPausesOfEagerMembersLastFromTheirJoinToTheirAssignment(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.InitialRebalanceDelay = 0 })
	a := d.alone(joining(""))
	call := d.call(joining(""))
	d.pass(time.Second)
	d.call(joining(a))
	b := answered[*wire.JoinedGroup](d, call).Member
	d.pass(2 * time.Second)
	d.share(a, map[wire.MemberID][]int32{a: {0}, b: {1}})

	r := d.history()[0]
	if r.Moved != 1 || len(r.Pauses) != 2 {
		t.Fatalf("%+v", r)
	}
	for i, want := range []wire.PartitionPause{
		{Topic: "orders", Partition: 0, Pause: 2 * time.Second, From: a, To: a},
		{Topic: "orders", Partition: 1, Pause: 2 * time.Second, From: a, To: b},
	} {
		if r.Pauses[i] != want {
			t.Errorf("%+v, want %+v", r.Pauses[i], want)
		}
	}
}

func TestCooperativeMembersPauseOnlyWhatMoves(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.InitialRebalanceDelay = 0 })
	a := d.alone(cooperative(""))
	call := d.call(cooperative(""))
	d.pass(time.Second)
	d.call(cooperative(a, 0, 1))
	b := answered[*wire.JoinedGroup](d, call).Member
	d.share(a, map[wire.MemberID][]int32{a: {0}, b: {}}) // first a gives 1 up
	if r := d.history()[0]; r.Moved != 0 || len(r.Pauses) != 0 {
		t.Errorf("%+v", r)
	}
	d.pass(time.Second)
	d.call(cooperative(a, 0))
	d.pass(time.Second)
	d.call(cooperative(b))
	d.share(a, map[wire.MemberID][]int32{a: {0}, b: {1}}) // then b gets it
	r := d.history()[0]
	want := wire.PartitionPause{Topic: "orders", Partition: 1, Pause: 2 * time.Second, From: a, To: b}
	if r.Moved != 1 || len(r.Pauses) != 1 || r.Pauses[0] != want {
		t.Errorf("%+v", r)
	}
}

func TestThePartitionsOfADeadMemberPauseSinceItWasHeardLast(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.InitialRebalanceDelay = 0 })
	calls := []Call{d.call(cooperative("")), d.call(cooperative(""))}
	d.pass(0)
	a, b := answered[*wire.JoinedGroup](d, calls[0]).Member, answered[*wire.JoinedGroup](d, calls[1]).Member
	d.share(a, map[wire.MemberID][]int32{a: {0}, b: {1}})
	d.pass(6 * time.Second)
	wantError(t, d.beat(a), wire.None)
	d.pass(4 * time.Second) // b was last heard 10 s ago
	d.pass(time.Second)
	d.call(cooperative(a, 0))
	d.share(a, map[wire.MemberID][]int32{a: {0, 1}})
	r := d.history()[0]
	want := wire.PartitionPause{Topic: "orders", Partition: 1, Pause: 11 * time.Second, From: b, To: a}
	if r.Trigger != wire.MemberExpired || r.Cause != b || len(r.Pauses) != 1 || r.Pauses[0] != want {
		t.Errorf("%+v", r)
	}
}

func TestARebalanceThatAnotherOneOvertakesIsOnRecordAsIncomplete(t *testing.T) {
	d := newDesk(t)
	d.completing(1)
	d.call(joining(""))
	r := d.history()[0]
	if r.Complete || r.Number != 1 {
		t.Errorf("%+v", r)
	}
}

func TestTheHistoryHasTheLastHundredRebalancesAndMovesWithTheGroup(t *testing.T) {
	d := newDesk(t)
	members := d.form(1)
	for range 149 {
		d.stabilize([]Call{d.call(joining(members[0]))})
	}
	check := func() {
		t.Helper()
		all := d.history()
		if len(all) != historySlots || all[0].Number != 150 || all[99].Number != 51 {
			t.Fatalf("%d rebalances, %d to %d", len(all), all[len(all)-1].Number, all[0].Number)
		}
	}
	check()
	d.move()
	check()
	d.stabilize([]Call{d.call(joining(members[0]))})
	if got := d.history()[0].Number; got != 151 {
		t.Errorf("rebalance %d", got)
	}
}

func TestTheReasonThatAClientGivesIsClipped(t *testing.T) {
	d := newDesk(t)
	members := d.form(1)
	q := joining(members[0])
	q.Reason = strings.Repeat("é", 1000)
	d.stabilize([]Call{d.call(q)})
	if got := d.history()[0].Detail; got != strings.Repeat("é", maxDetailBytes/2) {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

func TestTheLongestPausesAreOnRecord(t *testing.T) {
	d := newDesk(t)
	var h history
	tu := &turn{now: d.now}
	h.begin(tu, "g", wire.Rebalance{Type: wire.ConsumerGroup, Trigger: wire.MemberLeft})
	for p := range int32(2000) {
		h.hold("orders", p, "a")
		h.released("orders", p, d.now)
		h.taken("orders", p, "b", d.now.Add(time.Duration(p)*time.Millisecond))
	}
	h.finish(tu, "g", 1, 2, true)
	r, ok := DecodeRebalance(tu.records[0])
	if !ok || r.Moved != 2000 || len(r.Pauses) != maxPauses || r.Pauses[0].Pause != 1999*time.Millisecond {
		t.Errorf("%v: moved %d, %d pauses", ok, r.Moved, len(r.Pauses))
	}
}
