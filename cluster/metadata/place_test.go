package metadata

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/troupe-mq/troupe/wire"
)

// spreadOf returns how many more a broker has than another, of those counted.
func spreadOf(counts map[wire.BrokerID]int, brokers []wire.BrokerID) int {
	least, most := counts[brokers[0]], counts[brokers[0]]
	for _, id := range brokers {
		least, most = min(least, counts[id]), max(most, counts[id])
	}
	return most - least
}

// Where all racks are of one size, leaders differ by one at most, and replicas by one for each place
// in a partition; and no two replicas are in a rack before every rack has one.
func TestLeadersAndReplicasAreSpreadEvenly(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		racks := rapid.IntRange(1, 4).Draw(rt, "racks")
		brokers := racks * rapid.IntRange(1, 4).Draw(rt, "brokers in each")
		factor := rapid.IntRange(1, min(brokers, 5)).Draw(rt, "factor")
		partitions := rapid.IntRange(1, 200).Draw(rt, "partitions")
		c := newCluster(t, 0)
		all := make(ids, brokers)
		for i := range all {
			all[i] = wire.BrokerID(i + 1)
			r := registration(all[i], 1)
			r.Rack = string(rune('a' + i%racks))
			c.do(r)
		}
		for range rapid.IntRange(0, 3).Draw(rt, "topics before") { // where it begins
			c.mustCreate(string(rune('a'+c.topics)), 1, 1)
		}
		id := c.mustCreate("t", int32(partitions), int16(factor))
		leaders, replicas := map[wire.BrokerID]int{}, map[wire.BrokerID]int{}
		for n := range int32(partitions) {
			p := c.partition(id, n)
			leaders[p.Leader]++
			inRack := map[string]int{}
			for _, b := range p.Replicas {
				replicas[b]++
				r, _ := c.img.Registration(b)
				inRack[r.Rack]++
			}
			if p.Leader != p.Replicas[0] || len(p.Replicas) != factor || len(inRack) != min(racks, factor) {
				rt.Fatalf("partition %d: %+v in racks %v", n, p, inRack)
			}
		}
		if d := spreadOf(leaders, all); d > 1 {
			rt.Fatalf("leaders %v", leaders)
		}
		if d := spreadOf(replicas, all); d > factor {
			rt.Fatalf("replicas %v", replicas)
		}
	})
}

// Otherwise two topics of a few partitions would burden the same brokers.
func TestSmallTopicsBeginAtDifferentBrokers(t *testing.T) {
	c := newCluster(t, 5)
	leaders := map[wire.BrokerID]int{}
	for n := range 20 {
		leaders[c.partition(c.mustCreate(string(rune('a'+n)), 1, 3), 0).Leader]++
	}
	if spreadOf(leaders, ids{1, 2, 3, 4, 5}) > 0 {
		t.Errorf("%v", leaders)
	}
}

func TestThreeReplicasAreTheDefaultOnceThereAreThreeBrokers(t *testing.T) {
	for brokers, want := range map[int]int{1: 1, 2: 2, 3: 3, 7: 3} {
		c := newCluster(t, brokers)
		id := c.mustCreate("t", 1, -1)
		minISR := 1
		if want >= 3 {
			minISR = 2
		}
		if p, got := c.partition(id, 0), c.img.MinISR(id, 0); len(p.Replicas) != want || got != minISR {
			t.Errorf("%d brokers: replicas %v, of which %d have to be in sync", brokers, p.Replicas, got)
		}
	}
	c := newCluster(t, 4)
	c.fence(true, 3, 4)
	if p := c.partition(c.mustCreate("t", 1, -1), 0); len(p.Replicas) != 2 {
		t.Errorf("two of four are there: %v", p.Replicas)
	}
}

func TestTheMinimumOfATopicIsWhatSomebodySaid(t *testing.T) {
	c := newCluster(t, 3)
	if id := c.mustCreate("own", 1, 3, "min.insync.replicas", "1"); c.img.MinISR(id, 0) != 1 {
		t.Errorf("its own is %d", c.img.MinISR(id, 0))
	}
	if err := c.alter(allBrokers, false, set("min.insync.replicas", "3")); err != nil {
		t.Fatal(err)
	}
	if id := c.mustCreate("cluster", 1, 3); c.img.MinISR(id, 0) != 3 {
		t.Errorf("the cluster's is %d", c.img.MinISR(id, 0))
	}
}
