package kafka

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

func TestElectLeadersAnswersEveryPartitionThatIsNamed(t *testing.T) {
	backend, _ := fakeBroker()
	client := start(t, backend).dial(t)
	for version := range int16(3) {
		for _, unclean := range []bool{false, true} {
			if unclean && version == 0 {
				continue // which cannot say so
			}
			q := kmsg.NewPtrElectLeadersRequest()
			q.SetVersion(version)
			if unclean {
				q.ElectionType = uncleanElection
			}
			q.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "orders", Partitions: []int32{1, 7}}, {Topic: "nowhere", Partitions: []int32{0}}}
			a := client.ask(q).(*kmsg.ElectLeadersResponse)
			if a.ErrorCode != 0 || len(a.Topics) != 2 || len(a.Topics[0].Partitions) != 2 {
				t.Fatalf("version %d: %+v", version, a)
			}
			p := a.Topics[0].Partitions
			if p[0].Partition != 1 || p[0].ErrorCode != 0 || p[1].Partition != 7 || p[1].ErrorCode != int16(wire.UnknownTopicOrPartition) || *p[1].ErrorMessage != "it is not there" {
				t.Errorf("version %d: %+v", version, p)
			}
			asked := backend.lastElection()
			want := []wire.TopicNamePartition{{Topic: "orders", Partition: 1}, {Topic: "orders", Partition: 7}, {Topic: "nowhere", Partition: 0}}
			if asked.Unclean != unclean || !slices.Equal(asked.Partitions, want) {
				t.Errorf("version %d: the Backend was asked for %+v", version, asked)
			}
		}
	}
}

func TestElectLeadersOfAllTellsOnlyWhatWasElected(t *testing.T) {
	backend, _ := fakeBroker()
	client := start(t, backend).dial(t)
	q := kmsg.NewPtrElectLeadersRequest()
	q.SetVersion(2)
	a := client.ask(q).(*kmsg.ElectLeadersResponse)
	if asked := backend.lastElection(); asked.Partitions != nil {
		t.Errorf("the Backend was asked for %+v", asked)
	}
	if len(a.Topics) != 2 || len(a.Topics[0].Partitions) != 1 || a.Topics[0].Partitions[0].Partition != 1 || a.Topics[1].Topic != "other" {
		t.Errorf("the answer is %+v", a.Topics)
	}
	q.Topics = []kmsg.ElectLeadersRequestTopic{} // none is not all
	a = client.ask(q).(*kmsg.ElectLeadersResponse)
	if len(a.Topics) != 0 || backend.lastElection().Partitions == nil {
		t.Errorf("for no topics: %+v", a.Topics)
	}
}

func TestElectLeadersSaysWhatIsWrongWithTheWhole(t *testing.T) {
	backend, _ := fakeBroker()
	backend.operator = wire.NotController
	client := start(t, backend).dial(t)
	for version := range int16(3) {
		q := kmsg.NewPtrElectLeadersRequest()
		q.SetVersion(version)
		q.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "orders", Partitions: []int32{0}}}
		a := client.ask(q).(*kmsg.ElectLeadersResponse)
		code := a.ErrorCode
		if version == 0 { // has no place for it
			code = a.Topics[0].Partitions[0].ErrorCode
		}
		if code != int16(wire.NotController) {
			t.Errorf("version %d: %+v", version, a)
		}
		if q.ElectionType = 2; version > 0 {
			if a := client.ask(q).(*kmsg.ElectLeadersResponse); a.ErrorCode != int16(wire.InvalidRequest) {
				t.Errorf("version %d: an election of type 2 is answered %v", version, wire.ErrorCode(a.ErrorCode))
			}
		}
	}
}

