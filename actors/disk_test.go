package actors

import (
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/storage/faultfs"
	"github.com/troupe-mq/troupe/wire"
)

// fetchAll reads a topic's first partition from the beginning.
func (c *company) fetchAll(topic wire.TopicID) wire.Fetched {
	c.t.Helper()
	f := c.Fetch(&wire.Fetch{Topic: topic, CurrentEpoch: wire.NoEpoch, LastFetchedEpoch: wire.NoEpoch, MaxBytes: 1 << 20, AtLeastOne: true})
	c.t.Cleanup(f.Records.Release)
	return f
}

func TestAHeldSyncDelaysNoFetchAndNoOtherDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New(), "/data", "/more")
		defer c.end()
		held, free := c.topic("a", 1), c.topic("b", 1)
		if c.routes.find(held, 0).current().Dir() == c.dirs[0] {
			held, free = free, held
		}
		var r replies
		c.produce(&r, 1, held, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		r.one(t, 1)
		gate := c.disk.Hold("/more")
		c.produce(&r, 2, held, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		c.produce(&r, 3, free, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		r.none(t, 2)
		if reply := r.one(t, 3); reply.Err != nil {
			t.Fatalf("the other directory: %+v", reply)
		}
		if f := c.fetchAll(held); f.Err != nil || f.HighWatermark != 1 || f.Records.Length == 0 {
			t.Fatalf("fetch: %+v", f)
		}
		gate.Release()
		r.one(t, 2)
	})
}

func TestAFullDiskRefusesProduceRetriablyAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New(), "/data", "/more")
		defer c.end()
		topic, other := c.topic("a", 1), c.topic("b", 1)
		var r replies
		for slot, topic := range []wire.TopicID{topic, other} {
			c.produce(&r, slot, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
			r.one(t, slot)
		}
		c.disk.SetFree(0)
		c.produce(&r, 10, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		reply := r.one(t, 10)
		if reply.Err == nil || !wire.Code(reply.Err).Retriable() {
			t.Fatalf("produce onto a full disk: %+v, want a retriable error", reply)
		}
		if f := c.fetchAll(topic); f.Err != nil || f.Records.Length == 0 {
			t.Fatalf("fetch: %+v", f)
		}
		// A change of metadata waits for room, and the broker with it, but it does not give up.
		ctx := t.Context()
		deleted := make(chan []wire.DeletedTopic, 1)
		go func() { deleted <- c.DeleteTopics(ctx, []wire.TopicRef{{ID: other}}) }()
		time.Sleep(time.Minute) // virtual
		select {
		case <-c.Failed():
			t.Fatalf("the broker gave up: %v", c.Err())
		default:
		}
		c.disk.SetFree(1 << 30)
		time.Sleep(time.Minute) // virtual: writes resume by themselves
		if d := <-deleted; d[0].Err != nil && !errors.Is(d[0].Err, wire.NotController) {
			t.Fatalf("delete: %v", d[0].Err)
		}
		c.produce(&r, 11, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		if reply := r.one(t, 11); reply.Err != nil || reply.BaseOffset != 1 {
			t.Fatalf("with room again: %+v, want offset 1", reply)
		}
	})
}

// What lay on a disk that is not there is not led with an empty log.
func TestABrokerWithoutOneOfItsDisksLeadsNothingThatLayThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		c := start(t, disk, "/data", "/more")
		topics := []wire.TopicID{c.topic("a", 1), c.topic("b", 1)}
		var r replies
		lost := topics[0]
		for slot, topic := range topics {
			c.produce(&r, slot, topic, wire.AcksAll, recordsOf(2, wire.NoProducer, 0))
			r.one(t, slot)
			if c.routes.find(topic, 0).current().Dir() == c.dirs[1] {
				lost = topic
			}
		}
		missing := c.dirs[1].Identity().DirectoryID
		c.end()
		var logged strings.Builder
		c = startWith(t, Dependencies{FS: disk, Logger: slog.New(slog.NewTextHandler(&logged, nil))}, "/data")
		for slot, topic := range topics {
			c.produce(&r, 10+slot, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
			reply := r.one(t, 10+slot)
			if (reply.Err != nil) != (topic == lost) {
				t.Fatalf("topic %d, lost %v: %+v", slot, topic == lost, reply)
			}
			if f := c.fetchAll(topic); (f.Err != nil) != (topic == lost) {
				t.Fatalf("topic %d, lost %v: %+v", slot, topic == lost, f)
			}
		}
		c.end()
		if warned := "add its --data\" directory_id=" + missing + " partitions=1\n"; strings.Count(logged.String(), warned) != 1 {
			t.Fatalf("the log does not say %q once:\n%s", warned, &logged)
		}
		c = start(t, disk, "/data", "/more")
		defer c.end()
		if start, end, ok := c.Offsets(lost, 0); !ok || start != 0 || end != 2 {
			t.Fatalf("with the disk back: %d to %d, %v", start, end, ok)
		}
	})
}

// damage cuts the log of a topic's first partition below what was durable.
func damage(t *testing.T, disk *crashfs.FS, topic string) {
	t.Helper()
	f, err := disk.OpenFile("/data/"+topic+"-0/00000000000000000000.log", 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(30); err != nil {
		t.Fatal(err)
	}
}

// Whoever hears that the broker is ready also sees that the partition has no leader.
func TestAPartitionWhoseLogCannotBeOpenedHasNoLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		c := start(t, disk)
		topics := []wire.TopicID{c.topic("rotten", 1), c.topic("sound", 1)}
		var r replies
		for slot, topic := range topics {
			c.produce(&r, slot, topic, wire.AcksAll, recordsOf(2, wire.NoProducer, 0))
			r.one(t, slot)
		}
		for life := range 2 { // the second time the image knows that it failed before
			c.end()
			damage(t, disk, "rotten")
			c = start(t, disk)
			for slot, topic := range topics {
				rotten := slot == 0
				state, _ := c.View().Partition(topic, 0)
				if (state.Leader == wire.NoBroker) != rotten || (len(state.Offline) == 1) != rotten {
					t.Fatalf("life %d, topic %d: %+v", life, slot, state)
				}
				c.produce(&r, 10*life+10+slot, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
				for _, err := range []error{r.one(t, 10*life+10+slot).Err, c.fetchAll(topic).Err} {
					if (err != nil) != rotten || err != nil && !wire.Code(err).Retriable() {
						t.Fatalf("life %d, topic %d: %v", life, slot, err)
					}
				}
			}
		}
		c.end()
	})
}

// The first directory holds the metadata log: a broker that cannot write it says why and ends.
func TestAFailedSyncOfTheMetadataLogEndsTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New(), "/data", "/more")
		defer c.end()
		c.disk.Fail(faultfs.Rule{Kind: faultfs.Sync, Match: faultfs.Under("/data/" + metadataLogDir), Nth: 1})
		created := c.CreateTopics(t.Context(), []wire.NewTopic{{Name: "a", Partitions: 1, ReplicationFactor: 1}}, false)
		if created[0].Err == nil {
			t.Fatal("a topic was created that is on no disk")
		}
		<-c.Failed()
		if !errors.Is(c.Err(), syscall.EIO) {
			t.Fatalf("the broker ended with: %v", c.Err())
		}
	})
}
