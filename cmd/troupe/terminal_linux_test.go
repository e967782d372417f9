package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns the two ends of a terminal: a person's, who types and reads, and a program's.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return person, program
}

// sees reads what a person sees until want is there.
func sees(t *testing.T, person *os.File, want string) {
	t.Helper()
	var text strings.Builder
	for some := make([]byte, 4096); !strings.Contains(text.String(), want); {
		n, err := person.Read(some)
		if err != nil {
			t.Fatalf("%v after %q, without %q", err, text.String(), want)
		}
		text.Write(some[:n])
	}
}

func TestAPersonAtATerminalIsAskedAndAScriptIsNot(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	for _, c := range []struct {
		args     []string // what is done, and may be said no to
		question string
		script   int // its exit code without a terminal and without --yes
	}{
		{[]string{"topic", "delete", "doomed"}, "Topics with all their records are going to be deleted for good: doomed.", exitDone},
		{[]string{"group", "delete", "doomed"}, "Groups and all that they have committed are going to be deleted for good: doomed.", exitDone},
		{[]string{"group", "delete", "doomed", "--offsets", "--topic=kept"}, "What these groups have committed of kept is going to be deleted for good: doomed.", exitDone},
		{[]string{"group", "reset", "doomed", "--topic=kept", "--to-earliest"}, "Group doomed is going to go on at these offsets.", exitUsage},
	} {
		args := append(c.args, bootstrap)
		prepare := func() {
			for _, topic := range []string{"doomed", "kept"} {
				must(t, "", "topic", "create", topic, "--if-not-exists", bootstrap)
			}
			must(t, "", "group", "reset", "doomed", "--topic=kept", "--to-latest", "--yes", bootstrap)
		}
		for answer, code := range map[string]int{"y\n": exitDone, "\n": exitFailed, "\x04": exitFailed} { // the last ends the input
			prepare()
			person, program := openTerminal(t)
			var out bytes.Buffer
			cmd := troupe(t, args...)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = program, &out, program
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			sees(t, person, c.question+" Go on? [y/N] ")
			if _, err := person.WriteString(answer); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // the exit code tells
			if got := cmd.ProcessState.ExitCode(); got != code {
				t.Errorf("%q, answered %q: exit code %d, want %d", c.args, answer, got, code)
			}
			if c.script == exitDone && (out.Len() > 0) != (code == exitDone) {
				t.Errorf("%q, answered %q, wrote %q", c.args, answer, out.String())
			}
		}
		prepare()
		if got := inProcess(t, "y\n", args...); got.code != c.script || c.script == exitUsage && (got.out != "" || strings.Contains(got.err, "?") || !strings.Contains(got.err, "say --yes")) {
			t.Errorf("a script's %q: exit code %d, %q, %q", c.args, got.code, got.out, got.err)
		}
		prepare()
		must(t, "", append(args, "--yes")...)
	}
}

func TestWhoIsAskedMayInterrupt(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	must(t, "", "topic", "create", "kept", bootstrap)
	person, program := openTerminal(t)
	cmd := troupe(t, "topic", "delete", "kept", bootstrap)
	cmd.Stdin, cmd.Stderr = program, program
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sees(t, person, "[y/N] ")
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the exit code tells
	if code := cmd.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	sees(t, person, "\r\ntroupe: interrupted\r\n")
	describe(t, "kept", bootstrap)
}
