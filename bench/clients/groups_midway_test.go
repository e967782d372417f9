package clients

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A coordinator crashes while its group is certainly in the middle of a rebalance: somebody who has all partitions does not
// give them up. Those who wait for them get them all the same, once that one is gone.
func TestCoordinatorsMayDieInTheMiddleOfARebalance(t *testing.T) {
	t.Parallel()
	if process == nil {
		t.Skip("actors of another's broker are not ours to kill")
	}
	eachProtocol(t, func(t *testing.T, k kind, how request) {
		c := newCrew(t, 2)
		holder := newAsker(t)
		holder.topic, holder.assignor = c.topic, how.Assignor
		c.retry("the group has a coordinator", func() bool { return holder.fetchAll(c.group) == "NONE" })
		goes := holder.holdAll(c.group, how.Protocol)
		first, second := c.join(k, how), c.join(k, how)
		for _, how := range []string{"panic", "stop"} {
			c.awaitRebalance()
			killActor(t, "group/"+c.group, how)
		}
		c.awaitRebalance()
		c.retry("the holder leaves", func() bool { return goes() == "NONE" })
		c.share(first, second)
	})
}

// holdAll forms a group whose only member has all partitions and gives none of them up. What it returns has it leave.
func (a *asker) holdAll(group, protocol string) (goes func() string) {
	a.t.Helper()
	if protocol == modern {
		stop := a.beatOn(a.heartbeatRequest(group, a.in(group, nil)))
		return func() string {
			stop()
			return a.beat(a.heartbeatRequest(group, -1))
		}
	}
	member, _ := a.joined(group, nil)
	q := kmsg.NewPtrLeaveGroupRequest()
	q.Group, q.Members = group, []kmsg.LeaveGroupRequestMember{{MemberID: member}}
	return func() string { return named(ask[*kmsg.LeaveGroupResponse](a, q).ErrorCode) }
}

// beatOn has a member of KIP-848 be heard of until it is stopped, whatever it is told.
func (a *asker) beatOn(q *kmsg.ConsumerGroupHeartbeatRequest) (stop func()) {
	ctx, cancel := context.WithCancel(a.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(heartbeatInterval)
		defer tick.Stop()
		for ctx.Err() == nil {
			_, _ = a.client.SeedBrokers()[0].Request(ctx, q) // the coordinator may have died
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
	stop = func() { cancel(); <-done }
	a.t.Cleanup(stop)
	return stop
}

// awaitRebalance waits until the group is in the middle of one.
func (c *crew) awaitRebalance() {
	c.t.Helper()
	c.retry("the group is in the middle of a rebalance", func() bool {
		groups, err := c.admin.ListGroups(c.t.Context())
		busy := []string{"PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling"}
		return err == nil && slices.Contains(busy, groups[c.group].State)
	})
}

func (c *crew) retry(what string, holds func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(settleLimit); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("never: %s", what)
		}
	}
}
