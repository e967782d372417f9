package clients

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/bench/testbed"
)

// The broker of a coordinator is killed: its group is coordinated elsewhere within a moment, from what was
// committed, and its members go on.
func TestGroupsOutliveTheBrokerOfTheirCoordinator(t *testing.T) {
	t.Parallel()
	if process == nil {
		t.Skip("another's brokers are not ours to kill")
	}
	eachProtocol(t, func(t *testing.T, k kind, how request) {
		cluster := startThree(t)
		c := newCrewAt(t, cluster.Kafka(), 4, 3)
		c.forgiving = true
		first, second := c.join(k, how), c.join(k, how)
		c.share(first, second)
		down := c.killCoordinator(cluster)
		c.expectCommitted()
		c.share(first, second)
		restart(t, down)

		third := c.join(k, how)
		down = c.killCoordinator(cluster) // in the middle of the rebalance
		c.expectCommitted()
		c.share(first, second, third)
		restart(t, down)
	})
}

// startThree starts a cluster for one client, so that the others wait for their own brokers only.
func startThree(t *testing.T) *testbed.Cluster {
	t.Helper()
	ctx := context.Background() // it is closed below, whatever becomes of the test
	cluster, err := testbed.StartCluster(ctx, testbed.ClusterConfig{Binary: binary, Dir: t.TempDir(), Brokers: 3, Flags: groupSettings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	if err := cluster.AwaitVoters(ctx); err != nil {
		t.Fatal(err)
	}
	return cluster
}

// killCoordinator kills the broker that coordinates the group.
func (c *crew) killCoordinator(cluster *testbed.Cluster) *testbed.Member {
	c.t.Helper()
	found := c.admin.FindGroupCoordinators(c.t.Context(), c.group)
	if err := found.Error(); err != nil {
		c.t.Fatal(err)
	}
	m := cluster.Member(found[c.group].NodeID)
	if m == nil {
		c.t.Fatalf("the coordinator is broker %d", found[c.group].NodeID)
	}
	testbed.KillAll(m)
	return m
}

func restart(t *testing.T, m *testbed.Member) {
	t.Helper()
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// expectCommitted fails when the first answer about what is committed, after a coordinator was lost, has less
// than all that was committed when the members had last settled.
func (c *crew) expectCommitted() {
	c.t.Helper()
	began := time.Now()
	for {
		offsets, err := c.offsets()
		if err != nil && time.Since(began) < settleLimit {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		if err != nil {
			c.t.Fatal(err)
		}
		for partition, end := range c.produced {
			if got, ok := offsets.Lookup(c.topic, int32(partition)); !ok || got.Err != nil || got.At != end {
				c.t.Fatalf("after %s partition %d has %s, %d was committed", time.Since(began), partition, fmt.Sprint(got.At, got.Err), end)
			}
		}
		return
	}
}
