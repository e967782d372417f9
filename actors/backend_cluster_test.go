package actors

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
)

func TestALoneBrokerIsHealthyAndMayNotBeLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("events", 2)
		time.Sleep(time.Second) // virtual: the controller has said who votes
		described := c.DescribeCluster(t.Context())
		if described.ClusterID != "cluster" || len(described.Brokers) != 1 || described.Brokers[0].Standing != wire.BrokerOnline || described.Quorum.Leader != 1 {
			t.Errorf("described as %+v", described)
		}
		h := c.ClusterHealth(t.Context())
		if !h.Healthy || h.Offline != 0 || h.UnderReplicated != 0 || h.MayLose != 0 {
			t.Errorf("health %+v", h)
		}
		if len(h.Reasons) == 0 || !strings.HasPrefix(h.Reasons[0], "no broker may be lost: ") {
			t.Errorf("nobody is told why no broker may be lost: %q", h.Reasons)
		}
	})
}

func TestEveryBrokerDescribesTheWholeCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitReady()
		cl.awaitAtMost(time.Minute, "three brokers vote, and are known to be up to date", func() bool {
			voters := cl.members[1].DescribeCluster(t.Context()).Quorum.Voters
			return len(voters) == 3 && !slices.ContainsFunc(voters, func(v wire.QuorumMember) bool { return v.Match == 0 })
		})
		for id, c := range cl.members {
			described := c.DescribeCluster(t.Context())
			var voters []wire.BrokerID
			for _, v := range described.Quorum.Voters {
				voters = append(voters, v.Broker)
				if v.Match == 0 { // only the controller knows: the others have asked it
					t.Errorf("broker %d does not know how far voter %d is", id, v.Broker)
				}
			}
			slices.Sort(voters)
			if !slices.Equal(voters, []wire.BrokerID{1, 2, 3}) || len(described.Brokers) != 3 || described.Quorum.Leader != c.View().Controller() {
				t.Errorf("broker %d describes %+v", id, described)
			}
			for _, b := range described.Brokers {
				if b.Standing != wire.BrokerOnline || b.ClusterAddress == "" || b.Epoch == 0 || b.Incarnation == 0 {
					t.Errorf("broker %d describes %+v", id, b)
				}
			}
			if h := c.ClusterHealth(t.Context()); !h.Healthy || h.MayLose != 1 {
				t.Errorf("broker %d says %+v", id, h)
			}
		}
		cl.kill(3)
		cl.await("the dead broker is missed", func() bool {
			h := cl.members[2].ClusterHealth(t.Context())
			return !h.Healthy && h.MayLose == 0 && len(h.Reasons) > 0
		})
		described := cl.members[2].DescribeCluster(t.Context())
		if b := described.Brokers[2]; b.Standing != wire.BrokerFenced {
			t.Errorf("the dead broker is described as %+v", b)
		}
	})
}

