package native_test

import (
	"slices"
	"testing"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/native"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

func TestAMemberJoinsAndIsShownWhereItIs(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *nativetest.Broker, _ *native.Server, connect func() *peer) {
		id := b.CreateTopic("t", 2)
		p := connect().greet()
		var joined wire.ConsumerHeartbeatReply
		p.ask(wire.KindConsumerHeartbeat, &wire.ConsumerHeartbeat{
			Group: "g", Member: "m", ClientHost: "/a.lie", Subscribed: true, Topics: []string{"t"}, OwnedTold: true,
		}, &joined)
		if joined.Err != nil || !joined.Assigned || len(joined.Assignment) != 1 || joined.Assignment[0].Topic != id ||
			!slices.Equal(joined.Assignment[0].Partitions, []int32{0, 1}) {
			t.Fatalf("joined: %+v", joined)
		}
		var described wire.GroupDescription
		p.ask(wire.KindDescribeGroup, &wire.DescribeGroup{Group: "g"}, &described)
		if len(described.Members) != 1 || described.Members[0].ClientHost != "/pipe" {
			t.Errorf("described: %+v", described)
		}
		var listed wire.GroupList
		p.ask(wire.KindListGroups, &wire.ListGroups{}, &listed)
		if listed.Err != nil || len(listed.Groups) != 1 || listed.Groups[0].Group != "g" {
			t.Errorf("listed: %+v", listed)
		}
	})
}

func TestWhatACoordinatorRefusesIsInItsReplyAndWhatNobodyAnswersFails(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *nativetest.Broker, _ *native.Server, connect func() *peer) {
		b.CreateTopic("t", 1)
		p := connect().greet()
		commit := &wire.CommitOffsets{Group: "g", Generation: 3, Member: "m", Offsets: []wire.OffsetCommit{{Topic: "t", Offset: 5}}}
		var committed wire.CommittedOffsets
		p.ask(wire.KindCommitOffsets, commit, &committed)
		if wire.Code(committed.Err) != wire.UnknownMemberID {
			t.Errorf("committed: %+v", committed)
		}
		b.FailGroups(func(wire.GroupRequest) error { return wire.CoordinatorLoadInProgress })
		p.refused(p.send(wire.KindCommitOffsets, commit), wire.CoordinatorLoadInProgress)
		p.alive()
	})
}

func TestTooManyOffsetsAreNotAskedForAtOnce(t *testing.T) {
	bubble(t, nil, func(_ *testing.T, _ *nativetest.Broker, _ *native.Server, connect func() *peer) {
		p := connect().greet()
		many := &wire.FetchOffsets{Group: "g", Topics: []wire.NamedPartitions{{Topic: "t", Partitions: make([]int32, 100_001)}}}
		p.refused(p.send(wire.KindFetchOffsets, many), wire.InvalidRequest)
		p.alive()
	})
}
