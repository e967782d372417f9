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
	log    *os.File // nil without one
	ended  chan struct{}
	err    error // of Wait; read it after ended is closed
}

// Command is how a broker is started.
type Command struct {
	Binary      string
	Args        []string
	Environment []string // besides ours, of which nothing is inherited that configures a broker
	Inside      []string // a command that becomes the broker, such as ip netns exec NAME
	LogFile     string   // a file that standard error is added to; "" for none
}

// StartProcess runs a broker and returns once it says that it serves.
func StartProcess(ctx context.Context, binary string, args ...string) (*Process, error) {
	return Command{Binary: binary, Args: args}.Start(ctx)
}

// Start runs the broker and returns once it says that it serves.
func (c Command) Start(ctx context.Context) (*Process, error) {
	line := slices.Concat(c.Inside, []string{c.Binary}, c.Args)
	p := &Process{cmd: exec.Command(line[0], line[1:]...), stderr: &tail{}, ended: make(chan struct{})}
	p.cmd.Stderr = p.stderr
	if c.LogFile != "" {
		file, err := os.OpenFile(c.LogFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return nil, err
		}
		p.log = file
		p.cmd.Stderr = io.MultiWriter(p.stderr, file)
	}
	p.cmd.Env = append(withoutTroupe(os.Environ()), c.Environment...)
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Process) start(ctx context.Context) error {
	// The broker dies with us, also when we are killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.begun = time.Now()
	if err := p.cmd.Start(); err != nil {
		p.closeLog()
		return err
	}
	line := make(chan string, 1)
	go func() {
		defer close(p.ended)
		out := bufio.NewReader(stdout)
		first, _ := out.ReadString('\n') // an end without a line is an empty line
		line <- first
		_, _ = io.Copy(io.Discard, out) // nothing else is expected there
		p.err = p.cmd.Wait()
		p.closeLog()
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
		return fmt.Errorf("start %s: %w\n%s", filepath.Base(p.cmd.Path), err, p.stderr)
	}
	return nil
}

func (p *Process) closeLog() {
	if p.log != nil {
		_ = p.log.Close() // what it holds is for people
	}
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

// Pause stops the process where it is: SIGSTOP. Its connections stay open, and nobody answers on
// them. It returns once all its threads stand still.
func (p *Process) Pause() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	for deadline := time.Now().Add(time.Second); !p.Paused(); {
		if time.Now().After(deadline) {
			return errors.New("pause: the process goes on after SIGSTOP")
		}
		time.Sleep(time.Millisecond) // the kernel gives nothing to wait for
	}
	return nil
}

// Paused says that the process stands still.
func (p *Process) Paused() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return false
	}
	// pid (name) state ..., where the name may hold anything
	_, rest, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " ")
	return strings.HasPrefix(rest, "T")
}

// Resume lets a paused process go on: SIGCONT.
func (p *Process) Resume() error {
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	return nil
}

// Alive says that the process has not ended.
func (p *Process) Alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
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
