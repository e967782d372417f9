package group

import (
	"strings"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

func committing(offsets ...wire.OffsetCommit) *wire.CommitOffsets {
	return &wire.CommitOffsets{Group: "g", Generation: wire.NoGeneration, Offsets: offsets}
}

// commitAs is the code that each of some offsets is answered with.
func (d *desk) wantCommitted(q *wire.CommitOffsets, want ...wire.ErrorCode) {
	d.t.Helper()
	reply := ask[*wire.CommittedOffsets](d, q)
	if len(reply.Errs) != len(want) {
		d.t.Fatalf("%d answers for %d offsets", len(reply.Errs), len(want))
	}
	for i, w := range want {
		wantError(d.t, reply.Errs[i], w)
	}
}

func TestWhoMayCommit(t *testing.T) {
	const member = "client-1"
	stable := func(d *desk) { d.form(2) }
	preparing := func(d *desk) { d.form(2); d.call(joining(member)) }
	for name, c := range map[string]struct {
		before func(d *desk)
		q      wire.CommitOffsets
		want   wire.ErrorCode
	}{
		"a consumer of its own, where there is no group": {func(*desk) {}, wire.CommitOffsets{Generation: -1}, wire.None},
		"a member, where there is no group":              {func(*desk) {}, wire.CommitOffsets{Generation: 1, Member: member}, wire.IllegalGeneration},
		"a member":                                       {stable, wire.CommitOffsets{Generation: 1, Member: member}, wire.None},
		"a member of an older generation":                {stable, wire.CommitOffsets{Generation: 0, Member: member}, wire.IllegalGeneration},
		"a member of a later generation":                 {stable, wire.CommitOffsets{Generation: 2, Member: member}, wire.IllegalGeneration},
		"a member without generation":                    {stable, wire.CommitOffsets{Generation: -1, Member: member}, wire.IllegalGeneration},
		"somebody else":                                  {stable, wire.CommitOffsets{Generation: 1, Member: "nobody"}, wire.UnknownMemberID},
		"somebody without name":                          {stable, wire.CommitOffsets{Generation: 1}, wire.UnknownMemberID},
		"an unknown instance":                            {stable, wire.CommitOffsets{Generation: 1, Member: member, Instance: "i"}, wire.UnknownMemberID},
		"a tool, while there are members":                {stable, wire.CommitOffsets{Generation: -1}, wire.UnknownMemberID},
		"a member, while others join":                    {preparing, wire.CommitOffsets{Generation: 1, Member: "client-2"}, wire.None},
		"a tool, while members join":                     {preparing, wire.CommitOffsets{Generation: -1}, wire.UnknownMemberID},
		"a member that has no assignment yet": {
			func(d *desk) { d.completing(2) },
			wire.CommitOffsets{Generation: 1, Member: member},
			wire.RebalanceInProgress,
		},
		"a member that has not asked for its assignment": {
			func(d *desk) { d.completing(2); d.call(syncing(member, 1)) },
			wire.CommitOffsets{Generation: 1, Member: "client-2"},
			wire.RebalanceInProgress,
		},
		"a tool, once the members are gone": {func(d *desk) {
			for _, m := range d.form(1) {
				d.call(&wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: m}}})
			}
		}, wire.CommitOffsets{Generation: -1}, wire.None},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			c.before(d)
			q := c.q
			q.Group = "g"
			q.Offsets = []wire.OffsetCommit{{Topic: "orders", Offset: 7}}
			d.wantCommitted(&q, c.want)
			if got := d.committed(0); (got == 7) != (c.want == wire.None) {
				t.Errorf("offset %d is committed", got)
			}
		})
	}
}

