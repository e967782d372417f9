package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

func newGroup(std streams) *cobra.Command {
	var bootstrap string
	cmd := &cobra.Command{
		Use:   "group",
		Short: "List, describe, reset and delete consumer groups",
		Long: `Group has the commands for consumer groups: who their members are, how far they are behind, and where
they go on. A group begins to exist when somebody consumes in its name.`,
		Example: `  troupe group list
  troupe group describe billing
  troupe group reset billing --topic orders --to-earliest --dry-run`,
		GroupID: groupUse,
	}
	bootstrapFlag(cmd.PersistentFlags(), &bootstrap)
	cmd.AddCommand(
		newGroupList(&bootstrap), newGroupDescribe(&bootstrap), newGroupReset(std, &bootstrap),
		newGroupDelete(std, &bootstrap), newGroupHistory(std, &bootstrap),
	)
	return cmd
}

// listedGroupJSON is a group in the list as --json shows it.
type listedGroupJSON struct {
	Group       string `json:"group"`
	Protocol    string `json:"protocol"` // classic or consumer
	State       string `json:"state"`
	Coordinator int32  `json:"coordinator"`
}

func newGroupList(bootstrap *string) *cobra.Command {
	var (
		asJSON bool
		states []string
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the groups",
		Long: `List shows every consumer group with its protocol, its state and the id of the broker that coordinates
it, by name.`,
		Example: "  troupe group list\n  troupe group list --state Stable,Empty\n  troupe group list --json | jq -r '.[].group'",
		Args:    exactly(),
	}
	jsonFlag(cmd, &asJSON)
	cmd.Flags().StringSliceVar(&states, "state", nil, "only groups in one of these `states`, comma separated")
	known := []wire.GroupState{
		wire.GroupStable, wire.GroupEmpty, wire.GroupAssigning, wire.GroupReconciling,
		wire.GroupPreparingRebalance, wire.GroupCompletingRebalance, wire.GroupDead,
	}
	var words []string
	for _, state := range known {
		words = append(words, string(state))
	}
	completeFlag(cmd, "state", words...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, state := range states {
			if !slices.ContainsFunc(words, func(word string) bool { return strings.EqualFold(word, state) }) {
				return usagef("--state %s: there are %s", state, strings.Join(words, ", "))
			}
		}
		return withClient(cmd.Context(), *bootstrap, func(ctx context.Context, c *client.Client) error {
			groups, err := c.ListGroups(ctx, states...)
			if err != nil && len(groups) == 0 {
				return explain(err, "")
			}
			if printErr := printGroups(cmd, groups, asJSON); printErr != nil {
				return printErr
			}
			if err != nil {
				return fmt.Errorf("some groups are missing: %w", err)
			}
			return nil
		})
	}
	return cmd
}

func printGroups(cmd *cobra.Command, groups []client.ListedGroup, asJSON bool) error {
	slices.SortFunc(groups, func(a, b client.ListedGroup) int { return strings.Compare(string(a.Group), string(b.Group)) })
	if asJSON {
		shown := []listedGroupJSON{}
		for _, g := range groups {
			shown = append(shown, listedGroupJSON{string(g.Group), string(g.Type), string(g.State), int32(g.Coordinator)})
		}
		return writeJSON(cmd.OutOrStdout(), shown)
	}
	var rows [][]string
	for _, g := range groups {
		rows = append(rows, []string{string(g.Group), string(g.Type), string(g.State), strconv.Itoa(int(g.Coordinator))})
	}
	return writeTable(cmd.OutOrStdout(), []string{"GROUP", "PROTOCOL", "STATE", "COORDINATOR"}, rows)
}

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

