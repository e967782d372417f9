package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/bench/measure"
	"github.com/troupe-mq/troupe/bench/testbed"
)

// sideBySideCommand compares Troupe with the floor broker, and Troupe's native listener with its
// own Kafka listener. What makes the comparison fair:
//
//   - Both sides give the same durability, on the same file system, to the same client with the
//     same partitions, batches and linger.
//   - Every run has a new process and an empty directory, which is removed after it: less than
//     1 GB is written in a run, since memory that the kernel touches for the first time costs
//     several times more.
//   - The sides take turns, A B, B A, A B: a disturbance that lasts hits both. What counts is the
//     median of the ratios of the rounds, not the ratio of medians.
//   - A round is left out when others used too much of the machine, or the hypervisor withheld
//     too much of it, during either run (package measure). Another is tried in its place, up to
//     three times as many as were asked for.
func sideBySideCommand() *cobra.Command {
	s := sideBySide{rounds: 5}
	var only string
	cmd := &cobra.Command{
		Use:     "side-by-side",
		Short:   "Compare Troupe with the floor broker, in turns, as ratios",
		Example: "  go run ./bench/load side-by-side\n  go run ./bench/load side-by-side --only '1 KB.*group'",
		Args:    cobra.NoArgs,
	}
	s.target.registerBinary(cmd.Flags())
	cmd.Flags().IntVar(&s.rounds, "rounds", s.rounds, "undisturbed rounds of each row")
	cmd.Flags().StringVar(&only, "only", "", "only rows whose name matches this regular expression")
	cmd.Flags().Float64Var(&s.scale, "scale", 1, "multiplies the number of records, for a quick look")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		pattern, err := regexp.Compile(only)
		if err != nil {
			return err
		}
		outcomes, err := s.run(cmd.Context(), cmd.ErrOrStderr(), pattern)
		if err != nil {
			return err
		}
		return report(cmd, outcomes, func(w io.Writer) { writeOutcomes(w, outcomes) })
	}
	return cmd
}

// row is one load and the figures that are taken from it.
type row struct {
	name    string
	load    workload
	durable bool
	latency bool
	native  bool // compares the native listener with Troupe's own Kafka listener
	figures []figure
}

// figure is a ratio of the two sides, with the bounds that it has to keep.
type figure struct {
	name string
	mode string // of the run that it is taken from
	of   func(*result) float64
	goal goal
}

// goal is a bound on a ratio, first to reach and then to aim for. A zero is no bound.
type goal struct {
	First   float64 `json:"first,omitempty"`
	Aim     float64 `json:"aim,omitempty"`
	AtLeast bool    `json:"at_least"` // the ratio is to be large, as rates are
}

func atMost(first, aim float64) goal  { return goal{First: first, Aim: aim} }
func atLeast(first, aim float64) goal { return goal{First: first, Aim: aim, AtLeast: true} }

// met says whether the ratio keeps the first bound.
func (g goal) met(ratio float64) bool {
	switch {
	case g.First == 0:
		return true
	case g.AtLeast:
		return ratio >= g.First
	}
	return ratio <= g.First
}

// outcome is a figure over all rounds.
type outcome struct {
	Row       string         `json:"row"`
	Figure    string         `json:"figure"`
	Base      measure.Spread `json:"base"` // absolute, of this machine only
	Test      measure.Spread `json:"test"`
	Ratio     measure.Spread `json:"ratio"`
	Goal      goal           `json:"goal"`
	Met       bool           `json:"met"`
	Disturbed int            `json:"disturbed_rounds"` // left out; all were taken when none was calm
	Believe   bool           `json:"believe"`          // enough rounds were calm
}

// sideBySide is a comparison under way.
type sideBySide struct {
	target targetFlags
	rounds int
	scale  float64

	work   string
	troupe string // binaries
	floor  string
}

