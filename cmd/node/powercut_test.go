package node_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-mq/troupe/cmd/node"
	"github.com/troupe-mq/troupe/storage/crashfs"
)

var (
	powerCuts = flag.Int("power-cuts", 100, "how often the power is cut")
	powerSeed = flag.Uint64("power-seed", 0, "replays the choices of a run; 0 takes a new seed")
)

// A whole broker on a file system that forgets what was not synced is produced to through its
// socket by a Kafka client, and the power is cut in the middle, again and again. Whatever was
// acknowledged is there afterwards, at the offset that was told and once.
func TestPowerCutsLoseNothingThatWasAcknowledged(t *testing.T) {
	if lost := cutPower(t, "fsync", *powerCuts); lost != nil {
		t.Fatal(lost)
	}
}

// The same test does find a broker that acknowledges before the fsync, which is what a topic
// with durability=replicated asks for.
func TestPowerCutsDoLoseWhatWasAcknowledgedBeforeTheFsync(t *testing.T) {
	if lost := cutPower(t, "replicated", 20); lost == nil {
		t.Fatal("20 power cuts lost nothing, so the test proves nothing")
	}
}

const (
	powerPartitions = 3
	cutsPerTopic    = 25 // then a new topic is begun, so that reading all of it back stays cheap
)

// powerRun is one broker's life over many power cuts.
type powerRun struct {
	t     *testing.T
	rng   *rand.Rand
	disk  *crashfs.FS
	topic string
	acked []kgo.Record // of the present topic, in no order
	sent  int
}

// cutPower returns what was lost, or nil.
func cutPower(t *testing.T, durability string, cuts int) error {
	seed := *powerSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("replay with -power-seed %d", seed)
	r := &powerRun{t: t, rng: rand.New(rand.NewPCG(seed, 0)), disk: crashfs.New()}
	for cut := range cuts {
		n := r.start(cut)
		if err := r.check(n); err != nil {
			r.abandon(n)
			return fmt.Errorf("after power cut %d (seed %d): %w", cut, seed, err)
		}
		if cut%cutsPerTopic == 0 {
			r.newTopic(n, cut, durability)
		}
		after := r.produceUntilTheCut(n)
		r.abandon(n)
		r.disk = after
	}
	n := r.start(cuts)
	defer r.abandon(n)
	if err := r.check(n); err != nil {
		return fmt.Errorf("after the last power cut (seed %d): %w", seed, err)
	}
	t.Logf("%d records were sent in %d lives", r.sent, cuts)
	return nil
}

func (r *powerRun) start(life int) *node.Node {
	r.t.Helper()
	cfg := node.DefaultConfig()
	cfg.Data, cfg.Listen, cfg.Cluster, cfg.Admin = []string{"/data"}, "127.0.0.1:0", "127.0.0.1:0", node.AdminOff
	n, err := node.Start(r.t.Context(), cfg, node.Options{FS: r.disk, BootID: "boot-" + strconv.Itoa(life)})
	if err != nil {
		r.t.Fatalf("start %d: %v", life, err)
	}
	return n
}

// abandon stops a broker whose disk may be gone: what it says about that is of no interest.
func (r *powerRun) abandon(n *node.Node) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.Stop(ctx); errors.Is(err, context.DeadlineExceeded) {
		r.t.Fatalf("a broker whose disk is gone does not stop: %v", err)
	}
}