A group that has members is not deleted, and offsets of a topic are not while a member subscribes to it.`,
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
			what = "Offsets of groups are"
		}
		if err := confirmDeletion(std, yes, what, names); err != nil {
			return err
		}
		return withClient(cmd.Context(), *bootstrap, func(ctx context.Context, c *client.Client) error {
			for _, name := range names {
				done := "deleted " + printable(name)
				var err error
				if offsets {
					done, err = deleteOffsets(ctx, c, name, selected)
				} else {
					err = c.DeleteGroup(ctx, name)
				}
				switch {
				case ifExists && errors.Is(err, client.ErrUnknownGroup):
				case errors.Is(err, client.ErrUnknownGroup):
					return explain(err, hintForGroup(err, name)+"; --if-exists accepts that")
				case err != nil:
					return explain(err, hintForMembers(ctx, c, err, name))
				default:
					if _, err := fmt.Fprintln(cmd.OutOrStdout(), done); err != nil {
						return err
					}
				}
			}
			return nil
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
		return printable(group) + " has committed nothing there", nil
	}
	if err := c.DeleteOffsets(ctx, group, names...); err != nil {
		return "", err
	}
	return "deleted " + plural(int64(len(names)), "offset") + " of " + printable(group), nil
}

// topicSelection is what --topic selects: a topic, or some of its partitions.
type topicSelection struct {
	topic      string
	partitions []int32 // nil for all
}

// topicsFlag adds --topic for partitions to a command.
func topicsFlag(cmd *cobra.Command, bootstrap *string, topics *[]string) {
	cmd.Flags().StringArrayVar(topics, "topic", nil, "`topic`, or some of its partitions as in orders:0,2; may be repeated")
	complete := completeTopics(bootstrap, anyNumber)
	if err := cmd.RegisterFlagCompletionFunc("topic", func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return complete(cmd, nil, typed)
	}); err != nil {
		panic(err) // the flag was defined a line above
	}
}

// parseTopicsFlag reads --topic as Kafka's tool does: orders, or orders:0,2.
func parseTopicsFlag(values []string) ([]topicSelection, error) {
	var selected []topicSelection
	for _, value := range values {
		name, list, some := strings.Cut(value, ":")
		one := topicSelection{topic: name}
		if name == "" || some && list == "" {
			return nil, usagef("--topic %s: write a topic, or some of its partitions as in orders:0,2", value)
		}
		if some {
			for number := range strings.SplitSeq(list, ",") {
				n, err := strconv.ParseInt(number, 10, 32)
				if err != nil || n < 0 {
					return nil, usagef("--topic %s: %q is no partition; write numbers as in orders:0,2", value, number)
				}
				one.partitions = append(one.partitions, int32(n))
			}
		}
		selected = append(selected, one)
	}
	return selected, nil
}

func selects(selected []topicSelection, name client.PartitionName) bool {
	return slices.ContainsFunc(selected, func(s topicSelection) bool {
		return s.topic == name.Topic && (s.partitions == nil || slices.Contains(s.partitions, name.Partition))
	})
}

// hintForMembers is hintForGroup, but knows of static members that have stopped already.
func hintForMembers(ctx context.Context, c *client.Client, err error, group string) string {
	if errors.Is(err, wire.NonEmptyGroup) || errors.Is(err, wire.GroupSubscribedToTopic) {
		if described, err := c.DescribeGroup(ctx, group); err == nil && len(described.Members) > 0 {
			if away := awayInstances(described.Members); len(away) == len(described.Members) {
				return hintForAway(away)
			}
		}
	}
	return hintForGroup(err, group)
}

// hintForGroup says what to do about an error on a group.
func hintForGroup(err error, group string) string {
	switch wire.Code(err) {
	case wire.GroupIDNotFound:
		return "see which ones there are with \"troupe group list\""
	case wire.NonEmptyGroup, wire.UnknownMemberID, wire.GroupSubscribedToTopic:
		return fmt.Sprintf("\"troupe group describe %s --members\" shows who has to stop first", group)
	case wire.CoordinatorNotAvailable, wire.CoordinatorLoadInProgress, wire.NotCoordinator:
		return "\"troupe cluster health\" says what is wrong; \"troupe topic describe " + wire.OffsetsTopic + "\" shows who should coordinate"
	case wire.UnknownTopicOrPartition:
		return "see what there is with \"troupe topic list\""
	default:
		return ""
	}
}

// completeGroups completes up to so many arguments with the names of groups.
func completeGroups(bootstrap *string, arguments int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if arguments != anyNumber && len(args) >= arguments {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []cobra.Completion
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		err := withClient(ctx, *bootstrap, func(ctx context.Context, c *client.Client) error {
			groups, err := c.ListGroups(ctx)
			for _, g := range groups {
				if name := string(g.Group); strings.HasPrefix(name, typed) && !slices.Contains(args, name) {
					names = append(names, name)
				}
			}
			return err
		})
		if err != nil && len(names) == 0 {
			return nil, cobra.ShellCompDirectiveError
		}
		slices.Sort(names)
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
