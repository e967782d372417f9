package metadata

import (
	"reflect"
	"slices"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// recovered is a cluster whose quorum was lost, with a topic on brokers 1, 2 and 3; only broker 1 had
// been heard of the last.
func recovered(t *testing.T) (*cluster, wire.TopicID) {
	c := newCluster(t, 3)
	for id := range wire.BrokerID(3) {
		r := registration(id+1, 2)
		r.RaftID = 100 + uint64(id) + 1
		c.do(r)
	}
	id := c.assigned()
	if err := c.do(Recover{RaftID: 101}); err != nil {
		t.Fatal(err)
	}
	return c, id
}

// back registers a broker anew and unfences it.
func (c *cluster) back(id wire.BrokerID) {
	r := registration(id, 9)
	r.Fenced = true
	c.do(r)
	c.fence(false, id)
}

// report has a broker report its replica of the first partition.
func (c *cluster) report(id wire.TopicID, of wire.BrokerID, epoch wire.LeaderEpoch, end wire.Offset) {
	c.t.Helper()
	b, _ := c.img.Registration(of)
	reported := ReportedReplica{Topic: id, LastEpoch: epoch, End: end}
	if err := c.do(ReportReplicas{Broker: of, Incarnation: b.Incarnation, Replicas: []ReportedReplica{reported}}); err != nil {
		c.t.Fatal(err)
	}
}

func TestARecoveryLeavesTheOldMajorityBehind(t *testing.T) {
	c, id := recovered(t)
	if c.img.RecoveryEpoch() != 1 {
		t.Errorf("recovery epoch %d", c.img.RecoveryEpoch())
	}
	for _, b := range c.img.Brokers() {
		r, _ := c.img.Registration(b.ID)
		if !b.Fenced || (r.RaftID != 0) != (b.ID == 1) {
			t.Errorf("%+v", r)
		}
	}
	c.expect(id, 0, want{wire.NoBroker, [2]int32{1 << 20, 1}, nil, nil})
	before, _ := c.img.Registration(2)
	c.back(2)
	if r, _ := c.img.Registration(2); r.Epoch <= before.Epoch || r.Epoch>>epochIndexBits != 1 || r.RegisteredAt() != c.img.Index()-1 {
		t.Errorf("%+v in entry %d", r, c.img.Index())
	}
	if c.img.NextProducerID() < recoveredProducerIDs {
		t.Errorf("producer ids go on at %d", c.img.NextProducerID())
	}
}

func TestAfterARecoveryTheFarthestReplicaLeads(t *testing.T) {
	for name, tc := range map[string]struct {
		epochs [3]wire.LeaderEpoch
		ends   [3]wire.Offset
		leader wire.BrokerID
	}{
		"by its end":                     {[3]wire.LeaderEpoch{4, 4, 4}, [3]wire.Offset{10, 12, 11}, 2},
		"by its epoch first":             {[3]wire.LeaderEpoch{4, 3, 5}, [3]wire.Offset{10, 99, 7}, 3},
		"the preferred one if all equal": {[3]wire.LeaderEpoch{4, 4, 4}, [3]wire.Offset{10, 10, 10}, 1},
		"even an empty one":              {[3]wire.LeaderEpoch{-1, -1, -1}, [3]wire.Offset{0, 0, 0}, 1},
	} {
		c, id := recovered(t)
		for n := range wire.BrokerID(3) {
			c.back(n + 1)
			if p := c.partition(id, 0); p.Leader != wire.NoBroker {
				t.Fatalf("%s: led before all have reported: %+v", name, p)
			}
			if !slices.Equal(slices.Collect(c.img.Awaited(n+1)), []wire.TopicPartition{{Topic: id}}) {
				t.Errorf("%s: nothing is awaited of broker %d", name, n+1)
			}
			c.report(id, n+1, tc.epochs[n], tc.ends[n])
			if c.img.AwaitsReport(id, 0, n+1) {
				t.Errorf("%s: broker %d is to report again", name, n+1)
			}
		}
		if p := c.partition(id, 0); p.Leader != tc.leader || !slices.Equal(p.ISR, ids{tc.leader}) || !c.img.Unclean(id, 0) {
			t.Errorf("%s: %+v", name, p)
		}
		if c.img.reports.len() > 0 || c.img.Awaits(PartitionRef{1, 0}) {
			t.Errorf("%s: reports are kept", name)
		}
	}
}

func TestWhoDoesNotComeBackIsNotWaitedForForEver(t *testing.T) {
	c, id := recovered(t)
	c.back(1)
	c.back(3)
	c.report(id, 1, 4, 10)
	c.do(ElectReported{})
	if p := c.partition(id, 0); p.Leader != wire.NoBroker {
		t.Errorf("while broker 3, which is there, has not reported: %+v", p)
	}
	c.report(id, 3, 4, 11)
	if p := c.partition(id, 0); p.Leader != wire.NoBroker {
		t.Errorf("before broker 2 had its time: %+v", p)
	}
	c.do(ElectReported{})
	if p := c.partition(id, 0); p.Leader != 3 {
		t.Errorf("%+v", p)
	}
}

// It was farthest, and was fenced before it could lead: what it has is waited for.
func TestTheFarthestReplicaIsWaitedFor(t *testing.T) {
	c, id := recovered(t)
	for n := range wire.BrokerID(3) {
		c.back(n + 1)
	}
	c.report(id, 2, 5, 20)
	c.fence(true, 2)
	c.report(id, 1, 5, 10)
	c.report(id, 3, 5, 10)
	if p := c.partition(id, 0); p.Leader != wire.NoBroker {
		t.Errorf("%+v", p)
	}
	c.fence(false, 2)
	if p := c.partition(id, 0); p.Leader != 2 {
		t.Errorf("%+v", p)
	}
}

func TestAReportOfTheProcessBeforeDoesNotCount(t *testing.T) {
	c, id := recovered(t)
	for n := range wire.BrokerID(3) {
		c.back(n + 1)
	}
	c.report(id, 1, 5, 10)
	c.do(registration(1, 10))
	if !c.img.AwaitsReport(id, 0, 1) {
		t.Error("the report outlives its process")
	}
	stale := ReportReplicas{Broker: 1, Incarnation: 9, Replicas: []ReportedReplica{{Topic: id, End: 99}}}
	if err, _ := c.do(stale).(error); wire.Code(err) != wire.StaleBrokerEpoch {
		t.Errorf("%v", err)
	}
}

func TestReportsThatNobodyWaitsForChangeNothing(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned()
	entries := len(c.log)
	c.report(id, 1, 4, 10)
	c.report(wire.TopicID{7}, 1, 4, 10)
	if len(c.log) != entries {
		t.Errorf("%d entries", len(c.log)-entries)
	}
}

func TestAnElectionByHandTakesTheFarthestOfThoseThatReported(t *testing.T) {
	c, id := recovered(t)
	c.back(1)
	c.back(2)
	c.back(3)
	c.report(id, 2, 4, 10)
	c.report(id, 3, 4, 12)
	if err := c.elect(true); err != nil {
		t.Fatal(err)
	}
	if p := c.partition(id, 0); p.Leader != 3 || !c.img.Unclean(id, 0) {
		t.Errorf("%+v", p)
	}
}

func TestReportsSurviveASnapshot(t *testing.T) {
	c, id := recovered(t)
	c.back(3)
	c.back(1)
	c.report(id, 3, 4, 10)
	c.report(id, 1, 4, 10)
	again, err := DecodeSnapshot(c.img.EncodeSnapshot())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again, c.img) {
		t.Errorf("the image read back is another one:\n%+v\n%+v", again, c.img)
	}
	c.do(DeleteTopics{Topics: []wire.TopicRef{{Name: "t"}}})
	if c.img.reports.len() > 0 {
		t.Error("reports outlive their topic")
	}
}

