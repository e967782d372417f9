package clients

import (
	"slices"
	"testing"
	"time"
)

// A member that has to give partitions up goes on with the others meanwhile, however long it takes: it reads them, and
// its commits count. It is never told that it has lost one of them, nor given it again.
func TestPartitionsThatStayWithTheirMemberNeverStop(t *testing.T) {
	t.Parallel()
	for _, how := range []request{{Assignor: "cooperative-sticky"}, {Assignor: "uniform", Protocol: modern}} {
		t.Run(how.Assignor, func(t *testing.T) {
			t.Parallel()
			c := newCrew(t, 4)
			c.produce(1)
			first := c.watch(how)
			first.await(c, "at first", []int32{0, 1, 2, 3})
			second := c.join(kinds[0], how)
			moving := first.awaitAsked(t)
			staying := slices.DeleteFunc([]int32{0, 1, 2, 3}, func(p int32) bool { return slices.Contains(moving, p) })
			if len(moving) != 2 {
				t.Fatalf("of 4 partitions %v go to the second member", moving)
			}
			for range 3 {
				c.produce(2)
				first.await(c, "while the others are given up,", staying)
			}
			if n := second.count(); n != 0 {
				t.Errorf("the second member has read %d records of what the first one has", n)
			}
			first.give()
			c.expectTaken(second, moving)
			c.produce(2)
			first.await(c, "after the rebalance", staying)

			first.mu.Lock()
			defer first.mu.Unlock()
			slices.Sort(first.revoked)
			slices.Sort(moving)
			if len(first.lost) != 0 || len(first.assigned) != 4 || !slices.Equal(first.revoked, moving) {
				t.Errorf("it was assigned %v, gave %v up, and lost %v; %v had to move", first.assigned, first.revoked, first.lost, moving)
			}
		})
	}
}

// expectTaken waits until the member has read everything of the partitions.
func (c *crew) expectTaken(by *hand, partitions []int32) {
	c.t.Helper()
	last := make([]int64, len(c.produced))
	for partition, end := range c.produced {
		last[partition] = end - 1
	}
	for deadline := time.Now().Add(settleLimit); ; time.Sleep(10 * time.Millisecond) {
		taken := by.partitions(last)
		if !slices.ContainsFunc(partitions, func(p int32) bool { return !taken[p] }) {
			return
		}
		if time.Now().After(deadline) || by.err() != nil {
			c.t.Fatalf("of partitions %v somebody reads %v: %v", partitions, taken, by.err())
		}
	}
}

// What a member had that is gone is taken by others within its session and two seconds. It measures time, so only its own
// cases run at once.
func TestTheOthersTakeOverInTime(t *testing.T) {
	for _, k := range kinds {
		for _, how := range []request{{Assignor: "range", Protocol: classic}, {Assignor: "uniform", Protocol: modern}} {
			if how.Protocol == modern && !k.can(modernGroups) || how.Protocol != modern && k.name != "franz-go" {
				continue
			}
			t.Run(k.name+"/"+how.Protocol, func(t *testing.T) {
				t.Parallel()
				c := newCrew(t, 4)
				first, second := c.join(k, how), c.join(k, how)
				c.share(first, second)
				second.die()
				died := time.Now()
				since := append([]int64{}, c.produced...)
				for len(first.partitions(since)) < 4 {
					if first.err() != nil || time.Since(died) > settleLimit {
						t.Fatalf("after %s the survivor reads %v: %v", time.Since(died), first.partitions(since), first.err())
					}
					c.produce(1) // a client that waits for records of what it has reads nothing else
					time.Sleep(100 * time.Millisecond)
				}
				if took := time.Since(died); took > sessionTimeout+2*time.Second {
					t.Errorf("for %s nobody had what the dead member had", took)
				}
			})
		}
	}
}
