package actors

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

var (
	havocSeed  = flag.Uint64("havoc-seed", 1, "the first seed of the test of whole actor systems under faults")
	havocSeeds = flag.Int("havoc-seeds", 3, "how many seeds it runs")
)

// havoc breaks brokers, links and actors of a cluster while producers write, in virtual time. Which
// goroutine runs first is the runtime's choice, so that a seed gives the same faults but not the same run: what
// is exactly repeatable are the rules alone, in package sim. Here the shells around them are tried.
type havoc struct {
	*cluster
	rng   *mathrand.Rand
	topic wire.TopicID

	mu    sync.Mutex
	acked []map[wire.Offset]string // by partition
	trace []string
}

const havocPartitions = 3

func TestNothingAcknowledgedIsLostWhateverBreaks(t *testing.T) {
	for n := range *havocSeeds {
		seed := *havocSeed + uint64(n)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &havoc{cluster: startCluster(t, 3), rng: newRand(seed), acked: make([]map[wire.Offset]string, havocPartitions)}
				defer h.end()
				defer h.tell()
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
				for range 12 {
					h.breakSomething()
				}
				h.inSync(h.topic, havocPartitions, 3)
				time.Sleep(5 * time.Second)
				stop()
				producers.Wait()
				h.check()
			})
		})
	}
}

// tell tells what was broken when, if it went wrong.
func (h *havoc) tell() {
	if h.t.Failed() {
		for _, line := range h.trace {
			h.t.Log(line)
		}
	}
}

func (h *havoc) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trace = append(h.trace, time.Now().Format("04:05.000 ")+fmt.Sprintf(format, args...))
}

