package chaos

import (
	"errors"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/bench/testbed"
)

// apart is three brokers, each with a network of its own, under the load of a client that pings its
// connections. Kafka's clients would wait for their own time-outs, longer than for all else here.
type apart struct {
	*Stage
	t       *testing.T
	network *testbed.Network
}

func startApart(t *testing.T) *apart {
	t.Helper()
	network, err := testbed.NewNetwork(3)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	binary, err := testbed.Build(t.Context(), dir, "cmd/troupe")
	if err != nil {
		t.Fatal(err)
	}
	stage, err := Open(t.Context(), StageConfig{
		Cluster: testbed.ClusterConfig{Binary: binary, Dir: dir, Brokers: 3, Hosts: network.Hosts()},
		Load:    LoadConfig{Topic: topic, Partitions: 3, Libraries: []Library{Native{}}, Rate: 150, Size: 100, Tail: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stage.Close)
	return &apart{stage, t, network}
}

func (a *apart) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// host is the place of a broker.
func (a *apart) host(broker int32) int {
	for i, m := range a.Cluster.Members {
		if m.ID() == broker {
			return i
		}
	}
	a.t.Fatalf("broker %d is none of ours", broker)
	return -1
}

// finish heals, reads all back, and fails if anything was harmed.
func (a *apart) finish() {
	a.t.Helper()
	a.must(a.network.Heal())
	a.must(a.Finish(a.t.Context(), a.t.Logf))
	for _, witness := range a.Found.Witnesses {
		a.t.Error(witness)
	}
}

// soon checks how long something stood still: a link is given up after three seconds of silence, and what
// follows takes no second. The rest is for a machine that has other things to do.
func (a *apart) soon(what string, took time.Duration) {
	a.t.Helper()
	a.t.Logf("%s: goes on after %s", what, took)
	if took > 7*time.Second {
		a.t.Errorf("%s: stood still for %s", what, took)
	}
}

func TestALeaderThatTheOthersDoNotHearOrThatDoesNotHearThemIsReplaced(t *testing.T) {
	for _, c := range []struct {
		name string
		cut  func(a *apart, leader, other int) error
	}{
		{"its messages are lost", func(a *apart, leader, other int) error { return a.network.Cut(leader, other) }},
		{"those of the others are lost", func(a *apart, leader, other int) error { return a.network.Cut(other, leader) }},
		{"all are lost", func(a *apart, leader, other int) error {
			return errors.Join(a.network.Cut(leader, other), a.network.Cut(other, leader))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := startApart(t)
			leader := a.host(a.Observer.Leaders()[0])
			for other := range a.Cluster.Members {
				if other != leader {
					a.must(c.cut(a, leader, other))
				}
			}
			begun := a.Now()
			// Clients still reach the leader, and must not be told of anything that the others do not have.
			a.must(a.AwaitClients(t.Context(), []int32{0}, begun+time.Second, patience))
			a.soon("partition 0", a.Now()-begun)
			a.finish()
		})
	}
}

func TestALinkThatIsCutBetweenTwoBrokersStopsNobodyForLong(t *testing.T) {
	a := startApart(t)
	leader := a.host(a.Observer.Leaders()[0])
	follower := (leader + 1) % 3
	a.must(a.network.Cut(leader, follower))
	a.must(a.network.Cut(follower, leader))
	begun := a.Now()
	a.must(a.AwaitClients(t.Context(), nil, begun+time.Second, patience))
	a.soon("all partitions", a.Now()-begun)
	a.finish()
}
