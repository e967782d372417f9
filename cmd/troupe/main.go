// Command troupe is the broker and everything one does with it from a shell: noun, verb, object.
//
//	main.go        the root command, exit codes, signals
//	broker.go      troupe broker: flags and signals around cmd/node
//	cluster.go     troupe cluster describe|health; cluster_remove.go, remove-broker;
//	               cluster_recover.go, recover: on directories, without a broker
//	topic.go       troupe topic create|list|describe|alter|delete; describe.go asks the cluster
//	topic_elect.go troupe topic elect-leaders; topic_reassign.go, reassign, as reassign_plan.go says
//	produce.go     troupe produce: lines in (lines.go), records out
//	consume.go     troupe consume: records in from where start.go says, text out as format.go says
//	group.go       troupe group list; group_describe.go, describe; group_delete.go, delete;
//	               group_remove.go, remove-member; group_reset.go, reset, as group_reset_plan.go
//	               says and group_offsets.go reads files; group_topics.go, --topic;
//	               group_history.go, history
//	log.go         troupe log dump|verify: segment files, without a broker; survey.go, what there is
//	chaos.go       troupe chaos: a cluster is broken on purpose
//	version.go     troupe version
//	completion.go  troupe completion, and what Tab offers
//	connect.go     the way to a cluster, and what to do when something is wrong there
//	usage.go       what is said to whoever typed a command line that is none
//	output.go      tables for people, JSON for programs; progress.go for whoever waits,
//	               trouble.go for whoever waits in vain, confirm.go for whoever must say yes
//
// Results go to stdout, everything else to stderr. An error is one line that says what to do next.
// The exit codes are 0 done, 1 failed, 2 used wrongly; chaos has 3 besides, for a run that says
// nothing. Begin with run.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitUnknown = 3
)

func main() {
	os.Exit(run(os.Args[1:], terminal()))
}

// streams are what a command sees of the world, so that a test can stand in for it.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
	now func() time.Time
}

// terminal returns the streams of the process.
func terminal() streams {
	return streams{in: os.Stdin, out: os.Stdout, err: os.Stderr, now: time.Now} //nolint:forbidigo // the command line's clock
}

// run executes one command line and returns its exit code.
func run(args []string, std streams) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The second signal ends the process at once, because the first gave the signals back.
	context.AfterFunc(ctx, stop)

	root := newRoot(std)
	root.SetArgs(args)
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		withoutBackticks(root)
	}
	// Who asks for the help of a command that there is not is told so, not shown another's.
	var misused error
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if words := cmd.Flags().Args(); cmd.HasSubCommands() && len(words) > 0 && cmd.Name() != "help" {
			misused = nounAlone(cmd, words)
			return
		}
		help(cmd, args)
	})
	err := cmp.Or(root.ExecuteContext(ctx), misused)
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errQuiet), errors.Is(err, syscall.EPIPE): // head has read enough: no complaint
		return exitFailed
	}
	for line := range strings.SplitSeq(strings.TrimSpace(plainWords.Replace(err.Error())), "\n") {
		fmt.Fprintf(std.err, "troupe: %s\n", printable(line))
	}
	var usage *usageError
	var code *codeError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &code):
		return code.exit
	}
	return exitFailed
}

// plainWords says in words what Go has names for, wherever a message comes from.
var plainWords = strings.NewReplacer(
	context.DeadlineExceeded.Error(), "no answer in time",
	context.Canceled.Error(), "interrupted",
)

// errQuiet ends a command as failed whose output already says what is wrong.
var errQuiet = errors.New("failed, as the output says")

// usageError is an error of whoever typed the command.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// codeError ends a command with an exit code of its own.
type codeError struct {
	exit int
	err  error
}

func (e *codeError) Error() string { return e.err.Error() }
func (e *codeError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// The groups of commands in the help of the root.
const (
	groupServe   = "serve"
	groupUse     = "use"
	groupInspect = "inspect"
)

func newRoot(std streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "troupe",
		Short: "A distributed log that Kafka clients can use",
		Long: `Troupe keeps records in partitioned, durable logs and serves them to Kafka clients.
It is one program: the broker, and the tools to use it from a shell.`,
		Example: `  troupe broker                                  # start a broker in ./troupe-data
  troupe topic create access-log --partitions 6
  troupe produce access-log < access.log
  troupe consume access-log --from-beginning`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.SetFlagErrorFunc(flagError)
	root.AddGroup(
		&cobra.Group{ID: groupServe, Title: "Serve:"},
		&cobra.Group{ID: groupUse, Title: "Use:"},
		&cobra.Group{ID: groupInspect, Title: "Look closer:"},
	)
	root.SetHelpCommandGroupID(groupInspect)
	version := newVersion()
	root.AddCommand(
		newBroker(os.Environ()), newCluster(std), newTopic(std), newProduce(std), newConsume(std), newGroup(std), newLog(), newChaos(std), newCompletion(), version,
	)
	var showVersion bool
	root.Flags().BoolVar(&showVersion, "version", false, "the same as troupe version")
	// A noun can run, to say that it needs a verb, but that is no usage to recommend.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1))
	root.CompletionOptions.DisableDefaultCmd = true
	root.InitDefaultHelpCmd()
	walk(root, func(cmd *cobra.Command) {
		if cmd.Name() == "help" {
			cmd.Example = "  troupe help topic create"
			cmd.Run, cmd.RunE = nil, helpFor
			return
		}
		if cmd.HasSubCommands() {
			cmd.Args, cmd.RunE = cobra.ArbitraryArgs, nounAlone
		}
		if !cmd.HasParent() {
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if showVersion && len(args) == 0 {
					return version.RunE(version, nil)
				}
				return nounAlone(cmd, args)
			}
		}
		if check := cmd.Args; check != nil {
			cmd.Args = func(cmd *cobra.Command, args []string) error {
				if err := check(cmd, args); err != nil {
					return usagef("%w; see %s --help", err, cmd.CommandPath())
				}
				return nil
			}
		}
	})
	return root
}

func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, child := range cmd.Commands() {
		walk(child, visit)
	}
}
