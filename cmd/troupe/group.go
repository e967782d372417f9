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
		newGroupDelete(std, &bootstrap), newGroupRemoveMember(std, &bootstrap), newGroupHistory(std, &bootstrap),
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

var (
	groupStates = []string{
		string(wire.GroupStable), string(wire.GroupEmpty), string(wire.GroupAssigning), string(wire.GroupReconciling),
	}
	classicGroupStates = []string{ // that groups of KIP-848 have not
		string(wire.GroupPreparingRebalance), string(wire.GroupCompletingRebalance), string(wire.GroupDead),
	}
)

func newGroupList(bootstrap *string) *cobra.Command {
	var (
		asJSON bool
		states []string
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the groups",
		Long: `List shows every consumer group with its protocol, its state and the id of the broker that coordinates it, by
name. The states are ` + strings.Join(groupStates, ", ") + `, and of the classic protocol
` + strings.Join(classicGroupStates, ", ") + ".",
		Example: "  troupe group list\n  troupe group list --state Stable,Empty\n  troupe group list --json | jq -r '.[].group'",
		Args:    exactly(),
	}
	jsonFlag(cmd, &asJSON)
	cmd.Flags().StringSliceVar(&states, "state", nil, "only groups in one of these `states`, comma separated")
	known := slices.Concat(groupStates, classicGroupStates)
	completeList(cmd, "state", known...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, state := range states {
			if !slices.ContainsFunc(known, func(word string) bool { return strings.EqualFold(word, state) }) {
				return usagef("--state %s: there are %s", state, strings.Join(known, ", "))
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

// hintForMembers is hintForGroup, but knows of static members that have stopped already.
func hintForMembers(ctx context.Context, c *client.Client, err error, group string) string {
	if errors.Is(err, wire.NonEmptyGroup) || errors.Is(err, wire.GroupSubscribedToTopic) {
		if described, err := c.DescribeGroup(ctx, group); err == nil && len(described.Members) > 0 {
			if away := awayInstances(described.Members); len(away) == len(described.Members) {
				return hintForAway(group, away)
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