func TestOnlyAClusterIsRecovered(t *testing.T) {
	c := &cluster{t: t, img: NewImage()}
	if err, _ := c.do(Recover{}).(error); wire.Code(err) != wire.InvalidRequest {
		t.Errorf("%v", err)
	}
}

// asking returns a cluster whose brokers all report, with a topic on brokers 1, 2 and 3 of which only 3
// is complete, and gone.
func asking(t *testing.T) (*cluster, wire.TopicID) {
	c := newCluster(t, 3)
	c.write([]Record{&FeatureLevelChanged{Feature: MetadataVersion, Level: versionReports}})
	id := c.assigned("unclean.leader.election.enable", "true")
	c.fence(true, 1, 2) // 3 alone is in sync
	c.fence(true, 3)
	return c, id
}

func TestAnUncleanElectionTakesWhoHasMost(t *testing.T) {
	c, id := asking(t)
	c.fence(false, 1, 2)
	if p := c.partition(id, 0); p.Leader != wire.NoBroker || !c.img.AwaitsReport(id, 0, 2) {
		t.Errorf("before anybody has reported: %+v", p)
	}
	c.report(id, 1, 3, 10)
	c.report(id, 2, 3, 15)
	if p := c.partition(id, 0); p.Leader != 2 || !slices.Equal(p.ISR, ids{2}) || p.ELR != nil || !c.img.Unclean(id, 0) {
		t.Errorf("%+v", p)
	}
}

func TestAnUncleanElectionDoesNotWaitForWhoIsNotThere(t *testing.T) {
	c, id := asking(t)
	c.fence(false, 1)
	c.report(id, 1, 3, 10)
	if p := c.partition(id, 0); p.Leader != 1 || !c.img.Unclean(id, 0) {
		t.Errorf("%+v", p)
	}
}

func TestWhoIsCompleteAndComesBackNeedsNoReports(t *testing.T) {
	c, id := asking(t)
	c.fence(false, 1, 2)
	c.report(id, 1, 3, 10)
	c.fence(false, 3)
	if p := c.partition(id, 0); p.Leader != 3 || c.img.Unclean(id, 0) || c.img.reports.len() > 0 || c.img.AwaitsReport(id, 0, 2) {
		t.Errorf("%+v", p)
	}
}

func TestAnElectionMayBecomeUncleanAfterTheLastLeaderHasGone(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned()
	c.fence(true, 1, 2)
	c.fence(true, 3)
	c.fence(false, 2)
	c.do(ElectReported{})
	if p := c.partition(id, 0); p.Leader != wire.NoBroker {
		t.Errorf("%+v", p)
	}
	topic := wire.ConfigResource{Type: wire.ConfigTopic, Name: "t"}
	if err := c.alter(topic, false, set("unclean.leader.election.enable", "true")); err != nil {
		t.Fatal(err)
	}
	c.do(ElectReported{})
	if p := c.partition(id, 0); p.Leader != wire.NoBroker || !c.img.AwaitsReport(id, 0, 2) {
		t.Errorf("%+v", p)
	}
	c.report(id, 2, 3, 10)
	if p := c.partition(id, 0); p.Leader != 2 || !c.img.Unclean(id, 0) {
		t.Errorf("%+v", p)
	}
	entries := len(c.log)
	c.do(ElectReported{})
	if len(c.log) != entries {
		t.Error("it writes though there is nothing to do")
	}
}
