package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// TestMain lets the test binary be troupe: started with asTroupe set it runs the command line
// that it was given, so that tests see real exit codes, signals and pipes.
func TestMain(m *testing.M) {
	if os.Getenv(asTroupe) != "" {
		os.Exit(run(os.Args[1:], terminal()))
	}
	os.Exit(m.Run())
}

const asTroupe = "TEST_AS_TROUPE"

// troupe returns a command that runs troupe as a process of its own.
func troupe(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The context of a test ends before its cleanup, which stops brokers well.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), self, args...)
	cmd.Env = []string{asTroupe + "=1", "GORACE=atexit_sleep_ms=0", "HOME=" + os.Getenv("HOME"), "PATH=" + os.Getenv("PATH")}
	cmd.Dir = t.TempDir()
	return cmd
}

// result is how a command line ended.
type result struct {
	code     int
	out, err string
}

// inProcess runs a command line within the test.
func inProcess(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(args, streams{in: strings.NewReader(stdin), out: &out, err: &errs, now: time.Now})
	return result{code, out.String(), errs.String()}
}

func TestExitCodesTellUsageFromFailure(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		err  string // within the one line on stderr
	}{
		{[]string{"version"}, exitDone, ""},
		{[]string{"--help"}, exitDone, ""},
		{nil, exitDone, ""},
		{[]string{"topik"}, exitUsage, "did you mean troupe topic?"},
		{[]string{"xyzzy"}, exitUsage, "only: broker"},
		{[]string{"topic"}, exitUsage, "needs one more word: alter, create"},
		{[]string{"topic", "create"}, exitUsage, "troupe topic create --help"},
		{[]string{"topic", "creat", "x"}, exitUsage, "did you mean troupe topic create?"},
		{[]string{"version", "--nope"}, exitUsage, "there is no flag --nope; see troupe version --help"},
		{[]string{"version", "extra"}, exitUsage, `"extra" is one argument too many`},
		{[]string{"topic", "list", "extra"}, exitUsage, `"extra" is one argument too many`},
		{[]string{"--version"}, exitDone, ""},
		{[]string{"foo"}, exitUsage, "there is no troupe foo, only: broker"},
		{[]string{"foo", "--help"}, exitUsage, "there is no troupe foo, only: broker"},
		{[]string{"topic", "creat", "--help"}, exitUsage, "did you mean troupe topic create?"},
		{[]string{"help", "topic", "creat"}, exitUsage, "did you mean troupe topic create?"},
		{[]string{"completion"}, exitUsage, "SHELL is missing"},
		{[]string{"topic", "create", "x", "--partitions", "abc"}, exitUsage, "--partitions abc: write a whole number; see"},
		{[]string{"topic", "create", "x", "--partitions", "99999999999"}, exitUsage, "too large for 32 bits"},
		{[]string{"topic", "create", "x", "--partition", "3"}, exitUsage, "there is no flag --partition; did you mean --partitions?"},
		{[]string{"topic", "list", "--json=maybe"}, exitUsage, "--json maybe: write true or false"},
		{[]string{"produce", "x", "--acks"}, exitUsage, "--acks needs a value"},
		{[]string{"consume", "x", "-q"}, exitUsage, "there is no flag -q"},
		{[]string{"broker", "--listen", "nowhere"}, exitUsage, "--listen: "},
		{[]string{"broker", "--set", "num.partition=3"}, exitUsage, "num.partitions"},
		{[]string{"broker", "--set", "x"}, exitUsage, "key=value"},
		{[]string{"broker", "--log-level", "loud"}, exitUsage, "debug, info, warn or error"},
		{[]string{"broker", "--config", "/nonexistent"}, exitUsage, "/nonexistent"},
		{[]string{"topic", "list", "--bootstrap", "127.0.0.1:1"}, exitFailed, "no broker at 127.0.0.1:1: connect: connection refused"},
		{[]string{"topic", "list", "--bootstrap", ","}, exitUsage, "--bootstrap"},
		{[]string{"log", "verify", "/nonexistent"}, exitFailed, "/nonexistent"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			var errs bytes.Buffer
			cmd := troupe(t, c.args...)
			cmd.Stderr = &errs
			_ = cmd.Run() // the exit code tells
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("exit code %d, want %d; stderr: %s", code, c.code, errs.String())
			}
			if c.err == "" && errs.Len() > 0 {
				t.Errorf("stderr is not empty: %s", errs.String())
			}
			if c.err != "" && (!strings.Contains(errs.String(), c.err) || strings.Count(errs.String(), "\n") != 1 || !strings.HasPrefix(errs.String(), "troupe: ")) {
				t.Errorf("stderr is %q, want one line with %q", errs.String(), c.err)
			}
		})
	}
}

