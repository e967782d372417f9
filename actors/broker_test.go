package actors

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/storage/faultfs"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// company is one broker's whole actor system on a disk in memory, inside a synctest bubble.
type company struct {
	*Broker
	t     *testing.T
	disk  *faultfs.FS
	dirs  []*storage.Dir
	ahead atomic.Int64 // nanoseconds by which the broker's clock is ahead
	wall  atomic.Int64 // seconds by which its wall clock alone was set
}

var lives wire.Incarnation = 1

// start begins a broker on disk, with its data in these directories.
func start(t *testing.T, disk storage.FS, paths ...string) *company {
	t.Helper()
	return startWith(t, Dependencies{FS: disk, Logger: slog.New(slog.DiscardHandler)}, paths...)
}

// startWith begins a broker with another log or with metrics.
func startWith(t *testing.T, deps Dependencies, paths ...string) *company {
	t.Helper()
	if len(paths) == 0 {
		paths = []string{"/data"}
	}
	c := &company{t: t, disk: faultfs.New(deps.FS)}
	lives++
	cfg := DefaultConfig()
	cfg.ID, cfg.Incarnation, cfg.ClusterID = 1, lives, "cluster"
	cfg.Registration = metadata.RegisterBroker{ID: 1, Incarnation: lives, Host: "localhost", Port: 9092}
	for _, path := range paths {
		dc := storage.DefaultDirConfig()
		dc.Now, dc.BootID, dc.ReserveBytes = time.Now, "boot", 0
		dir, err := storage.OpenDir(c.disk, path, dc, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		c.dirs = append(c.dirs, dir)
		cfg.Registration.Directories = append(cfg.Registration.Directories, metadata.DirectoryID(dir.Identity().DirectoryID))
	}
	var err error
	deps.Dirs, deps.FS, deps.RaftID, deps.Now = c.dirs, c.disk, 1, c.now
	c.Broker, err = Start(t.Context(), cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *company) now() time.Time {
	return clock(time.Duration(c.ahead.Load()), c.wall.Load())
}

// end stops the broker and closes its directories.
func (c *company) end() {
	c.t.Helper()
	if err := c.Stop(c.t.Context()); err != nil {
		c.t.Error(err)
	}
	for _, d := range c.dirs {
		if err := d.Close(); err != nil && d.Err() == nil {
			c.t.Error(err)
		}
	}
	time.Sleep(2 * time.Second) // virtual: the runtime's throttle of dead letters ends
}

// topic creates a topic and returns its id.
func (c *company) topic(name string, partitions int32, configs ...string) wire.TopicID {
	c.t.Helper()
	t := wire.NewTopic{Name: name, Partitions: partitions, ReplicationFactor: 1}
	for i := 0; i < len(configs); i += 2 {
		t.Configs = append(t.Configs, wire.ConfigValue{Name: configs[i], Value: &configs[i+1]})
	}
	created := c.CreateTopics(c.t.Context(), []wire.NewTopic{t}, false)
	if created[0].Err != nil {
		c.t.Fatal(created[0].Err)
	}
	return created[0].ID
}

// replies collects the answers to Produces by slot.
type replies struct {
	mu  sync.Mutex
	got map[int][]wire.ProduceReply
}

func (r *replies) ProduceDone(slot int, reply wire.ProduceReply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.got == nil {
		r.got = make(map[int][]wire.ProduceReply)
	}
	r.got[slot] = append(r.got[slot], reply)
}

// of returns the answers to one slot once every actor is idle.
func (r *replies) of(slot int) []wire.ProduceReply {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got[slot]
}

// one returns the only answer to a slot.
func (r *replies) one(t *testing.T, slot int) wire.ProduceReply {
	t.Helper()
	got := r.of(slot)
	if len(got) != 1 {
		t.Fatalf("slot %d has %d answers: %+v, want 1", slot, len(got), got)
	}
	return got[0]
}

// none checks that nobody has answered a slot.
func (r *replies) none(t *testing.T, slot int) {
	t.Helper()
	if got := r.of(slot); len(got) != 0 {
		t.Fatalf("slot %d is answered: %+v", slot, got)
	}
}

// recordsOf makes a batch of n records.
func recordsOf(n int, producer wire.ProducerID, sequence wire.Sequence) []byte {
	var b record.Builder
	for i := range n {
		b.Append(time.Now().UnixMilli(), nil, []byte("value "+strconv.Itoa(i)), nil)
	}
	epoch := wire.ProducerEpoch(0)
	if producer == wire.NoProducer {
		epoch, sequence = -1, -1
	}
	return b.Finish(producer, epoch, sequence)
}

func (c *company) produce(r *replies, slot int, topic wire.TopicID, acks wire.Acks, batch []byte) {
	c.Produce(&wire.Produce{Topic: topic, Acks: acks, Batches: batch, Done: r, Slot: slot, Deadline: time.Now().Add(time.Minute)})
}

// replicaOf is the actor of a topic's first partition.
func (c *company) replicaOf(topic wire.TopicID) *actor.PID {
	return c.routes.find(topic, 0).door.address()
}

func (c *company) epochOf(topic wire.TopicID) wire.LeaderEpoch {
	c.t.Helper()
	view := c.routes.find(topic, 0).view.Load()
	if view == nil {
		c.t.Fatal("the partition is not led")
	}
	return view.leaderEpoch
}

func TestAcksAllIsAnsweredOnceTheLogIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		topic := c.topic("events", 1)
		gate := c.disk.Hold("/data")
		var r replies
		c.produce(&r, 1, topic, wire.AcksAll, recordsOf(3, wire.NoProducer, 0))
		c.produce(&r, 2, topic, wire.AcksLeader, recordsOf(2, wire.NoProducer, 0))
		r.none(t, 1)
		if reply := r.one(t, 2); reply.Err != nil || reply.BaseOffset != 3 {
			t.Fatalf("acks=1: %+v, want offset 3 before any fsync", reply)
		}
		if f := c.Fetch(&wire.Fetch{Topic: topic, CurrentEpoch: wire.NoEpoch, LastFetchedEpoch: wire.NoEpoch, MaxBytes: 1 << 20}); f.HighWatermark != 0 || f.Records.Length != 0 {
			t.Fatalf("unflushed records can be read: %+v", f)
		}
		gate.Release()
		if reply := r.one(t, 1); reply.Err != nil || reply.BaseOffset != 0 {
			t.Fatalf("acks=all: %+v, want offset 0", reply)
		}
		f := c.Fetch(&wire.Fetch{Topic: topic, CurrentEpoch: wire.NoEpoch, LastFetchedEpoch: wire.NoEpoch, MaxBytes: 1 << 20})
		defer f.Records.Release()
		if f.Err != nil || f.HighWatermark != 5 || f.Records.Length == 0 {
			t.Fatalf("fetch after the flush: %+v", f)
		}
	})
}

