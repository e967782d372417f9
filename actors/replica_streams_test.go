package actors

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/storage/faultfs"
	"github.com/troupe-mq/troupe/wire"
)

// outOfSync cuts the two brokers of a topic off from each other until one of them is not in sync, and
// returns the other, which leads.
func (cl *cluster) outOfSync(topic wire.TopicID) (leader *company, behind wire.BrokerID) {
	cl.t.Helper()
	leader = cl.leader(topic, 0)
	p, _ := leader.View().Partition(topic, 0)
	for _, id := range p.Replicas {
		if id != leader.cfg.ID {
			behind = id
		}
	}
	cl.net.cut(leader.cfg.ID, behind)
	var r replies
	leader.produce(&r, 1, topic, wire.AcksLeader, recordsOf(1, wire.NoProducer, 0))
	cl.awaitAtMost(time.Minute, "one is in sync", func() bool {
		p, _ := leader.View().Partition(topic, 0)
		return len(p.ISR) == 1
	})
	return leader, behind
}

func TestAFollowerCatchesUpThoughTheLogCouldNotBeReadAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 4)
		defer cl.end()
		topic := cl.smallTopic(2, "min.insync.replicas", "1")
		leader, behind := cl.outOfSync(topic)
		leader.disk.Fail(faultfs.Rule{Kind: faultfs.Read, Match: faultfs.Under("/data/orders-0"), Times: 3, Err: errors.New("try again")})
		cl.net.heal(leader.cfg.ID, behind)
		cl.inSync(topic, 1, 2)
	})
}

func TestTheHighWatermarkIsToldOnceALinkThatWasFullHasRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 2)
		defer cl.end()
		topic := cl.smallTopic(2)
		leader := cl.leader(topic, 0)
		other := cl.members[3-leader.cfg.ID]
		gate := other.disk.Hold("/data/orders-0")
		var r replies
		leader.produce(&r, 1, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		r.none(t, 1)
		cl.net.jam(leader.cfg.ID, other.cfg.ID, true)
		gate.Release()
		if reply := r.one(t, 1); reply.Err != nil {
			t.Fatal(reply.Err)
		}
		time.Sleep(100 * time.Millisecond)
		log := other.routes.find(topic, 0).current()
		if hw := log.CheckpointedHighWatermark(); hw != 0 {
			t.Fatalf("the follower knows of %d: the link is not full", hw)
		}
		cl.net.jam(leader.cfg.ID, other.cfg.ID, false)
		time.Sleep(100 * time.Millisecond)
		if hw := log.CheckpointedHighWatermark(); hw != 1 {
			t.Errorf("the follower knows the high watermark %d, want 1", hw)
		}
	})
}

func TestFollowersForgetSilentProducersToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		topic := cl.smallTopic(2, "min.insync.replicas", "1")
		leader := cl.leader(topic, 0)
		var r replies
		leader.produce(&r, 1, topic, wire.AcksAll, recordsOf(1, 7, 0))
		if reply := r.one(t, 1); reply.Err != nil {
			t.Fatal(reply.Err)
		}
		for _, b := range cl.members {
			b.ahead.Add(int64(2 * producerExpiry))
		}
		time.Sleep(producerExpiryInterval + time.Minute) // virtual
		cl.awaitReady()
		cl.kill(leader.cfg.ID)
		states, err := cl.leader(topic, 0).Producers(t.Context(), topic, 0)
		if err != nil || len(states) != 0 {
			t.Fatalf("%+v, %v", states, err)
		}
	})
}

func TestABrokerThatCanProposeNoInSyncReplicasEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 1)
		defer cl.end()
		c := cl.members[1]
		c.root.Send(c.system.NewLocalPID(proposalsName), (*proposeISR)(nil)) // a bug
		synctest.Wait()
		if c.Err() == nil {
			t.Error("it goes on")
		}
	})
}