func TestEveryHelpTextHasAnExample(t *testing.T) {
	var paths [][]string
	walk(newRoot(streams{}), func(cmd *cobra.Command) {
		if cmd.IsAvailableCommand() || !cmd.HasParent() {
			paths = append(paths, strings.Fields(cmd.CommandPath())[1:])
		}
	})
	if len(paths) < 15 {
		t.Fatalf("only %d commands", len(paths))
	}
	for _, path := range paths {
		got := inProcess(t, "", append(path, "--help")...)
		if got.code != exitDone || !strings.Contains(got.out, "Example") || !strings.Contains(got.out, "  troupe ") {
			t.Errorf("the help of %q has no example:\n%s", path, got.out)
		}
		for _, line := range strings.Split(got.out, "\n") {
			if len([]rune(line)) > 120 {
				t.Errorf("the help of %q has a line of %d characters: %s", path, len(line), line)
			}
		}
	}
}

func TestCompletionIsThereForEveryShell(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if got := inProcess(t, "", "completion", shell); got.code != exitDone || !strings.Contains(got.out, "troupe") {
			t.Errorf("%s: exit code %d, %d bytes", shell, got.code, len(got.out))
		}
	}
	if got := inProcess(t, "", "completion", "tcsh"); got.code != exitUsage {
		t.Errorf("tcsh: exit code %d, want %d", got.code, exitUsage)
	}
}

func TestTabCompletesTopicsAndTheValuesOfFlags(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	for _, topic := range []string{"orders", "orders-old", "clicks"} {
		must(t, "", "topic", "create", topic, bootstrap)
	}
	must(t, "", "topic", "alter", "orders", "--config=retention.ms=1", bootstrap)
	must(t, "", "group", "reset", "orders", "--topic=orders", "--to-earliest", "--yes", bootstrap)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"produce", bootstrap, "or"}, "orders\norders-old\n"},
		{[]string{"consume", bootstrap, ""}, "clicks\norders\norders-old\n"},
		{[]string{"consume", bootstrap, "orders", ""}, ""},
		{[]string{"topic", "delete", bootstrap, "orders", "o"}, "orders-old\n"},
		{[]string{"produce", "--acks", ""}, "all\n1\n0\n"},
		{[]string{"group", "list", "--state", "Stable,Em"}, "Stable,Empty\nStable,Assigning\nStable,Reconciling\nStable,PreparingRebalance\nStable,CompletingRebalance\nStable,Dead\n"},
		{[]string{"topic", "create", bootstrap, "new", "--config", "cle"}, "cleanup.policy=\n"},
		{[]string{"topic", "alter", bootstrap, "orders", "--config", "retention.m"}, "retention.ms=\n"},
		{[]string{"topic", "alter", bootstrap, "orders", "--delete-config", ""}, "retention.ms\n"},
		{[]string{"topic", "alter", bootstrap, "clicks", "--delete-config", ""}, ""},
		{[]string{"consume", bootstrap, "orders", "--group", ""}, "orders\n"},
		{[]string{"group", "delete", bootstrap, "orders", "--topic", "cl"}, "clicks\n"},
		{[]string{"consume", "--bootstrap=127.0.0.1:1", ""}, ""},
	} {
		got := inProcess(t, "", append([]string{cobra.ShellCompNoDescRequestCmd}, c.args...)...)
		completions, _, found := strings.Cut(got.out, ":")
		if !found || completions != c.want {
			t.Errorf("%q completes to %q, want %q", c.args, completions, c.want)
		}
	}
}

func TestTabShowsFlagsAsTheirHelpDoes(t *testing.T) {
	got := inProcess(t, "", cobra.ShellCompRequestCmd, "group", "reset", "g", "--")
	if !strings.Contains(got.out, "--to-offset\tto an offset\n") || !strings.Contains(got.out, "--bootstrap\taddresses of") || strings.Contains(got.out, "`") {
		t.Errorf("the flags are\n%s", got.out)
	}
}

func TestVersionSaysTheSameToPeopleAndPrograms(t *testing.T) {
	var build buildInfo
	if err := json.Unmarshal([]byte(inProcess(t, "", "version", "--json").out), &build); err != nil {
		t.Fatal(err)
	}
	people := inProcess(t, "", "version").out
	if flag := inProcess(t, "", "--version").out; flag != people {
		t.Errorf("--version says %q, version %q", flag, people)
	}
	for _, want := range []string{build.Version, build.Commit, build.Go, build.Platform} {
		if !strings.Contains(people, want) {
			t.Errorf("%q is not in\n%s", want, people)
		}
	}
}

func TestATableAlignsWordsLeftAndNumbersRight(t *testing.T) {
	var out bytes.Buffer
	err := writeTable(&out, []string{"NAME", "N", "NOTE"}, [][]string{{"a", "+1", ""}, {"größer", "-100", "x"}})
	want := "NAME       N  NOTE\na         +1\ngrößer  -100  x\n"
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out.String(), want)
	}
}