func (s *sideBySide) run(ctx context.Context, progress io.Writer, only *regexp.Regexp) ([]outcome, error) {
	var err error
	if s.work, err = os.MkdirTemp("", "load-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(s.work) //nolint:errcheck // a temporary directory
	if s.troupe, err = s.target.troupe(ctx, s.work); err != nil {
		return nil, err
	}
	if s.floor, err = testbed.Build(ctx, s.work, "bench/floor"); err != nil {
		return nil, err
	}
	var outcomes []outcome
	for _, r := range rows() {
		if !only.MatchString(r.name) {
			continue
		}
		more, err := s.compare(ctx, progress, r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		outcomes = append(outcomes, more...)
	}
	return outcomes, nil
}

// round is the runs of both sides, by mode.
type round struct{ base, test map[string]*result }

func (r round) disturbed() bool {
	for _, side := range []map[string]*result{r.base, r.test} {
		for _, run := range side {
			if run.Cost.Disturbed() {
				return true
			}
		}
	}
	return false
}

func (s *sideBySide) compare(ctx context.Context, progress io.Writer, r row) ([]outcome, error) {
	var calm, all []round
	for i := 0; len(calm) < s.rounds && i < 3*s.rounds; i++ {
		fmt.Fprintf(progress, "%s: round %d, %d undisturbed so far\n", r.name, i+1, len(calm))
		now, err := s.round(ctx, r, i%2 == 1)
		if err != nil {
			return nil, err
		}
		all = append(all, now)
		if !now.disturbed() {
			calm = append(calm, now)
		}
	}
	disturbed, believe := len(all)-len(calm), len(calm) >= s.rounds
	if len(calm) == 0 {
		calm = all
	}
	var outcomes []outcome
	for _, f := range r.figures {
		o := f.over(calm)
		o.Row, o.Disturbed, o.Believe = r.name, disturbed, believe
		outcomes = append(outcomes, o)
	}
	return outcomes, nil
}

// over takes the figure from all rounds.
func (f figure) over(rounds []round) outcome {
	var base, test, ratios []float64
	for _, r := range rounds {
		a, b := f.of(r.base[f.mode]), f.of(r.test[f.mode])
		base, test = append(base, a), append(test, b)
		if a > 0 {
			ratios = append(ratios, b/a)
		}
	}
	ratio := measure.NewSpread(ratios)
	return outcome{
		Figure: f.name, Base: measure.NewSpread(base), Test: measure.NewSpread(test),
		Ratio: ratio, Goal: f.goal, Met: ratio.N > 0 && f.goal.met(ratio.Median),
	}
}

func (s *sideBySide) round(ctx context.Context, r row, testFirst bool) (round, error) {
	var now round
	base := func() (err error) {
		now.base, err = s.side(ctx, r, !r.native, "kafka")
		return err
	}
	test := func() (err error) {
		client := "kafka"
		if r.native {
			client = "native"
		}
		now.test, err = s.side(ctx, r, false, client)
		return err
	}
	sides := []func() error{base, test}
	if testFirst {
		slices.Reverse(sides)
	}
	for _, side := range sides {
		if err := side(); err != nil {
			return now, err
		}
	}
	return now, nil
}

// side runs one side of a round on a broker of its own.
func (s *sideBySide) side(ctx context.Context, r row, floor bool, client string) (map[string]*result, error) {
	d, err := driverNamed(client)
	if err != nil {
		return nil, err
	}
	var t *target
	if floor {
		t, err = startFloor(ctx, s.floor, s.work, r.durable)
	} else {
		t, err = startTroupe(ctx, s.troupe, s.work, r.durable)
	}
	if err != nil {
		return nil, err
	}
	defer t.close()
	runs := map[string]*result{}
	load := r.load
	if r.latency {
		runs["latency"], err = latency(ctx, d, t, load)
		return runs, t.explain(err)
	}
	load.Records = max(int64(float64(load.Records)*s.scale), 1)
	if runs["produce"], err = produce(ctx, d, t, load); err != nil {
		return nil, t.explain(err)
	}
	if slices.ContainsFunc(r.figures, func(f figure) bool { return f.mode == "consume" }) {
		runs["consume"], err = consume(ctx, d, t, load)
	}
	return runs, t.explain(err)
}

func writeOutcomes(w io.Writer, outcomes []outcome) {
	fmt.Fprintln(w, "load\tfigure\tbase\ttest\tratio: median (range)\tfirst\taim\tmet\trounds")
	for _, o := range outcomes {
		met := "yes"
		switch {
		case o.Goal.First == 0:
			met = ""
		case !o.Met:
			met = "no"
		}
		rounds := fmt.Sprint(o.Ratio.N)
		if o.Disturbed > 0 {
			rounds += fmt.Sprintf(", %d left out", o.Disturbed)
		}
		if !o.Believe {
			rounds += " (too noisy)"
		}
		fmt.Fprintf(w, "%s\t%s\t%.4g\t%.4g\t%s\t%s\t%s\t%s\t%s\n", o.Row, o.Figure, o.Base.Median, o.Test.Median,
			o.Ratio, o.Goal.show(o.Goal.First), o.Goal.show(o.Goal.Aim), met, rounds)
	}
}

func (g goal) show(bound float64) string {
	switch {
	case bound == 0:
		return ""
	case g.AtLeast:
		return fmt.Sprintf(">= %.2f", bound)
	}
	return fmt.Sprintf("<= %.2f", bound)
}
