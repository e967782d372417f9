package clients

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// watched is a member that tells what becomes of its partitions, and takes its time to give them up.
type watched struct {
	client *kgo.Client
	asked  chan []int32 // the partitions that it has to give up first
	give   func()       // lets it give them up
	held   sync.Once
	beats  atomic.Int32 // how often it was heard of

	mu        sync.Mutex
	assigned  []int32         // in the order in which they came
	revoked   []int32         // likewise
	lost      []int32         // likewise
	committed map[int32]int64 // the end of what was read and committed
}

func (c *crew) watch(how request, more ...kgo.Opt) *watched {
	c.t.Helper()
	given := make(chan struct{})
	w := &watched{asked: make(chan []int32, 1), give: sync.OnceFunc(func() { close(given) }), committed: map[int32]int64{}}
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(c.bootstrap, ",")...), kgo.ClientID("watched"),
		kgo.ConsumerGroup(c.group), kgo.ConsumeTopics(c.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(heartbeatInterval), kgo.DisableAutoCommit(),
		kgo.WithHooks(w),
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
	if w.client, err = kgo.NewClient(append(options, more...)...); err != nil {
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

// OnBrokerWrite implements kgo.HookBrokerWrite.
func (w *watched) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if err == nil && (key == kmsg.Heartbeat.Int16() || key == kmsg.ConsumerGroupHeartbeat.Int16()) {
		w.beats.Add(1)
	}
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

// awaitAsked waits until the member has to give something up for the first time.
func (w *watched) awaitAsked(t *testing.T) []int32 {
	t.Helper()
	select {
	case moving := <-w.asked:
		return moving
	case <-time.After(settleLimit):
		t.Fatal("the member is not asked to give anything up")
		return nil
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

// isBeyond says that the member has read and committed something of each partition since the offsets.
func (w *watched) isBeyond(since []int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for partition, offset := range since {
		if w.committed[int32(partition)] <= offset {
			return false
		}
	}
	return true
}

// has returns how many partitions the member has, and how many it was told that it has lost.
func (w *watched) has() (partitions, lost int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.assigned) - len(w.revoked) - len(w.lost), len(w.lost)
}
