package main

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTheGossipKeyIsReplacedByCommand(t *testing.T) {
	old := base64.StdEncoding.EncodeToString(make([]byte, 32))
	dir := t.TempDir()
	var brokers []*runningBroker
	var files []string
	for _, name := range []string{"a", "b", "c"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(old+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"--cluster-key-file", file}
		if len(brokers) > 0 {
			args = append(args, "--join", brokers[0].ready["cluster"])
		}
		brokers, files = append(brokers, startBroker(t, t.TempDir(), args...)), append(files, file)
	}
	bootstrap := "--bootstrap=" + brokers[1].ready["kafka"]
	must(t, "", "cluster", "health", "--wait", bootstrap)
	used := func() string {
		rings := fromJSON[[]gossipKeysJSON](t, must(t, "", "cluster", "gossip-keys", "--json", bootstrap))
		for i, ring := range rings {
			if ring.Broker != int32(i+1) || ring.Used != rings[0].Used || len(ring.Understood) != 1 || ring.Error != "" {
				t.Errorf("broker %d has %+v", i+1, ring)
			}
		}
		return rings[0].Used
	}
	before := used()
	told := must(t, "", "cluster", "rotate-gossip-key", bootstrap)
	after := used()
	if before == "" || before == after || strings.Count(told, after) != 2*3 {
		t.Errorf("%s became %s, told as\n%s", before, after, told)
	}
	key, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files[1:] {
		if other, err := os.ReadFile(file); err != nil || string(other) != string(key) || strings.Contains(string(other), old) {
			t.Errorf("%v\n%s\n%s", err, key, other)
		}
	}

	_ = brokers[2].cmd.Process.Signal(syscall.SIGKILL)
	_ = brokers[2].cmd.Wait()
	for deadline := time.Now().Add(20 * time.Second); ; {
		got := inProcess(t, "", "cluster", "rotate-gossip-key", bootstrap)
		if got.code == exitFailed && strings.Contains(got.err, "broker 3 is not online") && strings.Contains(got.err, "--force") {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("with a dead broker: exit code %d, %s%s", got.code, got.out, got.err)
		}
	}
	told = must(t, "", "cluster", "rotate-gossip-key", "--force", bootstrap)
	if people := must(t, "", "cluster", "gossip-keys", bootstrap); strings.Contains(told, after) || !strings.Contains(people, "3  not known: BROKER_NOT_AVAILABLE") {
		t.Errorf("told\n%s and shown\n%s", told, people)
	}
}

func TestWhatIsNotEncryptedSaysHowItWouldBe(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	if shown := must(t, "", "cluster", "gossip-keys", bootstrap); !strings.Contains(shown, "not encrypted") {
		t.Errorf("shown as\n%s", shown)
	}
	got := inProcess(t, "", "cluster", "rotate-gossip-key", bootstrap)
	if got.code != exitFailed || !strings.Contains(got.err, "--cluster-key-file") || strings.Count(got.err, "\n") != 1 {
		t.Errorf("exit code %d, %q", got.code, got.err)
	}
}
