package clients

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/troupe-mq/troupe/bench/testbed"
)

// What all tests share.
var (
	work      string // a directory that is there as long as they run
	bootstrap string
	process   *testbed.Process // the broker; nil when it is another's
	binary    string           // of the broker, likewise
)

func TestMain(m *testing.M) {
	os.Exit(withBroker(m.Run))
}

func withBroker(run func() int) int {
	var err error
	if work, err = os.MkdirTemp("", "clients-"); err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		return 1
	}
	defer os.RemoveAll(work) //nolint:errcheck // a temporary directory
	if bootstrap = os.Getenv("TROUPE_CLIENTS_BOOTSTRAP"); bootstrap != "" {
		return run()
	}
	if err := startBroker(); err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		return 1
	}
	defer process.Kill()
	code := run()
	if code != 0 {
		fmt.Fprintf(os.Stderr, "the broker said last:\n%s", process.Log())
	}
	return code
}

// groupSettings have groups come together, and miss who died, sooner than they would by default.
var groupSettings = []string{
	"--set", "group.initial.rebalance.delay.ms=500",
	"--set", "group.consumer.heartbeat.interval.ms=500", "--set", "group.consumer.session.timeout.ms=6000",
}

// chaosToken lets tests end actors of the broker.
const chaosToken = "7e57c0de7e57c0de7e57c0de7e57c0de"

func startBroker() (err error) {
	ctx := context.Background()
	if binary, err = testbed.Build(ctx, work, "cmd/troupe"); err != nil {
		return err
	}
	token := filepath.Join(work, "token")
	if err := os.WriteFile(token, []byte(chaosToken), 0o600); err != nil {
		return err
	}
	flags := append(testbed.BrokerArgs(work+"/data", "--chaos-token-file", token), groupSettings...)
	process, err = testbed.StartProcess(ctx, binary, flags...)
	if err != nil {
		return err
	}
	bootstrap = process.Kafka()
	return nil
}

// newTopic creates a topic that no other test uses.
func newTopic(t *testing.T, partitions int32) string {
	t.Helper()
	name := topicName(t)
	if _, err := (franz{bootstrap}).do(t.Context(), request{Op: "create", Topic: name, Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	return name
}

func topicName(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("%s-%08x", strings.ToLower(strings.NewReplacer("/", ".", " ", "-").Replace(t.Name())), rand.Uint32())
}
