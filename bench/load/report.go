package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// machine is where a figure was measured, without which it means little.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Commit string `json:"commit"`
}

func thisMachine() machine {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	if out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
	}
	return m
}

// String is one line below a table.
func (m machine) String() string {
	return fmt.Sprintf("%d cores of %s, Linux %s, %s, commit %s", m.Cores, m.CPU, m.Kernel, m.Go, m.Commit)
}

// report prints a scenario's outcome: table to people, document to programs.
func report(cmd *cobra.Command, document any, table func(w io.Writer)) error {
	asJSON, err := cmd.Flags().GetBool("json")
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(struct {
			Machine machine `json:"machine"`
			Result  any     `json:"result"`
		}{thisMachine(), document})
	}
	aligned := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	table(aligned)
	if err := aligned.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "\n%s\n", thisMachine())
	return err
}

// writeResults is the table of single runs.
func writeResults(w io.Writer, results ...*result) {
	fmt.Fprintln(w, "system\tclient\tload\trecords/s\tMB/s\tbroker CPU us/record\tus/MB\tus/batch\tclient CPU us/record\tkernel\tothers\tsteal")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%s\t%s\t%.0f\t%.1f\t%.3f\t%.0f\t%.1f\t%.3f\t%.0f %%\t%.0f %%\t%.0f %%\n",
			r.System, r.Client, r.describe(), r.perSecond(), r.mbPerSecond(), r.cpuPerRecord(), r.cpuPerMB(), r.cpuPerBatch(),
			micros(r.Cost.Client)/float64(max(r.Records, 1)), r.Cost.Kernel, r.Cost.Others, r.Cost.Steal)
	}
	for _, r := range results {
		if r.Ack == nil {
			continue
		}
		fmt.Fprintf(w, "\n%s\tp50\tp99\tp99.9\tlargest\n", r.System)
		fmt.Fprintf(w, "acknowledged\t%s\t%s\t%s\t%s\n", short(r.Ack.P50), short(r.Ack.P99), short(r.Ack.P999), short(r.Ack.Max))
		fmt.Fprintf(w, "end to end\t%s\t%s\t%s\t%s\n", short(r.EndToEnd.P50), short(r.EndToEnd.P99), short(r.EndToEnd.P999), short(r.EndToEnd.Max))
	}
	for _, r := range results {
		if r.Cost.Disturbed() {
			fmt.Fprintf(w, "\n%s %s was disturbed by the rest of the machine: run it again\n", r.System, r.Mode)
		}
	}
}

func (r *result) describe() string {
	return fmt.Sprintf("%s %s, %s, acks %s", r.Mode, r.Load.describe(), durabilityWord(r.Durable), r.Load.Acks)
}

func (w workload) describe() string {
	return fmt.Sprintf("%s x %d partitions, %s batches, %d clients", bytesWord(w.Size), w.Partitions, bytesWord(int(w.BatchBytes)), w.Clients)
}

func durabilityWord(durable bool) string {
	if durable {
		return "group fsync"
	}
	return "page cache"
}

func bytesWord(n int) string {
	switch {
	case n >= 1_000_000:
		return fmt.Sprintf("%d MB", n/1_000_000)
	case n >= 1000:
		return fmt.Sprintf("%d KB", n/1000)
	}
	return fmt.Sprintf("%d B", n)
}

func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