func TestAlterPartitionReassignmentsTellsAWishFromACancellation(t *testing.T) {
	backend, _ := fakeBroker()
	client := start(t, backend).dial(t)
	for version := range int16(2) {
		q := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		q.SetVersion(version)
		q.AllowReplicationFactorChange = version == 0
		q.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{
			{Topic: "orders", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: 1, Replicas: []int32{3, 2}}, {Partition: 0}}},
			{Topic: "other", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: 4, Replicas: []int32{}}}},
		}
		a := client.ask(q).(*kmsg.AlterPartitionAssignmentsResponse)
		want := wire.AlterReassignments{SameFactor: version == 1, Partitions: []wire.Reassignment{
			{Topic: "orders", Partition: 1, Replicas: []wire.BrokerID{3, 2}}, {Topic: "orders"}, {Topic: "other", Partition: 4, Replicas: []wire.BrokerID{}},
		}}
		if got := backend.lastMove(); !reflect.DeepEqual(got, want) {
			t.Errorf("version %d: the Backend was asked for %+v", version, got)
		}
		if len(a.Topics) != 2 || len(a.Topics[0].Partitions) != 2 || len(a.Topics[1].Partitions) != 1 {
			t.Fatalf("version %d: %+v", version, a)
		}
		p := a.Topics[0].Partitions
		if p[0].Partition != 1 || p[0].ErrorCode != 0 || p[1].ErrorCode != int16(wire.NoReassignmentInProgress) || *p[1].ErrorMessage != "it stays where it is" {
			t.Errorf("version %d: %+v", version, p)
		}
	}
	backend.mu.Lock()
	backend.operator = wire.Errorf(wire.NotController, "nobody is")
	backend.mu.Unlock()
	a := client.ask(kmsg.NewPtrAlterPartitionAssignmentsRequest()).(*kmsg.AlterPartitionAssignmentsResponse)
	if a.ErrorCode != int16(wire.NotController) || a.ErrorMessage == nil || *a.ErrorMessage != "nobody is" || len(a.Topics) != 0 {
		t.Errorf("without a controller: %+v", a)
	}
}

