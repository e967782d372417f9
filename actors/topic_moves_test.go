package actors

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// move has the only partition of the topic orders lie on other brokers, and returns when all brokers know. It asks the
// first of them, which answers when its own replica is ready.
func (cl *cluster) move(to ...wire.BrokerID) {
	cl.t.Helper()
	outcomes, err := cl.members[to[0]].AlterReassignments(cl.t.Context(), wire.AlterReassignments{
		Partitions: []wire.Reassignment{{Topic: "orders", Replicas: to}},
	})
	if err != nil || outcomes[0].Err != nil {
		cl.t.Fatal(outcomes, err)
	}
	cl.await("the brokers know of the reassignment", func() bool {
		for _, b := range cl.members {
			topic, _ := b.View().Topic("orders")
			p, ok := b.View().Partition(topic.ID, 0)
			for _, id := range to {
				ok = ok && slices.Contains(p.Replicas, id)
			}
			if !ok || len(p.Adding) == 0 && len(p.Removing) == 0 && len(p.Replicas) != len(to) {
				return false
			}
		}
		return true
	})
	synctest.Wait()
}

// smallTopic creates the topic orders, of one partition, and waits until its replicas are in sync.
func (cl *cluster) smallTopic(replicas int, configs ...string) wire.TopicID {
	cl.t.Helper()
	cl.awaitReady()
	topic := wire.NewTopic{Name: "orders", Partitions: 1, ReplicationFactor: int16(replicas)}
	for i := 0; i < len(configs); i += 2 {
		topic.Configs = append(topic.Configs, wire.ConfigValue{Name: configs[i], Value: &configs[i+1]})
	}
	created := cl.any().CreateTopics(cl.t.Context(), []wire.NewTopic{topic}, false)
	if created[0].Err != nil {
		cl.t.Fatal(created[0].Err)
	}
	cl.inSync(created[0].ID, 1, replicas)
	return created[0].ID
}

// nothingLeft checks that a broker has neither a replica of a topic nor its log.
func (cl *cluster) nothingLeft(on wire.BrokerID, topic wire.TopicID) {
	cl.t.Helper()
	b := cl.members[on]
	if _, there := b.system.ProcessRegistry.GetLocal(replicaName(wire.TopicPartition{Topic: topic})); there {
		cl.t.Error("there is still a replica")
	}
	if refs, err := b.dirs[0].Logs(); err != nil || len(refs) != 0 {
		cl.t.Errorf("there are still logs: %v, %v", refs, err)
	}
}

func TestAReplicaThatIsHeldBackAndTakenAwayDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := newSystem(1, 1, nil, slog.New(slog.DiscardHandler), func(string, any) {})
		defer sys.Shutdown()
		silent := actor.PropsFromFunc(func(actor.Context) {})
		var replicas []*actor.PID
		var work []func()
		topic := sys.Root.Spawn(propsOf(func() actor.Actor {
			return &topicActor{topicConfig: topicConfig{
				broker: sys.Root.Spawn(silent), background: func(f func()) { work = append(work, f) },
				spawn: func(replicaConfig, string) (*actor.PID, error) {
					replicas = append(replicas, sys.Root.Spawn(silent))
					return replicas[len(replicas)-1], nil
				},
				send: func(to *actor.PID, m any) { sys.Root.Send(to, m) },
				now:  time.Now, logger: slog.New(slog.DiscardHandler),
			}}
		}))
		p := newPartition("events", wire.TopicPartition{Topic: wire.TopicID{1}}, 1<<20)
		sys.Root.Send(topic, &topicChanged{assignments: []assignment{{partition: p, dir: new(storage.Dir), leader: wire.NoBroker}}})
		for run := range 2 {
			synctest.Wait()
			p.adopt(uint64(run)+1, nil) // there never was a log
			sys.Root.Stop(replicas[run])
			synctest.Wait()
			work[run]()
			synctest.Wait()
		}
		sys.Root.Send(topic, &topicChanged{gone: []int32{0}}) // its log is removed when the pause is over
		time.Sleep(time.Second)
		synctest.Wait()
		if len(work) != 3 || len(replicas) != 2 {
			t.Fatalf("%d replicas, want no third one; %d pieces of work, want that the log is removed", len(replicas), len(work))
		}
		time.Sleep(2 * time.Second) // virtual: the runtime's throttle of dead letters ends
	})
}

func TestAReplicaThatComesAndGoesWhileItsLogIsInUseIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 2)
		defer cl.end()
		topic := cl.smallTopic(1)
		at := cl.leader(topic, 0).cfg.ID
		other := 3 - at
		b := cl.members[other]
		gate := b.disk.Hold("/data/orders-0")
		defer gate.Release()
		cl.move(at, other)
		cl.move(at)
		cl.move(at, other)
		var r replies
		go b.produce(&r, 1, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		r.none(t, 1)
		cl.move(at)
		if reply := r.one(t, 1); !errors.Is(reply.Err, wire.NotLeaderOrFollower) {
			t.Errorf("%+v, want that it is not here", reply)
		}
		gate.Release()
		time.Sleep(time.Second)
		cl.nothingLeft(other, topic)
		cl.move(at, other)
		cl.inSync(topic, 1, 2)
	})
}

func TestWhoWaitsForAReplicaToComeBackIsToldThatItsTopicIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 2)
		defer cl.end()
		topic := cl.smallTopic(1)
		at := cl.leader(topic, 0).cfg.ID
		other := 3 - at
		b := cl.members[other]
		gate := b.disk.Hold("/data/orders-0")
		defer gate.Release()
		cl.move(at, other)
		cl.move(at)
		cl.move(at, other)
		var r replies
		go b.produce(&r, 1, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		r.none(t, 1)
		if d := cl.members[at].DeleteTopics(t.Context(), []wire.TopicRef{{Name: "orders"}}); d[0].Err != nil {
			t.Fatal(d[0].Err)
		}
		if reply := r.one(t, 1); !errors.Is(reply.Err, wire.UnknownTopicOrPartition) {
			t.Fatalf("%+v, want that it is unknown", reply)
		}
	})
}

func TestAConfigurationThatChangesWhileALogIsBeingOpenedIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 1)
		defer cl.end()
		c := cl.members[1]
		gate := c.disk.Hold("/data/orders-0")
		defer gate.Release()
		go c.CreateTopics(t.Context(), []wire.NewTopic{{Name: "orders", Partitions: 1, ReplicationFactor: 1}}, false)
		cl.awaitTopic("orders")
		c.alter(wire.ConfigResource{Type: wire.ConfigTopic, Name: "orders"}, "segment.bytes=2000000")
		gate.Release()
		topic, _ := c.View().Topic("orders")
		cl.leader(topic.ID, 0)
		if got := c.routes.find(topic.ID, 0).current().Config().SegmentBytes; got != 2_000_000 {
			t.Errorf("segments of %d bytes", got)
		}
	})
}
