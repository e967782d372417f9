// Package testbed starts whole brokers for measurements and for tests with foreign clients: the
// real binary in a process of its own, which can be killed as a machine would lose it.
//
// It knows of a broker only what any script may know: the flags, the line "ready k=v ..." on
// standard output, and the signals. So the same code starts Troupe and the floor broker.
package testbed

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// How long a broker may take to serve, and to end after SIGTERM.
const (
	startLimit = 60 * time.Second
	stopLimit  = 10 * time.Second
)

const module = "github.com/troupe-mq/troupe"

// Build compiles a command of this module, such as "cmd/troupe", into dir and returns the binary.
func Build(ctx context.Context, dir, command string) (string, error) {
	binary := filepath.Join(dir, path.Base(command))
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, module+"/"+command)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", command, err, out)
	}
	return binary, nil
}

// ListenArg is where BrokerArgs has the address for clients.
const ListenArg = 4

// BrokerArgs are the arguments of the troupe command that run a broker on data, with free ports
// of the loopback interface, and with extra flags.
func BrokerArgs(data string, extra ...string) []string {
	const anyPort = "127.0.0.1:0"
	return append([]string{"broker", "--data", data, "--listen", anyPort, "--cluster", anyPort, "--admin", anyPort}, extra...)
}

// Process is a running broker.
type Process struct {
	cmd    *exec.Cmd
	ready  map[string]string
	begun  time.Time
	stderr *tail
	ended  chan struct{}
	err    error // of Wait; read it after ended is closed
}

// Start runs a broker and returns once it says that it serves.
func Start(ctx context.Context, binary string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(binary, args...), stderr: &tail{}, ended: make(chan struct{})}
	p.cmd.Stderr = p.stderr
	p.cmd.Env = withoutTroupe(os.Environ())
	// The broker dies with us, also when we are killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.begun = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line := make(chan string, 1)
	go func() {
		defer close(p.ended)
		out := bufio.NewReader(stdout)
		first, _ := out.ReadString('\n') // an end without a line is an empty line
		line <- first
		_, _ = io.Copy(io.Discard, out) // nothing else is expected there
		p.err = p.cmd.Wait()
	}()
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	select {
	case first := <-line:
		p.ready, err = parseReady(first)
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		p.Kill()
		return nil, fmt.Errorf("start %s: %w\n%s", filepath.Base(binary), err, p.stderr)
	}
	return p, nil
}

// withoutTroupe leaves out what would configure a broker: ours is configured by its arguments.
func withoutTroupe(environment []string) []string {
	return slices.DeleteFunc(environment, func(v string) bool { return strings.HasPrefix(v, "TROUPE_") })
}

// parseReady reads the line "ready kafka=127.0.0.1:9092 data=/tmp/d".
func parseReady(line string) (map[string]string, error) {
	fields := strings.Fields(line)
	if len(fields) == 0 || fields[0] != "ready" {
		return nil, fmt.Errorf("the broker said %q instead of ready", strings.TrimSpace(line))
	}
	values := map[string]string{}
	for _, field := range fields[1:] {
		key, value, ok := strings.Cut(field, "=")
		if !ok {
			return nil, fmt.Errorf("the ready line holds %q, which is no key=value", field)
		}
		values[key] = value
	}
	if values["kafka"] == "" {
		return nil, fmt.Errorf("the ready line has no kafka address: %q", line)
	}
	return values, nil
}

// Kafka is the address that clients connect to.
func (p *Process) Kafka() string { return p.ready["kafka"] }

// Ready returns another value of the ready line, "" when it is not there.
func (p *Process) Ready(key string) string { return p.ready[key] }

// Begun is when the process was started.
func (p *Process) Begun() time.Time { return p.begun }

// PID is the id of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log is the end of what the broker wrote to standard error.
func (p *Process) Log() string { return p.stderr.String() }

// Ended is closed when the process is gone.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Kill ends the process as a lost machine would: SIGKILL. It returns when the process is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it is gone already, or soon
	<-p.ended
}

// Stop ends the process as an operator would: SIGTERM. It is an error if it does not end in time
// or with status 0.
func (p *Process) Stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timer := time.NewTimer(stopLimit)
	defer timer.Stop()
	select {
	case <-p.ended:
		if p.err != nil {
			return fmt.Errorf("stop: %w\n%s", p.err, p.stderr)
		}
		return nil
	case <-timer.C:
		p.Kill()
		return fmt.Errorf("the broker did not end within %s of SIGTERM\n%s", stopLimit, p.stderr)
	}
}

// tail keeps the last bytes of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailBytes = 16 << 10

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if len(t.buf) > 2*tailBytes {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-tailBytes:]...)
	}
	return len(b), nil
}

// String returns whole lines.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.buf
	if len(b) > tailBytes {
		b = b[len(b)-tailBytes:]
		if _, after, ok := bytes.Cut(b, []byte("\n")); ok {
			b = after
		}
	}
	return string(b)
}
