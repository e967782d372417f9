package node_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/troupe-mq/troupe/cmd/node"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
)

// journal keeps what a broker logs.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// keyed is a broker with a key file of its own.
type keyed struct {
	*node.Node
	disk *crashfs.FS
	file string
	log  *journal
}

func startKeyed(t *testing.T, k *keyed, join ...string) {
	t.Helper()
	cfg := joining(join...)
	cfg.ClusterKeyFile = k.file
	k.log = new(journal)
	opts := options(t, k.disk)
	opts.Logger = slog.New(slog.NewTextHandler(k.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if k.Node, err = node.Start(t.Context(), cfg, opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopBroker(t, k.Node) })
}

func (k *keyed) keys(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(k.file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheKeyOfGossipIsRotatedAndOutlivesARestart(t *testing.T) {
	t.Parallel()
	old := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{5}, 32))
	var brokers []*keyed
	for _, name := range []string{"one", "two", "three"} {
		k := &keyed{disk: crashfs.New(), file: filepath.Join(t.TempDir(), name)}
		if err := os.WriteFile(k.file, []byte(old+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if len(brokers) == 0 {
			startKeyed(t, k)
		} else {
			startKeyed(t, k, brokers[0].Ready().Cluster)
		}
		brokers = append(brokers, k)
	}
	one, two, three := brokers[0], brokers[1], brokers[2]
	expectOneCluster(t, one.Node, two.Node, three.Node)

	// A key file that cannot be written stops it before anything has changed for the worse.
	if err := os.Rename(three.file, three.file+".away"); err != nil {
		t.Fatal(err)
	}
	_, err := two.Broker().RotateGossipKey(t.Context(), wire.RotateGossipKey{})
	if !errors.Is(err, wire.KafkaStorageError) || !strings.Contains(err.Error(), "broker 3") || !strings.Contains(err.Error(), three.file) {
		t.Fatalf("without a key file: %v", err)
	}
	if err := os.Rename(three.file+".away", three.file); err != nil {
		t.Fatal(err)
	}
	rotated, err := two.Broker().RotateGossipKey(t.Context(), wire.RotateGossipKey{})
	if err != nil || len(rotated) != 3 {
		t.Fatalf("%+v, %v", rotated, err)
	}
	for i, k := range brokers {
		text := k.keys(t)
		if text != one.keys(t) || strings.Contains(text, old) || strings.Count(text, "\n") != 2 {
			t.Errorf("the key file of broker %d is\n%s", i+1, text)
		}
		if info, err := os.Stat(k.file); err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		if names := rotated[i].Fingerprints; len(names) != 1 || names[0] != rotated[0].Fingerprints[0] || !strings.Contains(k.log.String(), names[0]) {
			t.Errorf("broker %d has the keys %v", i+1, names)
		}
	}
	// Who starts again has the new key: the others hear of it by gossip.
	stopBroker(t, three.Node)
	startKeyed(t, three)
	expectOneCluster(t, one.Node, two.Node, three.Node)
	eventually(t, "gossip sees the broker that has started again", func() bool {
		return strings.Contains(one.log.String(), `msg="gossip sees a broker" broker=3 address=`+three.Ready().Cluster)
	})

	// One that was left behind takes part all the same, and is heard again with the key file of another.
	stopBroker(t, three.Node)
	eventually(t, "it is fenced", func() bool { return len(brokersOf(one.Node)) == 2 })
	if _, err := one.Broker().RotateGossipKey(t.Context(), wire.RotateGossipKey{Without: true}); err != nil {
		t.Fatal(err)
	}
	startKeyed(t, three)
	expectOneCluster(t, one.Node, two.Node, three.Node)
	if shown := one.Broker().DescribeGossipKeys(t.Context()); len(shown) != 3 || shown[2].Fingerprints[0] == shown[0].Fingerprints[0] {
		t.Errorf("shown: %+v", shown)
	}
	stopBroker(t, three.Node)
	if err := os.WriteFile(three.file, []byte(one.keys(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	startKeyed(t, three)
	eventually(t, "gossip sees it", func() bool {
		return strings.Contains(one.log.String(), `msg="gossip sees a broker" broker=3 address=`+three.Ready().Cluster)
	})
	for i, k := range brokers {
		key := strings.Split(one.keys(t), "\n")[1]
		if log := k.log.String(); strings.Contains(log, old) || strings.Contains(log, key) {
			t.Errorf("broker %d has logged a key", i+1)
		}
	}
}

func TestABrokerWithoutKeysRotatesNone(t *testing.T) {
	t.Parallel()
	n := startBroker(t, crashfs.New())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := n.Broker().RotateGossipKey(ctx, wire.RotateGossipKey{}); !errors.Is(err, wire.SecurityDisabled) {
		t.Errorf("%v", err)
	}
	if shown := n.Broker().DescribeGossipKeys(ctx); len(shown) != 1 || len(shown[0].Fingerprints) != 0 || shown[0].Err != nil {
		t.Errorf("shown: %+v", shown)
	}
}
