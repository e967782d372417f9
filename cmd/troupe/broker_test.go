package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// runningBroker is troupe broker as a process of its own.
type runningBroker struct {
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr *bytes.Buffer
	ready  map[string]string // the fields of the ready line
	line   string
}

var readyLine = regexp.MustCompile(`^ready kafka=127\.0\.0\.1:\d+ cluster=127\.0\.0\.1:\d+ admin=(127\.0\.0\.1:\d+|off) data=\S+ cluster_id=[A-Za-z0-9_-]{22} broker_id=\d+\n$`)

// startBroker starts a broker on free ports and waits for its ready line.
func startBroker(t *testing.T, dir string, args ...string) *runningBroker {
	t.Helper()
	all := append([]string{"broker", "--data", dir, "--listen", "127.0.0.1:0", "--cluster", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args...)
	b := &runningBroker{cmd: troupe(t, all...), stderr: new(bytes.Buffer), ready: make(map[string]string)}
	b.cmd.Stderr = b.stderr
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.stdout = bufio.NewReader(out)
	if b.line, err = b.stdout.ReadString('\n'); err != nil || !readyLine.MatchString(b.line) {
		_ = b.cmd.Process.Kill()
		_ = b.cmd.Wait()
		t.Fatalf("ready line %q, %v; log:\n%s", b.line, err, b.stderr)
	}
	for _, field := range strings.Fields(b.line)[1:] {
		name, value, _ := strings.Cut(field, "=")
		b.ready[name] = value
	}
	t.Cleanup(func() {
		if b.cmd.ProcessState == nil {
			b.stop(t, syscall.SIGTERM)
		}
	})
	return b
}

// stop sends a signal and checks that the broker ends well. It returns what else it wrote to stdout.
func (b *runningBroker) stop(t *testing.T, sig syscall.Signal) string {
	t.Helper()
	if err := b.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(b.stdout) // ends with the process
	_ = b.cmd.Wait()                // the exit code tells
	if code := b.cmd.ProcessState.ExitCode(); code != exitDone {
		t.Errorf("exit code %d after %v; log:\n%s", code, sig, b.stderr)
	}
	return string(rest)
}

// get asks the admin server.
func (b *runningBroker) get(t *testing.T, path string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+b.ready["admin"]+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestABrokerSaysOnceThatItServesAndEndsWellOnASignal(t *testing.T) {
	dir := t.TempDir()
	first := startBroker(t, dir)
	if rest := first.stop(t, syscall.SIGTERM); rest != "" {
		t.Errorf("stdout goes on: %q", rest)
	}
	if first.ready["data"] != dir {
		t.Errorf("data is %s, want %s", first.ready["data"], dir)
	}
	second := startBroker(t, dir)
	if second.ready["cluster_id"] != first.ready["cluster_id"] || second.ready["broker_id"] != first.ready["broker_id"] {
		t.Errorf("the second start is another broker:\n%s%s", first.line, second.line)
	}
	second.stop(t, os.Interrupt.(syscall.Signal))
}

func TestTheAdminPortTellsThatTheBrokerServes(t *testing.T) {
	broker := startBroker(t, t.TempDir())
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "ready", "/metrics": "go_goroutines", "/": broker.ready["cluster_id"], "/debug/pprof/": "heap",
	} {
		if status, body := broker.get(t, path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d without %q", path, status, want)
		}
	}
}

func TestABrokerThatCannotStartSaysWhyAndFails(t *testing.T) {
	dir := t.TempDir()
	broker := startBroker(t, dir, "--admin", "off")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"port taken":      {[]string{"--listen", broker.ready["kafka"], "--data", t.TempDir()}, broker.ready["kafka"]},
		"directory taken": {[]string{"--listen", "127.0.0.1:0", "--data", dir}, dir},
	} {
		t.Run(name, func(t *testing.T) {
			var errs, out bytes.Buffer
			cmd := troupe(t, append([]string{"broker", "--cluster", "127.0.0.1:0", "--admin", "off"}, c.args...)...)
			cmd.Stdout, cmd.Stderr = &out, &errs
			_ = cmd.Run() // the exit code tells
			if code := cmd.ProcessState.ExitCode(); code != exitFailed || out.Len() > 0 {
				t.Errorf("exit code %d, stdout %q", code, out.String())
			}
			last := errs.String()[strings.LastIndex(strings.TrimSpace(errs.String()), "\n")+1:]
			if !strings.HasPrefix(last, "troupe: ") || !strings.Contains(last, c.want) {
				t.Errorf("last line of stderr is %q", last)
			}
		})
	}
}

func TestKeysOfKafkaWithoutEffectAreToldOnce(t *testing.T) {
	broker := startBroker(t, t.TempDir(), "--set", "num.network.threads=3", "--set", "zookeeper.connect=x")
	broker.stop(t, syscall.SIGTERM)
	if n := strings.Count(broker.stderr.String(), "num.network.threads zookeeper.connect"); n != 1 {
		t.Errorf("told %d times:\n%s", n, broker.stderr)
	}
}
