package kafka

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

func TestOffsetCommitTellsTheCoordinatorWhatItsVersionMeans(t *testing.T) {
	h, client, topic := coordinated(t, nil)
	for version := int16(2); version <= 10; version++ {
		q := requestFor(8, topic).(*kmsg.OffsetCommitRequest)
		q.RetentionTimeMillis, q.InstanceID = 60_000, kmsg.StringPtr("i-1")
		a := askAt[*kmsg.OffsetCommitResponse](client, q, version)
		asked := groupAsked[*wire.CommitOffsets](h.backend)
		if asked.Modern != (version >= 9) || asked.Generation != 4 || asked.Member != "m-1" || (asked.Instance == "i-1") != (version >= 7) {
			t.Errorf("version %d: %+v", version, asked)
		}
		first := wire.OffsetCommit{Topic: "orders", Partition: 0, Offset: 42, LeaderEpoch: wire.NoEpoch, Metadata: "noted"}
		if version >= 6 {
			first.LeaderEpoch = 3
		}
		if version <= 4 {
			first.ExpiresAfter = time.Minute
		}
		if version >= 10 {
			first.TopicID = topic.ID
		}
		if len(asked.Offsets) != 2 || asked.Offsets[0] != first || asked.Offsets[1].Metadata != "" || asked.Offsets[1].Offset != 43 {
			t.Errorf("version %d: %+v", version, asked.Offsets)
		}
		if len(a.Topics) != 1 || len(a.Topics[0].Partitions) != 2 || a.Topics[0].Partitions[1].Partition != 1 || a.Topics[0].Partitions[1].ErrorCode != 0 {
			t.Errorf("version %d: %+v", version, a)
		}
	}
}

func TestOffsetCommitTellsEachPartitionItsOwnError(t *testing.T) {
	h, client, topic := coordinated(t, func(_ context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
		errs := make([]error, len(q.(*wire.CommitOffsets).Offsets))
		errs[len(errs)-1] = wire.OffsetMetadataTooLarge
		return &wire.CommittedOffsets{Errs: errs}, nil
	})
	q := requestFor(8, topic).(*kmsg.OffsetCommitRequest)
	stranger := q.Topics[0]
	stranger.TopicID = wire.TopicID{1, 2, 3}
	q.Topics = []kmsg.OffsetCommitRequestTopic{stranger, q.Topics[0]}
	a := askAt[*kmsg.OffsetCommitResponse](client, q, 10)
	for _, p := range a.Topics[0].Partitions {
		wantCode(t, "of a topic that is not known", p.ErrorCode, wire.UnknownTopicID)
	}
	wantCode(t, "the first partition", a.Topics[1].Partitions[0].ErrorCode, wire.None)
	wantCode(t, "the second partition", a.Topics[1].Partitions[1].ErrorCode, wire.OffsetMetadataTooLarge)
	if asked := groupAsked[*wire.CommitOffsets](h.backend); len(asked.Offsets) != 2 {
		t.Errorf("the coordinator was asked for %+v", asked.Offsets)
	}
}

func TestARetentionTimeBeyondAllMeasureIsTheLongestThereIs(t *testing.T) {
	h, client, topic := coordinated(t, nil)
	for given, want := range map[int64]time.Duration{-1: 0, 0: 0, 5: 5 * time.Millisecond, 1<<63 - 1: 9223372036854 * time.Millisecond} {
		q := requestFor(8, topic).(*kmsg.OffsetCommitRequest)
		q.RetentionTimeMillis = given
		askAt[*kmsg.OffsetCommitResponse](client, q, 2)
		if got := groupAsked[*wire.CommitOffsets](h.backend).Offsets[0].ExpiresAfter; got != want {
			t.Errorf("%d ms is %v", given, got)
		}
	}
}

