package kafka

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

func TestConsumerGroupDescribeDescribesGroupsOfItsOwnProtocol(t *testing.T) {
	_, client, topic := coordinated(t, nil)
	for version := int16(0); version <= 1; version++ {
		a := askAt[*kmsg.ConsumerGroupDescribeResponse](client, requestFor(69, topic), version)
		wantCode(t, "a classic group", a.Groups[0].ErrorCode, wire.GroupIDNotFound)
		wantCode(t, "no group", a.Groups[2].ErrorCode, wire.GroupIDNotFound)
		g := a.Groups[1]
		if g.ErrorCode != 0 || g.State != "Reconciling" || g.Epoch != 9 || g.AssignmentEpoch != 8 || g.AssignorName != "uniform" || len(g.Members) != 2 {
			t.Fatalf("version %d: %+v", version, g)
		}
		first, second := g.Members[0], g.Members[1]
		if first.MemberEpoch != 8 || textOf(first.RackID) != "a" || first.InstanceID != nil || first.SubscribedTopicRegex != nil || len(first.Assignment.TopicPartitions) != 1 {
			t.Errorf("version %d: %+v", version, first)
		}
		if part := first.TargetAssignment.TopicPartitions[0]; part.Topic != "orders" || part.TopicID != topic.ID || len(part.Partitions) != 2 {
			t.Errorf("version %d: %+v", version, part)
		}
		if textOf(second.SubscribedTopicRegex) != "ord.*" || textOf(second.InstanceID) != "i-2" {
			t.Errorf("version %d: %+v", version, second)
		}
		if version >= 1 && (first.MemberType != 1 || second.MemberType != 0) {
			t.Errorf("the types are %d and %d", first.MemberType, second.MemberType)
		}
	}
}

func TestConsumerGroupHeartbeatTellsWhatIsNewFromWhatIsAsBefore(t *testing.T) {
	h, client, topic := coordinated(t, nil)
	first := requestFor(68, topic).(*kmsg.ConsumerGroupHeartbeatRequest)
	first.InstanceID, first.RackID, first.ServerAssignor = kmsg.StringPtr("i-1"), kmsg.StringPtr("a"), kmsg.StringPtr("uniform")
	first.SubscribedTopicRegex = kmsg.StringPtr("ord.*")
	a := askAt[*kmsg.ConsumerGroupHeartbeatResponse](client, first, 1)
	asked := groupAsked[*wire.ConsumerHeartbeat](h.backend)
	if !asked.Subscribed || !slices.Equal(asked.Topics, []string{"orders"}) || asked.Pattern == nil || !asked.OwnedTold || asked.RebalanceTimeout != time.Minute ||
		asked.Instance != "i-1" || asked.Rack != "a" || asked.Assignor != "uniform" || asked.ClientHost != "/127.0.0.1" || asked.ClientID != "test" {
		t.Errorf("the first heartbeat: %+v", asked)
	}
	if a.MemberEpoch != 7 || textOf(a.MemberID) != "m-1" || a.HeartbeatIntervalMillis != 5000 || a.Assignment == nil || a.Assignment.Topics[0].TopicID != topic.ID {
		t.Errorf("answer: %+v", a)
	}

	later := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	later.Group, later.MemberID, later.MemberEpoch = "modern", "m-1", 7
	askAt[*kmsg.ConsumerGroupHeartbeatResponse](client, later, 1)
	asked = groupAsked[*wire.ConsumerHeartbeat](h.backend)
	if asked.Subscribed || asked.Pattern != nil || asked.OwnedTold || asked.RebalanceTimeout != 0 || asked.Instance != "" || asked.MemberEpoch != 7 {
		t.Errorf("the next heartbeat: %+v", asked)
	}

	later.RebalanceTimeoutMillis, later.SubscribedTopicRegex = 0, kmsg.StringPtr("")
	later.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: topic.ID, Partitions: []int32{1}}}
	askAt[*kmsg.ConsumerGroupHeartbeatResponse](client, later, 1)
	asked = groupAsked[*wire.ConsumerHeartbeat](h.backend)
	if asked.RebalanceTimeout == 0 || asked.Pattern == nil || *asked.Pattern != "" || !asked.OwnedTold || len(asked.Owned) != 1 || asked.Owned[0].Topic != topic.ID {
		t.Errorf("a heartbeat with news: %+v", asked)
	}
}

func TestConsumerGroupHeartbeatWithoutAssignmentTellsNone(t *testing.T) {
	_, client, topic := coordinated(t, func(context.Context, wire.GroupRequest) (wire.GroupReply, error) {
		return &wire.ConsumerHeartbeatReply{Member: "m-1", MemberEpoch: 7, HeartbeatInterval: time.Second}, nil
	})
	if a := askAt[*kmsg.ConsumerGroupHeartbeatResponse](client, requestFor(68, topic), 1); a.Assignment != nil {
		t.Errorf("answer: %+v", a.Assignment)
	}
}

func TestConsumerGroupHeartbeatRefusesWhatIsEmpty(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*kmsg.ConsumerGroupHeartbeatRequest)
		want  wire.ErrorCode
		since int16
	}{
		"group":    {func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Group = "" }, wire.InvalidRequest, 0},
		"member":   {func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberID = "" }, wire.InvalidRequest, 1},
		"instance": {func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.InstanceID = new(string) }, wire.InvalidRequest, 0},
		"rack":     {func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.RackID = new(string) }, wire.InvalidRequest, 0},
		"assignor": {func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.ServerAssignor = new(string) }, wire.UnsupportedAssignor, 0},
	} {
		h, client, topic := coordinated(t, nil)
		for version := int16(0); version <= 1; version++ {
			q := requestFor(68, topic).(*kmsg.ConsumerGroupHeartbeatRequest)
			c.spoil(q)
			a := askAt[*kmsg.ConsumerGroupHeartbeatResponse](client, q, version)
			if version < c.since { // the coordinator gives the member an id
				wantCode(t, name, a.ErrorCode, wire.None)
				continue
			}
			wantCode(t, name, a.ErrorCode, c.want)
			if a.ErrorMessage == nil {
				t.Errorf("%s: nothing tells what is wrong", name)
			}
		}
		if asked := groupAsked[*wire.ConsumerHeartbeat](h.backend); asked != nil && c.since == 0 {
			t.Errorf("%s: the coordinator was asked: %+v", name, asked)
		}
	}
}

func TestApiVersionsTellsThatGroupsSpeakKIP848(t *testing.T) {
	_, client, _ := coordinated(t, nil)
	for version := int16(0); version <= 4; version++ {
		q := kmsg.NewPtrApiVersionsRequest()
		q.ClientSoftwareName, q.ClientSoftwareVersion = "test", "1"
		a := askAt[*kmsg.ApiVersionsResponse](client, q, version)
		if version < 3 {
			if a.FinalizedFeatures != nil || a.SupportedFeatures != nil {
				t.Errorf("version %d tells features", version)
			}
			continue
		}
		if a.FinalizedFeaturesEpoch < 0 || len(a.FinalizedFeatures) != 1 || a.FinalizedFeatures[0].Name != "group.version" || a.FinalizedFeatures[0].MaxVersionLevel != 1 {
			t.Errorf("version %d: %+v", version, a)
		}
		// KAFKA-17011: clients of version 3 take a lowest level of 0 for an error.
		if (len(a.SupportedFeatures) == 1) != (version >= 4) {
			t.Errorf("version %d: %+v", version, a.SupportedFeatures)
		}
	}
}
