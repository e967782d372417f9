package node_test

import (
	"net"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-mq/troupe/cmd/node"
	"github.com/troupe-mq/troupe/storage/crashfs"
)

func localConfig(data ...string) node.Config {
	cfg := node.DefaultConfig()
	cfg.Data, cfg.Listen, cfg.Cluster, cfg.Admin = data, "127.0.0.1:0", "127.0.0.1:0", node.AdminOff
	return cfg
}

// founded is a disk with a cluster that was stopped.
func founded(t *testing.T, data ...string) *crashfs.FS {
	t.Helper()
	disk := crashfs.New()
	n, err := node.Start(t.Context(), localConfig(data...), node.Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	return disk
}

func TestAStartThatFailsEndsWithTheCause(t *testing.T) {
	t.Run("another directory comes first", func(t *testing.T) {
		_, err := node.Start(t.Context(), localConfig("/b", "/a"), node.Options{FS: founded(t, "/a", "/b")})
		if err == nil || !strings.Contains(err.Error(), "/b holds no metadata of cluster ") ||
			!strings.HasSuffix(err.Error(), "the directory with the metadata (__cluster_metadata) must be the first --data") {
			t.Fatal(err)
		}
	})
	t.Run("the metadata log is damaged", func(t *testing.T) {
		disk := founded(t, "/a")
		names, err := disk.ReadDir("/a/__cluster_metadata")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if !strings.HasSuffix(name.Name(), ".wal") {
				continue
			}
			f, err := disk.OpenFile(path.Join("/a/__cluster_metadata", name.Name()), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte("rot"), 30); err != nil {
				t.Fatal(err)
			}
		}
		_, err = node.Start(t.Context(), localConfig("/a"), node.Options{FS: disk})
		if err == nil || !strings.Contains(err.Error(), "is damaged at byte") || strings.Contains(err.Error(), "NOT_CONTROLLER") {
			t.Fatal(err)
		}
	})
}

func TestReadyNamesAnAddressToConnectToAndEveryDirectory(t *testing.T) {
	cfg := localConfig("/a", "/b")
	cfg.Listen = ":0"
	n, err := node.Start(t.Context(), cfg, node.Options{FS: crashfs.New()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Stop(t.Context()) }()
	host, port, err := net.SplitHostPort(n.Ready().Kafka)
	if err != nil || host == "" || host == "::" || host == "0.0.0.0" || port == "0" {
		t.Errorf("kafka=%s, %v", n.Ready().Kafka, err)
	}
	if n.Ready().Data != "/a,/b" {
		t.Errorf("data=%s", n.Ready().Data)
	}
}

func TestABrokerShowsTheIdThatItHas(t *testing.T) {
	n, err := node.Start(t.Context(), localConfig("/a"), node.Options{FS: crashfs.New()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Stop(t.Context()) }()
	c, err := kgo.NewClient(kgo.SeedBrokers(n.Ready().Kafka))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	described, err := kadm.NewClient(c).DescribeBrokerConfigs(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, config := range described[0].Configs {
		if config.Key == "node.id" && config.MaybeValue() != "1" {
			t.Errorf("node.id is %s", config.MaybeValue())
		}
	}
}
