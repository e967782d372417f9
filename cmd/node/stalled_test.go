package node_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/cmd/node"
)

// A client that asks for much and reads nothing.
func TestAClientThatReadsNothingDoesNotSpoilTheStop(t *testing.T) {
	cfg := node.DefaultConfig()
	cfg.Data, cfg.Listen, cfg.Cluster, cfg.Admin = []string{t.TempDir()}, "127.0.0.1:0", "127.0.0.1:0", node.AdminOff
	n, err := node.Start(t.Context(), cfg, node.Options{})
	if err != nil {
		t.Fatal(err)
	}
	address := n.Ready().Kafka
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.AllowAutoTopicCreation(), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	for range 24 {
		record := &kgo.Record{Topic: "events", Value: make([]byte, 900<<10)}
		if err := client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	client.Close()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	fetch := kmsg.NewPtrFetchRequest()
	fetch.Version, fetch.MaxBytes = 4, 50<<20
	partition := kmsg.NewFetchRequestTopicPartition()
	partition.PartitionMaxBytes = 50 << 20
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.Partitions = "events", append(topic.Partitions, partition)
	fetch.Topics = append(fetch.Topics, topic)
	if _, err := conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, fetch, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil { // the answer has begun
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}
