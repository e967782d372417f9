package actors

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// inRacks starts three brokers, broker 1 in rack a and the others in b, with a topic that 1 leads.
func inRacks(t *testing.T) (cl *cluster, topic wire.TopicID, leader *company) {
	t.Helper()
	cl = startTuned(t, 3, func(cfg *Config) {
		cfg.ReadFromRack = true
		if cfg.Registration.Rack = "b"; cfg.ID == 1 {
			cfg.Registration.Rack = "a"
		}
	})
	cl.awaitVoters(1, 2, 3)
	cl.awaitReady()
	created := cl.any().CreateTopics(t.Context(), []wire.NewTopic{{Name: "orders", Partitions: -1, ReplicationFactor: -1, Assignment: [][]wire.BrokerID{{1, 2, 3}}}}, false)
	if created[0].Err != nil {
		t.Fatal(created[0].Err)
	}
	topic = created[0].ID
	cl.inSync(topic, 1, 3)
	if leader = cl.leader(topic, 0); leader.cfg.ID != 1 {
		t.Fatalf("broker %d leads", leader.cfg.ID)
	}
	return cl, topic, leader
}

// from fetches from an offset on as a client in a rack does; whatever came is released.
func (c *company) from(rack string, topic wire.TopicID, offset wire.Offset) wire.Fetched {
	f := c.Fetch(&wire.Fetch{
		Topic: topic, CurrentEpoch: wire.NoEpoch, LastFetchedEpoch: wire.NoEpoch, FetchOffset: offset, MaxBytes: 1 << 20, AtLeastOne: true, Rack: rack,
	})
	if f.Records.File != nil {
		length := f.Records.Length
		f.Records.Release()
		f.Records.Length = length
	}
	return f
}

// fill produces records one by one, and waits until all replicas know that they are committed.
func (cl *cluster) fill(topic wire.TopicID, n int) {
	cl.t.Helper()
	leader, r := cl.leader(topic, 0), cl.produceAll(topic, n, 1)
	end := r.one(cl.t, n-1).BaseOffset + 1
	cl.await("all followers know", func() bool {
		for _, c := range cl.members {
			if c != leader && c.from("b", topic, 0).HighWatermark != end {
				return false
			}
		}
		return true
	})
}

// KIP-392: the leader names an in-sync replica in the rack that the client is in.
func TestALeaderSendsConsumersToAReplicaInTheirRack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, topic, leader := inRacks(t)
		defer cl.end()
		cl.fill(topic, 5)
		for _, rack := range []string{"", "a", "elsewhere"} {
			if f := leader.from(rack, topic, 0); f.Preferred != nil || f.Records.Length == 0 || f.FromFollower {
				t.Errorf("rack %q: %+v", rack, f)
			}
		}
		for _, offset := range []wire.Offset{0, 3, 5} {
			f := leader.from("b", topic, offset)
			if f.Preferred == nil || *f.Preferred != 2 && *f.Preferred != 3 || f.Records.Length != 0 || f.HighWatermark != 5 || f.Err != nil {
				t.Fatalf("offset %d: %+v", offset, f)
			}
		}
		if f := leader.from("b", topic, 6); f.Preferred != nil || !errors.Is(f.Err, wire.OffsetOutOfRange) {
			t.Errorf("an offset beyond the end: %+v", f)
		}
		first := *leader.from("b", topic, 0).Preferred
		cl.kill(first)
		cl.inSync(topic, 1, 2)
		if f := leader.from("b", topic, 0); f.Preferred == nil || *f.Preferred != 5-first {
			t.Errorf("after %d was killed: %+v", first, f)
		}
	})
}

func TestConsumersAreSentNowhereUnlessThatIsConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, topic, leader := inRacks(t)
		defer cl.end()
		leader.cfg.ReadFromRack = false
		cl.fill(topic, 1)
		if f := leader.from("b", topic, 0); f.Preferred != nil || f.Records.Length == 0 {
			t.Errorf("%+v", f)
		}
	})
}

func TestAFollowerAnswersForWhatItKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, topic, leader := inRacks(t)
		defer cl.end()
		cl.fill(topic, 5)
		if _, err := leader.DeleteRecords(t.Context(), &wire.DeleteRecords{Topic: topic, Before: 2}); err != nil {
			t.Fatal(err)
		}
		cl.await("the followers know where the log begins", func() bool {
			return cl.members[2].from("b", topic, 2).LogStartOffset == 2 && cl.members[3].from("b", topic, 2).LogStartOffset == 2
		})
		leader.root.Stop(leader.replicaOf(topic)) // broker 2 leads in a second epoch
		follower, epoch := cl.members[3], wire.NoEpoch
		cl.await("the follower is in that epoch, and has heard of its leader", func() bool {
			followed := follower.routes.find(topic, 0).followed.Load()
			if followed != nil {
				epoch = followed.leader.LeaderEpoch
			}
			return epoch > 0 && followed.gone == 2
		})
		for name, c := range map[string]struct {
			rack     string
			offset   wire.Offset
			epoch    wire.LeaderEpoch
			last     wire.LeaderEpoch
			want     error
			readable bool
		}{
			"what is committed":                 {rack: "b", offset: 2, epoch: epoch, last: 0, readable: true},
			"another rack, from stale metadata": {rack: "a", offset: 4, epoch: wire.NoEpoch, last: wire.NoEpoch, readable: true},
			"no rack":                           {rack: "", offset: 2, epoch: wire.NoEpoch, last: wire.NoEpoch, want: wire.NotLeaderOrFollower},
			"the end":                           {rack: "b", offset: 5, epoch: epoch, last: 0},
			"beyond the end, where the leader may be": {rack: "b", offset: 6, epoch: epoch, last: wire.NoEpoch, want: wire.OffsetNotAvailable},
			"what is deleted":                         {rack: "b", offset: 1, epoch: epoch, last: wire.NoEpoch, want: wire.OffsetOutOfRange},
			"an epoch that is over":                   {rack: "b", offset: 2, epoch: epoch - 1, last: wire.NoEpoch, want: wire.FencedLeaderEpoch},
			"an epoch that is to come":                {rack: "b", offset: 2, epoch: epoch + 1, last: wire.NoEpoch, want: wire.UnknownLeaderEpoch},
			"a log that may have gone another way":    {rack: "b", offset: 2, epoch: epoch, last: epoch + 1, want: wire.NotLeaderOrFollower},
		} {
			f := follower.Fetch(&wire.Fetch{
				Topic: topic, CurrentEpoch: c.epoch, LastFetchedEpoch: c.last, FetchOffset: c.offset, MaxBytes: 1 << 20, AtLeastOne: true, Rack: c.rack,
			})
			if !errors.Is(f.Err, c.want) || (f.Records.Length > 0) != c.readable {
				t.Errorf("%s: %v, %d bytes; want %v", name, f.Err, f.Records.Length, c.want)
			}
			if errors.Is(f.Err, wire.NotLeaderOrFollower) && f.Leader != (wire.LeaderHint{Broker: 2, LeaderEpoch: epoch}) {
				t.Errorf("%s: the client is sent to %+v", name, f.Leader)
			}
			if f.Err == nil && (!f.FromFollower || f.HighWatermark != 5 || f.Preferred != nil) {
				t.Errorf("%s: %+v", name, f)
			}
			f.Records.Release()
		}
	})
}