func TestUnderReplicatedNothingWaitsForTheFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		topic := c.topic("events", 1, "durability", "replicated")
		gate := c.disk.Hold("/data")
		defer gate.Release()
		var r replies
		c.produce(&r, 1, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		if reply := r.one(t, 1); reply.Err != nil {
			t.Fatal(reply.Err)
		}
	})
}

// Only a replica actor's mailbox leads to an append or to an answer.
func TestAStoppedReplicaRefusesRetriablyUntilTheNextOneLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		topic := c.topic("events", 1)
		before := c.epochOf(topic)
		gate := c.disk.Hold("/data")
		var r replies
		c.produce(&r, 1, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		r.none(t, 1)
		c.root.Stop(c.replicaOf(topic))
		if reply := r.one(t, 1); !errors.Is(reply.Err, wire.NotLeaderOrFollower) {
			t.Fatalf("parked in the stopped replica: %+v, want NOT_LEADER_OR_FOLLOWER", reply)
		}
		// Its log cannot be closed while the fsync is held, so the next replica is not there yet.
		c.produce(&r, 2, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		if reply := r.one(t, 2); !errors.Is(reply.Err, wire.NotLeaderOrFollower) {
			t.Fatalf("with no replica: %+v, want NOT_LEADER_OR_FOLLOWER", reply)
		}
		gate.Release()
		synctest.Wait()
		c.produce(&r, 3, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		if reply := r.one(t, 3); reply.Err != nil || reply.BaseOffset != 1 {
			t.Fatalf("after the respawn: %+v, want offset 1", reply)
		}
		if after := c.epochOf(topic); after <= before {
			t.Fatalf("leads in epoch %d again after %d", after, before)
		}
	})
}

