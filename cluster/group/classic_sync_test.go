package group

import (
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// completing makes a group of so many members that know their generation and wait for their assignments; the first leads.
func (d *desk) completing(n int) []wire.MemberID {
	d.t.Helper()
	var calls []Call
	for range n {
		calls = append(calls, d.call(joining("")))
	}
	for d.g.classic.state == wire.GroupPreparingRebalance {
		d.pass(d.due.Sub(d.now))
	}
	var members []wire.MemberID
	for _, c := range calls {
		members = append(members, answered[*wire.JoinedGroup](d, c).Member)
	}
	d.wantState(wire.GroupCompletingRebalance)
	return members
}

func syncing(m wire.MemberID, generation wire.GenerationID, assignments ...wire.MemberAssignment) *wire.SyncGroup {
	return &wire.SyncGroup{Group: "g", Member: m, Generation: generation, Assignments: assignments}
}

func TestFollowersWaitForWhatTheLeaderAssigns(t *testing.T) {
	d := newDesk(t)
	members := d.completing(3)
	follower := d.call(syncing(members[1], 1))
	d.waits(follower)
	leader := ask[*wire.SyncedGroup](d, syncing(members[0], 1, wire.MemberAssignment{Member: members[1], Assignment: []byte("yours")}))
	if leader.Err != nil || len(leader.Assignment) != 0 || leader.Protocol != "range" || leader.ProtocolType != "consumer" {
		t.Errorf("the leader is told %+v", leader)
	}
	if got := answered[*wire.SyncedGroup](d, follower); string(got.Assignment) != "yours" {
		t.Errorf("the follower is told %+v", got)
	}
	if got := ask[*wire.SyncedGroup](d, syncing(members[2], 1)); got.Err != nil || len(got.Assignment) != 0 {
		t.Errorf("one that came late and was forgotten is told %+v", got)
	}
}

func TestAssignmentsAreInTheLogWithTheirAnswers(t *testing.T) {
	// "persisted before answered": the record and the answers are one event, and answers wait for the records.
	d := newDesk(t)
	members := d.completing(1)
	before := len(d.log)
	d.calls++
	e := d.g.Handle(syncing(members[0], 1), d.calls, d.view, d.now)
	if len(e.Records) == 0 || len(e.Answers) != 1 || before != 1 {
		t.Errorf("%d records before, then %d records and %d answers", before, len(e.Records), len(e.Answers))
	}
}

// Or a coordinator that takes over would tell the number of another one, and a commit of the first that is late would pass for
// one of the second.
func TestAGenerationIsInTheLogBeforeItIsTold(t *testing.T) {
	d := newDesk(t)
	members := d.completing(2)
	told := d.generation()
	d.move()
	d.wantState(wire.GroupPreparingRebalance)
	if d.generation() != told {
		t.Fatalf("the group is loaded in generation %d, and members were told %d", d.generation(), told)
	}
	wantError(t, d.beat(members[0]), wire.RebalanceInProgress)
	wantError(t, ask[*wire.SyncedGroup](d, syncing(members[0], told)).Err, wire.RebalanceInProgress)
	var calls []Call
	for _, m := range members {
		calls = append(calls, d.call(joining(m)))
	}
	for _, c := range calls {
		if got := answered[*wire.JoinedGroup](d, c); got.Err != nil || got.Generation != told+1 {
			t.Errorf("after the move %+v", got)
		}
	}
}

func TestSyncsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(q *wire.SyncGroup)
		want   wire.ErrorCode
	}{
		"an unknown member":     {func(q *wire.SyncGroup) { q.Member = "nobody" }, wire.UnknownMemberID},
		"an unknown instance":   {func(q *wire.SyncGroup) { q.Instance = "i" }, wire.UnknownMemberID},
		"an older generation":   {func(q *wire.SyncGroup) { q.Generation = 0 }, wire.IllegalGeneration},
		"a later generation":    {func(q *wire.SyncGroup) { q.Generation = 2 }, wire.IllegalGeneration},
		"another protocol type": {func(q *wire.SyncGroup) { q.ProtocolType = "connect" }, wire.InconsistentGroupProtocol},
		"another protocol":      {func(q *wire.SyncGroup) { q.Protocol = "sticky" }, wire.InconsistentGroupProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			members := d.completing(1)
			q := syncing(members[0], 1)
			c.change(q)
			wantError(t, ask[*wire.SyncedGroup](d, q).Err, c.want)
			d.wantState(wire.GroupCompletingRebalance)
		})
	}
	d := newDesk(t)
	wantError(t, ask[*wire.SyncedGroup](d, syncing("nobody", 1)).Err, wire.UnknownMemberID)
}

