package group

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

func TestAGroupOfTwoShares(t *testing.T) {
	d := newDesk(t)
	members := d.form(2)
	description := ask[*wire.GroupDescription](d, &wire.DescribeGroup{Group: "g"})
	if description.Generation != 1 || description.Protocol != "range" || len(description.Members) != 2 {
		t.Fatalf("%+v", description)
	}
	for i, m := range description.Members {
		if m.Member != members[i] || len(m.Assigned) != 1 || m.Assigned[0].Topic != "orders" ||
			!slices.Equal(m.Assigned[0].Partitions, []int32{int32(i), int32(i) + 2, int32(i) + 4}) || m.SubscribedTopics[0] != "orders" {
			t.Errorf("%+v", m)
		}
	}
}

func TestAnEmptyGroupWaitsForMoreMembersAndLongerWhileTheyCome(t *testing.T) {
	// group.initial.rebalance.delay.ms, 3 s: put off by as much whenever a member came in the meantime, up to the rebalance timeout.
	d := newDesk(t)
	first := d.call(joining(""))
	d.pass(2 * time.Second)
	second := d.call(joining(""))
	d.pass(1999 * time.Millisecond)
	d.waits(first, second) // 3 s after the first, the second had come
	d.pass(2001 * time.Millisecond)
	if g := answered[*wire.JoinedGroup](d, first).Generation; g != 1 {
		t.Errorf("generation %d", g)
	}
	answered[*wire.JoinedGroup](d, second)
}

func TestAnEmptyGroupDoesNotWaitLongerThanTheRebalanceTimeout(t *testing.T) {
	d := newDesk(t)
	quick := joining("")
	quick.RebalanceTimeout = 7 * time.Second
	first := d.call(quick)
	for range 6 {
		d.pass(time.Second)
		q := joining("")
		q.RebalanceTimeout = 7 * time.Second
		d.call(q)
	}
	d.waits(first)
	d.pass(time.Second)
	if n := len(answered[*wire.JoinedGroup](d, first).Members); n != 7 {
		t.Errorf("%d members", n)
	}
}

func TestAnEmptyGroupDoesNotWaitWithoutADelay(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.InitialRebalanceDelay = 0 })
	call := d.call(joining(""))
	d.pass(0)
	answered[*wire.JoinedGroup](d, call)
}

func TestANewMemberHasToComeAgainWithTheIDItIsGiven(t *testing.T) {
	// KIP-394: "the broker will reject the initial join group request without a member id with MEMBER_ID_REQUIRED".
	d := newDesk(t)
	told := d.told()
	wantError(t, told.Err, wire.MemberIDRequired)
	if told.Member != "client-1" {
		t.Fatalf("member id %q", told.Member)
	}
	d.wantState(wire.GroupEmpty)
	q := joining(told.Member)
	q.MustKnowID = true
	call := d.call(q)
	d.pass(10 * time.Second)
	if joined := answered[*wire.JoinedGroup](d, call); joined.Member != told.Member || joined.Leader != told.Member {
		t.Errorf("%+v", joined)
	}
}

func TestAMemberThatNeverComesBackWithItsIDLeavesNothing(t *testing.T) {
	d := newDesk(t)
	told := d.told()
	if d.gone {
		t.Fatal("the group is gone while a member is expected")
	}
	d.pass(10 * time.Second)
	if !d.gone || len(d.log) > 0 {
		t.Fatalf("gone %v, %d records", d.gone, len(d.log))
	}
	wantError(t, ask[*wire.JoinedGroup](d, joining(told.Member)).Err, wire.UnknownMemberID)
}

func TestARebalanceWaitsForMembersThatWereToldTheirID(t *testing.T) {
	d := newDesk(t)
	members := d.form(1)
	told := d.told()
	leader := d.call(joining(members[0])) // rebalances, since it leads
	d.waits(leader)
	follower := d.call(joining(told.Member))
	answered[*wire.JoinedGroup](d, follower)
	if n := len(answered[*wire.JoinedGroup](d, leader).Members); n != 2 {
		t.Errorf("%d members", n)
	}
}

func TestARebalanceEndsWhenAnExpectedMemberIsGivenUpOrLeaves(t *testing.T) {
	for name, end := range map[string]func(d *desk, m wire.MemberID){
		"given up": func(d *desk, _ wire.MemberID) { d.pass(10 * time.Second) },
		"leaves": func(d *desk, m wire.MemberID) {
			reply := ask[*wire.LeftGroup](d, &wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: m}}})
			wantError(d.t, reply.Members[0].Err, wire.None)
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			members := d.form(1)
			told := d.told()
			leader := d.call(joining(members[0]))
			end(d, told.Member)
			answered[*wire.JoinedGroup](d, leader)
		})
	}
}

