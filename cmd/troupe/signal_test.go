package main

import (
	"bufio"
	"bytes"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startClient starts a command line as a process with pipes for stdin and stdout.
func startClient(t *testing.T, args ...string) (cmd *exec.Cmd, stdin io.Writer, stdout *bufio.Reader, stderr *bytes.Buffer) {
	t.Helper()
	cmd, stderr = troupe(t, args...), new(bytes.Buffer)
	cmd.Stderr = stderr
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
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd, in, bufio.NewReader(out), stderr
}

func send(t *testing.T, stdin io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(stdin, text); err != nil {
		t.Fatal(err)
	}
}

func TestAnInterruptedProducerSaysWhatWasAcknowledged(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	must(t, "", "topic", "create", "tail", bootstrap)
	cmd, stdin, _, stderr := startClient(t, "produce", "tail", bootstrap)
	send(t, stdin, "a\nb\n")
	must(t, "", "consume", "tail", "--from-beginning", "--max-messages=2", bootstrap) // they are there
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the exit code tells
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || stderr.String() != "2 records acknowledged\ntroupe: interrupted before the end of the input\n" {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

func TestAConsumerRunsUntilInterruptedAndEndsWell(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	must(t, "first\n", "produce", "tail", bootstrap)
	cmd, _, stdout, stderr := startClient(t, "consume", "tail", "--from-beginning", bootstrap)
	for _, want := range []string{"first\n", "second\n"} { // each comes at once, no buffer holds it back
		if line, err := stdout.ReadString('\n'); err != nil || line != want {
			t.Fatalf("got %q, %v; want %q", line, err, want)
		}
		if want == "first\n" {
			must(t, "second\n", "produce", "tail", bootstrap)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the exit code tells
	if code := cmd.ProcessState.ExitCode(); code != exitDone || stderr.Len() > 0 {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

func TestASecondSignalEndsAtOnceWhatStillWaits(t *testing.T) {
	broker := startBroker(t, t.TempDir())
	bootstrap := "--bootstrap=" + broker.ready["kafka"]
	must(t, "", "topic", "create", "stuck", bootstrap)
	cmd, stdin, _, _ := startClient(t, "produce", "stuck", bootstrap)
	send(t, stdin, "a\n")
	must(t, "", "consume", "stuck", "--from-beginning", "--max-messages=1", bootstrap) // the producer is at work
	if err := broker.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = broker.cmd.Process.Signal(syscall.SIGCONT) }()
	// More than the pipe and the reader's buffer hold, and less than the producer's: when it is
	// written, lines of it have been handed to the producer, which cannot have them acknowledged.
	send(t, stdin, strings.Repeat(strings.Repeat("b", 1023)+"\n", 2*readBytes/1024))

	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for waiting := true; waiting; {
		_ = cmd.Process.Signal(syscall.SIGINT)
		select {
		case <-ended:
			waiting = false
		case <-again.C:
		}
	}
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGINT {
		t.Errorf("ended with %v, want the second signal", cmd.ProcessState)
	}
}

func TestTheBootstrapMayComeFromTheEnvironment(t *testing.T) {
	broker := startBroker(t, t.TempDir())
	t.Setenv("TROUPE_BOOTSTRAP", strings.Replace(broker.ready["kafka"], "127.0.0.1", "localhost", 1)+", "+broker.ready["kafka"])
	must(t, "a\n", "produce", "env")
	if got := must(t, "", "consume", "env", "--from-beginning", "--exit-at-end"); got != "a\n" {
		t.Errorf("got %q", got)
	}
}