func TestAPanickingReplicaIsReplacedAndForgetsNoProducer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		topic := c.topic("events", 1)
		var r replies
		c.produce(&r, 1, topic, wire.AcksAll, recordsOf(2, 9, 0))
		r.one(t, 1)
		for life := range 4 { // the first respawn is at once, then comes a pause
			c.send(c.replicaOf(topic), &becomeLeader{}) // ignored: an old epoch
			c.send(c.replicaOf(topic), &produceMsg{})   // panics: no Produce inside
			time.Sleep(time.Second)                     // virtual
			synctest.Wait()
			c.produce(&r, 10+life, topic, wire.AcksAll, recordsOf(2, 9, 0))
			if reply := r.one(t, 10+life); reply.Err != nil || reply.BaseOffset != 0 {
				t.Fatalf("the repeated batch after panic %d: %+v, want its first offset 0", life+1, reply)
			}
		}
		c.produce(&r, 2, topic, wire.AcksAll, recordsOf(1, 9, 2))
		if reply := r.one(t, 2); reply.Err != nil || reply.BaseOffset != 2 {
			t.Fatalf("the next batch: %+v, want offset 2", reply)
		}
	})
}

func TestADuplicateWaitsLikeItsOriginal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		topic := c.topic("events", 1)
		gate := c.disk.Hold("/data")
		var r replies
		c.produce(&r, 1, topic, wire.AcksAll, recordsOf(2, 9, 0))
		c.produce(&r, 2, topic, wire.AcksAll, recordsOf(2, 9, 0))
		r.none(t, 1)
		r.none(t, 2)
		gate.Release()
		if one, two := r.one(t, 1), r.one(t, 2); one.Err != nil || two.Err != nil || one.BaseOffset != two.BaseOffset {
			t.Fatalf("original %+v, duplicate %+v", one, two)
		}
	})
}

func TestEveryStartLeadsInANewEpochAndKeepsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		c := start(t, disk)
		topic := c.topic("events", 1)
		last := c.epochOf(topic)
		for life := range 3 {
			var r replies
			c.produce(&r, 1, topic, wire.AcksAll, recordsOf(2, wire.NoProducer, 0))
			if reply := r.one(t, 1); reply.Err != nil || reply.BaseOffset != wire.Offset(2*life) {
				t.Fatalf("life %d: %+v", life, reply)
			}
			c.end()
			c = start(t, disk)
			if epoch := c.epochOf(topic); epoch <= last {
				t.Fatalf("life %d leads in epoch %d after %d", life, epoch, last)
			} else {
				last = epoch
			}
		}
		c.end()
	})
}

func TestAParkedFetchIsWokenByTheHighWatermark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		topic := c.topic("events", 1)
		gate := c.disk.Hold("/data")
		w := wire.NewWaiter()
		woken := func() bool {
			synctest.Wait()
			select {
			case <-w.C():
				return true
			default:
				return false
			}
		}
		c.Park(w, topic, 0, 0)
		var r replies
		c.produce(&r, 1, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		if woken() {
			t.Fatal("woken by an append that is not committed")
		}
		gate.Release()
		if !woken() {
			t.Fatal("not woken by the high watermark")
		}
		c.Park(w, topic, 0, 0)
		if !woken() {
			t.Fatal("parked below the high watermark and not woken")
		}
		c.Park(w, topic, 0, 1)
		c.Unpark(w)
		c.produce(&r, 2, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		if woken() {
			t.Fatal("woken after it left")
		}
		c.Park(w, topic, 0, 2)
		synctest.Wait() // a stop overtakes what is queued
		c.root.Stop(c.replicaOf(topic))
		if !woken() {
			t.Fatal("not woken by the end of the replica")
		}
	})
}

func TestAFullPartitionHoldsProducersAtTheDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		topic := c.topic("events", 1)
		part := c.routes.find(topic, 0)
		batch := recordsOf(1, wire.NoProducer, 0)
		part.door.limit = int64(len(batch)) // room for one
		gate := c.disk.Hold("/data")
		var r replies
		c.produce(&r, 1, topic, wire.AcksAll, batch)
		entered := make(chan struct{})
		go func() {
			c.produce(&r, 2, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
			close(entered)
		}()
		synctest.Wait()
		select {
		case <-entered:
			t.Fatal("let in beyond the limit")
		default:
		}
		gate.Release()
		<-entered
		r.one(t, 1)
		r.one(t, 2)
		if left := part.door.bytesInFlight(); left != 0 {
			t.Fatalf("%d bytes are still accounted for", left)
		}
	})
}

func TestADeletedTopicAnswersEveryoneAndLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		c := start(t, disk)
		topic := c.topic("events", 2)
		gate := c.disk.Hold("/data")
		var r replies
		c.produce(&r, 1, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		r.none(t, 1)
		deleted := make(chan []wire.DeletedTopic, 1)
		go func() { deleted <- c.DeleteTopics(context.Background(), []wire.TopicRef{{Name: "events"}}) }()
		synctest.Wait()
		gate.Release() // the metadata log lies in the same directory
		if d := <-deleted; d[0].Err != nil {
			t.Fatal(d[0].Err)
		}
		r.one(t, 1) // one answer, whichever came first
		c.produce(&r, 2, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		if reply := r.one(t, 2); !errors.Is(reply.Err, wire.UnknownTopicOrPartition) {
			t.Fatalf("produce to a deleted topic: %+v", reply)
		}
		again := c.topic("events", 1)
		if again == topic {
			t.Fatal("the topic has the id of the one before it")
		}
		c.produce(&r, 3, again, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		if reply := r.one(t, 3); reply.Err != nil || reply.BaseOffset != 0 {
			t.Fatalf("the new topic: %+v, want offset 0", reply)
		}
		c.end()
		c = start(t, disk)
		defer c.end()
		refs, err := c.dirs[0].Logs()
		if err != nil || len(refs) != 1 || refs[0].ID != again {
			t.Fatalf("left on disk: %+v, %v", refs, err)
		}
	})
}

// lostDirectory says that err is one of the two answers of a partition whose directory failed.
func lostDirectory(err error) bool {
	return errors.Is(err, wire.KafkaStorageError) || errors.Is(err, wire.NotLeaderOrFollower)
}

func TestAFailedSyncTakesTheDirectoryOfflineAndNothingWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New(), "/data", "/more")
		defer c.end()
		first, second := c.topic("a", 1), c.topic("b", 1)
		lost, kept := first, second
		if c.routes.find(first, 0).current().Dir() == c.dirs[0] {
			lost, kept = second, first
		}
		c.disk.Fail(faultfs.Rule{Kind: faultfs.Sync, Match: faultfs.Under("/more"), Nth: 1})
		var r replies
		c.produce(&r, 1, lost, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		// KAFKA_STORAGE_ERROR from the replica, or NOT_LEADER_OR_FOLLOWER if the metadata was quicker.
		if reply := r.one(t, 1); !lostDirectory(reply.Err) {
			t.Fatalf("acks=all over a failed fsync: %+v", reply)
		}
		c.produce(&r, 2, lost, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		if reply := r.one(t, 2); !lostDirectory(reply.Err) {
			t.Fatalf("after it: %+v", reply)
		}
		if state, _ := c.View().Partition(lost, 0); state.Leader != wire.NoBroker {
			t.Fatalf("the metadata still says that broker %d leads it", state.Leader)
		}
		c.produce(&r, 3, kept, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		if reply := r.one(t, 3); reply.Err != nil {
			t.Fatalf("the other directory: %+v", reply)
		}
		select {
		case <-c.Failed():
			t.Fatalf("the broker gave up: %v", c.Err())
		default:
		}
	})
}

