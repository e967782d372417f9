package metadata

import (
	"slices"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// catchUp has every leader propose all replicas.
func (c *cluster) catchUp() {
	c.t.Helper()
	for _, name := range c.img.TopicNames() {
		topic, _ := c.img.Topic(name)
		for n := range topic.Partitions {
			p := c.partition(topic.ID, n)
			if len(p.ISR) == len(p.Replicas) {
				continue
			}
			leader, _ := c.img.Registration(p.Leader)
			m := ISRProposal{Topic: topic.ID, Partition: n, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
			for _, b := range p.Replicas {
				r, _ := c.img.Registration(b)
				m.ISR = append(m.ISR, ISRMember{b, r.Incarnation})
			}
			reply := c.do(AlterPartitions{Broker: p.Leader, Incarnation: leader.Incarnation, Proposals: []ISRProposal{m}}).([]error)
			if reply[0] != nil {
				c.t.Fatal(reply[0])
			}
		}
	}
}

func TestABrokerIsRemovedOnceAllItHasIsElsewhere(t *testing.T) {
	c := newCluster(t, 4)
	c.mustCreate("a", 300, 3)
	c.mustCreate("b", 7, 1)
	before := 0
	for range c.img.Hosted(2) {
		before++
	}
	for round := 0; ; round++ {
		if round == 50 {
			t.Fatal("it takes for ever")
		}
		reply := c.do(RemoveBroker{Broker: 2}).(RemovedBroker)
		if reply.Err != nil {
			t.Fatal(reply.Err)
		}
		if reply.Done {
			break
		}
		if reply.Moving == 0 || reply.Moving > removalBatch || round == 0 && reply.Left != before {
			t.Fatalf("%+v", reply)
		}
		if again := c.do(RemoveBroker{Broker: 2}).(RemovedBroker); again != reply {
			t.Fatalf("asked again: %+v after %+v", again, reply)
		}
		if placed := c.create("new", 3, 3); placed.Err != nil {
			t.Fatal(placed.Err)
		}
		for tp := range c.img.Hosted(2) {
			if topic, _ := c.img.TopicByID(tp.Topic); topic.Name == "new" {
				t.Fatal("a broker that is being removed got a new replica")
			}
		}
		c.do(DeleteTopics{Topics: []wire.TopicRef{{Name: "new"}}})
		c.catchUp()
	}
	if _, there := c.img.Registration(2); there {
		t.Error("it is still registered")
	}
	if reply := c.do(registration(2, 2)).(RegisteredBroker); wire.Code(reply.Err) != wire.InvalidRegistration {
		t.Errorf("its directory comes back: %+v", reply)
	}
	if reply := c.do(RemoveBroker{Broker: 2}).(RemovedBroker); wire.Code(reply.Err) != wire.BrokerIDNotRegistered {
		t.Errorf("removed again: %+v", reply)
	}
	load := c.img.replicaLoad()
	if total := load[1] + load[3] + load[4]; total != 907 || max(load[1], load[3], load[4]) > 320 {
		t.Errorf("what it had went to %v", load)
	}
	for _, name := range []string{"a", "b"} {
		topic, _ := c.img.Topic(name)
		for n := range topic.Partitions {
			if p := c.partition(topic.ID, n); len(p.ISR) != len(p.Replicas) || p.Leader == wire.NoBroker {
				t.Fatalf("%s-%d: %+v", name, n, p)
			}
		}
	}
}

func TestABrokerStaysThatTheRestCannotReplace(t *testing.T) {
	c := newCluster(t, 3)
	c.mustCreate("t", 1, 3)
	if reply := c.do(RemoveBroker{Broker: 1}).(RemovedBroker); wire.Code(reply.Err) != wire.InvalidReplicationFactor {
		t.Errorf("%+v", reply)
	}
	if r, _ := c.img.Registration(1); r.Draining {
		t.Error("it is being removed all the same")
	}
	alone := newCluster(t, 1)
	if reply := alone.do(RemoveBroker{Broker: 1}).(RemovedBroker); wire.Code(reply.Err) != wire.InvalidRequest {
		t.Errorf("the last one: %+v", reply)
	}
	away := newCluster(t, 3)
	away.mustCreate("t", 3, 2)
	away.fence(true, 2, 3)
	if reply := away.do(RemoveBroker{Broker: 1}).(RemovedBroker); wire.Code(reply.Err) != wire.InvalidReplicaAssignment {
		t.Errorf("all others are fenced: %+v", reply)
	}
}

// Whoever is removed while it decides what is committed could not commit that.
func TestTheControllersBrokerIsRemovedOnceAnotherIsTheController(t *testing.T) {
	c := newCluster(t, 2)
	for range 2 {
		if reply := c.do(RemoveBroker{Broker: 1}); reply != (RemovedBroker{}) {
			t.Fatalf("%+v", reply)
		}
	}
	if r, _ := c.img.Registration(1); !r.Draining {
		t.Error("its vote does not move either")
	}
	c.env.Self = 2
	if reply := c.do(RemoveBroker{Broker: 1}); reply != (RemovedBroker{Done: true}) {
		t.Errorf("%+v", reply)
	}
}

func TestARemovalCanBeCalledOff(t *testing.T) {
	c := newCluster(t, 4)
	c.mustCreate("t", 20, 3)
	c.do(RemoveBroker{Broker: 1})
	c.do(registration(1, 2)) // also over a restart
	if r, _ := c.img.Registration(1); !r.Draining {
		t.Error("it is not being removed any more")
	}
	c.do(RemoveBroker{Broker: 1, Cancel: true})
	if r, _ := c.img.Registration(1); r.Draining {
		t.Error("it is still being removed")
	}
	c.fence(false, 1)
	c.mustCreate("new", 4, 4)
}

func TestWhatIsMovedAwayStaysSpreadOverRacks(t *testing.T) {
	c := newCluster(t, 0)
	for id, rack := range map[wire.BrokerID]string{1: "a", 2: "a", 3: "b", 4: "b", 5: "c", 6: "c"} {
		r := registration(id, 1)
		r.Rack = rack
		c.do(r)
	}
	c.mustCreate("t", 60, 3)
	for range 5 {
		c.do(RemoveBroker{Broker: 5})
		c.catchUp()
	}
	topic, _ := c.img.Topic("t")
	for n := range topic.Partitions {
		var racks []string
		for _, id := range c.partition(topic.ID, n).Replicas {
			r, _ := c.img.Registration(id)
			racks = append(racks, r.Rack)
		}
		if slices.Sort(racks); !slices.Equal(racks, []string{"a", "b", "c"}) {
			t.Errorf("partition %d lies in racks %v", n, racks)
		}
	}
}

func TestInternalTopicsGrowWithTheCluster(t *testing.T) {
	c := newCluster(t, 1)
	c.mustCreate("users", 2, 1)
	rec := &TopicCreated{Topic: c.img.nextTopic, ID: c.newTopicID(), Name: "__consumer_offsets"}
	rec.Partitions = c.img.newPartitions(rec.Topic, 0, [][]wire.BrokerID{{1}, {1}, {1}})
	c.write([]Record{rec})
	if n := c.do(GrowInternalTopics{}); n != 0 {
		t.Errorf("%d partitions grow on one broker", n)
	}
	for id := range wire.BrokerID(3) {
		c.do(registration(id+2, 1))
	}
	if n := c.do(GrowInternalTopics{}); n != 3 {
		t.Errorf("%d partitions grow", n)
	}
	c.catchUp()
	if n := c.do(GrowInternalTopics{}); n != 0 {
		t.Errorf("%d partitions grow still", n)
	}
	for n := range int32(3) {
		if p := c.partition(rec.ID, n); len(p.ISR) != 3 || p.Replicas[0] != 1 {
			t.Errorf("%+v", p)
		}
	}
	if config, _ := EffectiveTopicConfig(c.img, wire.OffsetsTopic); config.MinISR != 2 {
		t.Errorf("with three replicas, %d have to be in sync", config.MinISR)
	}
	before := c.img
	if c.do(GrowInternalTopics{}); c.img != before {
		t.Error("what has grown is changed again")
	}
	users, _ := c.img.Topic("users")
	if p := c.partition(users.ID, 0); len(p.Replicas) != 1 {
		t.Errorf("users' topics grow too: %+v", p)
	}
}

func TestInternalTopicsGrowNoMoreThanTheBrokersAreConfiguredFor(t *testing.T) {
	c := newCluster(t, 3)
	c.env.Static = map[string]string{"offsets.topic.replication.factor": "1", "offsets.topic.num.partitions": "2"}
	c.do(CreateInternalTopic{Name: wire.OffsetsTopic})
	if n := c.do(GrowInternalTopics{}); n != 0 {
		t.Errorf("%d partitions grow", n)
	}
	c.env.Static["offsets.topic.replication.factor"] = "2"
	if n := c.do(GrowInternalTopics{}); n != 2 {
		t.Errorf("%d partitions grow, want 2", n)
	}
	c.catchUp()
	before := c.img
	if c.do(GrowInternalTopics{}); c.img != before {
		t.Error("two replicas must not need each other")
	}
}
