package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// resetFlags are the flags of troupe group reset.
type resetFlags struct {
	topics    []string
	allTopics bool

	toEarliest, toLatest, toCurrent bool
	toOffset, shiftBy               int64
	toDatetime, byDuration          string
	fromFile                        string

	dryRun, yes, asJSON, export bool
}

// resetJSON is one partition of a reset as --json shows it.
type resetJSON struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	OldOffset int64  `json:"old_offset"` // -1 where nothing was committed
	NewOffset int64  `json:"new_offset"`
}

func newGroupReset(std streams, bootstrap *string) *cobra.Command {
	var flags resetFlags
	cmd := &cobra.Command{
		Use:   "reset GROUP",
		Short: "Set where a group goes on",
		Long: `Reset sets the offsets with which a group goes on, in topics or some of their partitions. Its members must
have stopped, but for --export, which sets nothing. Offsets that the log does not have any more, or not yet,
become the nearest that it has. It shows what it would set and asks first; where there is no terminal to ask
at, it needs --yes.

A file has a line topic,partition,offset for each partition; --export writes such lines, so that offsets can be
kept and put back. A time is RFC 3339 (2026-01-31T09:00:00Z), a date (2026-01-31, local time), milliseconds since
1970 (@1769850000000), or a time ago (-90m).`,
		Example: `  troupe group reset billing --topic orders --to-earliest --dry-run
  troupe group reset billing --topic orders:0,2 --to-datetime 2026-01-31T09:00:00Z
  troupe group reset billing --all-topics --shift-by -100 --yes
  troupe group reset billing --all-topics --to-current --export > offsets.csv
  troupe group reset billing --from-file offsets.csv`,
		Args: exactly("GROUP"),

		ValidArgsFunction: completeGroups(bootstrap, 1),
	}
	set := cmd.Flags()
	topicsFlag(cmd, bootstrap, &flags.topics)
	set.BoolVar(&flags.allTopics, "all-topics", false, "every topic of which the group has committed an offset")
	set.BoolVar(&flags.toEarliest, "to-earliest", false, "to the oldest record")
	set.BoolVar(&flags.toLatest, "to-latest", false, "to the end")
	set.BoolVar(&flags.toCurrent, "to-current", false, "to where it is; to the end where nothing is committed")
	set.Int64Var(&flags.toOffset, "to-offset", 0, "to an `offset`")
	set.Int64Var(&flags.shiftBy, "shift-by", 0, "on by so many `records`; back with -N")
	set.StringVar(&flags.toDatetime, "to-datetime", "", "to the first record from a `time` on")
	set.StringVar(&flags.byDuration, "by-duration", "", "to the first record of the last so long: a `duration` as 90m, or PT1H30M")
	set.StringVar(&flags.fromFile, "from-file", "", "to the offsets in a CSV `file`; - for stdin")
	set.BoolVar(&flags.dryRun, "dry-run", false, "show what would be set, and set nothing")
	set.BoolVar(&flags.export, "export", false, "write the new offsets as CSV, and set nothing")
	yesFlag(set, &flags.yes)
	jsonFlag(cmd, &flags.asJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		plan, err := flags.plan(cmd, std)
		if err != nil {
			return err
		}
		c, err := connect(cmd.Context(), *bootstrap)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }() // nothing is left to be told
		return flags.run(cmd, std, c, args[0], plan)
	}
	return cmd
}

// plan reads the flags: which partitions, and what their offsets become.
func (f *resetFlags) plan(cmd *cobra.Command, std streams) (*resetPlan, error) {
	var given []string
	for _, name := range []string{"to-earliest", "to-latest", "to-current", "to-offset", "to-datetime", "shift-by", "by-duration", "from-file"} {
		if cmd.Flags().Changed(name) {
			given = append(given, "--"+name)
		}
	}
	switch {
	case len(given) == 0:
		return nil, usagef("where to? Give --to-earliest, --to-latest, --to-current, --to-offset, --to-datetime, --shift-by, --by-duration or --from-file")
	case len(given) > 1:
		return nil, usagef("%s exclude each other; give one of them", strings.Join(given, " and "))
	case f.asJSON && f.export:
		return nil, usagef("--json and --export exclude each other; give one of them")
	}
	plan := &resetPlan{all: f.allTopics, target: given[0]}
	var err error
	if plan.selected, err = parseTopicsFlag(f.topics); err != nil {
		return nil, err
	}
	switch file := f.fromFile != ""; {
	case file && (f.allTopics || len(f.topics) > 0):
		return nil, usagef("the file of --from-file names the partitions; leave --topic and --all-topics out")
	case !file && f.allTopics == (len(f.topics) > 0):
		return nil, usagef("of which topics? Give --topic orders, --topic orders:0,2 or --all-topics")
	case file:
		plan.offsets, err = readOffsets(std, f.fromFile)
		return plan, err
	}
	plan.offset, plan.shift = f.toOffset, f.shiftBy
	switch plan.target {
	case "--to-earliest":
		plan.timestamp = client.Earliest
	case "--to-latest", "--to-current":
		plan.timestamp = client.Latest
	case "--to-offset":
		if f.toOffset < 0 {
			return nil, usagef("--to-offset %d: write a number from 0 up", f.toOffset)
		}
	case "--to-datetime":
		at, err := parseTimestamp(f.toDatetime, std.now())
		if err != nil {
			return nil, usagef("--to-datetime %s: write 2026-01-31T09:00:00Z, 2026-01-31, @ and milliseconds since 1970, or a time ago as in -90m", f.toDatetime)
		}
		plan.timestamp = at.timestamp
	case "--by-duration":
		ago, err := parseISODuration(f.byDuration)
		if err != nil {
			return nil, usagef("--by-duration %s: write a duration as 90m, or PT1H30M", f.byDuration)
		}
		plan.timestamp = max(std.now().Add(-ago).UnixMilli(), 0)
	}
	return plan, nil
}

