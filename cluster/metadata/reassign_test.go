package metadata

import (
	"reflect"
	"slices"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// reassign asks that the first partition of topic t lie on those brokers; on none to cancel it.
func (c *cluster) reassign(target ...wire.BrokerID) error {
	c.t.Helper()
	m := wire.Reassignment{Topic: "t", Replicas: target}
	return c.do(AlterReassignments{Partitions: []wire.Reassignment{m}}).([]wire.PartitionOutcome)[0].Err
}

func (c *cluster) mustReassign(target ...wire.BrokerID) {
	c.t.Helper()
	if err := c.reassign(target...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) mustJoin(id wire.TopicID, isr ...wire.BrokerID) {
	c.t.Helper()
	if err := c.join(id, isr...); err != nil {
		c.t.Fatal(err)
	}
}

// expectReplicas checks who has the partition, who comes and who goes.
func (c *cluster) expectReplicas(id wire.TopicID, replicas, adding, removing []wire.BrokerID) {
	c.t.Helper()
	p := c.partition(id, 0)
	if !slices.Equal(p.Replicas, replicas) || !slices.Equal(p.Adding, adding) || !slices.Equal(p.Removing, removing) {
		c.t.Errorf("%+v, want replicas %v, adding %v, removing %v", p, replicas, adding, removing)
	}
	underWay := 0
	for range c.img.Reassigning() {
		underWay++
	}
	if (underWay > 0) != (len(adding)+len(removing) > 0) {
		c.t.Errorf("%d partitions are listed as being reassigned", underWay)
	}
}

func TestAReassignmentEndsOnceAllNewReplicasAreInSync(t *testing.T) {
	c := newCluster(t, 5)
	id := c.assigned()
	c.mustReassign(4, 5, 3)
	c.expectReplicas(id, ids{4, 5, 3, 1, 2}, ids{4, 5}, ids{1, 2})
	c.expect(id, 0, want{1, [2]int32{0, 1}, ids{3, 1, 2}, nil})
	c.mustJoin(id, 1, 2, 3, 4)
	c.expectReplicas(id, ids{4, 5, 3, 1, 2}, ids{4, 5}, ids{1, 2})
	c.mustJoin(id, 1, 2, 3, 4, 5)
	c.expectReplicas(id, ids{4, 5, 3}, nil, nil)
	if p := c.partition(id, 0); p.Leader != 4 || p.LeaderEpoch == 0 || !slices.Equal(p.ISR, ids{4, 5, 3}) {
		t.Errorf("%+v", p)
	}
	for _, gone := range []wire.BrokerID{1, 2} {
		for tp := range c.img.Hosted(gone) {
			t.Errorf("broker %d still has %s", gone, tp)
		}
	}
}

// The leader that stays could still have under way what counts a replica that is gone.
func TestTakingAReplicaOffRaisesTheLeaderEpochEvenOfTheSameLeader(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned()
	c.mustReassign(1, 2)
	c.expectReplicas(id, ids{1, 2}, nil, nil)
	c.expect(id, 0, want{1, [2]int32{1, 1}, ids{1, 2}, nil})
}

func TestAReorderingNeedsNobodyToCatchUp(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned()
	c.mustReassign(3, 1, 2)
	c.expectReplicas(id, ids{3, 1, 2}, nil, nil)
	c.expect(id, 0, want{1, [2]int32{0, 1}, ids{3, 1, 2}, nil})
	entries := len(c.log)
	c.mustReassign(3, 1, 2) // it is so already
	if len(c.log) != entries {
		t.Error("something was written")
	}
}

func TestACancelledReassignmentLeavesWhatThereWas(t *testing.T) {
	c := newCluster(t, 5)
	id := c.assigned()
	if err := c.reassign(); wire.Code(err) != wire.NoReassignmentInProgress {
		t.Errorf("%v", err)
	}
	c.mustReassign(1, 4, 5)
	c.mustJoin(id, 1, 2, 3, 4)
	epoch := c.partition(id, 0).LeaderEpoch
	c.mustReassign()
	c.expectReplicas(id, ids{1, 2, 3}, nil, nil)
	if p := c.partition(id, 0); p.Leader != 1 || p.LeaderEpoch != epoch+1 || !slices.Equal(p.ISR, ids{1, 2, 3}) {
		t.Errorf("%+v", p)
	}
}

func TestACancelledReassignmentNeedsSomebodyInSyncWhoStays(t *testing.T) {
	c := newCluster(t, 5)
	id := c.assigned()
	c.mustReassign(4, 5, 1)
	c.mustJoin(id, 1, 4)
	c.fence(true, 1)
	if err := c.reassign(); wire.Code(err) != wire.InvalidReplicaAssignment {
		t.Errorf("%v", err)
	}
	c.fence(false, 1)
	c.mustJoin(id, 4, 1)
	c.mustReassign()
	c.expectReplicas(id, ids{1, 2, 3}, nil, nil)
	if p := c.partition(id, 0); p.Leader != 1 || !slices.Equal(p.ISR, ids{1}) {
		t.Errorf("%+v", p)
	}
}

// Nobody in sync, and all that is committed on a replica that would go.
func TestACancelledReassignmentKeepsWhoeverAloneCanLead(t *testing.T) {
	c := newCluster(t, 5)
	id := c.assigned()
	c.mustReassign(4, 5, 1)
	c.mustJoin(id, 1, 4)
	c.fence(true, 1)
	c.fence(true, 4)
	if p := c.partition(id, 0); len(p.ISR) != 0 || !slices.Contains(p.ELR, 4) {
		t.Fatalf("%+v", p)
	}
	if err := c.reassign(); wire.Code(err) != wire.InvalidReplicaAssignment {
		t.Errorf("%v", err)
	}
	c.fence(false, 4)
	if p := c.partition(id, 0); p.Leader != 4 || c.img.Unclean(id, 0) {
		t.Errorf("%+v", p)
	}
}

func TestASecondReassignmentReplacesTheFirst(t *testing.T) {
	c := newCluster(t, 5)
	id := c.assigned()
	c.mustReassign(1, 2, 4)
	c.mustReassign(1, 2, 5)
	c.expectReplicas(id, ids{1, 2, 5, 4, 3}, ids{5, 4}, ids{4, 3})
	c.mustJoin(id, 1, 2, 3, 5) // 4 is not waited for
	c.expectReplicas(id, ids{1, 2, 5}, nil, nil)
}

func TestWhatASecondReassignmentNoLongerWantsGoesWhenItIsCancelledToo(t *testing.T) {
	c := newCluster(t, 5)
	id := c.assigned()
	c.mustReassign(1, 2, 4)
	c.mustJoin(id, 1, 2, 3)
	c.mustReassign(1, 2, 5)
	c.mustReassign()
	c.expectReplicas(id, ids{1, 2, 3}, nil, nil)
}

func TestAPartitionOfOneAcceptsRecordsWhileAnotherReplicaCatchesUp(t *testing.T) {
	c := newCluster(t, 2)
	n := wire.NewTopic{Name: "t", Partitions: -1, ReplicationFactor: -1, Assignment: [][]wire.BrokerID{{1}}}
	n.Configs = []wire.ConfigValue{{Name: "min.insync.replicas", Value: pointer("2")}}
	id := c.do(CreateTopics{Topics: []wire.NewTopic{n}}).([]wire.CreatedTopic)[0].ID
	if enough := c.img.MinISR(id, 0); enough != 1 {
		t.Errorf("%d replicas have to be in sync before", enough)
	}
	c.mustReassign(1, 2)
	if enough := c.img.MinISR(id, 0); enough != 1 {
		t.Errorf("%d replicas have to be in sync on the way", enough)
	}
	c.mustJoin(id, 1, 2)
	if enough := c.img.MinISR(id, 0); enough != 2 {
		t.Errorf("%d replicas have to be in sync then", enough)
	}
}

// All in sync was to go: it stays until somebody else is.
func TestAShrinkWaitsForSomebodyWhoStays(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned()
	c.mustJoin(id, 1)
	c.mustReassign(2)
	c.expectReplicas(id, ids{2, 1, 3}, nil, ids{1, 3})
	c.fence(true, 1) // the last in sync, and so it is eligible and nobody leads
	c.fence(false, 1)
	c.mustJoin(id, 1, 2)
	c.expectReplicas(id, ids{2}, nil, nil)
	c.expect(id, 0, want{2, [2]int32{4, 5}, ids{2}, nil})
}

func TestAReassignmentIsRefusedThatCannotBe(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned()
	before := c.partition(id, 0)
	for name, tc := range map[string]struct {
		m    wire.Reassignment
		same bool
		want wire.ErrorCode
	}{
		"of a topic that is not there":     {wire.Reassignment{Topic: "x", Replicas: ids{1}}, false, wire.UnknownTopicOrPartition},
		"of a partition that is not there": {wire.Reassignment{Topic: "t", Partition: 1, Replicas: ids{1}}, false, wire.UnknownTopicOrPartition},
		"to nobody":                        {wire.Reassignment{Topic: "t", Replicas: ids{}}, false, wire.InvalidReplicaAssignment},
		"to a broker that is not there":    {wire.Reassignment{Topic: "t", Replicas: ids{1, 9}}, false, wire.InvalidReplicaAssignment},
		"to a broker twice":                {wire.Reassignment{Topic: "t", Replicas: ids{1, 1}}, false, wire.InvalidReplicaAssignment},
		"to fewer where that is not meant": {wire.Reassignment{Topic: "t", Replicas: ids{1, 2}}, true, wire.InvalidReplicationFactor},
		"to more brokers than may be":      {wire.Reassignment{Topic: "t", Replicas: make(ids, 17)}, false, wire.InvalidReplicaAssignment},
	} {
		reply := c.do(AlterReassignments{SameFactor: tc.same, Partitions: []wire.Reassignment{tc.m}}).([]wire.PartitionOutcome)
		if wire.Code(reply[0].Err) != tc.want || reply[0].Topic != tc.m.Topic || reply[0].Partition != tc.m.Partition {
			t.Errorf("%s: %+v, want %s", name, reply[0], tc.want.Name())
		}
	}
	twice := wire.Reassignment{Topic: "t", Replicas: ids{1, 9}}
	reply := c.do(AlterReassignments{Partitions: []wire.Reassignment{twice, twice}}).([]wire.PartitionOutcome)
	if wire.Code(reply[1].Err) != wire.InvalidRequest {
		t.Errorf("twice: %+v", reply[1])
	}
	if !reflect.DeepEqual(c.partition(id, 0), before) {
		t.Errorf("%+v", c.partition(id, 0))
	}
}

// A replica that failed is forgotten with the replica, or it could not come back.
func TestAReplicaThatIsTakenOffIsNotRememberedAsFailed(t *testing.T) {
	c := newCluster(t, 4)
	id := c.assigned()
	if err := c.failReplica(id, 3); err != nil {
		t.Fatal(err)
	}
	c.mustReassign(1, 2, 4)
	c.mustJoin(id, 1, 2, 4)
	c.mustReassign(1, 2, 3)
	c.mustJoin(id, 1, 2, 4, 3)
	c.expectReplicas(id, ids{1, 2, 3}, nil, nil)
	if _, err := DecodeSnapshot(c.img.EncodeSnapshot()); err != nil {
		t.Error(err)
	}
}

func TestReassignmentsHaveARateThatCanBeChangedWhileTheyRun(t *testing.T) {
	c := newCluster(t, 1)
	if rate := c.img.Local(1, nil).ReassignmentRate(); rate != 1<<63-1 {
		t.Errorf("unlimited is %d", rate)
	}
	if err := c.alter(allBrokers, false, set("leader.replication.throttled.rate", "1000")); err != nil {
		t.Fatal(err)
	}
	own := wire.ConfigResource{Type: wire.ConfigBroker, Name: "1"}
	if err := c.alter(own, false, set("leader.replication.throttled.rate", "500")); err != nil {
		t.Fatal(err)
	}
	if one, other := c.img.Local(1, nil).ReassignmentRate(), c.img.Local(2, nil).ReassignmentRate(); one != 500 || other != 1000 {
		t.Errorf("%d on broker 1, %d on others", one, other)
	}
	if err := c.alter(own, false, set("leader.replication.throttled.rate", "0")); wire.Code(err) != wire.InvalidConfig {
		t.Errorf("%v", err)
	}
}
