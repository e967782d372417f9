package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/bench/chaos"
	"github.com/troupe-mq/troupe/bench/history"
)

// plantedBugs are the bugs of a build with the tag mutants.
var plantedBugs = []string{"ack_before_isr"}

// mutantsReport is whether chaos finds the bugs that were planted.
type mutantsReport struct {
	Bug   string        `json:"bug"`
	Seeds []mutantSeed  `json:"seeds"`
	Found int           `json:"found"`
	Each  time.Duration `json:"each_ns"`
}

type mutantSeed struct {
	Seed    uint64          `json:"seed"`
	Verdict history.Verdict `json:"verdict"`
	Lost    int64           `json:"lost"`
}

func mutantsCommand() *cobra.Command {
	seeds, first, least, duration := 10, uint64(1), 9, time.Minute
	cmd := &cobra.Command{
		Use:   "mutants",
		Short: "Let troupe chaos find a bug that was planted",
		Long: `A build with the tag mutants has bugs that the environment chooses. A checker that does not find
them proves nothing by finding nothing. It fails when the bug is found with too few seeds.`,
		Example: "  go run ./bench/load mutants --seeds 10 --duration 60s",
		Args:    cobra.NoArgs,
	}
	set := cmd.Flags()
	set.IntVar(&seeds, "seeds", seeds, "how many seeds")
	set.Uint64Var(&first, "first", first, "the first of them")
	set.IntVar(&least, "at-least", least, "with how many of them the bug must be found")
	set.DurationVar(&duration, "duration", duration, "of each run")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		work, err := os.MkdirTemp("", "load-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work) //nolint:errcheck // a temporary directory
		binary, err := buildMutants(cmd.Context(), work)
		if err != nil {
			return err
		}
		var reports []*mutantsReport
		for _, bug := range plantedBugs {
			r := &mutantsReport{Bug: bug, Each: duration}
			for seed := first; seed < first+uint64(seeds); seed++ {
				found, err := runMutant(cmd.Context(), binary, bug, seed, duration)
				if err != nil {
					return fmt.Errorf("seed %d: %w", seed, err)
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "seed %d: %s, %d lost\n", seed, found.Verdict, found.Lost)
				r.Seeds = append(r.Seeds, found)
				if found.Lost > 0 { // a cluster that does not heal is invalid, too
					r.Found++
				}
			}
			reports = append(reports, r)
		}
		err = report(cmd, reports, func(w io.Writer) {
			for _, r := range reports {
				fmt.Fprintf(w, "%s\tfound with %d of %d seeds, %s each\n", r.Bug, r.Found, len(r.Seeds), r.Each)
			}
		})
		for _, r := range reports {
			if r.Found < least {
				err = errors.Join(err, fmt.Errorf("%s was found with %d seeds of %d, want %d", r.Bug, r.Found, len(r.Seeds), least))
			}
		}
		return err
	}
	return cmd
}

func buildMutants(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "troupe")
	build := exec.CommandContext(ctx, "go", "build", "-tags", "mutants", "-o", binary, "github.com/troupe-mq/troupe/cmd/troupe")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build with mutants: %w\n%s", err, out)
	}
	return binary, nil
}

// runMutant is one run of troupe chaos with a bug. That it fails is what is hoped for.
func runMutant(ctx context.Context, binary, bug string, seed uint64, duration time.Duration) (mutantSeed, error) {
	cmd := exec.CommandContext(ctx, binary, "chaos", "--json", "--seed", fmt.Sprint(seed), "--duration", duration.String())
	dir, err := os.MkdirTemp("", "load-")
	if err != nil {
		return mutantSeed{}, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what an invalid run has left there is of no interest
	cmd.Env = append(os.Environ(), "TROUPE_MUTANT="+bug, "TMPDIR="+dir)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return mutantSeed{}, err
	}
	var result chaos.Result
	if err := json.Unmarshal(out, &result); err != nil {
		return mutantSeed{}, fmt.Errorf("troupe chaos did not say what happened: %w\n%s", err, exit.Stderr)
	}
	return mutantSeed{Seed: result.Seed, Verdict: result.Verdict, Lost: result.Lost}, nil
}