func TestOffsetFetchOfAGroupThatNobodyKnowsIsNoError(t *testing.T) {
	_, client, topic := coordinated(t, func(_ context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
		fetched := fetchedBy(q.(*wire.FetchOffsets))
		for i := range fetched.Offsets {
			fetched.Offsets[i] = wire.FetchedOffset{Topic: fetched.Offsets[i].Topic, Partition: fetched.Offsets[i].Partition, Offset: wire.NoOffset, LeaderEpoch: wire.NoEpoch}
		}
		return fetched, nil
	})
	for version := int16(1); version <= 7; version++ {
		a := askAt[*kmsg.OffsetFetchResponse](client, requestFor(9, topic), version)
		for _, p := range a.Topics[0].Partitions {
			if p.ErrorCode != 0 || p.Offset != -1 || p.LeaderEpoch != -1 || p.Metadata == nil || *p.Metadata != "" {
				t.Errorf("version %d: %+v", version, p)
			}
		}
	}
	for version := int16(8); version <= 10; version++ {
		a := askAt[*kmsg.OffsetFetchResponse](client, requestFor(9, topic), version)
		for _, p := range a.Groups[0].Topics[0].Partitions {
			if p.ErrorCode != 0 || p.Offset != -1 || p.LeaderEpoch != -1 || p.Metadata == nil || *p.Metadata != "" {
				t.Errorf("version %d: %+v", version, p)
			}
		}
	}
}

func TestOffsetFetchTellsWhatIsCommittedInEveryVersion(t *testing.T) {
	h, client, topic := coordinated(t, nil)
	for version := int16(1); version <= 10; version++ {
		q := requestFor(9, topic).(*kmsg.OffsetFetchRequest)
		q.RequireStable = true
		a := askAt[*kmsg.OffsetFetchResponse](client, q, version)
		if version < 8 {
			asked := groupAsked[*wire.FetchOffsets](h.backend)
			p := a.Topics[0].Partitions[1]
			if asked.All || asked.MemberEpoch != -1 || asked.Stable != (version >= 7) || a.Topics[0].Topic != "orders" || p.Partition != 1 || p.Offset != 42 || *p.Metadata != "noted" {
				t.Errorf("version %d: %+v of %+v", version, a, asked)
			}
			continue
		}
		asked := groupAsked[*wire.FetchOffsets](h.backend) // the second group
		if !asked.All || (asked.Member == "m-1") != (version >= 9) || (asked.MemberEpoch == 7) != (version >= 9) || version < 9 && asked.MemberEpoch != -1 {
			t.Errorf("version %d: %+v", version, asked)
		}
		one, all := a.Groups[0], a.Groups[1]
		if one.Group != "billing" || len(one.Topics) != 1 || one.Topics[0].Partitions[1].Offset != 42 || one.Topics[0].Partitions[1].LeaderEpoch != 3 {
			t.Errorf("version %d: %+v", version, one)
		}
		// By id nobody can be told of a topic that has none any more.
		if want := map[bool]int{true: 1, false: 2}[version >= 10]; len(all.Topics) != want || len(all.Topics[0].Partitions) != 2 {
			t.Errorf("version %d: %+v", version, all)
		}
		if version >= 10 && (one.Topics[0].TopicID != topic.ID || all.Topics[0].TopicID != topic.ID) {
			t.Errorf("version %d: the ids are not those of the topic", version)
		}
	}
}

func TestOffsetFetchOfNoTopicsIsOfAllFromVersion2On(t *testing.T) {
	h, client, _ := coordinated(t, nil)
	for version := int16(1); version <= 7; version++ {
		q := kmsg.NewPtrOffsetFetchRequest()
		q.Group = "billing"
		a := askAt[*kmsg.OffsetFetchResponse](client, q, version)
		if asked := groupAsked[*wire.FetchOffsets](h.backend); asked.All != (version >= 2) || (len(a.Topics) == 2) != (version >= 2) {
			t.Errorf("version %d: asked %+v, answered %+v", version, asked, a)
		}
		q.Topics = []kmsg.OffsetFetchRequestTopic{}
		a = askAt[*kmsg.OffsetFetchResponse](client, q, version)
		if asked := groupAsked[*wire.FetchOffsets](h.backend); asked.All || len(a.Topics) != 0 {
			t.Errorf("version %d: an empty list: asked %+v, answered %+v", version, asked, a)
		}
	}
}

