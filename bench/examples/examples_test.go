package examples

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/bench/testbed"
	"github.com/troupe-mq/troupe/wire/client"
)

const payments = 3000

func TestAtLeastOncePrintsEveryRecordThoughMembersAreKilled(t *testing.T) {
	b := newBench(t)
	first := b.run("atleastonce")
	b.produce(1, payments/2)
	first.await(t, 100)
	first.kill()
	b.produce(payments/2+1, payments)
	second := b.run("atleastonce")
	seen := map[string]bool{}
	b.eventually("every record was printed", func() bool {
		for _, line := range append(first.lines(), second.lines()...) {
			seen[line] = true
		}
		return len(seen) == payments
	})
}

func TestAtMostOnceRaisesNoAlarmTwiceThoughMembersAreKilled(t *testing.T) {
	b := newBench(t)
	first := b.run("atmostonce")
	b.produce(1, payments/2)
	first.await(t, 100)
	first.kill()
	second := b.run("atmostonce")
	b.produce(payments/2+1, payments)
	b.eventually("every record of the second half was seen", func() bool {
		return len(second.lines()) >= payments/2
	})
	seen := map[string]bool{}
	for _, line := range append(first.lines(), second.lines()...) {
		if seen[line] {
			t.Fatalf("raised twice: %s", line)
		}
		seen[line] = true
	}
}

func TestExactlyOnceAddsEveryRecordUpOnceThoughMembersAreKilled(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	first, second := b.run("exactlyonce", "--store", dir), b.run("exactlyonce", "--store", dir)
	b.produce(1, payments/2)
	b.eventually("something was added up", func() bool { return total(t, dir).Next > 100 })
	first.kill()
	b.produce(payments/2+1, payments)
	third := b.run("exactlyonce", "--store", dir)
	defer func() { second.kill(); third.kill() }()
	b.eventually("every record was added up", func() bool { return total(t, dir).Next == payments })
	if got, want := total(t, dir).Sum, int64(payments*(payments+1)/2); got != want {
		t.Fatalf("the sum is %d, and should be %d", got, want)
	}
}

func TestExactlyOnceRefusesAStoreOfAnotherLog(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	for partition := range partitions {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(partition)), []byte(`{"Next":1000000,"Sum":7}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.produce(1, 10)
	m := b.run("exactlyonce", "--store", dir)
	<-m.ended
	if m.cmd.ProcessState.ExitCode() != 1 || total(t, dir).Sum != 7*partitions {
		t.Fatalf("it ended with %s, and the sums are %d", m.cmd.ProcessState, total(t, dir).Sum)
	}
}

// total adds up what the store has.
func total(t *testing.T, dir string) (all struct{ Next, Sum int64 }) {
	for partition := range partitions {
		b, err := os.ReadFile(filepath.Join(dir, strconv.Itoa(partition)))
		if os.IsNotExist(err) {
			continue
		}
		var one struct{ Next, Sum int64 }
		if err == nil {
			err = json.Unmarshal(b, &one)
		}
		if err != nil {
			t.Fatal(err)
		}
		all.Next, all.Sum = all.Next+one.Next, all.Sum+one.Sum
	}
	return all
}

const partitions = 4

// bench is a broker with a topic of payments, which gives up members soon.
type bench struct {
	t    *testing.T
	dir  string
	addr string
	c    *client.Client
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, dir: t.TempDir()}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	p, err := testbed.StartProcess(ctx, b.build("cmd/troupe"), testbed.BrokerArgs(t.TempDir(),
		"--set", "group.consumer.session.timeout.ms=2000", "--set", "group.consumer.heartbeat.interval.ms=300")...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	b.addr = p.Kafka()
	b.c, err = client.New(b.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.c.Close() })
	if err := b.c.CreateTopic(ctx, client.NewTopic{Name: "payments", Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) build(command string) string {
	binary, err := testbed.Build(b.t.Context(), b.dir, command)
	if err != nil {
		b.t.Fatal(err)
	}
	return binary
}

// produce writes the numbers from one to the other, as keys and as payments.
func (b *bench) produce(from, to int) {
	p, err := b.c.NewProducer()
	if err != nil {
		b.t.Fatal(err)
	}
	for n := from; n <= to; n++ {
		err := p.Produce(b.t.Context(), client.Record{Topic: "payments", Key: []byte(strconv.Itoa(n)), Value: fmt.Appendf(nil, "payment %d", n)}, nil)
		if err != nil {
			b.t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) eventually(what string, holds func() bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute)
	defer cancel()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !holds() {
		select {
		case <-look.C:
		case <-ctx.Done():
			b.t.Fatalf("never: %s", what)
		}
	}
}

// member is an example that runs.
type member struct {
	cmd   *exec.Cmd
	ended chan struct{}

	mu      sync.Mutex
	printed []string
	more    *sync.Cond
}

func (b *bench) run(example string, args ...string) *member {
	m := &member{ended: make(chan struct{})}
	m.more = sync.NewCond(&m.mu)
	m.cmd = exec.Command(b.build("bench/examples/"+example), append([]string{"--bootstrap", b.addr}, args...)...)
	m.cmd.Stderr = b.t.Output()
	out, err := m.cmd.StdoutPipe()
	if err == nil {
		err = m.cmd.Start()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	go func() {
		defer close(m.ended)
		for lines := bufio.NewReader(out); ; {
			line, err := lines.ReadString('\n')
			m.mu.Lock()
			if err == nil { // half a line was not printed
				m.printed = append(m.printed, strings.TrimSuffix(line, "\n"))
			}
			m.more.Broadcast()
			m.mu.Unlock()
			if err != nil {
				break
			}
		}
		_ = m.cmd.Wait() // it was killed
	}()
	b.t.Cleanup(m.kill)
	return m
}

func (m *member) lines() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.printed...)
}

func (m *member) await(t *testing.T, lines int) {
	t.Helper()
	stop := context.AfterFunc(t.Context(), m.more.Broadcast)
	defer stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.printed) < lines && t.Context().Err() == nil {
		m.more.Wait()
	}
}

// kill ends it as a crash does.
func (m *member) kill() {
	_ = m.cmd.Process.Kill() // perhaps it has ended
	<-m.ended
}