func TestAcksAllTimesOutWhenTheDiskHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		topic := c.topic("events", 1)
		gate := c.disk.Hold("/data")
		defer gate.Release()
		var r replies
		c.produce(&r, 1, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		time.Sleep(59 * time.Second)
		r.none(t, 1)
		time.Sleep(2 * time.Second)
		if reply := r.one(t, 1); !errors.Is(reply.Err, wire.RequestTimedOut) {
			t.Fatalf("after the deadline: %+v", reply)
		}
	})
}

func TestProducerIDsAreGivenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		seen := make(map[wire.ProducerID]bool)
		for range 2 {
			c := start(t, disk)
			for range 1500 { // more than a block
				id, err := c.InitProducerID(t.Context(), wire.InitProducerID{Producer: wire.NoProducer, Epoch: -1})
				if err != nil || seen[id.Producer] || id.Epoch != 0 {
					t.Fatalf("producer %+v, %v, seen before: %v", id, err, seen[id.Producer])
				}
				seen[id.Producer] = true
			}
			c.end()
		}
	})
}

func TestAStoppedControllerChangesNothingForProducersAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		topic := c.topic("events", 1)
		for life := range 3 {
			_, pid := c.controller.present()
			c.root.Stop(pid)
			var r replies
			c.produce(&r, 1, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
			if reply := r.one(t, 1); reply.Err != nil {
				t.Fatalf("produce without a controller: %+v", reply)
			}
			time.Sleep(time.Second) // virtual
			synctest.Wait()
			c.topic("more-"+strconv.Itoa(life), 1)
		}
	})
}

func TestAReplicaThatStopsWithTheControllerGetsItsEpochLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		topic := c.topic("events", 1)
		before := c.epochOf(topic)
		_, pid := c.controller.present()
		c.root.Stop(pid)
		c.root.Stop(c.replicaOf(topic))
		time.Sleep(time.Second) // virtual
		var r replies
		c.produce(&r, 1, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		if reply := r.one(t, 1); reply.Err != nil || c.epochOf(topic) <= before {
			t.Fatalf("%+v in epoch %d after %d", reply, c.epochOf(topic), before)
		}
	})
}

func TestDeletingATopicWhoseReplicaIsBeingReplacedLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		c := start(t, disk)
		topic := c.topic("events", 1)
		c.root.Stop(c.replicaOf(topic))
		if d := c.DeleteTopics(t.Context(), []wire.TopicRef{{ID: topic}}); d[0].Err != nil {
			t.Fatal(d[0].Err)
		}
		c.end()
		c = start(t, disk)
		defer c.end()
		if refs, err := c.dirs[0].Logs(); err != nil || len(refs) != 0 {
			t.Fatalf("left on disk: %+v, %v", refs, err)
		}
	})
}

// alter changes keys of a topic or of all brokers, each as "key=value".
func (c *company) alter(resource wire.ConfigResource, pairs ...string) {
	c.t.Helper()
	alter := wire.AlterConfigs{Resource: resource}
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		alter.Changes = append(alter.Changes, wire.ConfigChange{Name: key, Value: &value})
	}
	if errs := c.AlterConfigs(c.t.Context(), []wire.AlterConfigs{alter}, false); errs[0] != nil {
		c.t.Fatal(errs[0])
	}
	synctest.Wait()
}

func TestConfigurationsReachTheLogAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		topic := c.topic("events", 1)
		c.alter(wire.ConfigResource{Type: wire.ConfigTopic, Name: "events"}, "retention.ms=3600000")
		if cfg := c.routes.find(topic, 0).current().Config(); cfg.RetentionAge != time.Hour || cfg.Synced == nil || cfg.Producers == nil {
			t.Fatalf("the log has %+v", cfg)
		}
		var r replies
		c.produce(&r, 1, topic, wire.AcksAll, recordsOf(3, wire.NoProducer, 0))
		r.one(t, 1)
		time.Sleep(2 * time.Hour) // virtual: the janitor comes by
		synctest.Wait()
		if start, end, _ := c.Offsets(topic, 0); start != 3 || end != 3 {
			t.Fatalf("after retention the log is %d to %d, want 3 to 3", start, end)
		}
	})
}
