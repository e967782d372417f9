package metadata

import (
	"errors"
	"slices"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

func TestAFailedReplicaLeadsNoMoreUntilItsBrokerRegistersAnew(t *testing.T) {
	c := newCluster(t, 1)
	id := c.mustCreate("t", 2, 1)
	entries := len(c.log)
	for range 2 { // the second time it is known
		if err := c.failReplica(id, 1); err != nil || len(c.log) != entries+1 {
			t.Fatalf("%v in %d entries", err, len(c.log)-entries)
		}
	}
	c.expect(id, 0, want{wire.NoBroker, [2]int32{1, 1}, nil, nil})
	c.expect(id, 1, want{1, [2]int32{0, 0}, ids{1}, nil})
	if p := c.partition(id, 0); !slices.Equal(p.LastKnownELR, ids{1}) || !slices.Equal(p.Offline, ids{1}) {
		t.Errorf("%+v", p)
	}
	// Nothing else that happens to its broker brings it back.
	c.fence(true, 1)
	c.fence(false, 1)
	if p := c.partition(id, 0); p.Leader != wire.NoBroker {
		t.Errorf("%+v", p)
	}
	c.do(registration(1, 2))
	if p := c.partition(id, 0); p.Leader != 1 || !slices.Equal(p.ISR, ids{1}) || p.Offline != nil {
		t.Errorf("%+v", p)
	}
	if err := c.failReplica(id, 1); err != nil || c.partition(id, 0).Leader != wire.NoBroker {
		t.Errorf("%v, %+v", err, c.partition(id, 0))
	}
}

// A log that was damaged may lack what was committed: it is no clean leader while others have it.
func TestAFailedReplicaIsNotEligibleWhereOthersAre(t *testing.T) {
	c := newCluster(t, 3)
	id := c.mustCreate("t", 1, 3, "min.insync.replicas", "3", "unclean.leader.election.enable", "true")
	leader := c.partition(id, 0).Leader
	if err := c.failReplica(id, leader); err != nil {
		t.Fatal(err)
	}
	p := c.partition(id, 0)
	if p.Leader == leader || p.Leader == wire.NoBroker || len(p.ISR) != 2 || p.ELR != nil || c.img.Unclean(id, 0) {
		t.Errorf("%+v", p)
	}
	isr := slices.Clone(p.Replicas)
	if err := c.join(id, isr...); !errors.Is(err, wire.IneligibleReplica) {
		t.Errorf("it joins: %v", err)
	}
	c.fence(true, p.ISR...)
	if p := c.partition(id, 0); p.Leader != wire.NoBroker {
		t.Errorf("it is elected uncleanly: %+v", p)
	}
}

func TestAFailedReplicaThatIsNotThereIsNoNews(t *testing.T) {
	c := newCluster(t, 2)
	id := c.mustCreate("t", 1, 1)
	on := c.partition(id, 0).Replicas[0]
	if err := c.failReplica(wire.TopicID{9}, on); err != nil {
		t.Errorf("of a topic that is gone: %v", err)
	}
	if err := c.failReplica(id, 3-on); !errors.Is(err, wire.UnknownTopicOrPartition) {
		t.Errorf("of another broker: %v", err)
	}
	if err, _ := c.do(FailReplicas{Broker: on, Incarnation: 9}).(error); !errors.Is(err, wire.StaleBrokerEpoch) {
		t.Errorf("of an earlier process: %v", err)
	}
	if err := c.failReplica(id, on); err != nil {
		t.Fatal(err)
	}
	c.do(DeleteTopics{Topics: []wire.TopicRef{{ID: id}}})
	if b := c.img.broker(on); len(b.failed) != 0 {
		t.Errorf("of a topic that is gone it knows %v", b.failed)
	}
}

func TestNamesOfInternalTopicsAreReserved(t *testing.T) {
	c := newCluster(t, 1)
	for _, name := range []string{"__consumer_offsets", "__transaction_state"} {
		if created := c.create(name, 1, 1); !errors.Is(created.Err, wire.InvalidTopic) {
			t.Errorf("%s: %+v", name, created)
		}
	}
}