func TestJoinsThatAreRefused(t *testing.T) {
	change := func(f func(*wire.JoinGroup)) *wire.JoinGroup {
		q := joining("")
		f(q)
		return q
	}
	for name, c := range map[string]struct {
		q    *wire.JoinGroup
		want wire.ErrorCode
	}{
		"session too short":       {change(func(q *wire.JoinGroup) { q.SessionTimeout = 5 * time.Second }), wire.InvalidSessionTimeout},
		"session too long":        {change(func(q *wire.JoinGroup) { q.SessionTimeout = time.Hour }), wire.InvalidSessionTimeout},
		"unknown member":          {joining("nobody"), wire.UnknownMemberID},
		"unknown instance":        {static("i", joining("nobody")), wire.UnknownMemberID},
		"other type":              {change(func(q *wire.JoinGroup) { q.ProtocolType = "connect" }), wire.InconsistentGroupProtocol},
		"no common protocol":      {joining("", "sticky"), wire.InconsistentGroupProtocol},
		"no protocol":             {change(func(q *wire.JoinGroup) { q.Protocols = nil }), wire.InconsistentGroupProtocol},
		"a name that is too long": {static(string(make([]byte, 40_000)), joining("")), wire.InvalidRequest},
		"too much metadata": {change(func(q *wire.JoinGroup) {
			q.Protocols = []wire.GroupProtocol{{Name: "range", Metadata: make([]byte, 2<<20)}}
		}), wire.GroupMaxSizeReached},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.form(2)
			before := len(d.log)
			wantError(t, ask[*wire.JoinedGroup](d, c.q).Err, c.want)
			if len(d.log) > before || d.g.classic.state != wire.GroupStable {
				t.Errorf("something has changed: %d records, %s", len(d.log)-before, d.g.classic.state)
			}
		})
	}
}

func TestAnEmptyGroupTakesOnAnyTypeOfProtocol(t *testing.T) {
	d := newDesk(t)
	members := d.form(1)
	ask[*wire.LeftGroup](d, &wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: members[0]}}})
	d.wantState(wire.GroupEmpty)
	q := joining("")
	q.ProtocolType = "connect"
	call := d.call(q)
	d.pass(10 * time.Second)
	if joined := answered[*wire.JoinedGroup](d, call); joined.Generation != 3 || joined.ProtocolType != "connect" {
		t.Errorf("%+v", joined)
	}
}

func TestTheProtocolIsTheOneMostMembersLikeBestOfThoseAllHave(t *testing.T) {
	for name, c := range map[string]struct {
		lists [][]string
		want  string
	}{
		"the only common one": {[][]string{{"sticky", "range"}, {"roundrobin", "range"}}, "range"},
		"the majority's":      {[][]string{{"range", "sticky"}, {"sticky", "range"}, {"sticky", "range"}}, "sticky"},
		"the leader's, even":  {[][]string{{"range", "sticky"}, {"sticky", "range"}}, "range"},
		"not a private one":   {[][]string{{"mine", "range", "sticky"}, {"sticky", "range"}, {"other", "sticky", "range"}}, "sticky"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			var calls []Call
			for _, list := range c.lists {
				calls = append(calls, d.call(joining("", list...)))
			}
			d.pass(10 * time.Second)
			if got := answered[*wire.JoinedGroup](d, calls[0]).Protocol; got != c.want {
				t.Errorf("protocol %q, want %q", got, c.want)
			}
		})
	}
}

func TestAMemberThatMissedItsAnswerGetsItAgain(t *testing.T) {
	d := newDesk(t)
	first, second := d.call(joining("")), d.call(joining(""))
	d.pass(10 * time.Second)
	leader, follower := answered[*wire.JoinedGroup](d, first), answered[*wire.JoinedGroup](d, second)
	d.wantState(wire.GroupCompletingRebalance)
	if again := ask[*wire.JoinedGroup](d, joining(leader.Member)); again.Generation != 1 || len(again.Members) != 2 {
		t.Errorf("the leader is told %+v", again)
	}
	if again := ask[*wire.JoinedGroup](d, joining(follower.Member)); again.Generation != 1 || len(again.Members) != 0 || again.Leader != leader.Member {
		t.Errorf("the follower is told %+v", again)
	}
}

