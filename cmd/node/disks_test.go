package node_test

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-mq/troupe/cmd/node"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/storage/faultfs"
)

// A broker can do without a directory, but not without the one that holds the metadata, nor
// without any.
func TestABrokerEndsWithTheReasonWhenItsFirstOrItsLastDirectoryFails(t *testing.T) {
	for _, c := range []struct {
		name string
		data []string
		fail []string // one after the other; the broker ends with the last of them
	}{
		{"the only one", []string{"/a"}, []string{"/a"}},
		{"the first of two", []string{"/a", "/b"}, []string{"/a"}},
		{"the second, then the first", []string{"/a", "/b"}, []string{"/b", "/a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := faultfs.New(crashfs.New())
			n, admin := startOn(t, disk, c.data...)
			createTopics(t, admin, "one", "two") // a partition in each directory
			for i, dir := range c.fail {
				if i > 0 {
					select {
					case err := <-n.Ended():
						t.Fatalf("the broker ended without %s: %v", c.fail[i-1], err)
					default:
					}
				}
				disk.Fail(faultfs.Rule{Kind: faultfs.Sync, Match: faultfs.Under(dir), Times: -1})
				produceTo(t, n, "one", "two")
			}
			last := c.fail[len(c.fail)-1]
			select {
			case err := <-n.Ended():
				if !strings.Contains(err.Error(), last) || !strings.Contains(err.Error(), syscall.EIO.Error()) {
					t.Fatalf("the broker ended with %q, want it to name %s and what failed there", err, last)
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("the broker goes on without %s", last)
			}
		})
	}
}

func startOn(t *testing.T, disk *faultfs.FS, data ...string) (*node.Node, *kadm.Client) {
	t.Helper()
	cfg := node.DefaultConfig()
	cfg.Data, cfg.Listen, cfg.Cluster, cfg.Admin = data, "127.0.0.1:0", "127.0.0.1:0", node.AdminOff
	n, err := node.Start(t.Context(), cfg, node.Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = n.Stop(ctx) // says again what failed
	})
	c, err := kgo.NewClient(kgo.SeedBrokers(n.Ready().Kafka))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return n, kadm.NewClient(c)
}

func createTopics(t *testing.T, admin *kadm.Client, names ...string) {
	t.Helper()
	created, err := admin.CreateTopics(t.Context(), 1, 1, nil, names...)
	if err != nil {
		t.Fatal(err)
	}
	if err := created.Error(); err != nil {
		t.Fatal(err)
	}
}

// produceTo tries each topic once. What it is told is of no interest: a disk fails.
func produceTo(t *testing.T, n *node.Node, topics ...string) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(n.Ready().Kafka), kgo.RecordDeliveryTimeout(2*time.Second),
		kgo.RecordRetries(0), kgo.DisableIdempotentWrite())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var records []*kgo.Record
	for _, topic := range topics {
		records = append(records, &kgo.Record{Topic: topic, Value: []byte("v")})
	}
	_ = c.ProduceSync(t.Context(), records...)
}