// produce is an idempotent producer with one batch at a time, which it repeats until it is answered.
func (h *havoc) produce(ctx context.Context, partition int32) {
	producer := wire.ProducerID(1000 + partition)
	for sequence := wire.Sequence(0); ctx.Err() == nil; sequence++ {
		time.Sleep(5 * time.Millisecond)
		value := fmt.Sprintf("%d/%d", partition, sequence)
		for ctx.Err() == nil {
			reply, answered := h.try(partition, producer, sequence, value)
			if answered && reply.Err == nil {
				h.mu.Lock()
				if other, taken := h.acked[partition][reply.BaseOffset]; taken {
					h.t.Errorf("%s and %s are both acknowledged at offset %d", other, value, reply.BaseOffset)
				}
				h.acked[partition][reply.BaseOffset] = value
				h.mu.Unlock()
				break
			}
			if answered && !wire.Code(reply.Err).Retriable() {
				h.t.Errorf("partition %d: %s: %v", partition, value, reply.Err)
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// one receives one answer.
type one chan wire.ProduceReply

func (o one) ProduceDone(_ int, reply wire.ProduceReply) { o <- reply }

// try sends a batch to the leader of the highest epoch that any broker knows of, as a client would.
func (h *havoc) try(partition int32, producer wire.ProducerID, sequence wire.Sequence, value string) (wire.ProduceReply, bool) {
	newest := wire.Partition{Leader: wire.NoBroker, LeaderEpoch: wire.NoEpoch}
	h.cluster.mu.Lock()
	for _, b := range h.members {
		if p, _ := b.View().Partition(h.topic, partition); p.LeaderEpoch > newest.LeaderEpoch {
			newest = p
		}
	}
	leader := h.members[newest.Leader]
	h.cluster.mu.Unlock()
	if leader == nil {
		return wire.ProduceReply{}, false
	}
	var b record.Builder
	b.Append(time.Now().UnixMilli(), nil, []byte(value), nil)
	reply := make(one, 1)
	leader.Produce(&wire.Produce{
		Topic: h.topic, Partition: partition, Acks: wire.AcksAll, Batches: b.Finish(producer, 0, sequence), Done: reply,
		Deadline: leader.now().Add(3 * time.Second),
	})
	select {
	case r := <-reply:
		return r, true
	case <-time.After(30 * time.Second):
		h.t.Errorf("partition %d: %s has no answer at all", partition, value)
		return wire.ProduceReply{}, false
	}
}

// breakSomething breaks one thing, or all brokers at once, lets some time pass, and heals it.
func (h *havoc) breakSomething() {
	pause := func(atMost time.Duration) { time.Sleep(time.Duration(h.rng.Int64N(int64(atMost)))) }
	id := wire.BrokerID(1 + h.rng.IntN(3))
	other := 1 + id%3
	pause(2 * time.Second)
	switch kind := h.rng.IntN(7); kind {
	case 0, 1:
		h.crash(id, kind == 1)
		pause(6 * time.Second)
		h.start(id)
	case 2:
		power := h.rng.IntN(2) == 0
		for id := range h.disks {
			h.crash(id, power)
		}
		pause(2 * time.Second)
		h.startAll(1, 2, 3)
	case 3:
		h.note("link %d-%d is cut", id, other)
		h.net.cut(id, other)
		pause(15 * time.Second)
		h.net.heal(id, other)
		h.note("link %d-%d is healed", id, other)
	case 4:
		h.note("broker %d is cut off", id)
		h.net.cut(id, other)
		h.net.cut(id, 1+other%3)
		pause(15 * time.Second)
		h.net.heal(id, other)
		h.net.heal(id, 1+other%3)
		h.note("broker %d is back", id)
	case 5:
		h.note("a replica of broker %d panics", id)
		if pid := h.members[id].routes.find(h.topic, int32(h.rng.IntN(havocPartitions))).actor.Load(); pid != nil {
			h.members[id].send(pid, &killActor{})
		}
	case 6:
		h.note("the controller of broker %d panics", id)
		if _, pid := h.members[id].controller.present(); pid != nil {
			h.members[id].send(pid, &killActor{})
		}
	}
	if h.rng.IntN(2) == 0 {
		h.awaitReady()
	}
}

// crash ends a broker's process in the middle of whatever it does, or the power of its machine.
func (h *havoc) crash(id wire.BrokerID, power bool) {
	h.note("broker %d dies, power cut: %v", id, power)
	h.cluster.mu.Lock()
	c := h.members[id]
	delete(h.members, id)
	h.cluster.mu.Unlock()
	if power {
		h.disks[id] = h.disks[id].Crash(h.rng)
	} else {
		h.disks[id] = h.disks[id].Kill()
	}
	h.net.leave(id)
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	if err := c.Stop(ctx); errors.Is(err, context.DeadlineExceeded) {
		h.t.Errorf("broker %d does not stop: %v", id, err)
	}
	for _, d := range c.dirs {
		_ = d.Close() // its disk is gone
	}
}

// check reads all replicas: they have the same bytes, with every acknowledged record at its offset,
// and each value once and in order.
func (h *havoc) check() {
	for n := range int32(havocPartitions) {
		leader := h.leader(h.topic, n)
		end := leader.viewOf(h.topic, n).highWatermark
		h.await("all replicas have all", func() bool {
			for _, b := range h.members {
				if b.routes.find(h.topic, n).current().EndOffset() != end {
					return false
				}
			}
			return true
		})
		whole := h.read(leader, n, end)
		for id, b := range h.members {
			if !bytes.Equal(whole, h.read(b, n, end)) {
				h.t.Errorf("partition %d: brokers %d and %d have different bytes", n, leader.cfg.ID, id)
			}
		}
		h.checkRecords(n, whole)
	}
}

func (h *havoc) read(b *company, partition int32, end wire.Offset) (whole []byte) {
	log := b.routes.find(h.topic, partition).current()
	for from := wire.Offset(0); from < end; {
		buffer, next, _, err := log.ReadBuffer(from, end, 1<<20)
		if err != nil {
			h.t.Fatal(err)
		}
		whole = append(whole, buffer.Bytes...)
		buffer.Release()
		from = next
	}
	return whole
}

func (h *havoc) checkRecords(partition int32, whole []byte) {
	found := make(map[wire.Offset]string)
	for sequence := 0; len(whole) > 0; sequence++ {
		head, batch, rest, err := record.Next(whole)
		if err != nil {
			h.t.Fatal(err)
		}
		value := fmt.Sprintf("%d/%d", partition, sequence)
		if !bytes.Contains(batch, []byte(value)) || int(head.BaseSequence) != sequence {
			h.t.Fatalf("partition %d: offset %d has sequence %d, want %s: lost, doubled or out of order", partition, head.BaseOffset, head.BaseSequence, value)
		}
		found[head.BaseOffset] = value
		whole = rest
	}
	if len(h.acked[partition]) < 10 {
		h.t.Errorf("partition %d: only %d records were acknowledged", partition, len(h.acked[partition]))
	}
	for offset, value := range h.acked[partition] {
		if found[offset] != value {
			h.t.Errorf("partition %d: %s was acknowledged at offset %d, where there is %q", partition, value, offset, found[offset])
		}
	}
}