func TestAFollowerThatJoinsAStableGroupUnchangedDisturbsNobody(t *testing.T) {
	d := newDesk(t)
	members := d.form(2)
	again := ask[*wire.JoinedGroup](d, joining(members[1]))
	if again.Err != nil || again.Generation != 1 || again.Leader != members[0] {
		t.Errorf("%+v", again)
	}
	d.wantState(wire.GroupStable)
}

func TestWhatRebalancesAStableGroup(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(d *desk, members []wire.MemberID)
		want wire.RebalanceTrigger
	}{
		"the leader joins again": {func(d *desk, m []wire.MemberID) { d.call(joining(m[0])) }, wire.LeaderRejoined},
		"a member has changed": {func(d *desk, m []wire.MemberID) {
			q := joining(m[1])
			q.Protocols[0].Metadata = subscribing("payments")
			d.call(q)
		}, wire.SubscriptionChanged},
		"a member comes": {func(d *desk, _ []wire.MemberID) { d.call(joining("")) }, wire.MemberJoined},
		"a member leaves": {func(d *desk, m []wire.MemberID) {
			d.call(&wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: m[1], Reason: "closed"}}})
		}, wire.MemberLeft},
		"a session ends": {func(d *desk, m []wire.MemberID) {
			d.pass(9 * time.Second)
			wantError(d.t, d.beat(m[0]), wire.None)
			d.pass(time.Second)
		}, wire.MemberExpired},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			members := d.form(2)
			c.do(d, members)
			d.wantState(wire.GroupPreparingRebalance)
			if got := d.g.history.ongoing.Trigger; got != c.want {
				t.Errorf("the trigger is %s, want %s", got, c.want)
			}
			wantError(t, d.beat(members[0]), wire.RebalanceInProgress)
		})
	}
}

func TestMembersThatDoNotJoinInTimeAreLeftBehind(t *testing.T) {
	d := newDesk(t)
	members := d.form(3)
	newcomer := d.call(joining(""))
	stays := d.call(joining(members[1]))
	for range 59 {
		d.pass(time.Second)
		for _, m := range []wire.MemberID{members[0], members[2]} {
			wantError(t, d.beat(m), wire.RebalanceInProgress)
		}
	}
	d.waits(newcomer, stays)
	d.pass(time.Second) // the rebalance timeout, 60 s
	joined := answered[*wire.JoinedGroup](d, stays)
	if joined.Generation != 2 || joined.Leader != members[1] || len(joined.Members) != 2 {
		t.Errorf("%+v", joined)
	}
	answered[*wire.JoinedGroup](d, newcomer)
	wantError(t, d.beat(members[0]), wire.UnknownMemberID)
}

func TestMembersWhoseSessionEndsAreNotWaitedForLonger(t *testing.T) {
	d := newDesk(t)
	members := d.form(2)
	call := d.call(joining(members[0]))
	d.pass(10 * time.Second) // the session of the other
	if joined := answered[*wire.JoinedGroup](d, call); joined.Generation != 2 || len(joined.Members) != 1 {
		t.Errorf("%+v", joined)
	}
}

func TestAParkedMemberNeedsNoHeartbeats(t *testing.T) {
	d := newDesk(t)
	members := d.form(2)
	call := d.call(joining(members[0]))
	for range 5 {
		d.pass(9 * time.Second)
		wantError(t, d.beat(members[1]), wire.RebalanceInProgress)
	}
	d.waits(call) // for 45 s, with a session of 10 s
}

func TestANewMemberWhoseConnectionEndsIsGivenUpAfterItsSession(t *testing.T) {
	d := newDesk(t)
	d.form(1)
	call := d.call(joining(""))
	delete(d.parked, call)
	d.effect(d.g.Cancel(call, d.now))
	d.pass(9 * time.Second)
	if n := len(d.g.classic.members); n != 2 {
		t.Fatalf("%d members", n)
	}
	wantError(t, d.beat("client-1"), wire.RebalanceInProgress)
	d.pass(time.Second)
	if m := d.g.classic.member("client-2"); m != nil {
		t.Errorf("%+v is still a member", m)
	}
}