func (r *powerRun) client(n *node.Node, opts ...kgo.Opt) *kgo.Client {
	r.t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(n.Ready().Kafka), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RetryBackoffFn(func(int) time.Duration { return 5 * time.Millisecond }), kgo.MetadataMinAge(10 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *powerRun) newTopic(n *node.Node, cut int, durability string) {
	r.t.Helper()
	c := r.client(n)
	defer c.Close()
	admin := kadm.NewClient(c)
	if r.topic != "" {
		if _, err := admin.DeleteTopic(r.t.Context(), r.topic); err != nil {
			r.t.Fatal(err)
		}
	}
	r.topic, r.acked = "topic-"+strconv.Itoa(cut), nil
	segment := "1048576" // the smallest there is, so that cuts fall into rolls too
	if _, err := admin.CreateTopic(r.t.Context(), powerPartitions, 1, map[string]*string{"durability": &durability, "segment.bytes": &segment}, r.topic); err != nil {
		r.t.Fatal(err)
	}
}

// produceUntilTheCut sends records without pause, notes those that are acknowledged, and cuts the
// power behind some step of the disk. It returns the disk as it is found afterwards.
func (r *powerRun) produceUntilTheCut(n *node.Node) *crashfs.FS {
	var after *crashfs.FS
	cut := make(chan struct{})
	disk := r.disk
	disk.AfterStep(disk.Steps()+1+r.rng.Int64N(120), func() {
		after = disk.Crash(r.rng)
		close(cut)
	})
	c := r.client(n, kgo.ProducerLinger(0), kgo.MaxBufferedRecords(64), kgo.ProducerBatchMaxBytes(256<<10), kgo.UnknownTopicRetries(1))
	ctx, cancel := context.WithCancel(r.t.Context())
	var mu sync.Mutex
	producing := sync.WaitGroup{}
	producing.Go(func() {
		for ctx.Err() == nil {
			r.sent++
			value := fmt.Appendf(nil, "%d %0*d", r.sent, r.sent*r.sent*7919%50_000, 0)
			c.Produce(ctx, &kgo.Record{Topic: r.topic, Partition: int32(r.sent % powerPartitions), Value: value}, func(rec *kgo.Record, err error) {
				if err == nil {
					mu.Lock()
					r.acked = append(r.acked, *rec)
					mu.Unlock()
				}
			})
		}
	})
	<-cut
	cancel()
	producing.Wait()
	c.Close()
	return after
}

// endOffsets asks until every high watermark has caught up with what its log began with, which takes
// a sync of what was found after the cut.
func endOffsets(ctx context.Context, admin *kadm.Client, topic string) (kadm.ListedOffsets, error) {
	for {
		listed, err := admin.ListEndOffsets(ctx, topic)
		if err != nil || !errors.Is(listed.Error(), kerr.OffsetNotAvailable) {
			return listed, err
		}
	}
}

// check reads the whole topic and compares it with what was acknowledged.
func (r *powerRun) check(n *node.Node) error {
	if len(r.acked) == 0 {
		return nil
	}
	type place struct {
		partition int32
		offset    int64
	}
	expected := make(map[place]string, len(r.acked))
	ends := make(map[int32]int64)
	for _, rec := range r.acked {
		at := place{rec.Partition, rec.Offset}
		if other, twice := expected[at]; twice {
			return fmt.Errorf("two records were acknowledged at %+v: %.20q and %.20q", at, other, rec.Value)
		}
		expected[at] = string(rec.Value)
		ends[rec.Partition] = max(ends[rec.Partition], rec.Offset+1)
	}
	c := r.client(n)
	defer c.Close()
	listed, err := endOffsets(r.t.Context(), kadm.NewClient(c), r.topic)
	if err != nil {
		return err
	}
	start := make(map[int32]kgo.Offset)
	left := 0
	for partition, end := range ends {
		o, ok := listed.Lookup(r.topic, partition)
		if !ok || o.Err != nil {
			return fmt.Errorf("partition %d is not there: %w", partition, o.Err)
		}
		if o.Offset < end {
			return fmt.Errorf("partition %d ends at %d, but offset %d was acknowledged", partition, o.Offset, end-1)
		}
		start[partition] = kgo.NewOffset().At(0)
		left += int(o.Offset)
	}
	seen := make(map[string]place, left)
	c.AddConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: start})
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	for left > 0 {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("%d records cannot be read: %w", left, err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			left--
			at := place{rec.Partition, rec.Offset}
			if want, ok := expected[at]; ok && want != string(rec.Value) {
				err = fmt.Errorf("at %+v is %.20q, but %.20q was acknowledged there", at, rec.Value, want)
			}
			if other, twice := seen[string(rec.Value)]; twice {
				err = fmt.Errorf("%.20q is at %+v and at %+v", rec.Value, other, at)
			}
			seen[string(rec.Value)] = at
			delete(expected, at)
		})
		if err != nil {
			return err
		}
	}
	if len(expected) > 0 {
		return fmt.Errorf("%d acknowledged records are missing", len(expected))
	}
	return nil
}
