package metadata

import (
	"slices"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// elect asks for an election in the first partition of topic t.
func (c *cluster) elect(unclean bool) error {
	c.t.Helper()
	of := []wire.TopicNamePartition{{Topic: "t"}}
	return c.do(ElectLeaders{Unclean: unclean, Partitions: of}).([]wire.PartitionOutcome)[0].Err
}

func TestThePreferredLeaderIsElectedOnlyWhileInSync(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned()
	if err := c.elect(false); wire.Code(err) != wire.ElectionNotNeeded {
		t.Errorf("it leads: %v", err)
	}
	c.fence(true, 1)
	if err := c.elect(false); wire.Code(err) != wire.PreferredLeaderNotAvailable {
		t.Errorf("it is fenced: %v", err)
	}
	c.fence(false, 1)
	if err := c.elect(false); wire.Code(err) != wire.PreferredLeaderNotAvailable {
		t.Errorf("it is not in sync: %v", err)
	}
	c.mustJoin(id, 1, 2, 3)
	before := c.partition(id, 0)
	if err := c.elect(false); err != nil {
		t.Error(err)
	}
	c.expect(id, 0, want{1, [2]int32{int32(before.LeaderEpoch) + 1, int32(before.PartitionEpoch) + 1}, ids{1, 2, 3}, nil})
}

func TestAnUncleanElectionByHandHappensOnlyWithoutALeader(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned()
	if err := c.elect(true); wire.Code(err) != wire.ElectionNotNeeded {
		t.Errorf("there is a leader: %v", err)
	}
	c.mustJoin(id, 1)
	c.fence(true, 1, 2, 3)
	if err := c.elect(true); wire.Code(err) != wire.EligibleLeadersNotAvailable {
		t.Errorf("all are fenced: %v", err)
	}
	c.fence(false, 3)
	c.expect(id, 0, want{wire.NoBroker, [2]int32{2, 3}, nil, ids{1}})
	if err := c.elect(true); err != nil {
		t.Error(err)
	}
	if p := c.partition(id, 0); p.Leader != 3 || !slices.Equal(p.ISR, ids{3}) || p.ELR != nil || !c.img.Unclean(id, 0) {
		t.Errorf("%+v", p)
	}
}

func TestAnElectionEverywhereTellsOnlyWhatItDid(t *testing.T) {
	c := newCluster(t, 3)
	id := c.mustCreate("many", 6, 2)
	c.fence(true, 1)
	c.fence(false, 1)
	for n := range int32(6) {
		p := c.partition(id, n)
		leader, _ := c.img.Registration(p.Leader)
		m := ISRProposal{Topic: id, Partition: n, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
		for _, b := range p.Replicas {
			r, _ := c.img.Registration(b)
			m.ISR = append(m.ISR, ISRMember{b, r.Incarnation})
		}
		c.do(AlterPartitions{Broker: p.Leader, Incarnation: leader.Incarnation, Proposals: []ISRProposal{m}})
	}
	outcomes := c.do(ElectLeaders{}).([]wire.PartitionOutcome)
	if len(outcomes) != 2 || outcomes[0].Err != nil || outcomes[0].Topic != "many" {
		t.Errorf("%+v", outcomes)
	}
	for n := range int32(6) {
		if p := c.partition(id, n); p.Leader != p.Replicas[0] {
			t.Errorf("%+v", p)
		}
	}
}

func TestLeadershipsGoBackToWhoIsWellAFewAtATime(t *testing.T) {
	c := newCluster(t, 3)
	c.mustCreate("many", 30, 3)
	c.fence(true, 1)
	c.fence(false, 1)
	leads := func(id wire.BrokerID) (n int) {
		for tp := range c.img.Hosted(id) {
			if p, _ := c.img.Partition(tp.Topic, tp.Partition); p.Leader == id {
				n++
			}
		}
		return n
	}
	if moved := c.do(BalanceLeaders{To: ids{1, 2, 3}}); moved != 0 {
		t.Errorf("%d moved to a broker that is not in sync", moved)
	}
	for tp := range c.img.Hosted(1) {
		p, _ := c.img.Partition(tp.Topic, tp.Partition)
		m := ISRProposal{Topic: tp.Topic, Partition: tp.Partition, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
		m.ISR = []ISRMember{{1, 1}, {2, 1}, {3, 1}}
		c.do(AlterPartitions{Broker: p.Leader, Incarnation: 1, Proposals: []ISRProposal{m}})
	}
	if moved := c.do(BalanceLeaders{To: ids{2, 3, 9}}); moved != 0 {
		t.Errorf("%d moved to others", moved)
	}
	if moved := c.do(BalanceLeaders{To: ids{1, 1}, Limit: 4}); moved != 4 || leads(1) != 4 {
		t.Errorf("%d moved, broker 1 leads %d", moved, leads(1))
	}
	if moved := c.do(BalanceLeaders{To: ids{1}}); moved != 6 || leads(1) != 10 {
		t.Errorf("%d moved, broker 1 leads %d", moved, leads(1))
	}
}
