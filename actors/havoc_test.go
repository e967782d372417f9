package actors

import (
	"bytes"
	"context"
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

// havoc breaks brokers, links, disks and actors of a cluster while producers write, in virtual time. Which
// goroutine runs first is the runtime's choice, so that a seed gives the same faults but not the same run: what
// is exactly repeatable are the rules alone, in package sim. Here the shells around them are tried. What
// it breaks is in havoc_faults_test.go.
//
// A third of the seeds have a topic that is not fsynced: then the power of one machine at a time is
// cut, and all replicas are in sync before the next one.
type havoc struct {
	*cluster
	rng        *mathrand.Rand
	name       string // of the topic
	topic      wire.TopicID
	replicated bool

	mu    sync.Mutex
	acked []map[wire.Offset]string // by partition
	trace []string
}

const (
	havocBrokers    = 4
	havocPartitions = 3
	// havocInFlight is how many batches a producer has on their way.
	havocInFlight = 5
	// One batch of each producer is larger than what a follower is sent at a time.
	havocLarge, havocLargeAt = streamWindow + 1<<20, 200
)

func TestNothingAcknowledgedIsLostWhateverBreaks(t *testing.T) {
	for n := range *havocSeeds {
		seed := *havocSeed + uint64(n)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &havoc{
					cluster: startCluster(t, havocBrokers), rng: newRand(seed), name: "orders", replicated: seed%3 == 0,
					acked: make([]map[wire.Offset]string, havocPartitions),
				}
				defer h.end()
				defer h.tell()
				if seed%2 == 0 {
					h.net.narrow(4)
				}
				h.create()
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
				producers.Go(func() { h.disturb(ctx) })
				for range 12 {
					h.breakSomething()
				}
				h.settled()
				time.Sleep(5 * time.Second)
				stop()
				producers.Wait()
				h.check()
			})
		})
	}
}

// create creates the topic.
func (h *havoc) create() {
	h.t.Helper()
	h.awaitReady()
	durability, largest := "fsync", "20000000"
	if h.replicated {
		durability = "replicated"
	}
	created := h.any().CreateTopics(h.t.Context(), []wire.NewTopic{{
		Name: "orders", Partitions: havocPartitions, ReplicationFactor: 3,
		Configs: []wire.ConfigValue{{Name: "durability", Value: &durability}, {Name: "max.message.bytes", Value: &largest}},
	}}, false)
	if created[0].Err != nil {
		h.t.Fatal(created[0].Err)
	}
	h.topic = created[0].ID
	h.settled()
}

// settled waits until all replicas are in sync and where they are to be.
func (h *havoc) settled() {
	h.t.Helper()
	h.awaitAtMost(time.Minute, "all replicas are in sync", func() bool {
		for _, b := range h.members {
			for n := range int32(havocPartitions) {
				p, ok := b.View().Partition(h.topic, n)
				if !ok || p.Leader == wire.NoBroker || len(p.ISR) != 3 || len(p.Replicas) != 3 || len(p.Adding)+len(p.Removing) > 0 {
					return false
				}
			}
		}
		return true
	})
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

// flight is a batch on its way.
type flight struct {
	sequence wire.Sequence
	value    string
	reply    wire.ProduceReply
	answered bool
}

func (f *flight) acknowledged() bool { return f.answered && f.reply.Err == nil }

// produce is an idempotent producer with several batches at a time, which it repeats in their order
// until they are answered. The first one goes alone: before it nobody knows the producer.
func (h *havoc) produce(ctx context.Context, partition int32) {
	producer := wire.ProducerID(1000 + partition)
	var flights []*flight
	for sequence := wire.Sequence(0); ctx.Err() == nil; {
		time.Sleep(25 * time.Millisecond)
		for alone := sequence <= 1; len(flights) == 0 || !alone && len(flights) < havocInFlight; sequence++ {
			flights = append(flights, &flight{sequence: sequence, value: fmt.Sprintf("%d/%d", partition, sequence)})
		}
		if !h.try(partition, producer, flights) {
			continue
		}
		for len(flights) > 0 && flights[0].acknowledged() {
			h.record(partition, flights[0])
			flights = flights[1:]
		}
		if len(flights) > 0 && flights[0].answered && !wire.Code(flights[0].reply.Err).Retriable() {
			h.t.Errorf("partition %d: %s: %v", partition, flights[0].value, flights[0].reply.Err)
			return
		}
	}
}

// record notes what is acknowledged.
func (h *havoc) record(partition int32, f *flight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if other, taken := h.acked[partition][f.reply.BaseOffset]; taken {
		h.t.Errorf("%s and %s are both acknowledged at offset %d", other, f.value, f.reply.BaseOffset)
	}
	h.acked[partition][f.reply.BaseOffset] = f.value
}

// one receives one answer.
type one chan wire.ProduceReply

func (o one) ProduceDone(_ int, reply wire.ProduceReply) { o <- reply }

// try sends batches to the leader of the highest epoch that any broker knows of, as a client would, and
// waits for the answers. It returns false where nobody leads.
func (h *havoc) try(partition int32, producer wire.ProducerID, flights []*flight) bool {
	leader := h.leaderOf(h.topic, partition)
	if leader == nil {
		return false
	}
	replies := make([]one, len(flights))
	for i, f := range flights {
		value := []byte(f.value)
		if f.sequence == havocLargeAt {
			value = append(value, make([]byte, havocLarge)...)
		}
		var b record.Builder
		b.Append(time.Now().UnixMilli(), nil, value, nil)
		replies[i] = make(one, 1)
		leader.Produce(&wire.Produce{
			Topic: h.topic, Partition: partition, Acks: wire.AcksAll, Batches: b.Finish(producer, 0, f.sequence), Done: replies[i],
			Deadline: leader.now().Add(3 * time.Second),
		})
	}
	for i, f := range flights {
		select {
		case f.reply = <-replies[i]:
			f.answered = true
		case <-time.After(30 * time.Second):
			f.answered = false
			h.t.Errorf("partition %d: %s has no answer at all", partition, f.value)
		}
	}
	return true
}

// leaderOf is the leader of the highest epoch that any broker knows of, or nil.
func (h *havoc) leaderOf(topic wire.TopicID, partition int32) *company {
	newest := wire.Partition{Leader: wire.NoBroker, LeaderEpoch: wire.NoEpoch}
	h.cluster.mu.Lock()
	defer h.cluster.mu.Unlock()
	for _, b := range h.members {
		if p, _ := b.View().Partition(topic, partition); p.LeaderEpoch > newest.LeaderEpoch {
			newest = p
		}
	}
	return h.members[newest.Leader]
}

// check reads all replicas: they have the same bytes, with every acknowledged record at its offset,
// and each value once and in order.
func (h *havoc) check() {
	for n := range int32(havocPartitions) {
		leader := h.leader(h.topic, n)
		p, _ := leader.View().Partition(h.topic, n)
		end := leader.viewOf(h.topic, n).highWatermark
		h.await("all replicas have all", func() bool {
			for _, id := range p.Replicas {
				if h.members[id].routes.find(h.topic, n).current().EndOffset() != end {
					return false
				}
			}
			return true
		})
		whole := h.read(leader, n, end)
		for _, id := range p.Replicas {
			b := h.members[id]
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
