package client_test

import (
	"errors"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

func TestGroupsAreListedAndDescribed(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 2)
	c := connect(t, serve(t, b))
	if _, err := c.DescribeGroup(t.Context(), "g"); !errors.Is(err, client.ErrUnknownGroup) {
		t.Errorf("DescribeGroup of nothing = %v", err)
	}
	g := join(t, c, client.WithClientID("one"))
	pollUntil(t, owns(g, 2), g)
	list, err := c.ListGroups(t.Context())
	if err != nil || len(list) != 1 || list[0].Group != "g" || list[0].Type != wire.ConsumerGroup {
		t.Errorf("ListGroups = %+v, %v", list, err)
	}
	if list, err := c.ListGroups(t.Context(), "empty"); err != nil || len(list) != 0 {
		t.Errorf("ListGroups of empty ones = %+v, %v", list, err)
	}
	described, err := c.DescribeGroup(t.Context(), "g")
	if err != nil || len(described.Members) != 1 {
		t.Fatalf("DescribeGroup = %+v, %v", described, err)
	}
	m := described.Members[0]
	if string(m.Member) != g.MemberID() || m.ClientID != "one" || m.ClientHost != "/127.0.0.1" || len(m.Assigned) != 1 || len(m.Assigned[0].Partitions) != 2 {
		t.Errorf("the member is described as %+v", m)
	}
}

func TestOffsetsOfAnEmptyGroupAreSetAndDeleted(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 2)
	c := connect(t, serve(t, b))
	if offsets, err := c.FetchOffsets(t.Context(), "g"); err != nil || len(offsets) != 0 {
		t.Errorf("FetchOffsets of nothing = %+v, %v", offsets, err)
	}
	err := c.CommitOffsets(
		t.Context(), "g", client.GroupOffset{Topic: "t", Partition: 1, Offset: 5, Metadata: "set"}, client.GroupOffset{Topic: "nothing", Offset: 1},
	)
	var of *client.PartitionError
	if !errors.As(err, &of) || of.Topic != "nothing" || !errors.Is(err, client.ErrUnknownTopic) {
		t.Errorf("CommitOffsets = %v", err)
	}
	offsets, err := c.FetchOffsets(t.Context(), "g")
	if err != nil || len(offsets) != 1 || offsets[0].Offset != 5 || offsets[0].Partition != 1 || offsets[0].Metadata != "set" || offsets[0].Committed.IsZero() {
		t.Errorf("FetchOffsets = %+v, %v", offsets, err)
	}
	g := join(t, c)
	pollUntil(t, owns(g, 2), g)
	if err := c.CommitOffsets(t.Context(), "g", client.GroupOffset{Topic: "t", Offset: 1}); !errors.Is(err, wire.UnknownMemberID) {
		t.Errorf("CommitOffsets beside a member = %v", err)
	}
	if err := c.DeleteOffsets(t.Context(), "g", client.PartitionName{Topic: "t", Partition: 1}); !errors.Is(err, wire.GroupSubscribedToTopic) {
		t.Errorf("DeleteOffsets beside a member = %v", err)
	}
	if err := c.DeleteGroup(t.Context(), "g"); !errors.Is(err, client.ErrGroupNotEmpty) {
		t.Errorf("DeleteGroup beside a member = %v", err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteOffsets(t.Context(), "g", client.PartitionName{Topic: "t", Partition: 1}); err != nil {
		t.Error(err)
	}
	if b.Committed("g", "t", 1) != wire.NoOffset {
		t.Error("the offset is still there")
	}
	if err := c.DeleteGroup(t.Context(), "g"); err != nil {
		t.Error(err)
	}
}

func TestHistoryAndAppendTimesAreTold(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	fill(t, c, "t", 0, numbered(3)...)
	if err := c.CommitOffsets(t.Context(), "g", client.GroupOffset{Topic: "t", Offset: 1}); err != nil {
		t.Fatal(err)
	}
	b.SetHistory(wire.Rebalance{Number: 2, Trigger: wire.MemberLeft}, wire.Rebalance{Number: 1, Trigger: wire.MemberJoined})
	history, err := c.GroupHistory(t.Context(), "g")
	if err != nil || len(history) != 2 || history[0].Trigger != wire.MemberLeft {
		t.Errorf("GroupHistory = %+v, %v", history, err)
	}
	times, err := c.AppendTimes(
		t.Context(), client.GroupOffset{Topic: "t", Offset: 1}, client.GroupOffset{Topic: "nothing"}, client.GroupOffset{Topic: "t", Offset: 3},
	)
	if err != nil || len(times) != 3 {
		t.Fatalf("AppendTimes = %+v, %v", times, err)
	}
	if got := times[0]; got.Err != nil || got.HighWatermark != 3 || !got.Appended.Equal(time.UnixMilli(3_600_000)) {
		t.Errorf("the record in the middle: %+v", got)
	}
	if !errors.Is(times[1].Err, client.ErrUnknownTopic) || times[2].Err != nil || !times[2].Appended.IsZero() {
		t.Errorf("what is not there: %+v", times[1:])
	}
}
