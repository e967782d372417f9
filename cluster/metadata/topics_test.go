package metadata

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

func TestCreateTopicsRefusesWhatKafkaRefuses(t *testing.T) {
	text := func(s string) *string { return &s }
	ok := func(name string) wire.NewTopic { return wire.NewTopic{Name: name, Partitions: 1, ReplicationFactor: 1} }
	configured := func(key string, value *string) wire.NewTopic {
		n := ok("new")
		n.Configs = []wire.ConfigValue{{Name: key, Value: value}}
		return n
	}
	assigned := func(assignment ...[]wire.BrokerID) wire.NewTopic {
		return wire.NewTopic{Name: "new", Partitions: -1, ReplicationFactor: -1, Assignment: assignment}
	}
	for _, tc := range []struct {
		name  string
		topic wire.NewTopic
		want  wire.ErrorCode
	}{
		{"a plain topic", ok("new"), wire.None},
		{"the defaults of the cluster", wire.NewTopic{Name: "new", Partitions: -1, ReplicationFactor: -1}, wire.None},
		{"an empty name", ok(""), wire.InvalidTopic},
		{"a dot", ok("."), wire.InvalidTopic},
		{"two dots", ok(".."), wire.InvalidTopic},
		{"three dots", ok("..."), wire.None},
		{"a slash", ok("a/b"), wire.InvalidTopic},
		{"no ASCII", ok("größe"), wire.InvalidTopic},
		{"the longest name", ok(strings.Repeat("x", 249)), wire.None},
		{"a longer name", ok(strings.Repeat("x", 250)), wire.InvalidTopic},
		{"a name that exists", ok("old.one"), wire.TopicAlreadyExists},
		{"a name that collides", ok("old_one"), wire.InvalidTopic},
		{"the metadata log's name", ok("__cluster_metadata"), wire.InvalidRequest},
		{"no partitions", wire.NewTopic{Name: "new", Partitions: 0, ReplicationFactor: 1}, wire.InvalidPartitions},
		{"fewer than none", wire.NewTopic{Name: "new", Partitions: -2, ReplicationFactor: 1}, wire.InvalidPartitions},
		{"too many partitions", wire.NewTopic{Name: "new", Partitions: 10_001, ReplicationFactor: 1}, wire.PolicyViolation},
		{"no replicas", wire.NewTopic{Name: "new", Partitions: 1, ReplicationFactor: 0}, wire.InvalidReplicationFactor},
		{"as many replicas as brokers", wire.NewTopic{Name: "new", Partitions: 1, ReplicationFactor: 3}, wire.None},
		{"more replicas than brokers", wire.NewTopic{Name: "new", Partitions: 1, ReplicationFactor: 4}, wire.InvalidReplicationFactor},
		{"an unknown configuration", configured("retention", text("1")), wire.InvalidConfig},
		{"a bad value", configured("retention.ms", text("soon")), wire.InvalidConfig},
		{"no value", configured("retention.ms", nil), wire.InvalidConfig},
		{"compaction", configured("cleanup.policy", text("compact")), wire.None},
		{"a good value", configured("retention.ms", text("1000")), wire.None},
		{"replicas by hand", assigned([]wire.BrokerID{3, 1}, []wire.BrokerID{1, 2}), wire.None},
		{"replicas by hand, and a number of partitions", wire.NewTopic{
			Name: "new", Partitions: 1, ReplicationFactor: -1, Assignment: [][]wire.BrokerID{{1}},
		}, wire.InvalidRequest},
		{"replicas by hand, and a replication factor", wire.NewTopic{
			Name: "new", Partitions: -1, ReplicationFactor: 1, Assignment: [][]wire.BrokerID{{1}},
		}, wire.InvalidRequest},
		{"an empty assignment, which is none", wire.NewTopic{
			Name: "new", Partitions: 1, ReplicationFactor: 1, Assignment: [][]wire.BrokerID{},
		}, wire.None},
		{"a partition without replicas", assigned([]wire.BrokerID{1}, nil), wire.InvalidReplicaAssignment},
		{"a broker twice", assigned([]wire.BrokerID{1, 1}), wire.InvalidReplicaAssignment},
		{"an unknown broker", assigned([]wire.BrokerID{1, 9}), wire.InvalidReplicaAssignment},
		{"unequal numbers of replicas", assigned([]wire.BrokerID{1, 2}, []wire.BrokerID{1}), wire.InvalidReplicaAssignment},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCluster(t, 3)
			c.env.Static = map[string]string{"num.partitions": "2"}
			c.mustCreate("old.one", 1, 1)
			before := c.img
			created := c.do(CreateTopics{Topics: []wire.NewTopic{tc.topic}}).([]wire.CreatedTopic)[0]
			if wire.Code(created.Err) != tc.want {
				t.Fatalf("%v, want %s", created.Err, tc.want.Name())
			}
			if (tc.want == wire.None) == (c.img == before) {
				t.Error("a refusal changed the image, or a creation did not")
			}
		})
	}
}

