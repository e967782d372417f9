package metadata

import (
	"slices"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// failReplica has a broker fail its replica of the first partition of a topic.
func (c *cluster) failReplica(id wire.TopicID, broker wire.BrokerID) error {
	b, _ := c.img.Registration(broker)
	err, _ := c.do(FailReplicas{Broker: broker, Incarnation: b.Incarnation, Replicas: []wire.TopicPartition{{Topic: id}}}).(error)
	return err
}

// fence fences or unfences brokers in one entry.
func (c *cluster) fence(fenced bool, ids ...wire.BrokerID) {
	c.t.Helper()
	var states []BrokerState
	for _, id := range ids {
		b, _ := c.img.Registration(id)
		states = append(states, BrokerState{ID: id, Epoch: b.Epoch, Fenced: fenced})
	}
	if err := c.do(ChangeBrokers{Brokers: states}); err != nil {
		c.t.Fatal(err)
	}
}

// join has the leader of the first partition propose an ISR.
func (c *cluster) join(id wire.TopicID, isr ...wire.BrokerID) error {
	p := c.partition(id, 0)
	leader, _ := c.img.Registration(p.Leader)
	m := ISRProposal{Topic: id, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
	for _, b := range isr {
		r, _ := c.img.Registration(b)
		m.ISR = append(m.ISR, ISRMember{b, r.Incarnation})
	}
	return c.do(AlterPartitions{Broker: p.Leader, Incarnation: leader.Incarnation, Proposals: []ISRProposal{m}}).([]error)[0]
}

type want struct {
	leader wire.BrokerID
	epochs [2]int32 // leader epoch, partition epoch
	isr    []wire.BrokerID
	elr    []wire.BrokerID
}

func (c *cluster) expect(id wire.TopicID, number int32, w want) {
	c.t.Helper()
	p := c.partition(id, number)
	if p.Leader != w.leader || int32(p.LeaderEpoch) != w.epochs[0] || int32(p.PartitionEpoch) != w.epochs[1] ||
		!slices.Equal(p.ISR, w.isr) || !slices.Equal(p.ELR, w.elr) {
		c.t.Errorf("%+v, want %+v", p, w)
	}
}

type ids = []wire.BrokerID

func TestABrokerOfOneLeadsAgainInANewEpochWhenItRegisters(t *testing.T) {
	c := newCluster(t, 1)
	id := c.mustCreate("t", 3, 1)
	entries := len(c.log)
	c.do(registration(1, 2))
	if len(c.log) != entries+1 {
		t.Errorf("%d entries", len(c.log)-entries)
	}
	for n := range int32(3) {
		c.expect(id, n, want{1, [2]int32{1, 1}, ids{1}, nil})
	}
	if b, _ := c.img.Registration(1); b.Epoch != c.img.Index() || b.Incarnation != 2 {
		t.Errorf("%+v in entry %d", b, c.img.Index())
	}
	if c.img.Unclean(id, 0) {
		t.Error("the election counts as unclean")
	}
}

func TestTheSameRegistrationTwiceIsWrittenOnce(t *testing.T) {
	c := newCluster(t, 1)
	id := c.mustCreate("t", 1, 1)
	if reply := c.do(registration(1, 1)).(RegisteredBroker); reply.Err != nil || reply.ID != 1 {
		t.Errorf("%+v", reply)
	}
	c.expect(id, 0, want{1, [2]int32{0, 0}, ids{1}, nil})
}

func TestARegistrationTakesTheBrokerOutOfTheISR(t *testing.T) {
	c := newCluster(t, 3)
	id := c.mustCreate("t", 3, 3, "min.insync.replicas", "3")
	for n := range int32(3) {
		if c.partition(id, n).Replicas[0] == 1 {
			second := c.partition(id, n).Replicas[1]
			c.do(registration(1, 2))
			p := c.partition(id, n)
			if p.Leader != second || p.LeaderEpoch != 1 || slices.Contains(p.ISR, 1) || !slices.Equal(p.ELR, ids{1}) {
				t.Errorf("%+v", p)
			}
		}
	}
}

func TestAReplicatedCopyIsDoubtedAfterAReboot(t *testing.T) {
	for _, tc := range []struct {
		durability, boot string
		unclean          bool
	}{
		{"fsync", "boot-1", false},
		{"fsync", "boot-2", false},
		{"replicated", "boot-1", false},
		{"replicated", "boot-2", true},
		{"replicated", "", true},
	} {
		c := newCluster(t, 1)
		id := c.mustCreate("t", 1, 1, "durability", tc.durability)
		again := registration(1, 2)
		again.BootID = tc.boot
		c.do(again)
		c.expect(id, 0, want{1, [2]int32{1, 1}, ids{1}, nil})
		if c.img.Unclean(id, 0) != tc.unclean {
			t.Errorf("%+v: unclean is %t", tc, !tc.unclean)
		}
	}
}

// assigned creates a topic of one partition on brokers 1, 2, 3 in that order. One in sync is enough,
// unless the configurations or the cluster say otherwise.
func (c *cluster) assigned(configs ...string) wire.TopicID {
	c.t.Helper()
	if _, clusters := setting(c.img.clusterConfigs, "min.insync.replicas"); !clusters && !slices.Contains(configs, "min.insync.replicas") {
		configs = append(configs, "min.insync.replicas", "1")
	}
	n := wire.NewTopic{Name: "t", Partitions: -1, ReplicationFactor: -1, Assignment: [][]wire.BrokerID{{1, 2, 3}}}
	for i := 0; i < len(configs); i += 2 {
		n.Configs = append(n.Configs, wire.ConfigValue{Name: configs[i], Value: &configs[i+1]})
	}
	return c.do(CreateTopics{Topics: []wire.NewTopic{n}}).([]wire.CreatedTopic)[0].ID
}

func TestAFencedBrokerLeavesISRAndLeadershipInOneEntry(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned()
	c.fence(true, 1)
	c.expect(id, 0, want{2, [2]int32{1, 1}, ids{2, 3}, nil})
}

// Were they fenced one after the other, the second would be elected and fail at once.
func TestBrokersFencedTogetherAreNotElectedInBetween(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned()
	c.fence(true, 1, 2)
	c.expect(id, 0, want{3, [2]int32{1, 1}, ids{3}, nil})
}

// KIP-966: who leaves an ISR that can no longer commit is still complete.
func TestWhoLeavesASmallISRStaysEligible(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned("min.insync.replicas", "2")
	c.fence(true, 1)
	c.expect(id, 0, want{2, [2]int32{1, 1}, ids{2, 3}, nil})
	c.fence(true, 2)
	c.expect(id, 0, want{3, [2]int32{2, 2}, ids{3}, ids{2}})
	c.fence(true, 3)
	c.expect(id, 0, want{wire.NoBroker, [2]int32{3, 3}, nil, ids{2, 3}})
	c.fence(false, 1) // not eligible: it may lack what 2 and 3 committed
	c.expect(id, 0, want{wire.NoBroker, [2]int32{4, 4}, nil, ids{2, 3}})
	c.fence(false, 2)
	c.expect(id, 0, want{2, [2]int32{5, 5}, ids{2}, ids{3}})
	if err := c.join(id, 1, 2); err != nil {
		t.Fatal(err)
	}
	c.expect(id, 0, want{2, [2]int32{5, 6}, ids{1, 2}, nil})
}

func TestAFenceRaisesThePartitionEpochOutsideTheISRToo(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned()
	if err := c.join(id, 1, 2); err != nil {
		t.Fatal(err)
	}
	c.fence(true, 3)
	c.expect(id, 0, want{1, [2]int32{0, 2}, ids{1, 2}, nil})
}

func TestAnUncleanElectionHappensOnlyWhereItIsAllowed(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned()
	c.fence(true, 1, 2) // 3 alone is in sync
	c.fence(true, 3)
	c.fence(false, 1)
	c.expect(id, 0, want{wire.NoBroker, [2]int32{3, 3}, nil, ids{3}})
	value := "true"
	c.do(AlterConfigs{Changes: []wire.AlterConfigs{{
		Resource: wire.ConfigResource{Type: wire.ConfigTopic, Name: "t"},
		Changes:  []wire.ConfigChange{{Name: "unclean.leader.election.enable", Op: wire.OpSet, Value: &value}},
	}}})
	c.fence(false, 2)
	c.report(id, 1, 3, 10)
	c.report(id, 2, 3, 10)
	c.expect(id, 0, want{1, [2]int32{5, 5}, ids{1}, nil})
	if !c.img.Unclean(id, 0) {
		t.Error("the election does not count as unclean")
	}
	if err := c.join(id, 1, 2); err != nil {
		t.Fatal(err)
	}
	c.fence(true, 1)
	c.expect(id, 0, want{2, [2]int32{6, 7}, ids{2}, nil})
	if c.img.Unclean(id, 0) {
		t.Error("the next election counts as unclean too")
	}
}

// A replica that was away comes back later, and has to cut what was lost.
func TestTheLastUncleanEpochIsKept(t *testing.T) {
	c, id := asking(t)
	if epoch := c.img.UncleanEpoch(id, 0); epoch != 0 {
		t.Errorf("before any: %d", epoch)
	}
	c.fence(false, 1)
	c.report(id, 1, 3, 10)
	unclean := c.partition(id, 0).LeaderEpoch
	c.fence(false, 2, 3)
	c.mustJoin(id, 1, 2, 3)
	c.fence(true, 1)
	c.mustReassign(2)
	again, err := DecodeSnapshot(c.img.EncodeSnapshot())
	if err != nil {
		t.Fatal(err)
	}
	for name, img := range map[string]*Image{"the image": c.img, "its snapshot": again} {
		if p, _ := img.Partition(id, 0); p.LeaderEpoch <= unclean || img.Unclean(id, 0) || img.UncleanEpoch(id, 0) != unclean {
			t.Errorf("%s: last unclean in epoch %d, not %d: %+v", name, img.UncleanEpoch(id, 0), unclean, p)
		}
	}
}

func TestABrokerThatShutsDownHandsOverWhatOthersCanLead(t *testing.T) {
	c := newCluster(t, 3)
	shared := c.assigned()
	c.fence(true, 2, 3)
	alone := c.mustCreate("alone", 1, 1)
	c.fence(false, 2, 3)
	if err := c.join(shared, 1, 3); err != nil {
		t.Fatal(err)
	}
	b, _ := c.img.Registration(1)
	c.do(ChangeBrokers{Brokers: []BrokerState{{ID: 1, Epoch: b.Epoch, ShuttingDown: true}}})
	if p := c.partition(shared, 0); p.Leader != 3 || !slices.Equal(p.ISR, ids{3}) {
		t.Errorf("%+v", p)
	}
	if p := c.partition(alone, 0); p.Leader != 1 || !slices.Equal(p.ISR, ids{1}) || p.LeaderEpoch != 0 {
		t.Errorf("%+v", p)
	}
}

func TestARestartedReplicaGetsANewLeaderEpochOnce(t *testing.T) {
	c := newCluster(t, 1)
	id := c.mustCreate("t", 2, 1)
	restarted := ReplicaRestarted{Topic: id, Partition: 1, Broker: 1, Incarnation: 1, LeaderEpoch: 0}
	for range 2 { // the second time it has what it asks for
		if err := c.do(restarted); err != nil {
			t.Fatal(err)
		}
		c.expect(id, 1, want{1, [2]int32{1, 1}, ids{1}, nil})
	}
	c.expect(id, 0, want{1, [2]int32{0, 0}, ids{1}, nil})
	for _, tc := range []struct {
		change func(*ReplicaRestarted)
		want   wire.ErrorCode
	}{
		{func(r *ReplicaRestarted) { r.Incarnation = 7 }, wire.StaleBrokerEpoch},
		{func(r *ReplicaRestarted) { r.Broker = 7 }, wire.BrokerIDNotRegistered},
		{func(r *ReplicaRestarted) { r.Topic = wire.TopicID{} }, wire.UnknownTopicID},
		{func(r *ReplicaRestarted) { r.Partition = 2 }, wire.UnknownTopicOrPartition},
		{func(r *ReplicaRestarted) { r.LeaderEpoch = 9 }, wire.FencedLeaderEpoch},
	} {
		r := restarted
		tc.change(&r)
		if err, _ := c.do(r).(error); wire.Code(err) != tc.want {
			t.Errorf("%+v: %v, want %s", r, err, tc.want.Name())
		}
	}
}

func TestARefusedProposalStillRaisesThePartitionEpoch(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned()
	if err := c.join(id, 1); err != nil {
		t.Fatal(err)
	}
	c.fence(true, 2)
	before := c.partition(id, 0).PartitionEpoch
	if err := c.join(id, 1, 2); wire.Code(err) != wire.IneligibleReplica {
		t.Errorf("%v", err)
	}
	c.expect(id, 0, want{1, [2]int32{0, int32(before) + 1}, ids{1}, nil})
	stale := ISRProposal{Topic: id, LeaderEpoch: 0, PartitionEpoch: before, ISR: []ISRMember{{1, 1}, {3, 1}}}
	reply := c.do(AlterPartitions{Broker: 1, Incarnation: 1, Proposals: []ISRProposal{stale}}).([]error)
	if wire.Code(reply[0]) != wire.InvalidUpdateVersion {
		t.Errorf("%v", reply[0])
	}
	c.expect(id, 0, want{1, [2]int32{0, int32(before) + 1}, ids{1}, nil})
}

// KIP-903: an acknowledgement of the process before says nothing about this one.
func TestAProposalNamesTheIncarnationThatQualified(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned()
	c.do(registration(2, 2))
	p := c.partition(id, 0)
	m := ISRProposal{
		Topic: id, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
		ISR: []ISRMember{{1, 1}, {2, 1}, {3, 1}},
	}
	reply := c.do(AlterPartitions{Broker: 1, Incarnation: 1, Proposals: []ISRProposal{m}}).([]error)
	if wire.Code(reply[0]) != wire.IneligibleReplica {
		t.Errorf("%v", reply[0])
	}
}

func TestARegistrationIsRefusedThatIsSomebodyElses(t *testing.T) {
	c := newCluster(t, 2)
	other := registration(1, 5)
	other.Directories = []DirectoryID{"somewhere-else"}
	stolen := registration(2, 5)
	stolen.Directories = registration(1, 1).Directories
	nowhere := registration(3, 1)
	nowhere.Host = ""
	none := registration(3, 1)
	none.Directories = nil
	for name, tc := range map[string]struct {
		cmd  RegisterBroker
		want wire.ErrorCode
	}{
		"other directories under an id in use": {other, wire.DuplicateBrokerRegistration},
		"another broker's directory":           {stolen, wire.InvalidRegistration},
		"no address":                           {nowhere, wire.InvalidRegistration},
		"no directory":                         {none, wire.InvalidRegistration},
	} {
		before := c.img
		reply := c.do(tc.cmd).(RegisteredBroker)
		if wire.Code(reply.Err) != tc.want || c.img != before {
			t.Errorf("%s: %v, want %s", name, reply.Err, tc.want.Name())
		}
	}
}

func TestABrokerWithoutAnIDGetsTheOneOfItsDirectoryOrANewOne(t *testing.T) {
	c := newCluster(t, 2)
	known := registration(2, 9)
	known.ID = wire.NoBroker
	if reply := c.do(known).(RegisteredBroker); reply.ID != 2 || reply.Err != nil {
		t.Errorf("%+v", reply)
	}
	fresh := registration(20, 1)
	fresh.ID = wire.NoBroker
	if reply := c.do(fresh).(RegisteredBroker); reply.ID != 3 || reply.Err != nil {
		t.Errorf("%+v", reply)
	}
}

// What it had is gone: it is neither in sync nor eligible anywhere, and a partition that only it
// had waits for the disk to come back.
func TestAWipedBrokerLeavesISRAndELR(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned("min.insync.replicas", "3")
	c.fence(true, 2, 3)
	alone := c.mustCreate("alone", 1, 1)
	c.fence(false, 2, 3)
	if err := c.join(id, 1, 2, 3); err != nil {
		t.Fatal(err)
	}
	c.fence(true, 1)
	c.expect(id, 0, want{2, [2]int32{1, 3}, ids{2, 3}, ids{1}})
	c.expect(alone, 0, want{wire.NoBroker, [2]int32{1, 1}, nil, ids{1}})
	wiped := registration(1, 2)
	wiped.Directories = []DirectoryID{"a-new-disk"}
	if reply := c.do(wiped).(RegisteredBroker); reply.Err != nil {
		t.Fatal(reply.Err)
	}
	c.expect(id, 0, want{2, [2]int32{1, 4}, ids{2, 3}, nil})
	c.expect(alone, 0, want{wire.NoBroker, [2]int32{2, 2}, nil, nil})
	if left := slices.Collect(c.img.Leaderless()); !slices.Equal(left, []wire.TopicPartition{{Topic: alone}}) {
		t.Errorf("without a leader: %v", left)
	}
}

func TestAnEligibleReplicaThatJoinsIsNoLongerInTheELR(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned("min.insync.replicas", "3")
	c.fence(true, 2, 3)
	c.fence(false, 2, 3)
	c.expect(id, 0, want{1, [2]int32{0, 1}, ids{1}, ids{2, 3}})
	if err := c.join(id, 1, 3); err != nil {
		t.Fatal(err)
	}
	c.expect(id, 0, want{1, [2]int32{0, 2}, ids{1, 3}, ids{2}})
}

func TestProposalsAreWrittenInOrderWhateverOrderTheyComeIn(t *testing.T) {
	c := newCluster(t, 1)
	first, second := c.mustCreate("first", 2, 1), c.mustCreate("second", 1, 1)
	m := AlterPartitions{Broker: 1, Incarnation: 1}
	for _, tp := range []wire.TopicPartition{{Topic: second}, {Topic: first, Partition: 1}, {Topic: first}, {Topic: first}} {
		m.Proposals = append(m.Proposals, ISRProposal{
			Topic: tp.Topic, Partition: tp.Partition, ISR: []ISRMember{{Broker: 1, Incarnation: 1}},
		})
	}
	reply := c.do(m).([]error)
	if reply[0] != nil || reply[1] != nil || reply[2] != nil || wire.Code(reply[3]) != wire.InvalidRequest {
		t.Errorf("%v", reply)
	}
	for _, tp := range []wire.TopicPartition{{Topic: first}, {Topic: first, Partition: 1}, {Topic: second}} {
		c.expect(tp.Topic, tp.Partition, want{1, [2]int32{0, 1}, ids{1}, nil})
	}
}

// A leader that was elected out of the ELR may be enough to commit: the others of the ELR have not got
// what it commits.
func TestALeaderOutOfTheELRThatCommitsAloneLeavesNobodyEligible(t *testing.T) {
	c := newCluster(t, 2)
	id := c.mustCreate("t", 1, 2, "min.insync.replicas", "1")
	c.fence(true, 1, 2)
	if p := c.partition(id, 0); p.Leader != wire.NoBroker || len(p.ELR) != 2 {
		t.Fatalf("%+v", p)
	}
	c.fence(false, 1)
	if p := c.partition(id, 0); p.Leader != 1 || !slices.Equal(p.ISR, ids{1}) || p.ELR != nil {
		t.Errorf("%+v", p)
	}
}
