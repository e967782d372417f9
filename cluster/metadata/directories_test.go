package metadata

import (
	"slices"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// twoDisks is a registration of broker 1 with two directories, or those named.
func twoDisks(incarnation wire.Incarnation, dirs ...DirectoryID) RegisterBroker {
	r := registration(1, incarnation)
	r.Directories = dirs
	if dirs == nil {
		r.Directories = []DirectoryID{"disk-a", "disk-b"}
	}
	return r
}

// lyingIn returns the number of a partition of the topic whose replica lies in a directory of broker 1.
func (c *cluster) lyingIn(id wire.TopicID, dir DirectoryID) int32 {
	c.t.Helper()
	topic, _ := c.img.TopicByID(id)
	for n := range topic.Partitions {
		if got, _ := c.img.Directory(id, n, 1); got == dir {
			return n
		}
	}
	c.t.Fatalf("nothing lies in %s", dir)
	return 0
}

func TestReplicasTakeTheDirectoriesOfTheirBrokerInTurn(t *testing.T) {
	c := newCluster(t, 0)
	c.do(twoDisks(1))
	id := c.mustCreate("t", 5, 1)
	c.do(CreatePartitions{Topics: []wire.MorePartitions{{Topic: "t", Count: 10}}})
	count := map[DirectoryID]int{}
	for n := range int32(10) {
		dir, ok := c.img.Directory(id, n, 1)
		if !ok {
			t.Errorf("partition %d lies nowhere", n)
		}
		count[dir]++
	}
	if count["disk-a"] != 5 || count["disk-b"] != 5 {
		t.Errorf("%v", count)
	}
	if _, ok := c.img.Directory(id, 0, 2); ok {
		t.Error("a broker without a replica has a directory for it")
	}
}

// A broker that leads with an empty log, because it has not looked on the missing disk, has lost
// everything without a word.
func TestWhatLiesOnAMissingDiskIsNotLedUntilTheDiskIsBack(t *testing.T) {
	c := newCluster(t, 0)
	c.do(twoDisks(1))
	id := c.mustCreate("t", 2, 1)
	here, gone := c.lyingIn(id, "disk-a"), c.lyingIn(id, "disk-b")

	c.do(twoDisks(2, "disk-c", "disk-a"))
	c.expect(id, here, want{1, [2]int32{1, 1}, ids{1}, nil})
	c.expect(id, gone, want{wire.NoBroker, [2]int32{1, 1}, nil, ids{1}})
	if offline := c.partition(id, gone).Offline; !slices.Equal(offline, ids{1}) {
		t.Errorf("offline: %v", offline)
	}

	c.do(twoDisks(3, "disk-b", "disk-a"))
	c.expect(id, gone, want{1, [2]int32{2, 2}, ids{1}, nil})
	if c.img.Unclean(id, gone) || c.lyingIn(id, "disk-b") != gone {
		t.Error("the partition is not what it was")
	}
}

func TestAFailedDirectoryTakesItsPartitionsOut(t *testing.T) {
	c := newCluster(t, 0)
	c.do(twoDisks(1))
	alone := c.mustCreate("alone", 2, 1)
	other := registration(2, 1)
	c.do(other)
	id := c.mustCreate("t", 4, 2)
	here, gone := c.lyingIn(alone, "disk-b"), c.lyingIn(alone, "disk-a")
	failure := FailDirectories{Broker: 1, Incarnation: 1, Directories: []DirectoryID{"disk-a"}}
	entries := len(c.log)
	for range 2 { // the second time it is known
		if err := c.do(failure); err != nil || len(c.log) != entries+1 {
			t.Fatalf("%v in %d entries", err, len(c.log)-entries)
		}
	}
	c.expect(alone, here, want{1, [2]int32{0, 0}, ids{1}, nil})
	c.expect(alone, gone, want{wire.NoBroker, [2]int32{1, 1}, nil, ids{1}})
	for n := range int32(4) {
		p := c.partition(id, n)
		if dir, _ := c.img.Directory(id, n, 1); dir == "disk-a" && (p.Leader != 2 || !slices.Equal(p.ISR, ids{2})) ||
			dir == "disk-b" && (p.PartitionEpoch != 0 || len(p.ISR) != 2) {
			t.Errorf("partition %d in %s: %+v", n, dir, p)
		}
	}
	created := c.mustCreate("later", 4, 1)
	for n := range int32(4) {
		if dir, ok := c.img.Directory(created, n, 1); ok && dir != "disk-b" {
			t.Errorf("a new replica lies in %s", dir)
		}
	}
	for _, tc := range []struct {
		cmd  FailDirectories
		want wire.ErrorCode
	}{
		{FailDirectories{Broker: 1, Incarnation: 1, Directories: []DirectoryID{"disk-x"}}, wire.LogDirNotFound},
		{FailDirectories{Broker: 1, Incarnation: 9, Directories: []DirectoryID{"disk-a"}}, wire.StaleBrokerEpoch},
		{FailDirectories{Broker: 9, Incarnation: 1, Directories: []DirectoryID{"disk-a"}}, wire.BrokerIDNotRegistered},
	} {
		if err, _ := c.do(tc.cmd).(error); wire.Code(err) != tc.want {
			t.Errorf("%+v: %v", tc.cmd, err)
		}
	}
}

func TestABrokerWithoutADirectoryThatWorksGetsNothing(t *testing.T) {
	c := newCluster(t, 0)
	c.do(twoDisks(1))
	c.do(FailDirectories{Broker: 1, Incarnation: 1, Directories: []DirectoryID{"disk-a", "disk-b"}})
	if created := c.create("t", 1, 1); wire.Code(created.Err) != wire.InvalidReplicationFactor {
		t.Errorf("%+v", created)
	}
}

func TestAReplicaThatWasMovedIsLedFromItsNewDirectory(t *testing.T) {
	c := newCluster(t, 0)
	c.do(twoDisks(1))
	id := c.mustCreate("t", 2, 1)
	n := c.lyingIn(id, "disk-b")
	c.do(twoDisks(2, "disk-a")) // its log was moved over before
	c.expect(id, n, want{wire.NoBroker, [2]int32{1, 1}, nil, ids{1}})
	before := c.img
	move := MoveReplica{Topic: id, Partition: n, Broker: 1, Incarnation: 2, Directory: "disk-a"}
	for range 2 { // the second time it is there
		if err := c.do(move); err != nil {
			t.Fatal(err)
		}
		c.expect(id, n, want{1, [2]int32{2, 3}, ids{1}, nil})
	}
	if dir, _ := c.img.Directory(id, n, 1); dir != "disk-a" {
		t.Errorf("it lies in %s", dir)
	}
	if dir, _ := before.Directory(id, n, 1); dir != "disk-b" {
		t.Errorf("in the image before it lies in %s", dir)
	}
	move.Directory = "disk-b"
	if err, _ := c.do(move).(error); wire.Code(err) != wire.LogDirNotFound {
		t.Errorf("%v", err)
	}
}
