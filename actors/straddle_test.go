package actors

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// startInside creates the topic orders with some batches of four records and deletes those below an offset
// inside one of them. It returns where the log begins and ends.
func (cl *cluster) startInside(replicas int) (topic wire.TopicID, start, end wire.Offset) {
	cl.t.Helper()
	topic, start = cl.smallTopic(replicas), 14
	cl.fours(topic, 6)
	got, err := cl.leader(topic, 0).DeleteRecords(cl.t.Context(), &wire.DeleteRecords{Topic: topic, Before: start})
	if err != nil || got != start {
		cl.t.Fatalf("deleted up to %d, %v", got, err)
	}
	return topic, start, 24
}

// fours produces batches of four records and waits until they are acknowledged.
func (cl *cluster) fours(topic wire.TopicID, batches int) {
	cl.t.Helper()
	leader := cl.leader(topic, 0)
	var r replies
	for slot := range batches {
		leader.produce(&r, slot, topic, wire.AcksAll, recordsOf(4, wire.NoProducer, 0))
	}
	cl.await("the batches are acknowledged", func() bool { return len(r.of(batches-1)) == 1 })
	for slot := range batches {
		if reply := r.one(cl.t, slot); reply.Err != nil {
			cl.t.Fatal(reply.Err)
		}
	}
}

// reaches waits until every broker that has a replica of the topic has the same log.
func (cl *cluster) reaches(topic wire.TopicID, replicas int, start, end wire.Offset) {
	cl.t.Helper()
	cl.await("all replicas have the same log", func() bool {
		n := 0
		for _, b := range cl.members {
			p := b.routes.find(topic, 0)
			if p == nil {
				continue
			}
			if log := p.current(); log != nil && log.StartOffset() == start && log.EndOffset() == end {
				n++
			}
		}
		return n == replicas
	})
}

// afterLeader is one of three brokers that does not lead a topic's only partition.
func (cl *cluster) afterLeader(topic wire.TopicID) wire.BrokerID {
	p, _ := cl.any().View().Partition(topic, 0)
	return p.Leader%3 + 1
}

func TestAReplicaThatMovesIsFilledFromInsideABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		topic, start, end := cl.startInside(1)
		to := cl.afterLeader(topic)
		cl.move(to)
		cl.await("the replica has moved", func() bool {
			p, _ := cl.any().View().Partition(topic, 0)
			return p.Leader == to && len(p.Replicas) == 1
		})
		cl.reaches(topic, 1, start, end)
		cl.fours(topic, 1)
		cl.reaches(topic, 1, start, end+4)
	})
}

func TestAFollowerThatWasAwayGoesOnInsideABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		topic := cl.smallTopic(3)
		cl.fours(topic, 1)
		away := cl.afterLeader(topic)
		cl.kill(away)
		cl.inSync(topic, 1, 2)
		cl.fours(topic, 5)
		if start, err := cl.leader(topic, 0).DeleteRecords(t.Context(), &wire.DeleteRecords{Topic: topic, Before: 14}); err != nil || start != 14 {
			t.Fatalf("deleted up to %d, %v", start, err)
		}
		cl.start(away)
		cl.inSync(topic, 1, 3)
		cl.reaches(topic, 3, 14, 24)
		// It leads with what it has, also after a kill.
		cl.kill(away)
		cl.disks[away] = cl.disks[away].Kill()
		cl.start(away)
		cl.inSync(topic, 1, 3)
		for id := range cl.disks {
			if id != away {
				cl.kill(id)
				cl.await("another leader", func() bool { p, _ := cl.members[away].View().Partition(topic, 0); return p.Leader != id })
				cl.start(id)
				cl.inSync(topic, 1, 3)
			}
		}
		cl.fours(topic, 1)
		cl.reaches(topic, 3, 14, 28)
	})
}

func TestABrokerThatLostItsLogIsFilledFromInsideABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		topic, start, end := cl.startInside(3)
		wiped := cl.afterLeader(topic)
		cl.kill(wiped)
		if err := cl.disks[wiped].RemoveAll("/data/orders-0"); err != nil {
			t.Fatal(err)
		}
		cl.start(wiped)
		cl.inSync(topic, 1, 3)
		cl.reaches(topic, 3, start, end)
		time.Sleep(2 * time.Second) // a checkpoint
		cl.fours(topic, 2)
		cl.reaches(topic, 3, start, end+8)
	})
}
