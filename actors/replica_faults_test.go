package actors

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/storage/faultfs"
	"github.com/troupe-mq/troupe/wire"
)

func TestAFollowerGoesOnBehindWhatItCouldWriteOfAnAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 1)
		defer cl.end()
		c := cl.members[1]
		topic := c.topic("orders", 1, "segment.bytes", "1048576")
		s := cl.lead(topic)
		defer cl.net.leave(strangerID)
		// The third batch begins a segment, and there is no room for one more file.
		c.disk.Fail(faultfs.Rule{Kind: faultfs.Open, Match: faultfs.Base("*2.log"), Err: syscall.EMFILE})
		all := batchesOf(s.epoch, 0, 400<<10, 400<<10, 400<<10)
		s.append(s.position(), all)
		p := s.position()
		if end := c.routes.find(topic, 0).current().EndOffset(); p.LogEndOffset != end || end != 2 {
			t.Fatalf("the follower says that it ends at %d, the log ends at %d, want 2", p.LogEndOffset, end)
		}
		if a, ok := s.append(p, batchesOf(s.epoch, 2, 400<<10)).(*wire.Appended); !ok || a.FlushedOffset != 3 {
			t.Fatalf("%+v, want all three", a)
		}
		cl.leadAgain(s)
		if producers := c.producersOf(topic); len(producers) != 1 || producers[0].LastSequence != 2 || producers[0].LastOffset != 2 {
			t.Fatalf("producers %+v", producers)
		}
		var r replies
		c.produce(&r, 1, topic, wire.AcksAll, batchesOf(0, 1, 400<<10))
		if reply := r.one(t, 1); reply.Err != nil || reply.BaseOffset != 1 {
			t.Fatalf("a batch that a partial append brought is repeated: %+v, want that it is known at 1", reply)
		}
	})
}

func (c *company) producersOf(topic wire.TopicID) []wire.ProducerState {
	reply := make(chan []wire.ProducerState, 1)
	c.root.Send(c.replicaOf(topic), &describeProducers{reply})
	return <-reply
}

func TestAProducerIsToldThatItsTimeIsUpAlsoWhenTheReplicaHasLedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 1)
		defer cl.end()
		c := cl.members[1]
		topic := c.topic("orders", 1)
		gate := c.disk.Hold("/data/orders-0")
		defer gate.Release()
		var r replies
		within := func(slot int, limit time.Duration) {
			c.Produce(&wire.Produce{
				Topic: topic, Acks: wire.AcksAll, Batches: recordsOf(1, wire.NoProducer, 0), Done: &r, Slot: slot, Deadline: time.Now().Add(limit),
			})
		}
		within(1, time.Second)
		r.none(t, 1)
		s := cl.lead(topic)
		defer cl.net.leave(strangerID)
		if reply := r.one(t, 1); !errors.Is(reply.Err, wire.NotLeaderOrFollower) {
			t.Fatalf("%+v, want that it does not lead any more", reply)
		}
		time.Sleep(2 * time.Second)
		cl.leadAgain(s)
		within(2, time.Minute)
		within(3, time.Second)
		time.Sleep(2 * time.Second)
		r.none(t, 2)
		if reply := r.one(t, 3); !errors.Is(reply.Err, wire.RequestTimedOut) {
			t.Fatalf("%+v, want that its time is up", reply)
		}
		time.Sleep(time.Minute)
		if reply := r.one(t, 2); !errors.Is(reply.Err, wire.RequestTimedOut) {
			t.Fatalf("%+v, want that its time is up", reply)
		}
	})
}

func TestAFullDiskPutsACutOffAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 1)
		defer cl.end()
		c := cl.members[1]
		topic := c.topic("orders", 1)
		var r replies
		c.produce(&r, 1, topic, wire.AcksAll, recordsOf(3, wire.NoProducer, 0))
		r.one(t, 1)
		s := cl.lead(topic)
		defer cl.net.leave(strangerID)
		p := s.position()
		c.disk.Fail(faultfs.Rule{
			Kind: faultfs.Open, Times: -1, Err: syscall.ENOSPC,
			Match: func(name string) bool { return strings.HasSuffix(name, ".tmp") },
		})
		cut := func() {
			s.say(&wire.Truncate{
				Topic: topic, LeaderEpoch: s.epoch, Incarnation: p.Incarnation, Run: p.Run, LastEpoch: wire.NoEpoch, Unclean: true,
			})
			synctest.Wait()
		}
		cut()
		c.disk.Heal()
		cl.await("the log is cut", func() bool {
			s.say(&wire.Probe{Topic: topic, LeaderEpoch: s.epoch})
			if again, ok := s.last().(*wire.Position); ok {
				if p = again; p.LogEndOffset == 0 {
					return true
				}
				cut()
			}
			return false
		})
		if image := c.image.Load(); !image.ReplicaUsable(topic, 0, 1) {
			t.Error("the cluster believes that the replica is of no use")
		}
	})
}