func TestATopicTwiceInARequestIsCreatedNeitherTime(t *testing.T) {
	c := newCluster(t, 1)
	n := wire.NewTopic{Name: "twice", Partitions: 1, ReplicationFactor: 1}
	other := wire.NewTopic{Name: "other", Partitions: 1, ReplicationFactor: 1}
	reply := c.do(CreateTopics{Topics: []wire.NewTopic{n, other, n}}).([]wire.CreatedTopic)
	if wire.Code(reply[0].Err) != wire.InvalidRequest || wire.Code(reply[2].Err) != wire.InvalidRequest || reply[1].Err != nil {
		t.Errorf("%v, %v, %v", reply[0].Err, reply[1].Err, reply[2].Err)
	}
	if c.img.TopicCount() != 1 {
		t.Errorf("topics %q", c.img.TopicNames())
	}
}

func TestTwoTopicsOfOneRequestMayNotCollide(t *testing.T) {
	c := newCluster(t, 1)
	reply := c.do(CreateTopics{Topics: []wire.NewTopic{
		{Name: "a.b_c", Partitions: 1, ReplicationFactor: 1}, {Name: "a_b.c", Partitions: 1, ReplicationFactor: 1},
	}}).([]wire.CreatedTopic)
	if reply[0].Err != nil || wire.Code(reply[1].Err) != wire.InvalidTopic {
		t.Errorf("%v, %v", reply[0].Err, reply[1].Err)
	}
}

func TestADeletedNameCanBeUsedAgainUnderANewID(t *testing.T) {
	c := newCluster(t, 1)
	old := c.mustCreate("a.b", 3, 1)
	reply := c.do(DeleteTopics{Topics: []wire.TopicRef{{ID: old}}}).([]wire.DeletedTopic)[0]
	if reply.Err != nil || reply.Name != "a.b" || reply.ID != old {
		t.Fatalf("%+v", reply)
	}
	if again := c.mustCreate("a_b", 1, 1); again == old {
		t.Error("the new topic has the old one's id")
	}
	if _, there := c.img.TopicByID(old); there {
		t.Error("the old topic is still there")
	}
}

func TestDeleteTopicsRefusesWhatKafkaRefuses(t *testing.T) {
	c := newCluster(t, 1)
	id := c.mustCreate("there", 1, 1)
	for _, tc := range []struct {
		ref  wire.TopicRef
		want wire.ErrorCode
	}{
		{wire.TopicRef{Name: "nowhere"}, wire.UnknownTopicOrPartition},
		{wire.TopicRef{ID: wire.TopicID{9}}, wire.UnknownTopicID},
		{wire.TopicRef{}, wire.InvalidRequest},
		{wire.TopicRef{Name: "there", ID: id}, wire.InvalidRequest},
	} {
		reply := c.do(DeleteTopics{Topics: []wire.TopicRef{tc.ref}}).([]wire.DeletedTopic)[0]
		if wire.Code(reply.Err) != tc.want {
			t.Errorf("%+v: %v, want %s", tc.ref, reply.Err, tc.want.Name())
		}
	}
	c.env.Static = map[string]string{"delete.topic.enable": "false"}
	reply := c.do(DeleteTopics{Topics: []wire.TopicRef{{Name: "there"}}}).([]wire.DeletedTopic)[0]
	if wire.Code(reply.Err) != wire.TopicDeletionDisabled {
		t.Errorf("where deletion is off: %v", reply.Err)
	}
}

func TestCreatePartitionsRefusesWhatKafkaRefuses(t *testing.T) {
	c := newCluster(t, 3)
	id := c.mustCreate("t", 2, 2)
	for _, tc := range []struct {
		more wire.MorePartitions
		want wire.ErrorCode
	}{
		{wire.MorePartitions{Topic: "nowhere", Count: 3}, wire.UnknownTopicOrPartition},
		{wire.MorePartitions{Topic: "t", Count: 2}, wire.InvalidPartitions},
		{wire.MorePartitions{Topic: "t", Count: 1}, wire.InvalidPartitions},
		{wire.MorePartitions{Topic: "t", Count: -5}, wire.InvalidPartitions},
		{wire.MorePartitions{Topic: "t", Count: 20_000}, wire.PolicyViolation},
		{wire.MorePartitions{Topic: "t", Count: 3, Assignment: [][]wire.BrokerID{{1, 2}, {2, 3}}}, wire.InvalidReplicaAssignment},
		{wire.MorePartitions{Topic: "t", Count: 3, Assignment: [][]wire.BrokerID{{1}}}, wire.InvalidReplicaAssignment},
		{wire.MorePartitions{Topic: "t", Count: 3, Assignment: [][]wire.BrokerID{{3, 2}}}, wire.None},
		{wire.MorePartitions{Topic: "t", Count: 200}, wire.None},
	} {
		reply := c.do(CreatePartitions{Topics: []wire.MorePartitions{tc.more}}).([]error)
		if wire.Code(reply[0]) != tc.want {
			t.Errorf("%+v: %v, want %s", tc.more, reply[0], tc.want.Name())
		}
	}
	if topic, _ := c.img.TopicByID(id); topic.Partitions != 200 {
		t.Errorf("%d partitions", topic.Partitions)
	}
	if p := c.partition(id, 2); p.Replicas[0] != 3 || p.Leader != 3 {
		t.Errorf("the partition placed by hand: %+v", p)
	}
	first, last := c.delta.Topics[0].Partitions[0], c.delta.Topics[0].Partitions[196]
	if len(c.delta.Topics) != 1 || first != 3 || last != 199 {
		t.Errorf("the delta names partitions %d to %d", first, last)
	}
}

