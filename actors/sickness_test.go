package actors

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/troupe-mq/troupe/storage/faultfs"
	"github.com/troupe-mq/troupe/wire"
)

// underLoad runs three brokers with producers of a topic while f makes one of them sick and well
// again, and checks that nothing acknowledged was lost, doubled or moved, on any replica.
func underLoad(t *testing.T, f func(h *havoc)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &havoc{cluster: startCluster(t, 3), rng: newRand(1), acked: make([]map[wire.Offset]string, havocPartitions)}
		defer h.end()
		defer h.tell()
		h.awaitVoters(1, 2, 3)
		h.topic = h.cluster.topic("orders", havocPartitions)
		ctx, stop := context.WithCancel(t.Context())
		var producers sync.WaitGroup
		defer func() {
			stop()
			producers.Wait()
		}()
		for n := range int32(havocPartitions) {
			h.acked[n] = make(map[wire.Offset]string)
			producers.Go(func() { h.produce(ctx, n) })
		}
		h.goesOn(time.Second)
		f(h)
		h.inSync(h.topic, havocPartitions, 3)
		h.goesOn(time.Second)
		stop()
		producers.Wait()
		h.check()
	})
}

// goesOn waits until something has been acknowledged in every partition, of what is produced from now on.
func (h *havoc) goesOn(within time.Duration) {
	h.t.Helper()
	time.Sleep(5 * time.Millisecond) // what was under way
	before := h.acknowledged()
	h.awaitAtMost(within, "producing goes on", func() bool {
		for n, now := range h.acknowledged() {
			if now < before[n]+2 {
				return false
			}
		}
		return true
	})
}

func (h *havoc) acknowledged() (counts [havocPartitions]int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := range counts {
		counts[n] = len(h.acked[n])
	}
	return counts
}

// epochs returns the leader epochs of the topic's partitions and the term of the metadata log: any
// election shows in them.
func (h *havoc) epochs() string {
	var all []wire.LeaderEpoch
	b := h.any()
	for n := range int32(havocPartitions) {
		p, _ := b.View().Partition(h.topic, n)
		all = append(all, p.LeaderEpoch)
	}
	return fmt.Sprint(all, " of term ", h.members[b.View().Controller()].Quorum().Term)
}

func TestAClockThatIsSetMovesNothing(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		for id := range wire.BrokerID(3) { // the first one is the controller
			t.Run(fmt.Sprintf("broker %d by %v", id+1, jump), func(t *testing.T) {
				underLoad(t, func(h *havoc) {
					before := h.epochs()
					h.members[id+1].wall.Store(int64(jump / time.Second))
					for range 100 { // beyond every lease and lag
						time.Sleep(200 * time.Millisecond)
						h.goesOn(100 * time.Millisecond)
						for id, b := range h.members {
							if err := b.Ready(); err != nil {
								h.t.Fatalf("broker %d: %v", id, err)
							}
						}
					}
					h.members[id+1].wall.Store(0)
					h.goesOn(100 * time.Millisecond)
					if after := h.epochs(); after != before {
						h.t.Errorf("leader epochs were %s, are %s", before, after)
					}
				})
			})
		}
	}
}

func TestABrokerWithAFullDiskIsWorkedAround(t *testing.T) {
	for id := range wire.BrokerID(3) {
		t.Run(fmt.Sprintf("broker %d", id+1), func(t *testing.T) {
			underLoad(t, func(h *havoc) {
				sick := h.members[id+1]
				sick.disk.SetFree(0)
				h.goesOn(3 * time.Second)
				time.Sleep(20 * time.Second) // while it stays full
				h.goesOn(100 * time.Millisecond)
				for n := range int32(havocPartitions) {
					for other, b := range h.members {
						if p, _ := b.View().Partition(h.topic, n); other != id+1 && p.Leader == id+1 {
							h.t.Errorf("broker %d believes that partition %d is led by the one with the full disk", other, n)
						}
					}
				}
				select {
				case <-sick.Failed():
					h.t.Fatalf("it gave up: %v", sick.Err())
				default:
				}
				sick.disk.SetFree(1 << 40)
				h.inSync(h.topic, havocPartitions, 3)
			})
		})
	}
}

func TestABrokerWhoseDiskFailsIsWorkedAround(t *testing.T) {
	for _, kind := range []faultfs.Kind{faultfs.Sync, faultfs.Write} {
		for id := range wire.BrokerID(3) {
			t.Run(fmt.Sprintf("broker %d fails to %v", id+1, kind), func(t *testing.T) {
				underLoad(t, func(h *havoc) {
					sick := h.members[id+1]
					sick.disk.Fail(faultfs.Rule{Kind: kind, Times: -1})
					h.awaitAtMost(20*time.Second, "it gives up", func() bool { return sick.Err() != nil })
					h.kill(id + 1) // as the process ends
					h.goesOn(3 * time.Second)
					h.goesOn(time.Second)
					h.disks[id+1] = h.disks[id+1].Kill()
					h.start(id + 1)
				})
			})
		}
	}
}

// clock returns the present with a monotonic reading, which times in a bubble do not have, and which
// differs from the wall clock by some seconds. Package time offers nothing that sets them apart.
func clock(ahead time.Duration, wall int64) time.Time {
	const (
		monotonic    = 1 << 63
		secondsShift = 30
		since1885    = 1884*365 + 1884/4 - 1884/100 + 1884/400 // days from year 1
	)
	t := time.Now().Round(0).Add(ahead)
	parts := (*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&t))
	seconds, nanoseconds := parts.ext, parts.wall
	parts.ext = t.UnixNano()
	parts.wall = monotonic | uint64(seconds+wall-since1885*86400)<<secondsShift | nanoseconds
	return t
}

func TestAClockMayBeSetWithoutTimePassing(t *testing.T) {
	before, after := clock(0, 0), clock(time.Minute, -3600)
	if passed := after.Sub(before); passed < time.Minute || passed > 2*time.Minute {
		t.Errorf("%v have passed", passed)
	}
	if set := after.Unix() - before.Unix(); set < 59-3600 || set > 119-3600 {
		t.Errorf("the wall clock went on by %d s", set)
	}
	if now := time.Now().Unix(); before.Unix() > now || before.Unix() < now-60 {
		t.Errorf("%v is not the present", before)
	}
}
