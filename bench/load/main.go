// Load measures a broker with real clients, and says how far to believe the figures.
//
//	go run ./bench/load SCENARIO [flags]
//
//	produce       as many records as the broker takes
//	consume       the records of a topic, as fast as they come
//	latency       an open loop at a fixed rate, counted from the intended send time
//	idle          what many idle partitions cost: memory, CPU, restart
//	start         from the start of the binary to an answered request
//	kill          kill -9 in the middle of a load; every acknowledged record must be there, in order, once
//	failover      a broker of three is killed, stopped or restarted under load: how long are its partitions silent
//	join          three brokers at once, or one after the other: one cluster, and how soon
//	cost          what a cluster costs as it grows: replicas, partitions, brokers, elections, catching up
//	groups        what consumer groups cost: rebalances, commits, loading, lag
//	mutants       does troupe chaos find the bugs that were planted
//	side-by-side  floor and Troupe in turn, as ratios, which is what the README quotes
//
// Without --bootstrap a scenario builds Troupe, starts it on a temporary directory with ports of
// its own, and removes both at the end. With --floor it is the floor broker instead.
//
//	main.go        commands and flags
//	scenario_*.go  one scenario each
//	target.go      the broker under load
//	driver.go      what a client library must do for a scenario; driver_kafka.go, driver_native.go do it
//	report.go      tables for people, one JSON document for programs
//
// How to compare fairly is in scenario_side_by_side.go.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use:           "load",
		Short:         "Measure a broker with real clients",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().Bool("json", false, "print one JSON document instead of a table")
	root.AddCommand(produceCommand(), consumeCommand(), latencyCommand(), idleCommand(),
		startCommand(), killCommand(), failoverCommand(), joinCommand(), costCommand(), groupsCommand(), mutantsCommand(), sideBySideCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		stop()
		os.Exit(1)
	}
}