func TestValidateOnlyWritesNothing(t *testing.T) {
	c := newCluster(t, 1)
	c.mustCreate("there", 1, 1)
	n := wire.NewTopic{Name: "new", Partitions: 4, ReplicationFactor: 1}
	value := "1"
	for _, cmd := range []Command{
		CreateTopics{Topics: []wire.NewTopic{n}, ValidateOnly: true},
		CreatePartitions{Topics: []wire.MorePartitions{{Topic: "there", Count: 2}}, ValidateOnly: true},
		AlterConfigs{ValidateOnly: true, Changes: []wire.AlterConfigs{{
			Resource: wire.ConfigResource{Type: wire.ConfigTopic, Name: "there"},
			Changes:  []wire.ConfigChange{{Name: "retention.ms", Op: wire.OpSet, Value: &value}},
		}}},
	} {
		d := cmd.Decide(c.img, c.env)
		if len(d.Records) > 0 {
			t.Errorf("%T writes %d records", cmd, len(d.Records))
		}
		switch reply := d.Reply.(type) {
		case []wire.CreatedTopic:
			if reply[0].Err != nil || reply[0].Partitions != 4 || !reply[0].ID.IsZero() {
				t.Errorf("%+v", reply[0])
			}
		case []error:
			if err := errors.Join(reply...); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestReplicasAreSpreadOverBrokersAndRacks(t *testing.T) {
	c := newCluster(t, 0)
	for id := wire.BrokerID(1); id <= 6; id++ {
		r := registration(id, 1)
		r.Rack = fmt.Sprintf("rack-%d", id%3)
		c.do(r)
	}
	id := c.mustCreate("t", 60, 3)
	leaders, replicas := map[wire.BrokerID]int{}, map[wire.BrokerID]int{}
	for n := range int32(60) {
		p := c.partition(id, n)
		leaders[p.Leader]++
		racks := map[wire.BrokerID]bool{}
		for _, b := range p.Replicas {
			replicas[b]++
			racks[b%3] = true
		}
		if len(racks) != 3 {
			t.Errorf("partition %d lies on %v: in %d racks of 3", n, p.Replicas, len(racks))
		}
	}
	for id := wire.BrokerID(1); id <= 6; id++ {
		if leaders[id] != 10 || replicas[id] < 20 || replicas[id] > 40 {
			t.Errorf("broker %d leads %d and holds %d partitions of 60", id, leaders[id], replicas[id])
		}
	}
}

func TestAFencedBrokerLeadsNoNewPartition(t *testing.T) {
	c := newCluster(t, 2)
	fenced := registration(3, 1)
	fenced.Fenced = true
	c.do(fenced)
	id := c.mustCreate("t", 10, 3)
	for n := range int32(10) {
		p := c.partition(id, n)
		if p.Leader == 3 || len(p.ISR) != 2 || p.Replicas[2] != 3 || p.Offline[0] != 3 {
			t.Errorf("partition %d: %+v", n, p)
		}
	}
}

func TestTheDefaultReplicationFactorIsThreeOrAllBrokers(t *testing.T) {
	for brokers, want := range map[int]int16{1: 1, 2: 2, 3: 3, 5: 3} {
		c := newCluster(t, brokers)
		if created := c.create("t", -1, -1); created.ReplicationFactor != want || created.Partitions != 1 {
			t.Errorf("with %d brokers: %+v", brokers, created)
		}
	}
	c := newCluster(t, 3)
	c.env.Static = map[string]string{"default.replication.factor": "2", "num.partitions": "7"}
	if created := c.create("t", -1, -1); created.ReplicationFactor != 2 || created.Partitions != 7 {
		t.Errorf("%+v", created)
	}
}
