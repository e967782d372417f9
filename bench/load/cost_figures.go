package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/troupe-mq/troupe/bench/testbed"
)

// costFigure is one measurement of a scenario, on a new cluster, by the name that --only knows.
type costFigure struct {
	name    string
	measure func(ctx context.Context, b *costBench) ([]costRow, error)
}

// costRow is a figure of a cluster, and what it is held against.
type costRow struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Goal  string  `json:"goal,omitempty"`
	Met   *bool   `json:"met,omitempty"` // nil without a goal
	Note  string  `json:"note,omitempty"`
}

// against says whether a figure keeps a bound.
func (r costRow) against(goal string, met bool) costRow {
	r.Goal, r.Met = goal, &met
	return r
}

func writeCosts(w io.Writer, rows []costRow) {
	fmt.Fprintln(w, "figure\tvalue\t\tgoal\t\t")
	for _, r := range rows {
		met := ""
		if r.Met != nil {
			met = map[bool]string{true: "met", false: "missed"}[*r.Met]
		}
		fmt.Fprintf(w, "%s\t%.4g\t%s\t%s\t%s\t%s\n", r.What, r.Value, r.Unit, r.Goal, met, r.Note)
	}
}

// figureFlags are the flags of a scenario that takes one figure after the other.
type figureFlags struct {
	target targetFlags
	only   string
}

func (f *figureFlags) register(flags *pflag.FlagSet) {
	f.target.registerBinary(flags)
	flags.StringVar(&f.only, "only", "", "only figures whose name matches this regular expression")
}

// take measures the figures that are asked for, and reports them.
func (f *figureFlags) take(cmd *cobra.Command, figures []costFigure) error {
	rows, err := f.measure(cmd.Context(), cmd.ErrOrStderr(), figures)
	if err != nil {
		return err
	}
	return report(cmd, rows, func(w io.Writer) { writeCosts(w, rows) })
}

func (f *figureFlags) measure(ctx context.Context, progress io.Writer, figures []costFigure) ([]costRow, error) {
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
	for _, one := range figures {
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

// costBench starts clusters to measure.
type costBench struct{ work, binary string }

// with runs a measurement on a new cluster, which is gone afterwards.
func (b *costBench) with(ctx context.Context, brokers int, measure func(c *testbed.Cluster) error) error {
	dir, err := os.MkdirTemp(b.work, "cluster-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	c, err := testbed.StartCluster(ctx, testbed.ClusterConfig{Binary: b.binary, Dir: dir, Brokers: brokers})
	if err != nil {
		return err
	}
	defer c.Close()
	const patience = 30 * time.Second
	voting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := c.AwaitVoters(voting); err != nil {
		return err
	}
	return measure(c)
}
