package clients

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/bench/testbed"
	"github.com/troupe-mq/troupe/cmd/node"
)

// racks is three brokers in two racks, with a topic of one partition: it is led in rack a, and there is one
// follower in rack b.
type racks struct {
	*testbed.Bed
	t        *testing.T
	producer *kgo.Client
	near     *testbed.Broker // the follower in rack b
	produced int
}

const racksTopic, racksRecordBytes = "orders", 1000

func startRacks(t *testing.T) *racks {
	t.Helper()
	r := &racks{t: t, Bed: testbed.StartTuned(t, 3, func(i int, cfg *node.Config) {
		cfg.Static = map[string]string{
			"broker.rack": []string{"a", "b", "a"}[i], "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
		}
	})}
	r.near = r.Brokers[1]
	r.producer = r.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	create := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = racksTopic, -1, -1
	assigned := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
	for _, b := range r.Brokers {
		assigned.Replicas = append(assigned.Replicas, b.ID())
	}
	topic.ReplicaAssignment = append(topic.ReplicaAssignment, assigned)
	create.Topics = append(create.Topics, topic)
	created, err := create.RequestWith(t.Context(), r.producer)
	if err != nil || created.Topics[0].ErrorCode != 0 {
		t.Fatalf("create: %v, %+v", err, created)
	}
	r.Eventually("all replicas are in sync", func() bool {
		view := r.Brokers[0].Node().Broker().View()
		described, _ := view.Topic(racksTopic)
		p, ok := view.Partition(described.ID, 0)
		return ok && len(p.ISR) == 3
	})
	return r
}

func (r *racks) client(opts ...kgo.Opt) *kgo.Client {
	r.t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(r.Kafka()...), kgo.MetadataMinAge(50 * time.Millisecond)}, opts...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return c
}

func (r *racks) produce(n int) {
	r.t.Helper()
	for range n {
		value := fmt.Appendf(nil, "%0*d", racksRecordBytes, r.produced)
		r.produced++
		if err := r.producer.ProduceSync(r.t.Context(), &kgo.Record{Topic: racksTopic, Value: value}).FirstErr(); err != nil {
			r.t.Fatal(err)
		}
	}
}

// consume reads the records from one on, all that were produced, each once and in order.
func (r *racks) consume(c *kgo.Client, from int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), answerLimit)
	defer cancel()
	for from < r.produced {
		fetches := c.PollFetches(ctx)
		if ctx.Err() != nil {
			r.t.Fatalf("not within %v: record %d", answerLimit, from)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			if want := fmt.Sprintf("%0*d", racksRecordBytes, from); string(record.Value) != want || record.Offset != int64(from) {
				r.t.Fatalf("at offset %d is %.20q, want offset %d", record.Offset, strings.TrimLeft(string(record.Value), "0"), from)
			}
			from++
		})
	}
}

// served is how many bytes a broker has sent out of replicas that follow.
func (r *racks) served(b *testbed.Broker) (bytes float64) {
	r.t.Helper()
	answer, err := http.Get("http://" + b.Admin() + "/metrics") //nolint:noctx // as short as the test
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "troupe_kafka_follower_fetched_bytes_total %g", &bytes); err == nil {
			return bytes
		}
	}
	r.t.Fatal("the metric is not there")
	return 0
}

// expectServed fails unless the follower in rack b has sent so many records more than before, and nobody else any.
func (r *racks) expectServed(before float64, records int) {
	r.t.Helper()
	if got, want := r.served(r.near)-before, float64(records*racksRecordBytes); got < want || got > 2*want {
		r.t.Errorf("the follower in the client's rack has sent %v bytes, want some %v", got, want)
	}
	for _, b := range []*testbed.Broker{r.Brokers[0], r.Brokers[2]} {
		if got := r.served(b); got != 0 {
			r.t.Errorf("broker %d has sent %v bytes as a follower", b.ID(), got)
		}
	}
}

// KIP-392: a consumer reads from the replica in its rack, and from the leader when that is gone.
func TestFranzGoReadsFromTheReplicaInItsRack(t *testing.T) {
	t.Parallel()
	r := startRacks(t)
	r.produce(50)
	// franz-go stays with a replica that is gone, for half an hour unless it is told otherwise.
	c := r.client(kgo.Rack("b"), kgo.RecheckPreferredReplicaInterval(time.Second), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{racksTopic: {0: kgo.NewOffset().AtStart()}}))
	r.consume(c, 0)
	r.produce(50)
	r.consume(c, 50)
	r.expectServed(0, 100)
	r.near.Kill()
	r.produce(50)
	r.consume(c, 100)
}

func TestKcatReadsFromTheReplicaInItsRack(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("kcat")
	if err != nil {
		missing(t, "there is no kcat")
	}
	r := startRacks(t)
	r.produce(100)
	ctx, cancel := context.WithTimeout(t.Context(), answerLimit)
	defer cancel()
	for _, c := range []struct {
		rack   string
		served int
	}{{"a", 0}, {"b", 100}, {"elsewhere", 0}} {
		before := r.served(r.near)
		out, err := exec.CommandContext(ctx, path, "-C", "-q", "-e", "-b", strings.Join(r.Kafka(), ","), "-t", racksTopic, "-p", "0", "-o", "beginning",
			"-X", "client.rack="+c.rack, "-f", `%o\n`).Output()
		if n := bytes.Count(out, []byte("\n")); err != nil || n != 100 {
			t.Errorf("rack %s: %d records, %v", c.rack, n, err)
		}
		r.expectServed(before, c.served)
	}
}
