package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

// groupsFlags are the flags of the groups scenario.
type groupsFlags struct {
	figureFlags
	members    int
	classic    int
	rounds     int
	idle       int
	offsets    int
	clients    int
	committers int
	watch      time.Duration
}

// figures are what the groups scenario measures.
func (f *groupsFlags) figures() []costFigure {
	return []costFigure{
		{"consumer", f.measureConsumer},
		{"classic", f.measureClassic},
		{"idle", f.measureIdleGroups},
		{"commits-1", func(ctx context.Context, b *costBench) ([]costRow, error) { return f.measureCommits(ctx, b, 1) }},
		{"commits-3", func(ctx context.Context, b *costBench) ([]costRow, error) { return f.measureCommits(ctx, b, 3) }},
		{"load", f.measureLoading},
		{"lag", f.measureLag},
	}
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
	f.register(set)
	set.IntVar(&f.members, "members", f.members, "members of the group of KIP-848")
	set.IntVar(&f.classic, "classic", f.classic, "members of the classic group")
	set.IntVar(&f.rounds, "rounds", f.rounds, "rebalances of the classic group")
	set.IntVar(&f.idle, "idle", f.idle, "groups that nobody is in")
	set.IntVar(&f.offsets, "offsets", f.offsets, "offsets that are loaded")
	set.IntVar(&f.clients, "clients", f.clients, "connections that requests share")
	set.IntVar(&f.committers, "committers", f.committers, "connections that commit")
	set.DurationVar(&f.watch, "watch", f.watch, "how long to measure what goes on for a while")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.take(cmd, f.figures()) }
	return cmd
}