func TestListPartitionReassignmentsShowsWhatIsUnderWay(t *testing.T) {
	backend, topic := fakeBroker()
	backend.view.states = map[wire.TopicPartition]wire.Partition{{Topic: topic.ID, Partition: 1}: {
		Leader: 1, Replicas: []wire.BrokerID{3, 1, 2}, ISR: []wire.BrokerID{1}, Adding: []wire.BrokerID{3}, Removing: []wire.BrokerID{2},
	}}
	client := start(t, backend).dial(t)
	for name, c := range map[string]struct {
		topics []kmsg.ListPartitionReassignmentsRequestTopic
		want   int
	}{
		"all":              {nil, 1},
		"none":             {[]kmsg.ListPartitionReassignmentsRequestTopic{}, 0},
		"that one, twice":  {[]kmsg.ListPartitionReassignmentsRequestTopic{{Topic: "orders", Partitions: []int32{1, 0, 1, -1, 99}}}, 1},
		"another":          {[]kmsg.ListPartitionReassignmentsRequestTopic{{Topic: "orders", Partitions: []int32{0}}}, 0},
		"one that is gone": {[]kmsg.ListPartitionReassignmentsRequestTopic{{Topic: "gone", Partitions: []int32{0}}}, 0},
	} {
		q := kmsg.NewPtrListPartitionReassignmentsRequest()
		q.Topics = c.topics
		a := client.ask(q).(*kmsg.ListPartitionReassignmentsResponse)
		if a.ErrorCode != 0 || len(a.Topics) != c.want {
			t.Errorf("%s: %+v", name, a)
			continue
		}
		if c.want == 0 {
			continue
		}
		p := a.Topics[0].Partitions
		if len(p) != 1 || p[0].Partition != 1 || !slices.Equal(p[0].Replicas, []int32{3, 1, 2}) || !slices.Equal(p[0].AddingReplicas, []int32{3}) || !slices.Equal(p[0].RemovingReplicas, []int32{2}) {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestDescribeQuorumTellsWhoKeepsTheMetadataLog(t *testing.T) {
	backend, _ := fakeBroker()
	backend.cluster = wire.ClusterDescription{
		Brokers: []wire.ClusterBroker{
			{Broker: wire.Broker{ID: 1}, ClusterAddress: "b1:7946"},
			{Broker: wire.Broker{ID: 2}, ClusterAddress: "[::1]:7947"},
			{Broker: wire.Broker{ID: 3}, ClusterAddress: "b3"},
			{Broker: wire.Broker{ID: 4}, ClusterAddress: "b4:1"},
		},
		Quorum: wire.Quorum{
			Leader: 2, Term: 5, Committed: 70,
			Voters:   []wire.QuorumMember{{Broker: 1, Match: 60, Silent: 2 * time.Second}, {Broker: 2, Match: 71}, {Broker: 3}},
			Learners: []wire.QuorumMember{{Broker: 4, Match: 70}},
		},
	}
	client := start(t, backend).dial(t)
	for version := range int16(3) {
		q := kmsg.NewPtrDescribeQuorumRequest()
		q.SetVersion(version)
		q.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: metadataLogName, Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
		a := client.ask(q).(*kmsg.DescribeQuorumResponse)
		if a.ErrorCode != 0 || len(a.Topics) != 1 || len(a.Topics[0].Partitions) != 1 {
			t.Fatalf("version %d: %+v", version, a)
		}
		p := a.Topics[0].Partitions[0]
		if p.ErrorCode != 0 || p.LeaderID != 2 || p.LeaderEpoch != 5 || p.HighWatermark != 70 || len(p.CurrentVoters) != 3 || len(p.Observers) != 1 {
			t.Fatalf("version %d: %+v", version, p)
		}
		behind, ahead, unknown := p.CurrentVoters[0], p.CurrentVoters[1], p.CurrentVoters[2]
		if behind.LogEndOffset != 60 || ahead.LogEndOffset != 71 || unknown.LogEndOffset != -1 {
			t.Errorf("version %d: voters %+v", version, p.CurrentVoters)
		}
		if version >= 1 {
			if silent := ahead.LastFetchTimestamp - behind.LastFetchTimestamp; silent != 2000 || behind.LastCaughtUpTimestamp != -1 || ahead.LastCaughtUpTimestamp != ahead.LastFetchTimestamp || unknown.LastFetchTimestamp != -1 {
				t.Errorf("version %d: voters %+v", version, p.CurrentVoters)
			}
		}
		if version >= 2 {
			if len(a.Nodes) != 2 || a.Nodes[0].Listeners[0].Host != "b1" || a.Nodes[1].Listeners[0].Port != 7947 {
				t.Errorf("version %d: nodes %+v", version, a.Nodes)
			}
		}
		for _, topics := range [][]kmsg.DescribeQuorumRequestTopic{
			{{Topic: "orders", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}, {Partition: 1}}}},
			{{Topic: metadataLogName, Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{Partition: 1}}}},
			{{Topic: metadataLogName, Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}, {Topic: "orders", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}},
		} {
			q.Topics = topics
			a := client.ask(q).(*kmsg.DescribeQuorumResponse)
			for i := range a.Topics {
				for _, p := range a.Topics[i].Partitions {
					if p.ErrorCode != int16(wire.UnknownTopicOrPartition) {
						t.Errorf("version %d: %s/%d is answered %v", version, a.Topics[i].Topic, p.Partition, wire.ErrorCode(p.ErrorCode))
					}
				}
			}
			if len(a.Topics) != len(topics) {
				t.Errorf("version %d: %+v is answered %+v", version, topics, a.Topics)
			}
		}
	}
}

func TestMetadataOfSeveralBrokersLeavesOutTheFenced(t *testing.T) {
	backend, _ := fakeBroker()
	backend.view.brokers = append(backend.view.brokers,
		wire.Broker{ID: 2, Host: "b2", Port: 9, Rack: "r2"}, wire.Broker{ID: 3, Host: "b3", Port: 9, Rack: "r3", Fenced: true})
	client := start(t, backend).dial(t)
	for _, c := range []struct{ controller, want wire.BrokerID }{{2, 2}, {3, 1}, {wire.NoBroker, 1}} {
		backend.mu.Lock()
		fresh := *backend.view
		fresh.controller = c.controller
		backend.view = &fresh
		backend.mu.Unlock()
		q := kmsg.NewPtrMetadataRequest()
		q.SetVersion(12)
		a := client.ask(q).(*kmsg.MetadataResponse)
		if len(a.Brokers) != 2 || a.Brokers[1].NodeID != 2 || a.Brokers[1].Rack == nil || *a.Brokers[1].Rack != "r2" || a.ControllerID != int32(c.want) {
			t.Errorf("controller %d: brokers %+v, controller %d", c.controller, a.Brokers, a.ControllerID)
		}
	}
}