func TestOffsetsThatAreRefusedLeaveTheOthersAccepted(t *testing.T) {
	d := newDesk(t)
	d.wantCommitted(committing(
		wire.OffsetCommit{Topic: "orders", Partition: 1, Offset: 7, LeaderEpoch: 4, Metadata: "here"},
		wire.OffsetCommit{Topic: "nothing", Offset: 7},
		wire.OffsetCommit{Topic: "orders", Partition: 6, Offset: 7},
		wire.OffsetCommit{Topic: "orders", Partition: -1, Offset: 7},
		wire.OffsetCommit{Topic: "orders", Partition: 2, Offset: 7, Metadata: strings.Repeat("x", 4097)},
		wire.OffsetCommit{Topic: "orders", Partition: 3, Offset: 7, Metadata: strings.Repeat("x", 4096)},
		wire.OffsetCommit{Topic: "orders", TopicID: topicID("payments"), Partition: 0, Offset: 7},
		wire.OffsetCommit{TopicID: topicID("nothing"), Offset: 7},
		wire.OffsetCommit{TopicID: topicID("payments"), Offset: 9},
	), wire.None, wire.UnknownTopicOrPartition, wire.UnknownTopicOrPartition, wire.UnknownTopicOrPartition,
		wire.OffsetMetadataTooLarge, wire.None, wire.UnknownTopicID, wire.UnknownTopicID, wire.None)

	all := ask[*wire.FetchedOffsets](d, &wire.FetchOffsets{Group: "g", All: true})
	if len(all.Offsets) != 3 {
		t.Fatalf("%+v", all.Offsets)
	}
	first := all.Offsets[0]
	if first.Topic != "orders" || first.TopicID != topicID("orders") || first.Partition != 1 || first.Offset != 7 ||
		first.LeaderEpoch != 4 || first.Metadata != "here" || !first.Committed.Equal(d.now) {
		t.Errorf("%+v", first)
	}
}

func TestOneCommitIsBounded(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.MaxOffsetMetadataBytes = 30_000 })
	d.view = clusterOf(map[string]int{"wide": 400})
	q := committing()
	for p := range int32(400) {
		q.Offsets = append(q.Offsets, wire.OffsetCommit{Topic: "wide", Partition: p, Offset: 1, Metadata: strings.Repeat("x", 30_000)})
	}
	reply := ask[*wire.CommittedOffsets](d, q)
	wantError(t, reply.Errs[0], wire.None)
	wantError(t, reply.Errs[399], wire.InvalidCommitOffsetSize)
}

