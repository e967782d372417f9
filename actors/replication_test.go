package actors

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/troupe-mq/troupe/wire"
)

// topic creates a topic and waits until all brokers know it and all its replicas are in sync.
func (cl *cluster) topic(name string, partitions int32) wire.TopicID {
	cl.t.Helper()
	cl.awaitReady()
	created := cl.any().CreateTopics(cl.t.Context(), []wire.NewTopic{{Name: name, Partitions: partitions, ReplicationFactor: 3}}, false)
	if created[0].Err != nil {
		cl.t.Fatal(created[0].Err)
	}
	cl.inSync(created[0].ID, partitions, 3)
	return created[0].ID
}

// inSync waits until every broker sees so many in-sync replicas and a leader of each partition.
func (cl *cluster) inSync(id wire.TopicID, partitions int32, replicas int) {
	cl.t.Helper()
	cl.await(fmt.Sprintf("%d replicas are in sync", replicas), func() bool {
		for _, b := range cl.members {
			for n := range partitions {
				p, ok := b.View().Partition(id, n)
				if !ok || p.Leader == wire.NoBroker || len(p.ISR) != replicas {
					return false
				}
			}
		}
		return true
	})
}

// leader is the broker that leads a partition, once it does.
func (cl *cluster) leader(id wire.TopicID, partition int32) (leader *company) {
	cl.t.Helper()
	cl.await("the partition is led", func() bool {
		p, _ := cl.any().View().Partition(id, partition)
		leader = cl.members[p.Leader]
		if leader == nil {
			return false
		}
		view := leader.viewOf(id, partition)
		return view != nil && view.leaderEpoch == p.LeaderEpoch
	})
	return leader
}

// produceAll has some batches appended to a topic's first partition, and waits until they are answered.
func (cl *cluster) produceAll(topic wire.TopicID, batches, records int) *replies {
	cl.t.Helper()
	r := &replies{}
	for slot := range batches {
		cl.leader(topic, 0).produce(r, slot, topic, wire.AcksAll, recordsOf(records, wire.NoProducer, 0))
	}
	cl.await("all is answered", func() bool { return len(r.of(batches-1)) == 1 })
	return r
}

func TestARecordIsOnEveryInSyncReplicaBeforeItIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		topic := cl.topic("orders", 1)
		r := cl.produceAll(topic, 10, 3)
		for slot := range 10 {
			if reply := r.one(t, slot); reply.Err != nil || reply.BaseOffset != wire.Offset(3*slot) {
				t.Fatalf("slot %d: %+v", slot, reply)
			}
		}
		for id, b := range cl.members {
			if log := b.routes.find(topic, 0).current(); log.FlushedOffset() != 30 {
				t.Errorf("broker %d has flushed up to %d", id, log.FlushedOffset())
			}
		}
	})
}

func TestWhatWasAcknowledgedSurvivesItsLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		topic := cl.topic("orders", 1)
		var r replies
		var end wire.Offset
		for round := range 3 {
			leader := cl.leader(topic, 0)
			leader.produce(&r, round, topic, wire.AcksAll, recordsOf(2, wire.NoProducer, 0))
			cl.await("the record is answered", func() bool { return len(r.of(round)) == 1 })
			if reply := r.one(t, round); reply.Err != nil || reply.BaseOffset != end {
				t.Fatalf("round %d: %+v, want offset %d", round, reply, end)
			}
			end += 2
			cl.kill(leader.cfg.ID)
			cl.start(leader.cfg.ID)
			cl.inSync(topic, 1, 3)
		}
		for id, b := range cl.members {
			if log := b.routes.find(topic, 0).current(); log.EndOffset() != end {
				t.Errorf("broker %d ends at %d, want %d", id, log.EndOffset(), end)
			}
		}
	})
}

// Rule: a broker that comes back with an empty disk leaves every ISR first, and is filled.
func TestABrokerThatLostItsDiskIsFilledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		topic := cl.topic("orders", 2)
		cl.produceAll(topic, 20, 5)
		victim := cl.leader(topic, 0).cfg.ID
		cl.kill(victim)
		cl.wipe(victim)
		cl.await("it is fenced", func() bool { return cl.any().fenced(victim) })
		cl.start(victim)
		cl.inSync(topic, 2, 3)
		log := cl.members[victim].routes.find(topic, 0).current()
		if log.StartOffset() != 0 || log.FlushedOffset() != 100 {
			t.Errorf("it has [%d, %d)", log.StartOffset(), log.FlushedOffset())
		}
	})
}
