package actors

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

func TestATopicMayBeCreatedAgainAsSoonAsItIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		var r replies
		for i := range 50 {
			topic := c.topic("events", 2)
			c.produce(&r, i, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
			if reply := r.one(t, i); reply.Err != nil || reply.BaseOffset != 0 {
				t.Fatalf("life %d: %+v, want offset 0", i, reply)
			}
			if d := c.DeleteTopics(t.Context(), []wire.TopicRef{{Name: "events"}}); d[0].Err != nil {
				t.Fatal(d[0].Err)
			}
		}
	})
}

// Its log lies where the one before it does, which cannot be closed while its fsync is held.
func TestATopicWaitsForTheOneBeforeItOfItsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New(), "/meta", "/data")
		defer c.end()
		name := "a"
		before := c.topic(name, 1)
		if c.routes.find(before, 0).current().Dir() == c.dirs[0] {
			name = "b"
			before = c.topic(name, 1)
		}
		gate := c.disk.Hold("/data")
		var r replies
		c.produce(&r, 1, before, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		r.none(t, 1)
		created := make(chan wire.CreatedTopic, 3)
		for range 3 { // the first two are deleted before they begin
			if d := c.DeleteTopics(t.Context(), []wire.TopicRef{{Name: name}}); d[0].Err != nil {
				t.Fatal(d[0].Err)
			}
			go func() {
				created <- c.CreateTopics(context.Background(), []wire.NewTopic{{Name: name, Partitions: 1, ReplicationFactor: 1}}, false)[0]
			}()
			synctest.Wait()
		}
		<-created
		<-created
		select {
		case topic := <-created:
			t.Fatalf("%+v is there while the log before it is", topic)
		default:
		}
		gate.Release()
		topic := <-created
		c.produce(&r, 2, topic.ID, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		if reply := r.one(t, 2); reply.Err != nil || reply.BaseOffset != 0 {
			t.Fatalf("%+v, want offset 0", reply)
		}
	})
}

// betweenRuns stops a topic's replica until the next one is held back for a while.
func (c *company) betweenRuns(topic wire.TopicID) {
	c.t.Helper()
	for range 2 {
		synctest.Wait()
		c.root.Stop(c.replicaOf(topic))
		synctest.Wait()
	}
	if c.replicaOf(topic) != nil {
		c.t.Fatal("the replica is there again at once")
	}
}

func TestABrokerStopsWhileAReplicaIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		c.betweenRuns(c.topic("events", 1))
		c.end() // must not wait for ever
	})
}

func TestATopicIsDeletedWhileItsReplicaIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.betweenRuns(c.topic("events", 1))
		if d := c.DeleteTopics(t.Context(), []wire.TopicRef{{Name: "events"}}); d[0].Err != nil {
			t.Fatal(d[0].Err)
		}
		synctest.Wait()
		if refs, err := c.dirs[0].Logs(); err != nil || len(refs) != 0 {
			t.Fatalf("left on disk: %+v, %v", refs, err)
		}
	})
}

func TestAReplicaIsReadyTooLateWhenItsDirectoryHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := newSystem(1, 1, nil, slog.New(slog.DiscardHandler), func(string, any) {})
		defer sys.Shutdown()
		silent := actor.PropsFromFunc(func(actor.Context) {})
		topic := sys.Root.Spawn(propsOf(func() actor.Actor {
			return &topicActor{topicConfig: topicConfig{
				broker: sys.Root.Spawn(silent), background: func(f func()) { go f() },
				spawn:    func(replicaConfig, string) (*actor.PID, error) { return sys.Root.Spawn(silent), nil },
				newEpoch: func(int32, wire.LeaderEpoch, func(error)) {},
				send:     func(to *actor.PID, m any) { sys.Root.Send(to, m) },
				now:      time.Now, logger: slog.New(slog.DiscardHandler),
			}}
		}))
		p := newPartition("events", wire.TopicPartition{Topic: wire.TopicID{1}}, 1<<20)
		dir := new(storage.Dir)
		sys.Root.Send(topic, &topicChanged{assignments: []assignment{{partition: p, dir: dir}}})
		sys.Root.Send(topic, &dirOffline{dir: dir})
		sys.Root.Send(topic, &replicaReady{run: 1})
		var r replies
		p.door.enter(&wire.Produce{Done: &r}) // an open door would never answer
		if reply := r.one(t, 0); !errors.Is(reply.Err, wire.KafkaStorageError) {
			t.Fatalf("%+v, want KAFKA_STORAGE_ERROR", reply)
		}
		time.Sleep(2 * time.Second) // virtual: the runtime's throttle of dead letters ends
	})
}