// parseISODuration reads 90m and, as Kafka's tool does, P1DT2H3M4S.
func parseISODuration(s string) (time.Duration, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return d, nil
	}
	date, clock, _ := strings.Cut(strings.TrimPrefix(strings.ToUpper(s), "P"), "T")
	if !strings.HasPrefix(strings.ToUpper(s), "P") || date == "" && clock == "" || strings.ContainsAny(clock, "-+ND") {
		return 0, errors.New("no duration")
	}
	var d time.Duration
	if date != "" {
		days, err := strconv.ParseUint(strings.TrimSuffix(date, "D"), 10, 16)
		if err != nil || !strings.HasSuffix(date, "D") {
			return 0, errors.New("no duration")
		}
		d = time.Duration(days) * 24 * time.Hour
	}
	if clock == "" {
		return d, nil
	}
	rest, err := time.ParseDuration(strings.ToLower(clock))
	return d + rest, err
}

// run finds the new offsets, shows them, and sets them once somebody has agreed.
func (f *resetFlags) run(cmd *cobra.Command, std streams, c *client.Client, group string, plan *resetPlan) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), adminTimeout)
	defer cancel()
	known := true
	if !f.export { // which may be for a group at work: it sets nothing
		var err error
		if known, err = checkIdle(ctx, c, group); err != nil {
			return err
		}
	}
	resets, warnings, err := plan.compute(ctx, c, group)
	if err != nil {
		return explain(err, hintForGroup(err, group))
	}
	what := fmt.Sprintf("Group %s is going to go on at these offsets.", group)
	asks := !f.dryRun && !f.export && !f.yes
	if err := mayAsk(std, !asks, fmt.Sprintf("Group %s would go on at other offsets: --dry-run shows them.", group)); err != nil {
		return err
	}
	for _, warning := range warnings {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "troupe: %s\n", warning) // the table says where it comes to
	}
	if !known { // it may have been meant to be another one
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "troupe: there is no group %s yet: it will be made\n", printable(group)) // the question comes in any case
	}
	if err := f.show(cmd, resets, asks); err != nil || f.dryRun || f.export {
		return err
	}
	cancel() // a person may take a while
	if err := confirm(cmd.Context(), std, f.yes, what); err != nil {
		return err
	}
	ctx, cancel = context.WithTimeout(cmd.Context(), adminTimeout)
	defer cancel()
	offsets := make([]client.GroupOffset, len(resets))
	for i, r := range resets {
		offsets[i] = client.GroupOffset{Topic: r.Topic, Partition: r.Partition, Offset: wire.Offset(r.NewOffset)}
	}
	if err := c.CommitOffsets(ctx, group, offsets...); err != nil {
		return explain(inFewLines(err), hintForGroup(err, group))
	}
	if asks && f.asJSON {
		return f.show(cmd, resets, false)
	}
	return nil
}

// show writes the new offsets in the columns of Kafka's tool, and beside them where the group was. JSON waits until nothing is in question.
func (f *resetFlags) show(cmd *cobra.Command, resets []resetJSON, asks bool) error {
	out := cmd.OutOrStdout()
	switch {
	case f.export:
		var all bytes.Buffer // so that a file has all of it or nothing
		w := csv.NewWriter(&all)
		for _, r := range resets {
			if err := w.Write([]string{r.Topic, strconv.Itoa(int(r.Partition)), strconv.FormatInt(r.NewOffset, 10)}); err != nil {
				return err
			}
		}
		w.Flush()
		_, err := out.Write(all.Bytes())
		return cmp.Or(w.Error(), err)
	case f.asJSON && !asks:
		return writeJSON(out, resets)
	case f.asJSON:
		out = cmd.ErrOrStderr()
	}
	var rows [][]string
	for _, r := range resets {
		rows = append(rows, []string{
			r.Group, r.Topic, strconv.Itoa(int(r.Partition)), strconv.FormatInt(r.NewOffset, 10), offsetOrDash(r.OldOffset), r.shift(),
		})
	}
	return writeTable(out, []string{"GROUP", "TOPIC", "PARTITION", "NEW-OFFSET", "OLD-OFFSET", "SHIFT"}, rows)
}

// shift is by how many records the group goes on later, or earlier.
func (r resetJSON) shift() string {
	switch {
	case r.OldOffset == unknownOffset:
		return "-"
	case r.NewOffset == r.OldOffset:
		return "0"
	}
	return fmt.Sprintf("%+d", r.NewOffset-r.OldOffset)
}

// checkIdle refuses a group that has members, and says whether there is such a group. One that does not exist yet may be given offsets.
func checkIdle(ctx context.Context, c *client.Client, group string) (known bool, err error) {
	described, err := c.DescribeGroup(ctx, group)
	switch {
	case errors.Is(err, client.ErrUnknownGroup):
		return false, nil
	case err != nil:
		return false, explain(err, hintForGroup(err, group))
	case len(described.Members) > 0:
		hint := fmt.Sprintf("\"troupe group describe %s --members\" shows them", group)
		if away := awayInstances(described.Members); len(away) == len(described.Members) {
			hint = hintForAway(group, away)
		}
		return false, fmt.Errorf("group %s has %s and is %s: offsets can be reset only when all have stopped; %s",
			group, plural(int64(len(described.Members)), "member"), described.State, hint)
	}
	return true, nil
}