func TestANewRebalanceSendsThoseThatWaitForAssignmentsBack(t *testing.T) {
	d := newDesk(t)
	members := d.completing(2)
	follower := d.call(syncing(members[1], 1))
	d.call(joining(""))
	wantError(t, answered[*wire.SyncedGroup](d, follower).Err, wire.RebalanceInProgress)
	wantError(t, ask[*wire.SyncedGroup](d, syncing(members[0], 1)).Err, wire.RebalanceInProgress)
}

func TestALeaderThatBringsNoAssignmentsIsGivenUp(t *testing.T) {
	d := newDesk(t)
	members := d.completing(2)
	follower := d.call(syncing(members[1], 1))
	for range 60 {
		d.waits(follower)
		d.pass(time.Second)
		if d.g.classic.member(members[0]) != nil {
			wantError(t, d.beat(members[0]), wire.None)
		}
	}
	wantError(t, answered[*wire.SyncedGroup](d, follower).Err, wire.RebalanceInProgress)
	d.wantState(wire.GroupPreparingRebalance)
	if h := d.g.history.ongoing; h.Trigger != wire.NoAssignmentCame || h.Cause != members[0] {
		t.Errorf("%+v", h.Rebalance)
	}
	rejoined := d.call(joining(members[1]))
	if joined := answered[*wire.JoinedGroup](d, rejoined); joined.Leader != members[1] || joined.Generation != 2 {
		t.Errorf("%+v", joined)
	}
}

func TestAMemberThatDoesNotFetchItsAssignmentIsGivenUp(t *testing.T) {
	d := newDesk(t)
	members := d.completing(2)
	ask[*wire.SyncedGroup](d, syncing(members[0], 1))
	d.wantState(wire.GroupStable)
	for range 59 {
		d.pass(time.Second)
		wantError(t, d.beat(members[0]), wire.None)
		wantError(t, d.beat(members[1]), wire.None)
	}
	d.pass(time.Second)
	d.wantState(wire.GroupPreparingRebalance)
	wantError(t, d.beat(members[1]), wire.UnknownMemberID)
	if h := d.g.history.ongoing; h.Trigger != wire.MemberTooSlow || h.Cause != members[1] {
		t.Errorf("%+v", h.Rebalance)
	}
}

func TestAssignmentsThatTheLogCannotHoldAreRefused(t *testing.T) {
	d := newDesk(t)
	members := d.completing(2)
	follower := d.call(syncing(members[1], 1))
	huge := wire.MemberAssignment{Member: members[1], Assignment: make([]byte, d.config.MaxRecordBytes)}
	wantError(t, ask[*wire.SyncedGroup](d, syncing(members[0], 1, huge)).Err, wire.UnknownServerError)
	wantError(t, answered[*wire.SyncedGroup](d, follower).Err, wire.UnknownServerError)
	d.wantState(wire.GroupPreparingRebalance)
}

