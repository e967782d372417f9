package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// missing skips the test, since a client is not installed; it fails where all are required.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	reason := fmt.Sprintf(format, args...) + "; \".ci/run clients\" installs it"
	if os.Getenv("TROUPE_CLIENTS") == "require" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// driver is a client in a process of its own.
type driver struct {
	mu     sync.Mutex // one request at a time
	in     io.Writer
	out    *bufio.Scanner
	stderr *strings.Builder
	kill   func()
}

const (
	helloLimit  = 60 * time.Second
	answerLimit = 60 * time.Second
)

// openDriver starts a driver, which ends with the test.
func openDriver(t *testing.T, cmd *exec.Cmd) client {
	t.Helper()
	d := &driver{stderr: &strings.Builder{}}
	cmd.Stderr = d.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.in, d.out = in, bufio.NewScanner(out)
	d.out.Buffer(nil, 64<<20)
	d.kill = sync.OnceFunc(func() {
		in.Close()
		_ = cmd.Process.Kill() // it may have ended with its input
		_ = cmd.Wait()         // killed, so its status says nothing
	})
	t.Cleanup(d.kill)
	hello, err := d.line(t.Context(), helloLimit)
	if err != nil {
		d.kill()
		t.Fatalf("%s said no hello: %v\n%s", cmd.Path, err, d.stderr)
	}
	t.Logf("%s", hello)
	return d
}

// die ends the client without a word to anybody.
func (d *driver) die() { d.kill() }

func (d *driver) do(ctx context.Context, r request) (answer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	line, err := json.Marshal(r)
	if err != nil {
		return answer{}, err
	}
	if _, err := d.in.Write(append(line, '\n')); err != nil {
		return answer{}, fmt.Errorf("%s: %w\n%s", r.Op, err, d.stderr)
	}
	reply, err := d.line(ctx, answerLimit)
	if err != nil {
		d.kill() // what it says next would be taken for another answer
		return answer{}, fmt.Errorf("%s: %w\n%s", r.Op, err, d.stderr)
	}
	var a answer
	if err := json.Unmarshal(reply, &a); err != nil {
		return answer{}, fmt.Errorf("%s: %w in %q", r.Op, err, reply)
	}
	if a.Error != "" {
		return a, fmt.Errorf("%s: %s", r.Op, a.Error)
	}
	return a, nil
}

func (d *driver) line(ctx context.Context, limit time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	read := make(chan error, 1)
	go func() {
		if !d.out.Scan() {
			read <- errors.Join(io.ErrUnexpectedEOF, d.out.Err())
			return
		}
		read <- nil
	}()
	select {
	case err := <-read:
		return d.out.Bytes(), err
	case <-ctx.Done():
		d.kill()
		return nil, errors.Join(ctx.Err(), <-read)
	}
}

// goDrivers builds the module of foreign Go clients, once for all tests. It returns what the build said.
var goDrivers = sync.OnceValues(func() ([]byte, error) {
	build := exec.Command("go", "build", "-o", work+"/", "./...")
	build.Dir = "gomod"
	// A test downloads nothing.
	build.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=readonly", "GOWORK=off")
	return build.CombinedOutput()
})

// openGo starts the driver of one foreign Go client.
func openGo(name string) func(*testing.T, string) client {
	return func(t *testing.T, bootstrap string) client {
		t.Helper()
		if out, err := goDrivers(); err != nil {
			if strings.Contains(string(out), "GOPROXY") {
				missing(t, "the modules of %s are not there", name)
			}
			t.Fatalf("build the driver of %s: %v\n%s", name, err, out)
		}
		return openDriver(t, exec.Command(filepath.Join(work, strings.ReplaceAll(name, "-", "")), bootstrap))
	}
}

func openPython(name string) func(*testing.T, string) client {
	return func(t *testing.T, bootstrap string) client {
		t.Helper()
		python, err := filepath.Abs("../../.ci/cache/venv/bin/python")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(python); err != nil {
			missing(t, "there is no Python environment with %s", name)
		}
		return openDriver(t, exec.Command(python, filepath.Join("python", name+"_driver.py"), bootstrap))
	}
}

func openKafkaJS(t *testing.T, bootstrap string) client {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "there is no node")
	}
	if _, err := os.Stat("kafkajs/node_modules/kafkajs"); err != nil {
		missing(t, "kafkajs is not there (npm ci in bench/clients/kafkajs)")
	}
	cmd := exec.Command(node, "driver.js", bootstrap)
	cmd.Dir = "kafkajs"
	return openDriver(t, cmd)
}
