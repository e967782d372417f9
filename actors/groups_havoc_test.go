package actors

import (
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// committer is a consumer, as far as its offsets are concerned: it commits larger and larger ones, and never wants to
// read one below the last that was acknowledged.
type committer struct {
	*havoc
	group             wire.GroupID
	rng               *mathrand.Rand
	acked, tried      wire.Offset
	commits, readings int
}

func TestNoAcknowledgedCommitGoesBackWhateverBreaks(t *testing.T) {
	for n := range *havocSeeds {
		seed := *havocSeed + uint64(n)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &havoc{cluster: startCluster(t, havocBrokers), rng: newRand(seed), name: wire.OffsetsTopic}
				defer h.end()
				defer h.tell()
				h.awaitReady()
				h.any().topic("orders", 1)
				h.awaitTopic("orders")
				h.coordinator("billing")
				topic, _ := h.any().View().Topic(wire.OffsetsTopic)
				h.topic = topic.ID
				h.settled()
				ctx, stop := context.WithCancel(t.Context())
				var clients sync.WaitGroup
				defer func() {
					stop()
					clients.Wait()
				}()
				groups := h.committers(seed)
				for _, c := range groups {
					clients.Go(func() { c.run(ctx) })
				}
				clients.Go(func() { h.disturb(ctx) })
				clients.Go(func() { h.killCoordinators(ctx, groups, newRand(seed+1<<32)) })
				for range 12 {
					h.breakSomething()
				}
				h.settled()
				time.Sleep(5 * time.Second)
				stop()
				clients.Wait()
				for _, c := range groups {
					if got := h.coordinator(c.group).committed(c.group, "orders"); got < c.acked || got > c.tried {
						t.Errorf("group %s is at %d in the end, %d was acknowledged, %d tried", c.group, got, c.acked, c.tried)
					}
					if c.commits < 10 || c.readings < 10 {
						t.Errorf("group %s: only %d commits and %d readings went through", c.group, c.commits, c.readings)
					}
				}
			})
		})
	}
}

// committers returns two groups for each of the partitions that are tried.
func (h *havoc) committers(seed uint64) (list []*committer) {
	room := make(map[int32]int)
	for n := 0; len(list) < 2*havocPartitions; n++ {
		id := wire.GroupID(fmt.Sprint("group-", n))
		if partition := partitionOf(id); partition < havocPartitions && room[partition] < 2 {
			room[partition]++
			list = append(list, &committer{havoc: h, group: id, rng: newRand(seed + uint64(n)), acked: wire.NoOffset})
		}
	}
	return list
}

func (c *committer) run(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(25 * time.Millisecond)
		id, err := c.asked().FindCoordinator(ctx, c.group)
		c.cluster.mu.Lock()
		coordinator := c.members[id]
		c.cluster.mu.Unlock()
		if err != nil || coordinator == nil {
			continue
		}
		each, cancel := context.WithTimeout(ctx, time.Duration(1+c.rng.IntN(5))*time.Second)
		c.turn(each, coordinator)
		cancel()
	}
}

// turn reads what is committed, or commits more.
func (c *committer) turn(ctx context.Context, coordinator *company) {
	if c.rng.IntN(3) > 0 {
		c.tried++
		reply, err := coordinator.AskGroup(ctx, commitOf(c.group, "orders", c.tried))
		if err == nil && reply.Failure() == nil && reply.(*wire.CommittedOffsets).Errs[0] == nil {
			c.acked = c.tried
			c.commits++
		}
		return
	}
	reply, err := coordinator.AskGroup(ctx, fetchOf(c.group, "orders"))
	if err != nil || reply.Failure() != nil {
		return
	}
	c.readings++
	if got := reply.(*wire.FetchedOffsets).Offsets[0].Offset; got < c.acked || got > c.tried {
		c.t.Errorf("%s: broker %d says that group %s is at %d, %d was acknowledged, %d tried",
			time.Now().Format("04:05.000"), coordinator.Self(), c.group, got, c.acked, c.tried)
		c.acked = got
	}
}

// killCoordinators ends coordinators and shards, now and then.
func (h *havoc) killCoordinators(ctx context.Context, groups []*committer, rng *mathrand.Rand) {
	for ctx.Err() == nil {
		time.Sleep(time.Duration(rng.Int64N(int64(500 * time.Millisecond))))
		b, id := h.asked(), groups[rng.IntN(len(groups))].group
		switch rng.IntN(5) {
		case 0:
			if shard, err := b.groups.shardOf(id); err == nil {
				h.note("the shard of %s at broker %d stops", id, b.Self())
				b.root.Stop(shard.pid)
			}
		case 1, 2:
			_ = b.Kill("group/"+string(id), "stop") // if it is there
		default:
			_ = b.Kill("group/"+string(id), "panic")
		}
	}
}
