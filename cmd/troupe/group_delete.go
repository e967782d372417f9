package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

func newGroupDelete(std streams, bootstrap *string) *cobra.Command {
	var (
		ifExists, offsets, yes bool
		topics                 []string
	)
	cmd := &cobra.Command{
		Use:   "delete GROUP...",
		Short: "Delete groups, or what they have committed of a topic",
		Long: `Delete removes groups with all that they have committed: whoever consumes in the name of one later begins
anew. With --offsets only what was committed of some topics is forgotten, and the group stays.

A group that has members is not deleted, and offsets of a topic are not while a member subscribes to it. At a
terminal delete asks first, unless --yes is given.`,
		Example: `  troupe group delete billing
  troupe group delete billing --offsets --topic orders
  troupe group delete billing --offsets --topic orders:0,1`,
		Args: oneOrMore("GROUP"),

		ValidArgsFunction: completeGroups(bootstrap, anyNumber),
	}
	set := cmd.Flags()
	set.BoolVar(&ifExists, "if-exists", false, "pass over groups that do not exist")
	set.BoolVar(&offsets, "offsets", false, "delete only offsets, of --topic")
	yesFlag(set, &yes)
	topicsFlag(cmd, bootstrap, &topics)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		selected, err := parseTopicsFlag(topics)
		switch {
		case err != nil:
			return err
		case offsets && len(selected) == 0:
			return usagef("--offsets needs --topic: say whose offsets are to be forgotten")
		case !offsets && len(selected) > 0:
			return usagef("--topic goes with --offsets; without, the groups are deleted")
		}
		what := "Groups and all that they have committed are"
		if offsets {
			what = "What these groups have committed of " + strings.Join(topics, " and ") + " is"
		}
		if err := confirmDeletion(cmd.Context(), std, yes, what, names); err != nil {
			return err
		}
		return withClient(cmd.Context(), *bootstrap, func(ctx context.Context, c *client.Client) error {
			return forEach(ctx, names, func(name string) error {
				done := "deleted " + printable(name)
				var err error
				if offsets {
					done, err = deleteOffsets(ctx, c, name, selected)
				} else {
					err = c.DeleteGroup(ctx, name)
				}
				switch {
				case ifExists && errors.Is(err, client.ErrUnknownGroup):
					return nil
				case errors.Is(err, client.ErrUnknownGroup):
					return explain(err, hintForGroup(err, name)+"; --if-exists accepts that")
				case err != nil:
					return explain(err, hintForMembers(ctx, c, err, name))
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), done)
				return err
			})
		})
	}
	return cmd
}

// deleteOffsets forgets what a group has committed of topics, and says what that was.
func deleteOffsets(ctx context.Context, c *client.Client, group string, selected []topicSelection) (string, error) {
	committed, err := c.FetchOffsets(ctx, group)
	if err != nil {
		return "", err
	}
	var names []client.PartitionName
	for _, o := range committed {
		name := client.PartitionName{Topic: o.Topic, Partition: o.Partition}
		if selects(selected, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		if _, err := c.DescribeGroup(ctx, group); err != nil {
			return "", err
		}
	}
	for _, s := range selected { // one without an offset may be misspelt; one with offsets need not exist any more
		if !slices.ContainsFunc(names, s.selects) {
			if _, err := s.partitions(ctx, c); err != nil {
				return "", err
			}
		}
	}
	if len(names) == 0 {
		return printable(group) + " has committed nothing there", nil
	}
	if err := c.DeleteOffsets(ctx, group, names...); err != nil {
		return "", inFewLines(err)
	}
	return "deleted " + plural(int64(len(names)), "offset") + " of " + printable(group), nil
}

// inFewLines is an error of many partitions with a line for each code: the first partition, and how many more there are.
func inFewLines(err error) error {
	all, several := err.(interface{ Unwrap() []error })
	if !several {
		return err
	}
	var lines []error
	more := make(map[wire.ErrorCode]int)
	for _, err := range all.Unwrap() {
		code := wire.Code(err)
		if _, told := more[code]; !told {
			lines = append(lines, err)
		}
		more[code]++
	}
	for i, err := range lines {
		var first *client.PartitionError
		if n := more[wire.Code(err)] - 1; n > 0 && errors.As(err, &first) {
			lines[i] = fmt.Errorf("%v and %d more: %w", place{first.Topic, first.Partition}, n, first.Err)
		}
	}
	return errors.Join(lines...)
}