// What one follower has not flushed is not committed, whatever the others have.
func TestAFollowerShowsNothingThatIsNotCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, topic, leader := inRacks(t)
		defer cl.end()
		cl.fill(topic, 2)
		follower, slow := cl.members[2], cl.members[3]
		waiter := wire.NewWaiter()
		ask := &wire.Fetch{Topic: topic, Rack: "b"}
		if !follower.ParkAt(waiter.Spot(topic), ask, 2) {
			t.Fatal("there is more than what is committed")
		}
		gate := slow.disk.Hold("/data")
		var r replies
		leader.produce(&r, 0, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		cl.await("the follower has it", func() bool { return follower.routes.find(topic, 0).current().FlushedOffset() == 3 })
		if f := follower.from("b", topic, 2); f.Err != nil || f.Records.Length != 0 || f.HighWatermark != 2 {
			t.Errorf("before it is committed: %+v", f)
		}
		if f := follower.from("b", topic, 3); f.Err != nil || f.Records.Length != 0 {
			t.Errorf("at its end, beyond what is committed: %+v", f)
		}
		select {
		case <-waiter.C():
			t.Error("whoever waits is woken too early")
		default:
		}
		gate.Release()
		cl.await("it is committed", func() bool { return follower.from("b", topic, 2).Records.Length > 0 })
		if list := waiter.Ready(nil); len(list) != 1 || list[0].Of != topic {
			t.Errorf("woken: %v", list)
		}
		waiter.Leave()
	})
}

// A follower that is not in sync any more would let its readers fall behind.
func TestAFollowerThatHasLostTouchSendsItsReadersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, topic, _ := inRacks(t)
		defer cl.end()
		cl.fill(topic, 2)
		lost := cl.members[2]
		if f := lost.from("b", topic, 0); f.Records.Length == 0 {
			t.Fatalf("%+v", f)
		}
		cl.net.cut(2, 1)
		cl.net.cut(2, 3)
		cl.await("its lease ends", func() bool { return !lost.leased() })
		if f := lost.from("b", topic, 0); !errors.Is(f.Err, wire.NotLeaderOrFollower) {
			t.Errorf("%+v", f)
		}
		cl.net.heal(2, 1)
		cl.net.heal(2, 3)
		cl.inSync(topic, 1, 3)
		cl.await("it is read from again", func() bool { return lost.from("b", topic, 0).Records.Length > 0 })
	})
}

func TestWhoeverWaitsAtAReplicaHearsThatItsRoleChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, topic, leader := inRacks(t)
		defer cl.end()
		cl.fill(topic, 1)
		waiter := wire.NewWaiter()
		defer waiter.Leave()
		ask := &wire.Fetch{Topic: topic, Rack: "b"}
		for id := wire.BrokerID(2); id <= 3; id++ {
			if !cl.members[id].ParkAt(waiter.Spot(id), ask, 1) {
				t.Fatalf("broker %d has more than was produced", id)
			}
		}
		cl.kill(leader.cfg.ID)
		began := time.Now()
		cl.await("both say so", func() bool { return len(waiter.Ready(nil)) > 0 })
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		cl.leader(topic, 0)
	})
}

// A leader that deleted records and died before it said so has less of the log afterwards than the one that leads then: what
// only that one has is not looked for here.
func TestNobodyIsSentToAFollowerThatLacksTheFirstRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, topic, leader := inRacks(t)
		defer cl.end()
		cl.fill(topic, 5)
		if _, err := leader.DeleteRecords(t.Context(), &wire.DeleteRecords{Topic: topic, Before: 2}); err != nil {
			t.Fatal(err)
		}
		leader.root.Stop(leader.replicaOf(topic))
		cl.await("another leads, and has heard from the first", func() bool {
			view := cl.members[2].viewOf(topic, 0)
			return view != nil && view.start == 0 && len(view.lacking) == 1 && view.lacking[0] == 1
		})
		for _, offset := range []wire.Offset{0, 3} {
			if f := cl.members[2].from("a", topic, offset); f.Preferred != nil || f.Records.Length == 0 {
				t.Errorf("offset %d at the leader: %+v", offset, f)
			}
		}
		if f := leader.from("a", topic, 1); !errors.Is(f.Err, wire.NotLeaderOrFollower) || f.Leader.Broker != 2 {
			t.Errorf("at the follower, which is not to say that it is gone: %+v", f)
		}
	})
}