func TestHealthIsThatOfTheWeakest(t *testing.T) {
	live := wire.QuorumMember{Broker: 1}
	gone := wire.QuorumMember{Broker: 2, Silent: time.Minute}
	three := []wire.BrokerID{1, 2, 3}
	for name, c := range map[string]struct {
		voters     []wire.QuorumMember
		partitions []wire.Partition
		needed     int
		want       wire.ClusterHealth
	}{
		"three of everything": {
			[]wire.QuorumMember{live, live, live},
			[]wire.Partition{{Leader: 1, Replicas: three, ISR: three}},
			2,
			wire.ClusterHealth{Healthy: true, MayLose: 1},
		},
		"five voters, one in sync is enough": {
			[]wire.QuorumMember{live, live, live, live, live},
			[]wire.Partition{{Leader: 1, Replicas: three, ISR: three}},
			1,
			wire.ClusterHealth{Healthy: true, MayLose: 2},
		},
		"a voter is gone": {
			[]wire.QuorumMember{live, gone, live},
			[]wire.Partition{{Leader: 1, Replicas: three, ISR: three}},
			2,
			wire.ClusterHealth{},
		},
		"a replica is behind": {
			[]wire.QuorumMember{live, live, live},
			[]wire.Partition{{Leader: 1, Replicas: three, ISR: []wire.BrokerID{1, 2}}},
			2,
			wire.ClusterHealth{UnderReplicated: 1},
		},
		"a replica is on its way": {
			[]wire.QuorumMember{live, live, live},
			[]wire.Partition{{Leader: 1, Replicas: []wire.BrokerID{1, 2, 3, 4}, ISR: three, Adding: []wire.BrokerID{4}}},
			2,
			wire.ClusterHealth{Healthy: true, MayLose: 1},
		},
		"nobody leads": {
			[]wire.QuorumMember{live, live, live},
			[]wire.Partition{{Leader: wire.NoBroker, Replicas: three}},
			2,
			wire.ClusterHealth{Offline: 1, UnderReplicated: 1},
		},
		"one replica": {
			[]wire.QuorumMember{live, live, live},
			[]wire.Partition{{Leader: 1, Replicas: three, ISR: three}, {Leader: 1, Replicas: three[:1], ISR: three[:1]}},
			2,
			wire.ClusterHealth{Healthy: true},
		},
	} {
		h := health{ClusterHealth: wire.ClusterHealth{Healthy: true}}
		h.quorum(&wire.Quorum{Leader: 1, Voters: c.voters})
		for i := range c.partitions {
			h.partition("t", int32(i), &c.partitions[i], c.needed)
		}
		got := h.ClusterHealth
		told := len(h.reasons())
		got.Reasons, got.MayLose = nil, max(got.MayLose, 0)
		if got.Healthy != c.want.Healthy || got.Offline != c.want.Offline || got.UnderReplicated != c.want.UnderReplicated || got.MayLose != c.want.MayLose {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		if (told > 0) != (!got.Healthy || got.MayLose == 0) {
			t.Errorf("%s: %d reasons are told for %+v", name, told, got)
		}
	}
	h := health{}
	for n := range 3 * maxReasons {
		h.reason(becauseBehind, "behind %d", n)
	}
	h.reason(becauseOffline, "offline")
	h.reason(becauseOfBrokers, "broker")
	reasons := h.reasons()
	if len(reasons) != maxReasons+1 || reasons[0] != "broker" || reasons[1] != "offline" || reasons[maxReasons] != "... and 22 more" {
		t.Errorf("what weighs most is not told first: %q", reasons)
	}
	if h := healthOf(metadata.NewImage().Local(1, nil), &wire.Quorum{Leader: wire.NoBroker}); h.Healthy {
		t.Error("a cluster without a controller is healthy")
	}
}

func TestActorsAreKilledByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		topic := c.topic("a.b", 2)
		var r replies
		slot := 0
		for _, how := range []string{"panic", "stop"} {
			for _, name := range []string{"replica/a.b/0", "controller"} {
				before, _ := c.victim(name)
				if err := c.Kill(name, how); err != nil {
					t.Errorf("%s %s: %v", how, name, err)
				}
				time.Sleep(3 * time.Second) // virtual: the pause before an actor's second life
				synctest.Wait()
				if after, err := c.victim(name); err != nil || after == before {
					t.Errorf("%s %s: there is no next one: %v, %v", how, name, after, err)
				}
				slot++
				c.produce(&r, slot, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
				if reply := r.one(t, slot); reply.Err != nil {
					t.Errorf("%s %s: then a produce is answered %+v", how, name, reply)
				}
				if created := c.CreateTopics(t.Context(), []wire.NewTopic{{Name: how + "." + strings.ReplaceAll(name, "/", "."), Partitions: 1, ReplicationFactor: 1}}, false); created[0].Err != nil {
					t.Errorf("%s %s: then a topic: %v", how, name, created[0].Err)
				}
			}
		}
		for name, want := range map[string]error{
			"": wire.InvalidRequest, "broker": wire.InvalidRequest, "replica/a.b": wire.InvalidRequest, "replica/a.b/x": wire.InvalidRequest,
			"replica/a.b/-1": wire.InvalidRequest, "replica/a.b/9": wire.ResourceNotFound, "replica/c/0": wire.UnknownTopicOrPartition,
			"replica//0": wire.UnknownTopicOrPartition, "replica": wire.InvalidRequest,
		} {
			if err := c.Kill(name, "stop"); !errors.Is(err, want) {
				t.Errorf("%q: %v, want %v", name, err, want)
			}
		}
		if err := c.Kill("controller", "softly"); !errors.Is(err, wire.InvalidRequest) {
			t.Errorf("softly: %v", err)
		}
	})
}