func TestAnUnknownGroupHasCommittedNothing(t *testing.T) {
	// Real clients take GROUP_ID_NOT_FOUND for fatal: nothing committed is offset -1 and no error.
	d := newDesk(t)
	reply := ask[*wire.FetchedOffsets](d, &wire.FetchOffsets{
		Group: "g", MemberEpoch: -1,
		Topics: []wire.NamedPartitions{
			{Topic: "orders", Partitions: []int32{3, 0}},
			{Topic: "nothing", Partitions: []int32{1}},
			{TopicID: topicID("nothing"), Partitions: []int32{1}},
		},
	})
	wantError(t, reply.Err, wire.None)
	for i, want := range []wire.FetchedOffset{
		{Topic: "orders", Partition: 3, Offset: -1, LeaderEpoch: -1},
		{Topic: "orders", Partition: 0, Offset: -1, LeaderEpoch: -1},
		{Topic: "nothing", Partition: 1, Offset: -1, LeaderEpoch: -1},
	} {
		if got := reply.Offsets[i]; got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	wantError(t, reply.Offsets[3].Err, wire.UnknownTopicID)
	if all := ask[*wire.FetchedOffsets](d, &wire.FetchOffsets{Group: "g", All: true}); len(all.Offsets) != 0 || all.Err != nil {
		t.Errorf("%+v", all)
	}
	if !d.gone {
		t.Error("asking has made a group")
	}
}

func TestATopicThatTakesOverANameDoesNotGetItsOffsets(t *testing.T) {
	d := newDesk(t)
	d.wantCommitted(committing(wire.OffsetCommit{Topic: "orders", Offset: 7}, wire.OffsetCommit{Topic: "orders", Partition: 5, Offset: 8}), wire.None, wire.None)
	again := d.view.topics["orders"]
	again.ID = topicID("another")
	d.view.topics["orders"] = again
	if got := d.committed(0); got != wire.NoOffset {
		t.Errorf("offset %d of a topic that is deleted", got)
	}
	d.wantCommitted(committing(wire.OffsetCommit{Topic: "orders", Offset: 1}), wire.None)
	if a, b := d.committed(0), d.committed(5); a != 1 || b != wire.NoOffset {
		t.Errorf("offsets %d and %d", a, b)
	}
}

func TestOffsetsGoWithTheirTopic(t *testing.T) {
	d := newDesk(t)
	d.wantCommitted(committing(wire.OffsetCommit{Topic: "orders", Offset: 7}, wire.OffsetCommit{Topic: "payments", Offset: 7}), wire.None, wire.None)
	d.move() // the coordinator that sees the deletion has loaded them
	d.view = clusterOf(map[string]int{"payments": 3})
	d.effect(d.g.TopicsChanged(d.view, d.now))
	if all := ask[*wire.FetchedOffsets](d, &wire.FetchOffsets{Group: "g", All: true}); len(all.Offsets) != 1 || all.Offsets[0].Topic != "payments" {
		t.Errorf("%+v", all.Offsets)
	}
}

func TestAnImageThatNeverHadATopicDoesNotDeleteItsOffsets(t *testing.T) {
	// The coordinator before may have known a newer image: no acknowledged commit is lost to that.
	d := newDesk(t)
	d.wantCommitted(committing(wire.OffsetCommit{Topic: "orders", Offset: 7}), wire.None)
	newer := d.view
	d.view = clusterOf(map[string]int{"payments": 3})
	d.move()
	d.effect(d.g.TopicsChanged(d.view, d.now))
	d.view = newer
	d.effect(d.g.TopicsChanged(d.view, d.now))
	if got := d.committed(0); got != 7 {
		t.Errorf("offset %d", got)
	}
}

func TestOffsetsExpireWhenAGroupHasBeenEmptyForLong(t *testing.T) {
	// KIP-211: "offsets are kept for the retention period since the group became empty".
	day := 24 * time.Hour
	d := newDesk(t)
	members := d.form(1)
	wantError(t, d.commit(members[0], 7), wire.None)
	for range 10 * 24 * 450 { // ten days with heartbeats each 8 s
		d.now = d.now.Add(8 * time.Second)
		d.g.Handle(&wire.GroupHeartbeat{Group: "g", Generation: 1, Member: members[0]}, 0, d.view, d.now)
	}
	if got := d.committed(0); got != 7 {
		t.Fatalf("offset %d of a group with members", got)
	}
	ask[*wire.LeftGroup](d, &wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: members[0]}}})
	d.pass(7*day - time.Millisecond)
	if got := d.committed(0); got != 7 {
		t.Fatalf("offset %d before the retention time is over", got)
	}
	d.move() // what is known of the group being empty is in the log
	d.pass(time.Millisecond)
	if got := d.committed(0); got != wire.NoOffset {
		t.Fatalf("offset %d after the retention time", got)
	}
	if !d.gone || !d.replayed().gone() {
		t.Error("the group is not gone with its last offset")
	}
}

func TestAnEmptyGroupThatIsUsedAgainKeepsItsOffsets(t *testing.T) {
	d := newDesk(t)
	members := d.form(1)
	wantError(t, d.commit(members[0], 7), wire.None)
	ask[*wire.LeftGroup](d, &wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: members[0]}}})
	d.pass(7*24*time.Hour - time.Minute)
	call := d.call(joining(""))
	d.pass(time.Hour - time.Hour%time.Second)
	answered[*wire.JoinedGroup](d, call)
	if got := d.committed(0); got != 7 {
		t.Errorf("offset %d", got)
	}
}

