package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"github.com/spf13/cobra"
)

// groupsFlags are the flags of the groups scenario.
type groupsFlags struct {
	target     targetFlags
	only       string
	members    int
	classic    int
	rounds     int
	idle       int
	offsets    int
	clients    int
	committers int
	watch      time.Duration
}

// figures are what the groups scenario measures, each on a new cluster.
func (f *groupsFlags) figures() []groupFigure {
	return []groupFigure{
		{"consumer", f.measureConsumer},
		{"classic", f.measureClassic},
		{"idle", f.measureIdleGroups},
		{"commits-1", func(ctx context.Context, b *costBench) ([]costRow, error) { return f.measureCommits(ctx, b, 1) }},
		{"commits-3", func(ctx context.Context, b *costBench) ([]costRow, error) { return f.measureCommits(ctx, b, 3) }},
		{"load", f.measureLoading},
		{"lag", f.measureLag},
	}
}

// groupFigure is one measurement, by the name that --only knows.
type groupFigure struct {
	name    string
	measure func(ctx context.Context, b *costBench) ([]costRow, error)
}

func groupsCommand() *cobra.Command {
	f := groupsFlags{
		members: 1000, classic: 100, rounds: 20, idle: 10_000, offsets: 1_000_000, clients: 8, committers: 128, watch: 20 * time.Second,
	}
	cmd := &cobra.Command{
		Use:   "groups",
		Short: "What consumer groups cost",
		Long: `Each figure is taken on a new cluster on this machine, so brokers and clients share its cores:
  consumer   members of a group of KIP-848 come all at once: until each has its partition; what they cost then
  classic    rebalances of a classic group, from the first JoinGroup to the last assignment
  idle       goroutines and memory of groups that nobody is in
  commits-1  OffsetCommit requests to one coordinator, with one replica of the offsets topic, each fsynced
  commits-3  likewise, with three
  load       until a broker that was restarted answers for a partition of the offsets topic with many offsets
  lag        what troupe group describe says of the lag in seconds, against the times of the records`,
		Example: "  go run ./bench/load groups\n  go run ./bench/load groups --only 'commits|load'",
		Args:    cobra.NoArgs,
	}
	set := cmd.Flags()
	set.StringVar(&f.target.binary, "binary", "", "troupe binary to start (default: built from this module)")
	set.StringVar(&f.only, "only", "", "only figures whose name matches this regular expression")
	set.IntVar(&f.members, "members", f.members, "members of the group of KIP-848")
	set.IntVar(&f.classic, "classic", f.classic, "members of the classic group")
	set.IntVar(&f.rounds, "rounds", f.rounds, "rebalances of the classic group")
	set.IntVar(&f.idle, "idle", f.idle, "groups that nobody is in")
	set.IntVar(&f.offsets, "offsets", f.offsets, "offsets that are loaded")
	set.IntVar(&f.clients, "clients", f.clients, "connections that requests share")
	set.IntVar(&f.committers, "committers", f.committers, "connections that commit")
	set.DurationVar(&f.watch, "watch", f.watch, "how long to measure what goes on for a while")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		rows, err := f.run(cmd.Context(), cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		return report(cmd, rows, func(w io.Writer) { writeCosts(w, rows) })
	}
	return cmd
}

func (f *groupsFlags) run(ctx context.Context, progress io.Writer) ([]costRow, error) {
	only, err := regexp.Compile(f.only)
	if err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp("", "load-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work) //nolint:errcheck // a temporary directory
	b := &costBench{work: work}
	if b.binary, err = f.target.troupe(ctx, work); err != nil {
		return nil, err
	}
	var rows []costRow
	for _, one := range f.figures() {
		if !only.MatchString(one.name) {
			continue
		}
		fmt.Fprintln(progress, one.name)
		found, err := one.measure(ctx, b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.name, err)
		}
		rows = append(rows, found...)
	}
	return rows, nil
}
