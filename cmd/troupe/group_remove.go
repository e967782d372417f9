package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

func newGroupRemoveMember(std streams, bootstrap *string) *cobra.Command {
	var (
		instances, members []string
		yes                bool
	)
	cmd := &cobra.Command{
		Use:   "remove-member GROUP",
		Short: "Take members out of a group that do not come back",
		Long: `Remove-member takes members out of a group: static ones that have stopped, whose places the group keeps until
their sessions end, or any that hang. Others get their partitions with their next heartbeats. A member that
lives joins again by itself, so stop it first. At a terminal remove-member asks first, unless --yes is given.

Static members are named by their instances, and others by the ids that "troupe group describe GROUP --members"
shows.`,
		Example: `  troupe group describe billing --members
  troupe group remove-member billing --instance till-3
  troupe group remove-member billing --member pxwLsOTMqOJ_dNQDK1Ak8A`,
		Args: exactly("GROUP"),

		ValidArgsFunction: completeGroups(bootstrap, 1),
	}
	set := cmd.Flags()
	set.StringArrayVar(&instances, "instance", nil, "`name` of a static member; may be repeated")
	set.StringArrayVar(&members, "member", nil, "`id` of a member; may be repeated")
	completeMembers(cmd, bootstrap, "instance", func(m *client.GroupMember) string { return m.Instance })
	completeMembers(cmd, bootstrap, "member", func(m *client.GroupMember) string { return string(m.Member) })
	yesFlag(set, &yes)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(instances)+len(members) == 0 {
			return usagef("whom? Give --instance or --member; %s", whoIsThere(args[0]))
		}
		c, err := connect(cmd.Context(), *bootstrap)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }() // nothing is left to be told
		found, err := membersToRemove(cmd.Context(), c, args[0], instances, members)
		if err != nil {
			return err
		}
		var named []string
		for _, m := range found {
			named = append(named, nameOf(m)+", "+whatItDoes(m))
		}
		what := fmt.Sprintf("Members are going to be taken out of group %s: %s.", args[0], strings.Join(named, "; "))
		if err := confirmAtTerminal(cmd.Context(), std, yes, what); err != nil {
			return err
		}
		return removeMembers(cmd, c, args[0], found)
	}
	return cmd
}

// membersToRemove finds those who are named. Nobody is taken out if one of them is not there: it may be misspelt.
func membersToRemove(ctx context.Context, c *client.Client, group string, instances, members []string) (found []*client.GroupMember, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	described, err := c.DescribeGroup(ctx, group)
	if err != nil {
		return nil, explain(err, hintForGroup(err, group))
	}
	find := func(names []string, kind string, is func(*client.GroupMember) string) error {
		return forEach(ctx, names, func(name string) error {
			i := slices.IndexFunc(described.Members, func(m client.GroupMember) bool { return name != "" && is(&m) == name })
			if i < 0 {
				return fmt.Errorf("group %s has no member with the %s %q; %s", group, kind, name, whoIsThere(group))
			}
			if m := &described.Members[i]; !slices.Contains(found, m) {
				found = append(found, m)
			}
			return nil
		})
	}
	return found, errors.Join(
		find(instances, "instance", func(m *client.GroupMember) string { return m.Instance }),
		find(members, "id", func(m *client.GroupMember) string { return string(m.Member) }),
	)
}

func removeMembers(cmd *cobra.Command, c *client.Client, group string, found []*client.GroupMember) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), adminTimeout)
	defer cancel()
	return forEach(ctx, found, func(m *client.GroupMember) error {
		if err := c.RemoveMember(ctx, group, string(m.Member), m.Instance); err != nil {
			return explain(err, whoIsThere(group))
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "took %s out of %s\n", printable(nameOf(m)), printable(group))
		return err
	})
}

func whoIsThere(group string) string {
	return fmt.Sprintf("\"troupe group describe %s --members\" shows who is there", group)
}

// nameOf is how an operator knows a member.
func nameOf(m *client.GroupMember) string { return cmp.Or(m.Instance, string(m.Member)) }

// awayInstances returns the static members that have stopped, and whose places are kept.
func awayInstances(members []client.GroupMember) (instances []string) {
	for i := range members {
		if m := &members[i]; isAway(m) {
			instances = append(instances, m.Instance)
		}
	}
	return instances
}

// shownAway is how many of the members that are away a line has room for.
const shownAway = 3

// hintForAway says what to do about static members that have stopped.
func hintForAway(group string, instances []string) string {
	shown := slices.Sorted(slices.Values(instances))
	shown = shown[:min(len(shown), shownAway)]
	for i, instance := range shown {
		shown[i] = printable(instance) // any client may have chosen it
	}
	them, command := strings.Join(shown, ", "), "troupe group remove-member "+shellWord(group)
	if more := len(instances) - len(shown); more > 0 {
		them += fmt.Sprintf(" and %d more", more)
	}
	for _, instance := range shown {
		command += " --instance " + shellWord(instance)
	}
	return fmt.Sprintf("static members have stopped (%s), and their places are kept until their sessions end, "+
		"after 45 s unless group.consumer.session.timeout.ms was set, or \"%s\" takes them out", them, command)
}

// shellWord is a name as it has to be typed for a shell to take it for one word, and for nothing else.
func shellWord(name string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.:/@", r)
	}
	if name != "" && strings.TrimFunc(name, plain) == "" {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

// isAway says that a static member has stopped, and its place is kept.
func isAway(m *client.GroupMember) bool {
	return m.Instance != "" && m.Epoch == wire.StaticMemberPauses
}

func whatItDoes(m *client.GroupMember) string {
	if isAway(m) {
		return "who has stopped"
	}
	partitions := 0
	for _, t := range m.Assigned {
		partitions += len(t.Partitions)
	}
	return "who has not stopped and has " + plural(int64(partitions), "partition")
}

// completeMembers completes a flag with what names the members of the group that is the argument.
func completeMembers(cmd *cobra.Command, bootstrap *string, flag string, name func(*client.GroupMember) string) {
	completeFlagWith(cmd, flag, func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return completions(cmd, *bootstrap, typed, func(ctx context.Context, c *client.Client) (names []string, err error) {
			if len(args) == 0 {
				return nil, nil
			}
			described, err := c.DescribeGroup(ctx, args[0])
			if err != nil {
				return nil, err
			}
			for i := range described.Members {
				if n := name(&described.Members[i]); n != "" {
					names = append(names, n)
				}
			}
			return names, nil
		})
	})
}
