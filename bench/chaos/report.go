package chaos

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/troupe-mq/troupe/bench/history"
	"github.com/troupe-mq/troupe/bench/measure"
)

// Result is what a run says.
type Result struct {
	Verdict  history.Verdict `json:"verdict"`
	Reason   string          `json:"reason,omitempty"` // of a verdict that is unknown
	Seed     uint64          `json:"seed"`
	Duration time.Duration   `json:"duration_ns"` // under load

	Sent   int64            `json:"sent"`
	Acked  int64            `json:"acked"`
	Failed int64            `json:"failed"` // given up by their clients
	Errors map[string]int64 `json:"errors"` // what clients said of them

	Lost         int64 `json:"lost"`
	Doubled      int64 `json:"doubled"`
	Reordered    int64 `json:"reordered"`
	Misplaced    int64 `json:"misplaced"`
	Inconsistent int64 `json:"inconsistent"`
	Unwritten    int64 `json:"unwritten"`
	Skipped      int64 `json:"skipped"`
	Diverged     int64 `json:"diverged"`
	Unhealed     int64 `json:"unhealed"`

	Faults          int               `json:"faults"`
	FaultsEffective int               `json:"faults_effective"`
	Gaps            []KindGaps        `json:"gaps"`
	Timeline        []*Fault          `json:"timeline"`
	Witnesses       []history.Finding `json:"witnesses"`
	Clients         map[string]string `json:"clients"` // with the settings that are not their defaults
}

// KindGaps are the times without an acknowledgement that effective faults of a kind made, as a client
// library saw them.
type KindGaps struct {
	Fault   string            `json:"fault"`
	Client  string            `json:"client"`
	Silence measure.Quantiles `json:"silence"`
}

func (r *run) gaps() []KindGaps {
	var all []KindGaps
	for _, kind := range Faults {
		for _, library := range r.cfg.Libraries {
			var gaps []time.Duration
			for _, f := range r.faults {
				if f.Kind == kind && f.Effective() {
					gaps = append(gaps, f.Gaps[library.Name()])
				}
			}
			if len(gaps) > 0 {
				all = append(all, KindGaps{kind, library.Name(), measure.NewQuantiles(gaps)})
			}
		}
	}
	return all
}

func (r *run) result(loaded time.Duration) *Result {
	result := &Result{
		Seed: r.cfg.Seed, Duration: loaded, Errors: make(map[string]int64), Gaps: r.gaps(),
		Faults: len(r.faults), Timeline: r.faults, Witnesses: r.Found.Witnesses, Clients: make(map[string]string),
	}
	result.Sent, result.Acked, result.Failed = r.Load.History.Counts()
	for _, w := range r.Load.History.Writers {
		for text, n := range w.Errors() {
			result.Errors[w.Client+": "+text] += n
		}
	}
	for _, library := range r.cfg.Libraries {
		result.Clients[library.Name()] = library.Settings()
	}
	for _, f := range r.faults {
		if f.Effective() {
			result.FaultsEffective++
		}
	}
	for _, count := range []struct {
		of   *int64
		kind history.Kind
	}{
		{&result.Lost, history.Lost},
		{&result.Doubled, history.Doubled},
		{&result.Reordered, history.Reordered},
		{&result.Misplaced, history.Misplaced},
		{&result.Inconsistent, history.Inconsistent},
		{&result.Unwritten, history.Unwritten},
		{&result.Skipped, history.Skipped},
		{&result.Diverged, history.Diverged},
		{&result.Unhealed, history.Unhealed},
	} {
		*count.of = r.Found.Count(count.kind)
	}
	result.Verdict, result.Reason = history.Judge(&r.Found, history.Evidence{
		Duration: r.cfg.Duration, Acknowledged: result.Acked, Faults: result.FaultsEffective,
		Final: r.ReadBack, Places: int(r.cfg.Partitions),
	})
	return result
}

// String is a line of the timeline.
func (f *Fault) String() string {
	outcome := "no effect"
	if f.Effective() {
		outcome = strings.Join(f.Effect, ", ") + "; silent for " + brief(f.Gap())
	}
	healed := "not whole yet"
	if f.Healed > 0 {
		healed = "whole after " + brief(f.Healed-f.Begun)
	}
	return fmt.Sprintf("%-10s %s: %s; %s", f.Kind, f.Text, outcome, healed)
}

func brief(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// Write is the result for people.
func (r *Result) Write(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "\nverdict\t%s\n", strings.TrimSuffix(fmt.Sprintf("%s: %s", r.Verdict, r.Reason), ": "))
	fmt.Fprintf(out, "seed\t%d\n", r.Seed)
	fmt.Fprintf(out, "load\t%s, %d records sent, %d acknowledged, %d given up\n", r.Duration.Round(time.Second), r.Sent, r.Acked, r.Failed)
	fmt.Fprintf(out, "faults\t%d, of which %d had an effect\n", r.Faults, r.FaultsEffective)
	fmt.Fprintf(out, "lost\t%d\n", r.Lost)
	fmt.Fprintf(out, "doubled\t%d\n", r.Doubled)
	fmt.Fprintf(out, "reordered\t%d\n", r.Reordered)
	fmt.Fprintf(out, "at another offset\t%d\n", r.Misplaced)
	fmt.Fprintf(out, "inconsistent\t%d\n", r.Inconsistent)
	fmt.Fprintf(out, "nobody wrote\t%d\n", r.Unwritten)
	fmt.Fprintf(out, "skipped by a reader\t%d\n", r.Skipped)
	fmt.Fprintf(out, "copies that differ\t%d\n", r.Diverged)
	fmt.Fprintf(out, "not healed\t%d\n", r.Unhealed)
	fmt.Fprintln(out, "\nwithout an acknowledgement\tclient\tfaults\tmedian\tlargest")
	for _, g := range r.Gaps {
		fmt.Fprintf(out, "%s\t%s\t%d\t%s\t%s\n", g.Fault, g.Client, g.Silence.N, brief(g.Silence.P50), brief(g.Silence.Max))
	}
	for _, library := range slices.Sorted(maps.Keys(r.Clients)) {
		fmt.Fprintf(out, "\n%s: %s", library, r.Clients[library])
	}
	fmt.Fprintln(out)
	for _, text := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(out, "given up %d times: %s\n", r.Errors[text], text)
	}
	for _, witness := range r.Witnesses {
		fmt.Fprintln(out, witness)
	}
	return out.Flush()
}