// unreadable is a disk on which nobody can read what topic a log belongs to.
type unreadable struct {
	storage.FS
	on bool
}

func (u *unreadable) OpenFile(name string, flag int, perm fs.FileMode) (storage.File, error) {
	if u.on && strings.HasSuffix(name, "partition.metadata") && flag == 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("input/output error")}
	}
	return u.FS.OpenFile(name, flag, perm)
}

func TestALogWhoseTopicCannotBeReadIsNotReplacedByAnEmptyOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &unreadable{FS: crashfs.New()}
		c := start(t, disk)
		topic := c.topic("events", 1)
		var r replies
		c.produce(&r, 1, topic, wire.AcksAll, recordsOf(3, wire.NoProducer, 0))
		if reply := r.one(t, 1); reply.Err != nil {
			t.Fatal(reply.Err)
		}
		c.end()
		disk.on = true
		c = start(t, disk)
		if f := c.fetchAll(topic); f.Err == nil {
			t.Errorf("serves %+v", f)
		}
		c.end()
		disk.on = false
		c = start(t, disk)
		defer c.end()
		if start, end, ok := c.Offsets(topic, 0); !ok || start != 0 || end != 3 {
			t.Errorf("with the id readable again: %d to %d, %v", start, end, ok)
		}
	})
}

func TestSilentProducersAreForgottenThoughTheirRecordsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		topic := c.topic("events", 1, "retention.ms", "-1")
		var r replies
		for slot := range 2 { // both send records of long ago, the second one a day after the first
			var b record.Builder
			b.Append(1000, nil, []byte("value"), nil)
			c.produce(&r, slot, topic, wire.AcksAll, b.Finish(wire.ProducerID(slot), 0, 0))
			r.one(t, slot)
			c.ahead.Add(int64(producerExpiry / 2))
		}
		time.Sleep(producerExpiryInterval + time.Minute) // virtual
		synctest.Wait()
		states, err := c.Producers(t.Context(), topic, 0)
		if err != nil || len(states) != 1 || states[0].Producer != 1 {
			t.Fatalf("%+v, %v", states, err)
		}
		if start, end, _ := c.Offsets(topic, 0); start != 0 || end != 2 {
			t.Fatalf("the log is %d to %d", start, end)
		}
	})
}

func TestAReplicaThatKeepsStoppingIsReplacedAfterAGrowingPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		topic := c.topic("events", 1)
		part := c.routes.find(topic, 0)
		var pauses []time.Duration
		for range 5 {
			c.root.Stop(c.replicaOf(topic))
			synctest.Wait()
			stopped := time.Now()
			for part.view.Load() == nil {
				time.Sleep(time.Millisecond) // virtual
			}
			pauses = append(pauses, time.Since(stopped))
		}
		if pauses[0] != 0 {
			t.Errorf("the first replacement came after %s, not at once", pauses[0])
		}
		for i := 2; i < len(pauses); i++ {
			if pauses[i] < 2*pauses[i-1]-time.Millisecond {
				t.Errorf("the pauses are %v, want each to double", pauses)
			}
		}
		c.ahead.Add(int64(2 * stableRun)) // it has been well for long
		c.root.Stop(c.replicaOf(topic))
		synctest.Wait()
		if part.view.Load() == nil {
			t.Error("after a stable run the first replacement is not at once again")
		}
	})
}