func TestOffsetFetchByIDSaysWhichTopicsAreNotKnown(t *testing.T) {
	_, client, topic := coordinated(t, nil)
	q := requestFor(9, topic).(*kmsg.OffsetFetchRequest)
	q.Groups = q.Groups[:1]
	stranger := kmsg.OffsetFetchRequestGroupTopic{TopicID: wire.TopicID{1, 2, 3}, Partitions: []int32{5}}
	q.Groups[0].Topics = []kmsg.OffsetFetchRequestGroupTopic{stranger, q.Groups[0].Topics[0]}
	a := askAt[*kmsg.OffsetFetchResponse](client, q, 10)
	unknown := a.Groups[0].Topics[0].Partitions[0]
	wantCode(t, "unknown", unknown.ErrorCode, wire.UnknownTopicID)
	if unknown.Partition != 5 || unknown.Offset != -1 || a.Groups[0].Topics[1].Partitions[0].Offset != 42 {
		t.Errorf("answer: %+v", a.Groups[0])
	}
}

// Each group of a request fares on its own.
func TestOffsetFetchTellsEachGroupItsOwnError(t *testing.T) {
	_, client, topic := coordinated(t, func(_ context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
		if q.Of() == "modern" {
			return &wire.FetchedOffsets{Err: wire.StaleMemberEpoch}, nil
		}
		return sensibleReply(q), nil
	})
	a := askAt[*kmsg.OffsetFetchResponse](client, requestFor(9, topic), 9)
	wantCode(t, "the first group", a.Groups[0].ErrorCode, wire.None)
	wantCode(t, "the second group", a.Groups[1].ErrorCode, wire.StaleMemberEpoch)
	if len(a.Groups[0].Topics) != 1 || len(a.Groups[1].Topics) != 0 {
		t.Errorf("answer: %+v", a)
	}
}

// A coordinator that answers with less than it was asked for, or with something else, is a bug; the
// client gets an error, and never another partition's offset.
func TestAnAnswerThatDoesNotFitIsAnError(t *testing.T) {
	for name, answer := range map[string]wire.GroupReply{
		"nothing of it": &wire.FetchedOffsets{}, "another": &wire.DeletedGroup{}, "none": nil, "a nil one": (*wire.FetchedOffsets)(nil),
	} {
		_, client, topic := coordinated(t, func(context.Context, wire.GroupRequest) (wire.GroupReply, error) { return answer, nil })
		q := requestFor(9, topic).(*kmsg.OffsetFetchRequest)
		q.Groups = q.Groups[:1]
		wantCode(t, name, askAt[*kmsg.OffsetFetchResponse](client, q, 9).Groups[0].ErrorCode, wire.UnknownServerError)
	}
	_, client, topic := coordinated(t, func(context.Context, wire.GroupRequest) (wire.GroupReply, error) {
		return &wire.CommittedOffsets{Errs: []error{nil}}, nil
	})
	a := askAt[*kmsg.OffsetCommitResponse](client, requestFor(8, topic), 9)
	wantCode(t, "answered", a.Topics[0].Partitions[0].ErrorCode, wire.None)
	wantCode(t, "not answered", a.Topics[0].Partitions[1].ErrorCode, wire.UnknownServerError)
}

func TestOffsetDeleteTellsEachPartitionItsOwnError(t *testing.T) {
	h, client, topic := coordinated(t, func(context.Context, wire.GroupRequest) (wire.GroupReply, error) {
		return &wire.CommittedOffsets{Errs: []error{nil, wire.GroupSubscribedToTopic}}, nil
	})
	a := askAt[*kmsg.OffsetDeleteResponse](client, requestFor(47, topic), 0)
	wantCode(t, "all", a.ErrorCode, wire.None)
	wantCode(t, "the first partition", a.Topics[0].Partitions[0].ErrorCode, wire.None)
	wantCode(t, "the second partition", a.Topics[0].Partitions[1].ErrorCode, wire.GroupSubscribedToTopic)
	if asked := groupAsked[*wire.DeleteOffsets](h.backend); len(asked.Topics) != 1 || !slices.Equal(asked.Topics[0].Partitions, []int32{0, 1}) {
		t.Errorf("asked for %+v", asked)
	}
}
