package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// rebalanceJSON is a rebalance as --json shows it.
type rebalanceJSON struct {
	Number         int64       `json:"number"`
	BeganMS        int64       `json:"began_ms"`
	TookMS         int64       `json:"took_ms"`
	Complete       bool        `json:"complete"` // false: the next one began before this one had ended
	Protocol       string      `json:"protocol"`
	Epoch          int32       `json:"epoch"` // or generation, that it led to
	Trigger        string      `json:"trigger"`
	Cause          string      `json:"cause"`  // the member that triggered it
	Detail         string      `json:"detail"` // in words
	Members        int         `json:"members"`
	Slowest        string      `json:"slowest"` // the member that was waited for longest
	SlowestMS      int64       `json:"slowest_ms"`
	Moved          int         `json:"moved"`
	LongestPauseMS int64       `json:"longest_pause_ms"`
	Pauses         []pauseJSON `json:"pauses"` // the longest first
}

type pauseJSON struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	PauseMS   int64  `json:"pause_ms"` // how long nobody had it
	From      string `json:"from"`
	To        string `json:"to"`
}

func newGroupHistory(std streams, bootstrap *string) *cobra.Command {
	var (
		asJSON bool
		limit  int
	)
	cmd := &cobra.Command{
		Use:   "history GROUP",
		Short: "Show the last rebalances of a group",
		Long: `History shows the last hundred rebalances of a group, the newest first: what each was for, who was waited for
longest, how many partitions changed hands, and how long a partition was left without a consumer. With --json it
names every partition that paused.`,
		Example: `  troupe group history billing
  troupe group history billing --limit 5
  troupe group history billing --json | jq '.[0].pauses'`,
		Args: exactly("GROUP"),

		ValidArgsFunction: completeGroups(bootstrap, 1),
	}
	jsonFlag(cmd, &asJSON)
	cmd.Flags().IntVar(&limit, "limit", 0, "no more than so many `rebalances`; 0 for all")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if limit < 0 {
			return usagef("--limit %d: write a number from 0 up", limit)
		}
		return withClient(cmd.Context(), *bootstrap, func(ctx context.Context, c *client.Client) error {
			history, err := c.GroupHistory(ctx, args[0])
			if err != nil {
				return explain(err, hintForGroup(err, args[0]))
			}
			if limit > 0 && len(history) > limit {
				history = history[:limit]
			}
			if asJSON {
				shown := []rebalanceJSON{}
				for i := range history {
					shown = append(shown, newRebalanceJSON(&history[i]))
				}
				return writeJSON(cmd.OutOrStdout(), shown)
			}
			return printHistory(cmd, history, std.now().Location())
		})
	}
	return cmd
}

func newRebalanceJSON(r *client.GroupRebalance) rebalanceJSON {
	shown := rebalanceJSON{
		Number: r.Number, BeganMS: millis(r.Began), TookMS: r.Took.Milliseconds(), Complete: r.Complete, Protocol: string(r.Type),
		Epoch: r.Generation, Trigger: string(r.Trigger), Cause: string(r.Cause), Detail: r.Detail, Members: r.Members,
		Slowest: string(r.Slowest), SlowestMS: r.SlowestTook.Milliseconds(), Moved: r.Moved, Pauses: []pauseJSON{},
	}
	for _, p := range r.Pauses {
		shown.LongestPauseMS = max(shown.LongestPauseMS, p.Pause.Milliseconds())
		shown.Pauses = append(shown.Pauses, pauseJSON{p.Topic, p.Partition, p.Pause.Milliseconds(), string(p.From), string(p.To)})
	}
	return shown
}

func printHistory(cmd *cobra.Command, history []client.GroupRebalance, zone *time.Location) error {
	var rows [][]string
	for i := range history {
		r := &history[i]
		took := shortDuration(r.Took)
		if !r.Complete {
			took += " (cut short)"
		}
		slowest := "-"
		if r.Slowest != "" {
			slowest = fmt.Sprintf("%s %s", shortMember(r.Slowest), shortDuration(r.SlowestTook))
		}
		pause := "-"
		if len(r.Pauses) > 0 {
			p := r.Pauses[0]
			pause = fmt.Sprintf("%s %s", place{p.Topic, p.Partition}, shortDuration(p.Pause))
		}
		rows = append(rows, []string{
			strconv.FormatInt(r.Number, 10), r.Began.In(zone).Format("2006-01-02 15:04:05.000"), took, string(r.Trigger), orDash(shortMember(r.Cause)),
			strconv.Itoa(r.Members), strconv.Itoa(r.Moved), slowest, pause,
		})
	}
	header := []string{"NUMBER", "WHEN", "TOOK", "TRIGGER", "CAUSE", "MEMBERS", "MOVED", "SLOWEST", "LONGEST-PAUSE"}
	return writeTable(cmd.OutOrStdout(), header, rows)
}

// shownMember is how much of a member's id a table has room for.
const shownMember = 24

func shortMember(id wire.MemberID) string {
	if len(id) > shownMember {
		return string(id[:shownMember-1]) + "…"
	}
	return string(id)
}

// shortDuration writes a duration to three or so figures.
func shortDuration(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}
