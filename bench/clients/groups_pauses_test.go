package clients

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// watched is a member that tells what becomes of its partitions, and takes its time to give them up.
type watched struct {
	client *kgo.Client
	asked  chan []int32 // the partitions that it has to give up first
	give   func()       // lets it give them up
	held   sync.Once

	mu        sync.Mutex
	assigned  []int32         // in the order in which they came
	revoked   []int32         // likewise
	lost      []int32         // likewise
	committed map[int32]int64 // the end of what was read and committed
}

func (c *crew) watch(how request) *watched {
	c.t.Helper()
	given := make(chan struct{})
	w := &watched{asked: make(chan []int32, 1), give: sync.OnceFunc(func() { close(given) }), committed: map[int32]int64{}}
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(c.bootstrap, ",")...), kgo.ClientID("watched"),
		kgo.ConsumerGroup(c.group), kgo.ConsumeTopics(c.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(heartbeatInterval), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { w.note(&w.assigned, p[c.topic]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { w.note(&w.lost, p[c.topic]) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, p map[string][]int32) {
			if len(p[c.topic]) == 0 {
				return
			}
			w.note(&w.revoked, p[c.topic])
			w.held.Do(func() {
				w.asked <- p[c.topic]
				<-given
			})
		}),
	}
	if how.Protocol == modern {
		options = append(options, kgo.ServerSideBalancer())
	}
	var err error
	if w.client, err = kgo.NewClient(options...); err != nil {
		c.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(c.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.work(ctx)
	}()
	c.t.Cleanup(func() {
		stop()
		<-done
		w.give()
		w.held.Do(func() {}) // from now on it gives up at once
		w.client.Close()
	})
	return w
}

func (w *watched) note(list *[]int32, partitions []int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*list = append(*list, partitions...)
}

// work reads and commits, also while the member is giving something up.
func (w *watched) work(ctx context.Context) {
	for ctx.Err() == nil {
		records := w.client.PollFetches(ctx).Records()
		if len(records) == 0 || w.client.CommitRecords(ctx, records...) != nil {
			continue
		}
		w.mu.Lock()
		for _, r := range records {
			w.committed[r.Partition] = r.Offset + 1
		}
		w.mu.Unlock()
	}
}

// await waits until the member has read and committed all that was produced into the partitions.
func (w *watched) await(c *crew, when string, partitions []int32) {
	c.t.Helper()
	for deadline := time.Now().Add(settleLimit); ; time.Sleep(10 * time.Millisecond) {
		w.mu.Lock()
		behind := slices.ContainsFunc(partitions, func(p int32) bool { return w.committed[p] < c.produced[p] })
		committed := fmt.Sprint(w.committed)
		w.mu.Unlock()
		if !behind {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s partitions %v do not go on: %s is committed of %v", when, partitions, committed, c.produced)
		}
	}
}

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
			var moving []int32
			select {
			case moving = <-first.asked:
			case <-time.After(settleLimit):
				t.Fatal("the first member is not asked to give anything up")
			}
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
