package actors

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// lockedLog gathers what is logged.
type lockedLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedLog) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// logging has the brokers of a test log into what is returned.
func logging(t *testing.T) *lockedLog {
	t.Helper()
	logged, before := &lockedLog{}, clusterLog
	clusterLog = slog.New(slog.NewTextHandler(logged, nil))
	t.Cleanup(func() { clusterLog = before })
	return logged
}

// ordersOn creates a topic with one partition on these brokers, of which one need be in sync.
func (cl *cluster) ordersOn(brokers ...wire.BrokerID) wire.TopicID {
	cl.t.Helper()
	one := "1"
	created := cl.any().CreateTopics(cl.t.Context(), []wire.NewTopic{{
		Name: "orders", Partitions: -1, ReplicationFactor: -1, Assignment: [][]wire.BrokerID{brokers},
		Configs: []wire.ConfigValue{{Name: "min.insync.replicas", Value: &one}},
	}}, false)
	if created[0].Err != nil {
		cl.t.Fatal(created[0].Err)
	}
	return created[0].ID
}

// Kafka: takes the first that is alive.
func TestAnUncleanElectionTakesTheMostCompleteSurvivorAndLogsWhatIsLost(t *testing.T) {
	logged := logging(t)
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 5)
		defer cl.end()
		cl.awaitReady()
		topic := cl.ordersOn(3, 4, 5)
		const leader, least, more = 3, 4, 5
		var r replies
		for slot, dies := range []wire.BrokerID{least, more, leader} {
			cl.inSync(topic, 1, 3-slot)
			cl.members[leader].produce(&r, slot, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
			cl.await("the record is answered", func() bool { return len(r.of(slot)) == 1 })
			if reply := r.one(t, slot); reply.Err != nil || reply.BaseOffset != wire.Offset(slot) {
				t.Fatalf("%+v", reply)
			}
			time.Sleep(time.Second) // virtual: followers hear of the high watermark
			cl.kill(dies)
			time.Sleep(time.Minute) // virtual: other voters take its place
		}
		cl.startAll(least, more)
		time.Sleep(time.Minute) // virtual: both are back, and neither may lead
		cl.any().alter(wire.ConfigResource{Type: wire.ConfigTopic, Name: "orders"}, "unclean.leader.election.enable=true")
		if now := cl.leader(topic, 0); now.cfg.ID != more {
			t.Errorf("broker %d leads, and %d has more", now.cfg.ID, more)
		}
		cl.start(leader)
		cl.inSync(topic, 1, 3)
		for _, id := range []wire.BrokerID{leader, least, more} {
			if end := cl.members[id].routes.find(topic, 0).current().EndOffset(); end != 2 {
				t.Errorf("broker %d ends at %d", id, end)
			}
		}
		if lost := `msg="records below the high watermark are lost by an unclean election" broker=3 topic=orders partition=0`; logged.count(lost) != 1 {
			t.Errorf("the log has not %q once", lost)
		}
	})
	if t.Failed() {
		t.Log(logged.text.String())
	}
}

// A log that lost what was durable is opened where others have it, and is filled again.
func TestALogThatLostItsEndIsFilledByTheOthers(t *testing.T) {
	logged := logging(t)
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		topic := cl.topic("orders", 1)
		cl.produceAll(topic, 5, 4)
		victim := cl.leader(topic, 0).cfg.ID
		cl.kill(victim)
		disk := cl.disks[victim]
		name := "/data/orders-0/00000000000000000000.log"
		f, err := disk.OpenFile(name, 2, 0)
		if err == nil {
			var size int64
			if size, err = f.Size(); err == nil {
				err = f.Truncate(size - 10)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		cl.start(victim)
		cl.inSync(topic, 1, 3)
		log := cl.members[victim].routes.find(topic, 0).current()
		cl.await("the loss is made good", func() bool { return !log.LostDurable() })
		if log.EndOffset() != 20 || log.FlushedOffset() != 20 {
			t.Errorf("it ends at %d, flushed up to %d", log.EndOffset(), log.FlushedOffset())
		}
	})
	if t.Failed() {
		t.Log(logged.text.String())
	}
}

// What only it had is gone with its disk. Once the others go on without, it is a replica like any other.
func TestABrokerThatLostItsDiskFollowsAgainAfterAnUncleanElection(t *testing.T) {
	logged := logging(t)
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 5)
		defer cl.end()
		cl.awaitReady()
		topic := cl.ordersOn(4, 5)
		const leader, other = 4, 5
		cl.kill(other)
		cl.inSync(topic, 1, 1)
		cl.kill(leader)
		cl.wipe(leader)
		cl.joins = map[wire.BrokerID]bool{leader: true}
		cl.offline(leader, func(dir *storage.Dir) error {
			identity := dir.Identity()
			identity.ClusterID, identity.BrokerID, identity.RaftID = "cluster", leader, 204
			return dir.SaveIdentity(identity)
		})
		time.Sleep(time.Minute) // virtual: it is fenced
		cl.startAll(leader, other)
		cl.awaitReady()
		if state, _ := cl.any().View().Partition(topic, 0); state.Leader != wire.NoBroker {
			t.Fatalf("an empty or a stale log leads: %+v", state)
		}
		outcomes, err := cl.any().ElectLeaders(t.Context(), wire.ElectLeaders{
			Unclean: true, Partitions: []wire.TopicNamePartition{{Topic: "orders"}},
		})
		if err != nil || outcomes[0].Err != nil {
			t.Fatal(outcomes, err)
		}
		cl.inSync(topic, 1, 2)
		cl.produceAll(topic, 1, 3)
		if end := cl.members[leader].routes.find(topic, 0).current().EndOffset(); end != 3 {
			t.Errorf("the broker with the new disk ends at %d", end)
		}
	})
	if t.Failed() {
		t.Log(logged.text.String())
	}
}