func TestOffsetsOfConsumersOfTheirOwnExpireFromTheirCommitOn(t *testing.T) {
	d := newDesk(t)
	day := 24 * time.Hour
	d.wantCommitted(committing(wire.OffsetCommit{Topic: "orders", Offset: 7}, wire.OffsetCommit{Topic: "orders", Partition: 1, Offset: 7}), wire.None, wire.None)
	d.pass(4 * day)
	d.wantCommitted(committing(wire.OffsetCommit{Topic: "orders", Offset: 8}), wire.None)
	d.pass(4 * day)
	if a, b := d.committed(0), d.committed(1); a != 8 || b != wire.NoOffset {
		t.Errorf("offsets %d and %d", a, b)
	}
	d.pass(4 * day)
	if !d.gone {
		t.Error("the group is not gone with its last offset")
	}
}

func TestWhatAnOperatorCommitsIsKeptForTheWholeRetention(t *testing.T) {
	d := newDesk(t)
	day := 24 * time.Hour
	members := d.form(1)
	ask[*wire.LeftGroup](d, &wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: members[0]}}})
	d.wantCommitted(committing(wire.OffsetCommit{Topic: "orders", Partition: 1, Offset: 7}), wire.None)
	d.pass(6 * day)
	d.wantCommitted(committing(wire.OffsetCommit{Topic: "orders", Offset: 7}), wire.None)
	d.pass(6 * day)
	if a, b := d.committed(0), d.committed(1); a != 7 || b != wire.NoOffset {
		t.Errorf("offsets %d and %d", a, b)
	}
}

func TestAnOldClientSaysHowLongItsOffsetIsKept(t *testing.T) {
	d := newDesk(t)
	d.wantCommitted(committing(
		wire.OffsetCommit{Topic: "orders", Offset: 7, LeaderEpoch: -1, ExpiresAfter: time.Hour},
		wire.OffsetCommit{Topic: "orders", Partition: 1, Offset: 7, LeaderEpoch: -1, ExpiresAfter: 30 * 24 * time.Hour},
	), wire.None, wire.None)
	d.pass(2 * time.Hour)
	if a, b := d.committed(0), d.committed(1); a != wire.NoOffset || b != 7 {
		t.Errorf("offsets %d and %d", a, b)
	}
	d.pass(20 * 24 * time.Hour)
	if got := d.committed(1); got != 7 {
		t.Errorf("offset %d", got)
	}
}

func TestAnEmptyGroupThatCommittedNothingIsForgotten(t *testing.T) {
	d := newDesk(t)
	members := d.form(1)
	ask[*wire.LeftGroup](d, &wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: members[0]}}})
	d.pass(9 * time.Minute)
	d.wantState(wire.GroupEmpty)
	d.pass(time.Minute) // offsets.retention.check.interval.ms
	if !d.gone || !d.replayed().gone() {
		t.Error("it is not forgotten")
	}
}

func TestExpiredOffsetsGoInSweeps(t *testing.T) {
	d := newDesk(t)
	d.wantCommitted(committing(wire.OffsetCommit{Topic: "orders", Offset: 7}), wire.None)
	d.pass(time.Second)
	d.wantCommitted(committing(wire.OffsetCommit{Topic: "orders", Partition: 1, Offset: 7}), wire.None)
	d.pass(7*24*time.Hour - time.Second)
	if a, b := d.committed(0), d.committed(1); a != wire.NoOffset || b != 7 {
		t.Errorf("offsets %d and %d", a, b)
	}
	if wait := d.due.Sub(d.now); wait != d.config.OffsetsCheckInterval {
		t.Errorf("the next sweep is in %v", wait)
	}
}