func TestTheRecordOfANewGenerationHasRoomForTheAssignmentsBefore(t *testing.T) {
	d := newDesk(t)
	members := d.completing(1)
	large := wire.MemberAssignment{Member: members[0], Assignment: make([]byte, d.config.MaxRecordBytes*6/10)}
	wantError(t, ask[*wire.SyncedGroup](d, syncing(members[0], 1, large)).Err, wire.None)
	q := joining("")
	q.Protocols[0].Metadata = make([]byte, d.config.MaxRecordBytes*6/10)
	wantError(t, ask[*wire.JoinedGroup](d, q).Err, wire.GroupMaxSizeReached)
	q.Protocols[0].Metadata = make([]byte, d.config.MaxRecordBytes*3/10)
	d.call(q)
	d.call(joining(members[0])) // the desk looks at the size of the record
	d.wantState(wire.GroupCompletingRebalance)
}

func TestHeartbeatsThatAreRefused(t *testing.T) {
	d := newDesk(t)
	wantError(t, ask[*wire.GroupHeartbeatReply](d, &wire.GroupHeartbeat{Group: "g", Member: "nobody"}).Err, wire.UnknownMemberID)
	members := d.form(1)
	for _, c := range []struct {
		q    wire.GroupHeartbeat
		want wire.ErrorCode
	}{
		{wire.GroupHeartbeat{Member: members[0], Generation: 1}, wire.None},
		{wire.GroupHeartbeat{Member: members[0], Generation: 2}, wire.IllegalGeneration},
		{wire.GroupHeartbeat{Member: members[0], Generation: 1, Instance: "i"}, wire.UnknownMemberID},
		{wire.GroupHeartbeat{Member: "nobody", Generation: 1}, wire.UnknownMemberID},
	} {
		wantError(t, ask[*wire.GroupHeartbeatReply](d, &c.q).Err, c.want)
	}
}

func TestASessionLastsFromOneSignOfLifeToTheNext(t *testing.T) {
	for name, sign := range map[string]func(d *desk, m wire.MemberID){
		"heartbeat": func(d *desk, m wire.MemberID) { wantError(d.t, d.beat(m), wire.None) },
		"commit":    func(d *desk, m wire.MemberID) { wantError(d.t, d.commit(m, 7), wire.None) },
		"sync":      func(d *desk, m wire.MemberID) { ask[*wire.SyncedGroup](d, syncing(m, 1)) },
		"join":      func(d *desk, m wire.MemberID) { ask[*wire.JoinedGroup](d, joining(m)) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			members := d.form(2)
			for range 5 {
				d.pass(9 * time.Second)
				wantError(t, d.beat(members[0]), wire.None)
				sign(d, members[1])
			}
			d.wantState(wire.GroupStable)
			d.pass(9 * time.Second)
			wantError(t, d.beat(members[0]), wire.None)
			d.pass(time.Second)
			d.wantState(wire.GroupPreparingRebalance)
		})
	}
}

func TestAGroupIsEmptyWhenItsLastMemberLeaves(t *testing.T) {
	d := newDesk(t)
	members := d.form(2)
	reply := ask[*wire.LeftGroup](d, &wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: members[0]}, {Member: "nobody"}, {Member: members[1]}}})
	for i, want := range []wire.ErrorCode{wire.None, wire.UnknownMemberID, wire.None} {
		wantError(t, reply.Members[i].Err, want)
	}
	d.wantState(wire.GroupEmpty)
	if d.generation() != 2 {
		t.Errorf("generation %d", d.generation())
	}
	wantError(t, ask[*wire.LeftGroup](d, &wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: members[0]}}}).Members[0].Err, wire.UnknownMemberID)
}

func TestNobodyLeavesAGroupThatDoesNotExist(t *testing.T) {
	d := newDesk(t)
	reply := ask[*wire.LeftGroup](d, &wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: "nobody"}, {Instance: "i"}}})
	wantError(t, reply.Err, wire.None)
	wantError(t, reply.Members[0].Err, wire.UnknownMemberID)
	wantError(t, reply.Members[1].Err, wire.UnknownMemberID)
	if !d.gone {
		t.Error("leaving has made a group")
	}
}

