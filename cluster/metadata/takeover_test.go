package metadata

import (
	"slices"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// blank is the registration of a broker with empty disks at the address of another.
func blank(at wire.BrokerID, dirs ...DirectoryID) RegisterBroker {
	r := registration(at, 77)
	r.ID, r.Directories, r.RaftID, r.Fenced = wire.NoBroker, dirs, 7777, true
	return r
}

func TestABlankBrokerTakesThePlaceOfAFencedOneAtItsAddress(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned()
	if reply := c.do(blank(2, "new")).(RegisteredBroker); wire.Code(reply.Err) != wire.DuplicateBrokerRegistration {
		t.Errorf("while that one lives: %+v", reply)
	}
	c.fence(true, 2)
	c.mustJoin(id, 1, 3)
	if reply := c.do(blank(2, "new")).(RegisteredBroker); reply.Err != nil || reply.ID != 2 {
		t.Fatalf("%+v", reply)
	}
	if b, _ := c.img.Registration(2); b.RaftID != 7777 || !b.Fenced || b.Incarnation != 77 {
		t.Errorf("%+v", b)
	}
	if dir, _ := c.img.Directory(id, 0, 2); dir != "new" {
		t.Errorf("its replica lies in %s", dir)
	}
	c.fence(false, 2)
	if !c.img.ReplicaUsable(id, 0, 2) {
		t.Error("it cannot be filled")
	}
	c.mustJoin(id, 1, 2, 3)
	newer := blank(9, "newer")
	newer.RaftID++
	if reply := c.do(newer).(RegisteredBroker); reply.Err != nil || reply.ID != 4 {
		t.Errorf("at an address of its own: %+v", reply)
	}
}

func TestABlankBrokerTakesTheIDThatItAsksForOnceItIsFenced(t *testing.T) {
	c := newCluster(t, 2)
	moved := blank(9, "new") // at another address
	moved.ID = 2
	if reply := c.do(moved).(RegisteredBroker); wire.Code(reply.Err) != wire.DuplicateBrokerRegistration {
		t.Errorf("while that one lives: %+v", reply)
	}
	c.fence(true, 2)
	if reply := c.do(moved).(RegisteredBroker); reply.Err != nil || reply.ID != 2 {
		t.Errorf("%+v", reply)
	}
}

func TestDirectoriesOfTwoBrokersRegisterAsNobody(t *testing.T) {
	c := newCluster(t, 2)
	c.fence(true, 1, 2)
	both := registration(1, 5)
	both.ID = wire.NoBroker
	both.Directories = append(both.Directories, registration(2, 1).Directories...)
	if reply := c.do(both).(RegisteredBroker); wire.Code(reply.Err) != wire.InvalidRegistration {
		t.Errorf("%+v", reply)
	}
}

// What only it had is not to be had from its empty disk, but from the old one should that come back.
func TestADisplacedDirectoryBringsBackWhatOnlyItHad(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned()
	c.mustJoin(id, 1, 2)
	c.fence(true, 1)
	c.fence(false, 1)
	c.fence(true, 2)
	if reply := c.do(blank(2, "new")).(RegisteredBroker); reply.Err != nil {
		t.Fatal(reply.Err)
	}
	c.fence(false, 2)
	if p := c.partition(id, 0); p.Leader != wire.NoBroker || p.ISR != nil || p.ELR != nil || !slices.Equal(p.LastKnownELR, ids{2}) {
		t.Errorf("%+v", p)
	}
	back := registration(2, 78)
	if reply := c.do(back).(RegisteredBroker); wire.Code(reply.Err) != wire.DuplicateBrokerRegistration {
		t.Errorf("while the new one lives: %+v", reply)
	}
	c.fence(true, 2)
	if reply := c.do(back).(RegisteredBroker); reply.Err != nil || reply.ID != 2 {
		t.Fatalf("%+v", reply)
	}
	if p := c.partition(id, 0); p.Leader != 2 || !c.img.Unclean(id, 0) {
		t.Errorf("%+v", p)
	}
}

func TestABrokerWhoseDirectoriesAllFailedRegistersAgainAtOnce(t *testing.T) {
	c := newCluster(t, 1)
	c.do(FailDirectories{Broker: 1, Incarnation: 1, Directories: registration(1, 1).Directories})
	if reply := c.do(registration(1, 2)).(RegisteredBroker); reply.Err != nil {
		t.Error(reply.Err)
	}
}

// The disk said that it had them, and has not.
func TestALogThatLostWhatWasDurableIsNeitherInSyncNorEligible(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned("min.insync.replicas", "3")
	other := c.mustCreate("other", 1, 3, "min.insync.replicas", "3")
	again := registration(2, 2)
	again.LostDurable = []wire.TopicPartition{{Topic: id}, {Topic: wire.TopicID{9}}}
	c.do(again)
	if p := c.partition(id, 0); !slices.Equal(p.ISR, ids{1, 3}) || p.ELR != nil {
		t.Errorf("%+v", p)
	}
	if p := c.partition(other, 0); !slices.Equal(p.ELR, ids{2}) {
		t.Errorf("%+v", p)
	}
}

// It is found out when the logs are opened, after the registration.
func TestALogFoundToHaveLostItsEndIsNeitherInSyncNorEligible(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned("min.insync.replicas", "3")
	c.do(registration(2, 2))
	if p := c.partition(id, 0); !slices.Equal(p.ELR, ids{2}) {
		t.Fatalf("%+v", p)
	}
	lost := LoseTails{Broker: 2, Incarnation: 2, Replicas: []wire.TopicPartition{{Topic: id}, {Topic: wire.TopicID{9}}, {Topic: id}}}
	stale := lost
	stale.Incarnation = 1
	if err, ok := c.do(stale).(error); !ok || wire.Code(err) != wire.StaleBrokerEpoch {
		t.Errorf("of an earlier process: %v", err)
	}
	before := c.partition(id, 0).PartitionEpoch
	if reply := c.do(lost); reply != nil {
		t.Fatal(reply)
	}
	p := c.partition(id, 0)
	if !slices.Equal(p.ISR, ids{1, 3}) || p.ELR != nil || p.PartitionEpoch == before {
		t.Errorf("%+v", p)
	}
	c.do(lost)
	if again := c.partition(id, 0); again.PartitionEpoch != p.PartitionEpoch {
		t.Errorf("told twice: %+v", again)
	}
}

func TestAnElectionByHandBeginsAnewWhereTheDiskIsGone(t *testing.T) {
	c := newCluster(t, 2)
	n := wire.NewTopic{Name: "t", Partitions: -1, ReplicationFactor: -1, Assignment: [][]wire.BrokerID{{2}}}
	id := c.do(CreateTopics{Topics: []wire.NewTopic{n}}).([]wire.CreatedTopic)[0].ID
	c.fence(true, 2)
	if reply := c.do(blank(2, "new")).(RegisteredBroker); reply.Err != nil {
		t.Fatal(reply.Err)
	}
	if err := c.elect(true); wire.Code(err) != wire.EligibleLeadersNotAvailable {
		t.Errorf("while its broker is fenced: %v", err)
	}
	c.fence(false, 2)
	if p := c.partition(id, 0); p.Leader != wire.NoBroker {
		t.Errorf("by itself: %+v", p)
	}
	if err := c.elect(true); err != nil {
		t.Fatal(err)
	}
	if p := c.partition(id, 0); p.Leader != 2 || !c.img.Unclean(id, 0) {
		t.Errorf("%+v", p)
	}
	if dir, _ := c.img.Directory(id, 0, 2); dir != "new" {
		t.Errorf("it lies in %s", dir)
	}
}

func TestASupersededReplicaBeginsAnewInAnotherDirectory(t *testing.T) {
	c := newCluster(t, 3)
	id := c.assigned()
	c.fence(true, 2, 3)
	c.fence(true, 1) // which alone had it all
	if reply := c.do(blank(1, "new")).(RegisteredBroker); reply.Err != nil {
		t.Fatal(reply.Err)
	}
	c.fence(false, 1, 2, 3)
	b, _ := c.img.Registration(1)
	anew := MoveReplica{Topic: id, Broker: 1, Incarnation: b.Incarnation, Directory: "new", Empty: true}
	unmoved := func(when string) {
		t.Helper()
		entries := len(c.log)
		if err := c.do(anew); err != nil || len(c.log) != entries || c.img.Superseded(id, 0, 1) {
			t.Fatalf("%s it begins anew: %v", when, err)
		}
	}
	unmoved("while nobody leads")
	if err := c.elect(true); err != nil {
		t.Fatal(err)
	}
	if p := c.partition(id, 0); p.Leader != 2 || !c.img.Superseded(id, 0, 1) || c.img.Superseded(id, 0, 3) {
		t.Fatalf("%+v", p)
	}
	if err := c.join(id, 2, 1); wire.Code(err) != wire.IneligibleReplica {
		t.Errorf("before it has a directory: %v", err)
	}
	if err := c.do(anew); err != nil {
		t.Fatal(err)
	}
	if dir, _ := c.img.Directory(id, 0, 1); dir != "new" || !c.img.ReplicaUsable(id, 0, 1) {
		t.Errorf("it lies in %s", dir)
	}
	if !slices.ContainsFunc(c.delta.Topics, func(d TopicDelta) bool { return d.ID == id && slices.Contains(d.Partitions, 0) }) {
		t.Errorf("nobody is told of it: %+v", c.delta)
	}
	unmoved("once it has done so,")
	c.mustJoin(id, 1, 2, 3)
}

// Its records count: it may lead with them once its directory is back.
func TestAReplicaThatIsEligibleDoesNotBeginAnew(t *testing.T) {
	c := newCluster(t, 0)
	c.do(twoDisks(1))
	c.do(registration(2, 1))
	n := wire.NewTopic{Name: "t", Partitions: -1, ReplicationFactor: -1, Assignment: [][]wire.BrokerID{{1, 2}}}
	id := c.do(CreateTopics{Topics: []wire.NewTopic{n}}).([]wire.CreatedTopic)[0].ID
	c.fence(true, 2)
	c.fence(true, 1)
	c.fence(false, 2)
	if err := c.elect(true); err != nil {
		t.Fatal(err)
	}
	c.fence(false, 1)
	c.mustJoin(id, 2, 1)
	if err := c.alter(topicT, false, set("min.insync.replicas", "2")); err != nil {
		t.Fatal(err)
	}
	lost, _ := c.img.Directory(id, 0, 1)
	kept := map[DirectoryID]DirectoryID{"disk-a": "disk-b", "disk-b": "disk-a"}[lost]
	c.do(FailDirectories{Broker: 1, Incarnation: 1, Directories: []DirectoryID{lost}})
	if p := c.partition(id, 0); p.Leader != 2 || !slices.Equal(p.ELR, ids{1}) || c.img.UncleanEpoch(id, 0) == 0 {
		t.Fatalf("%+v", p)
	}
	c.do(MoveReplica{Topic: id, Broker: 1, Incarnation: 1, Directory: kept, Empty: true})
	if dir, _ := c.img.Directory(id, 0, 1); dir != lost {
		t.Errorf("it lies in %s", dir)
	}
}
