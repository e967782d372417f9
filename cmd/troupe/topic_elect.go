package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// electionJSON is what became of one partition, as --json shows it.
type electionJSON struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Elected   bool   `json:"elected"`
	Error     string `json:"error"` // why not; "" also when there was nothing to do
}

func newTopicElectLeaders(std streams, bootstrap *string) *cobra.Command {
	var (
		partitions           []int32
		unclean, yes, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "elect-leaders [NAME...]",
		Short: "Have partitions led by their preferred replica",
		Long: `Elect-leaders gives the leadership of partitions back to their preferred replica, the first one that "troupe
topic describe" shows; brokers do that by themselves some time after one has come back. Without a
name it is for all topics.

With --unclean partitions that have no leader get any replica that lives. What only the others had
is lost, and consumers may have read it.`,
		Example: `  troupe topic elect-leaders
  troupe topic elect-leaders orders --partition 0 --partition 3
  troupe topic elect-leaders orders --unclean --yes`,
		Args: cobra.ArbitraryArgs,

		ValidArgsFunction: completeTopics(bootstrap, anyNumber),
	}
	cmd.Flags().Int32SliceVar(&partitions, "partition", nil, "only the partition of this `number`; may be repeated")
	cmd.Flags().BoolVar(&unclean, "unclean", false, "let a replica lead that lacks records, where there is no other")
	yesFlag(cmd.Flags(), &yes)
	jsonFlag(cmd, &asJSON)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if len(partitions) > 0 && len(names) != 1 {
			return usagef("--partition needs the name of one topic")
		}
		if unclean {
			if err := confirm(cmd.Context(), std, yes, "Records that only other replicas have are going to be lost."); err != nil {
				return err
			}
		}
		return withClient(cmd.Context(), *bootstrap, func(ctx context.Context, c *client.Client) error {
			asked, err := partitionsToElect(ctx, c, names, partitions)
			if err != nil {
				return explain(err, hintFor(err, mentioned(err, names)))
			}
			if asked != nil && len(asked) == 0 {
				return nil
			}
			outcomes, err := c.ElectLeaders(ctx, unclean, asked...)
			if err != nil {
				return explain(err, "")
			}
			return printElections(cmd, outcomes, asJSON)
		})
	}
	return cmd
}

// partitionsToElect returns the partitions that were named; nil stands for all.
func partitionsToElect(ctx context.Context, c *client.Client, names []string, partitions []int32) ([]client.PartitionName, error) {
	if len(names) == 0 {
		return nil, nil
	}
	asked := []client.PartitionName{}
	if len(partitions) > 0 {
		for _, p := range partitions {
			asked = append(asked, client.PartitionName{Topic: names[0], Partition: p})
		}
		return asked, nil
	}
	topics, err := c.DescribeTopics(ctx, names...)
	for i := range topics {
		for _, p := range topics[i].Partitions {
			asked = append(asked, client.PartitionName{Topic: topics[i].Name, Partition: p.Partition})
		}
	}
	return asked, err
}

// printElections writes the outcomes. That a partition is led as it should be is no failure.
func printElections(cmd *cobra.Command, outcomes []client.PartitionOutcome, asJSON bool) error {
	shown := []electionJSON{}
	var rows [][]string
	elected, failed := 0, 0
	for _, o := range outcomes {
		one := electionJSON{Topic: o.Topic, Partition: o.Partition, Elected: o.Err == nil}
		row := []string{o.Topic, strconv.Itoa(int(o.Partition)), "elected"}
		switch {
		case o.Err == nil:
			elected++
		case errors.Is(o.Err, wire.ElectionNotNeeded):
			row = nil
		default:
			failed++
			one.Error, row[2] = o.Err.Error(), o.Err.Error()
		}
		shown = append(shown, one)
		if row != nil {
			rows = append(rows, row)
		}
	}
	out := cmd.OutOrStdout()
	var err error
	switch {
	case asJSON:
		err = writeJSON(out, shown)
	case len(rows) == 0:
		_, err = fmt.Fprintln(out, "every partition is led as it should be")
	default:
		err = writeTable(out, []string{"TOPIC", "PARTITION", "OUTCOME"}, rows)
	}
	if err == nil && failed > 0 {
		return errQuiet
	}
	return err
}