func TestWhileMembersJoinTheyMayStillHaveWhatTheyWereAssigned(t *testing.T) {
	d := newDesk(t)
	members := d.form(1)
	d.call(joining(""))
	description := ask[*wire.GroupDescription](d, &wire.DescribeGroup{Group: "g"})
	if description.State != wire.GroupPreparingRebalance || description.Protocol != "" {
		t.Errorf("%+v", description)
	}
	if m := description.Members[0]; m.Member != members[0] || len(m.Metadata) != 0 || len(m.Assigned) != 1 {
		t.Errorf("%+v", m)
	}
}

func TestAMemberThatLeavesWhileItJoinsIsAnswered(t *testing.T) {
	d := newDesk(t)
	members := d.form(2)
	call := d.call(joining(members[1]))
	answered[*wire.JoinedGroup](d, call) // a follower, unchanged
	call = d.call(joining(members[0]))
	ask[*wire.LeftGroup](d, &wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: members[0]}}})
	wantError(t, answered[*wire.JoinedGroup](d, call).Err, wire.UnknownMemberID)
}

func TestANewMemberThatAsksAgainIsWaitedForLongerThanItsSession(t *testing.T) {
	d := newDesk(t)
	members := d.form(1)
	id := d.told().Member
	d.call(joining(id))
	again := d.call(joining(id))
	for range 4 {
		d.pass(9 * time.Second)
		wantError(t, d.beat(members[0]), wire.RebalanceInProgress)
	}
	d.waits(again)
}

func TestOneThatWasOnlyExpectedLeavesWithoutARebalance(t *testing.T) {
	// Kafka: rebalances.
	d := newDesk(t)
	d.form(1)
	id := d.told().Member
	ask[*wire.LeftGroup](d, &wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: id}}})
	d.wantState(wire.GroupStable)
}

func TestAnotherCoordinatorFindsTheLastStableGeneration(t *testing.T) {
	d := newDesk(t)
	members := d.form(2)
	d.call(joining(members[0])) // a rebalance that does not end here
	d.move()
	d.wantState(wire.GroupStable)
	wantError(t, d.beat(members[1]), wire.None)
	wantError(t, d.commit(members[1], 5), wire.None)
	again := d.call(joining(members[0]))
	d.waits(again) // the leader asks anew
	d.wantState(wire.GroupPreparingRebalance)
	answered[*wire.JoinedGroup](d, d.call(joining(members[1])))
	if g := answered[*wire.JoinedGroup](d, again).Generation; g != 2 {
		t.Errorf("generation %d", g)
	}
}

func TestAfterLoadingMembersHaveAWholeSessionToBeHeard(t *testing.T) {
	d := newDesk(t)
	members := d.form(2)
	d.pass(9 * time.Second)
	wantError(t, d.beat(members[0]), wire.None)
	d.move()
	d.pass(9 * time.Second)
	wantError(t, d.beat(members[0]), wire.None)
	wantError(t, d.beat(members[1]), wire.None)
}

func TestDeletingAGroup(t *testing.T) {
	d := newDesk(t)
	wantError(t, ask[*wire.DeletedGroup](d, &wire.DeleteGroup{Group: "g"}).Err, wire.GroupIDNotFound)
	members := d.form(1)
	wantError(t, d.commit(members[0], 5), wire.None)
	wantError(t, ask[*wire.DeletedGroup](d, &wire.DeleteGroup{Group: "g"}).Err, wire.NonEmptyGroup)
	ask[*wire.LeftGroup](d, &wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: members[0]}}})
	wantError(t, ask[*wire.DeletedGroup](d, &wire.DeleteGroup{Group: "g"}).Err, wire.None)
	if !d.gone || !d.replayed().gone() {
		t.Error("something is left of the group")
	}
	wantError(t, ask[*wire.DeletedGroup](d, &wire.DeleteGroup{Group: "g"}).Err, wire.GroupIDNotFound)
}