func TestAGreatManyOffsetsAreForgottenInSteps(t *testing.T) {
	view := clusterOf(map[string]int{"wide": maxSweep + 10})
	fill := func() *Group {
		g := New("g", newDesk(t).config)
		id, _ := view.Topic("wide")
		for p := range id.Partitions {
			r := newOffsetRecord("g", "wide", p, offsetValue{offset: 1, expires: -1, committed: 1_700_000_000_000, topic: id.ID})
			if err := g.Replay(r); err != nil {
				t.Fatal(err)
			}
		}
		return g
	}
	now := time.UnixMilli(1_700_000_000_000)
	t.Run("deleted", func(t *testing.T) {
		g := fill()
		g.Loaded(view, now)
		e := g.Handle(&wire.DeleteGroup{Group: "g"}, 1, view, now)
		if len(e.Records) != maxSweep || e.Gone {
			t.Fatalf("%d records, gone %v", len(e.Records), e.Gone)
		}
		wantError(t, e.Answers[0].Reply.Failure(), wire.CoordinatorNotAvailable)
		e = g.Handle(&wire.DeleteGroup{Group: "g"}, 2, view, now)
		wantError(t, e.Answers[0].Reply.Failure(), wire.None)
		if len(e.Records) != 10 || !e.Gone {
			t.Errorf("%d records, gone %v", len(e.Records), e.Gone)
		}
	})
	t.Run("expired", func(t *testing.T) {
		g := fill()
		e := g.Loaded(view, now)
		e = g.Tick(view, e.Deadline)
		if len(e.Records) != maxSweep || e.Gone {
			t.Fatalf("%d records, gone %v", len(e.Records), e.Gone)
		}
		if e = g.Tick(view, e.Deadline); len(e.Records) != 10 || !e.Gone {
			t.Errorf("%d records, gone %v", len(e.Records), e.Gone)
		}
	})
}

func TestDeletingOffsets(t *testing.T) {
	deleting := func(topics ...wire.NamedPartitions) *wire.DeleteOffsets {
		return &wire.DeleteOffsets{Group: "g", Topics: topics}
	}
	d := newDesk(t)
	wantError(t, ask[*wire.CommittedOffsets](d, deleting()).Err, wire.GroupIDNotFound)
	members := d.form(1)
	q := &wire.CommitOffsets{Group: "g", Member: members[0], Generation: 1, Offsets: []wire.OffsetCommit{
		{Topic: "orders", Offset: 7}, {Topic: "payments", Offset: 7}, {Topic: "payments", Partition: 1, Offset: 7},
	}}
	d.wantCommitted(q, wire.None, wire.None, wire.None)
	reply := ask[*wire.CommittedOffsets](d, deleting(
		wire.NamedPartitions{Topic: "orders", Partitions: []int32{0, 6}}, // subscribed to
		wire.NamedPartitions{Topic: "payments", Partitions: []int32{0, 2, 3}},
		wire.NamedPartitions{Topic: "nothing", Partitions: []int32{0}},
	))
	wantError(t, reply.Err, wire.None)
	for i, want := range []wire.ErrorCode{
		wire.GroupSubscribedToTopic, wire.UnknownTopicOrPartition, wire.None, wire.None, wire.UnknownTopicOrPartition, wire.UnknownTopicOrPartition,
	} {
		wantError(t, reply.Errs[i], want)
	}
	all := ask[*wire.FetchedOffsets](d, &wire.FetchOffsets{Group: "g", All: true})
	if len(all.Offsets) != 2 || all.Offsets[0].Topic != "orders" || all.Offsets[1].Partition != 1 {
		t.Errorf("%+v", all.Offsets)
	}
}

func TestOffsetsOfAGroupWhoseSubscriptionsCannotBeReadAreNotDeleted(t *testing.T) {
	for name, c := range map[string]struct {
		kind string
		want wire.ErrorCode
	}{"consumers": {"consumer", wire.GroupSubscribedToTopic}, "another type": {"connect", wire.NonEmptyGroup}} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			join := joining("")
			join.ProtocolType = c.kind
			join.Protocols[0].Metadata = []byte("?")
			call := d.call(join)
			d.pass(3 * time.Second)
			ask[*wire.SyncedGroup](d, syncing(answered[*wire.JoinedGroup](d, call).Member, 1))
			reply := ask[*wire.CommittedOffsets](d, &wire.DeleteOffsets{Group: "g", Topics: []wire.NamedPartitions{{Topic: "orders", Partitions: []int32{0}}}})
			wantError(t, reply.Errs[0], c.want)
		})
	}
}
