package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/bench/chaos"
	"github.com/troupe-mq/troupe/bench/history"
)

// mutantVariable names the seeded bug of a build that has some.
const mutantVariable = "TROUPE_MUTANT"

// chaosFlags are the flags of troupe chaos.
type chaosFlags struct {
	cfg    chaos.Config
	asJSON bool
	keep   bool
}

func newChaos(std streams) *cobra.Command {
	f := chaosFlags{cfg: chaos.DefaultConfig()}
	cmd := &cobra.Command{
		Use:   "chaos",
		Short: "Break a cluster on purpose, and check that no record was harmed",
		Long: `Chaos starts three brokers in a temporary directory, lets two client libraries write and read
without pause, and meanwhile kills, stops and restarts brokers and actors at random. Then it heals
the cluster, reads everything back and compares the copies on the disks. No acknowledged record may
be lost, doubled, in another order or at another offset.

The verdict is valid, invalid, or unknown when too little happened to say more: it needs an
effective fault in 10 s and 100 acknowledgements a second. The exit code is 0, 1 or 3.
The faults are:
  kill        SIGKILL to a broker, which is started again
  stop        SIGSTOP to a broker, for longer or shorter than its session, then SIGCONT
  term        SIGTERM to a broker, which is started again
  all         SIGKILL to all brokers at once
  alone       SIGKILL to a leader a moment after its followers, which come back before it
  replica     an actor that leads a partition is stopped, or panics
  controller  the controller's actor is stopped, or panics
The same seed makes the same plan, though never quite the same run.`,
		Example: `  troupe chaos
  troupe chaos --duration 10m --seed 42
  troupe chaos --faults kill,all --json | jq .verdict`,
		GroupID: groupInspect,
		Args:    exactly(),
	}
	set := cmd.Flags()
	set.DurationVar(&f.cfg.Duration, "duration", f.cfg.Duration, "how long to break things")
	set.Uint64Var(&f.cfg.Seed, "seed", 0, "of the plan (default: a new one, which is told)")
	set.StringSliceVar(&f.cfg.Faults, "faults", f.cfg.Faults, "`kinds` of faults, comma separated")
	set.IntVar(&f.cfg.Brokers, "brokers", f.cfg.Brokers, "how many brokers")
	set.IntVar(&f.cfg.Rate, "rate", f.cfg.Rate, "records a second of each client")
	set.Int32Var(&f.cfg.Partitions, "partitions", f.cfg.Partitions, "partitions of the topic")
	set.StringVar(&f.cfg.Durability, "durability", f.cfg.Durability, "of the topic: fsync or replicated")
	set.BoolVar(&f.keep, "keep", false, "keep the directories, also of a run that went well")
	set.BoolVar(&f.asJSON, "json", false, "write JSON instead of a table; the timeline goes to stderr")
	completeList(cmd, "faults", chaos.Faults...)
	completeFlag(cmd, "durability", "fsync", "replicated")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), std) }
	return cmd
}

func (f *chaosFlags) run(ctx context.Context, std streams) error {
	if err := f.cfg.Validate(); err != nil {
		return &usageError{err}
	}
	var err error
	if f.cfg.Binary, err = os.Executable(); err != nil {
		return fmt.Errorf("which program is this: %w", err)
	}
	if f.cfg.Dir, err = os.MkdirTemp("", "troupe-chaos-"); err != nil {
		return err
	}
	if f.cfg.Seed == 0 {
		f.cfg.Seed = uint64(rand.Uint32()) // short enough to be typed, and exact in any reader of JSON
	}
	if mutant := os.Getenv(mutantVariable); mutant != "" {
		f.cfg.Environment = []string{mutantVariable + "=" + mutant}
	}
	timeline := std.out
	if f.asJSON {
		timeline = std.err
	}
	f.cfg.OnEvent = func(at time.Duration, text string) {
		fmt.Fprintf(timeline, "%6.1f s  %s\n", at.Seconds(), text)
	}
	result, err := chaos.Run(ctx, f.cfg)
	if err != nil {
		if ctx.Err() != nil {
			return errors.Join(errInterrupted, os.RemoveAll(f.cfg.Dir))
		}
		return fmt.Errorf("seed %d: %w; the brokers' directories and logs are in %s", f.cfg.Seed, err, f.cfg.Dir)
	}
	if err := f.show(result, std); err != nil {
		return err
	}
	switch result.Verdict {
	case history.Valid:
		return nil
	case history.Undecidable:
		return &codeError{exitUnknown, fmt.Errorf("the run says nothing: %s", result.Reason)}
	default:
		return errQuiet
	}
}

// show writes the result, and keeps what a person may want to look into.
func (f *chaosFlags) show(result *chaos.Result, std streams) error {
	build := readBuildInfo()
	if f.asJSON {
		err := writeJSON(std.out, struct {
			*chaos.Result
			Build buildInfo `json:"build"`
		}{result, build})
		if err != nil {
			return err
		}
	} else {
		if err := result.Write(std.out); err != nil {
			return err
		}
		fmt.Fprintf(std.out, "again: troupe chaos --duration %s --seed %d --faults %s\n",
			f.cfg.Duration, f.cfg.Seed, strings.Join(f.cfg.Faults, ","))
	}
	if f.keep || result.Verdict == history.Invalid {
		fmt.Fprintf(std.err, "the brokers' directories and logs are in %s\n", f.cfg.Dir)
		return nil
	}
	return os.RemoveAll(f.cfg.Dir)
}