func TestANewMemberThatWaitsIsGivenUpAfterFiveMinutes(t *testing.T) {
	d := newDesk(t)
	slow := joining("")
	slow.RebalanceTimeout = time.Hour
	first := d.call(slow)
	d.pass(3 * time.Second)
	leader := answered[*wire.JoinedGroup](d, first)
	ask[*wire.SyncedGroup](d, &wire.SyncGroup{Group: "g", Member: leader.Member, Generation: 1})
	call := d.call(joining(""))
	for range 30 * 5 {
		d.waits(call)
		d.pass(2 * time.Second)
		wantError(t, d.beat(leader.Member), wire.RebalanceInProgress)
	}
	wantError(t, answered[*wire.JoinedGroup](d, call).Err, wire.UnknownMemberID)
}

func TestACallThatIsMadeAgainReplacesTheOneThatWaits(t *testing.T) {
	d := newDesk(t)
	members := d.form(2)
	first := d.call(joining(members[0]))
	second := d.call(joining(members[0]))
	wantError(t, answered[*wire.JoinedGroup](d, first).Err, wire.RebalanceInProgress)
	d.waits(second)
}

func TestAGroupHasNoMoreMembersThanItMay(t *testing.T) {
	// KIP-389: a new member is refused with GROUP_MAX_SIZE_REACHED; those that are there stay.
	d := newDesk(t, func(c *Config) { c.MaxSize = 2 })
	members := d.form(2)
	wantError(t, ask[*wire.JoinedGroup](d, joining("")).Err, wire.GroupMaxSizeReached)
	d.wantState(wire.GroupStable)
	calls := []Call{d.call(joining(members[0])), d.call(joining(members[1]))}
	d.stabilize(calls)
}

func TestAGroupThatHasBecomeTooLargeKeepsTheFirstThatJoin(t *testing.T) {
	d := newDesk(t)
	members := d.form(3)
	d.config.MaxSize = 2
	d.move()
	d.wantState(wire.GroupPreparingRebalance)
	d.call(joining(members[2]))
	d.call(joining(members[1]))
	wantError(t, ask[*wire.JoinedGroup](d, joining(members[0])).Err, wire.GroupMaxSizeReached)
	d.wantState(wire.GroupCompletingRebalance)
	if n := len(d.g.classic.members); n != 2 {
		t.Errorf("%d members", n)
	}
}

func TestMembersThatWereToldAnIDAreBounded(t *testing.T) {
	d := newDesk(t)
	oldest := d.told().Member
	c := d.g.classic
	c.expected = slices.Repeat(c.expected, maxExpected-5) // as if so many had been told
	var newest wire.MemberID
	for range 10 {
		newest = d.told().Member
	}
	if n := len(c.expected); n != maxExpected {
		t.Errorf("%d are expected", n)
	}
	if c.expected[maxExpected-1].id != newest || c.expected[maxExpected-11].id != oldest {
		t.Error("it is not the oldest that are not expected any more")
	}
}

func TestNothingOfARequestIsKeptByReference(t *testing.T) {
	d := newDesk(t)
	q := joining("")
	frame := q.Protocols[0].Metadata
	want := bytes.Clone(frame)
	call := d.call(q)
	clear(frame)
	d.pass(10 * time.Second)
	joined := answered[*wire.JoinedGroup](d, call)
	if !bytes.Equal(joined.Members[0].Metadata, want) {
		t.Error("the metadata has changed with the request's frame")
	}
	assignment := assigning(1)
	want = bytes.Clone(assignment)
	ask[*wire.SyncedGroup](d, &wire.SyncGroup{Group: "g", Member: joined.Member, Generation: 1, Assignments: []wire.MemberAssignment{{Member: joined.Member, Assignment: assignment}}})
	clear(assignment)
	synced := ask[*wire.SyncedGroup](d, &wire.SyncGroup{Group: "g", Member: joined.Member, Generation: 1})
	if !bytes.Equal(synced.Assignment, want) {
		t.Error("the assignment has changed with the request's frame")
	}
}

func TestAGenerationIsCountedOnceForEachRebalance(t *testing.T) {
	d := newDesk(t)
	members := d.form(2)
	for g := wire.GenerationID(2); g < 6; g++ {
		d.stabilize([]Call{d.call(joining(members[0])), d.call(joining(members[1]))})
		if d.generation() != g {
			t.Fatalf("generation %d, want %d", d.generation(), g)
		}
	}
}

func TestAHundredMembersFormAGroupInOneRebalance(t *testing.T) {
	d := newDesk(t)
	members := d.form(100)
	if len(members) != 100 || d.generation() != 1 || fmt.Sprint(d.g.history.last) != "1" {
		t.Errorf("%d members, generation %d, %d rebalances", len(members), d.generation(), d.g.history.last)
	}
}
