package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

func newCompletion() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a script that completes commands, flags and arguments on Tab",
		Long: `Completion prints the script that lets bash, zsh, fish or powershell complete troupe's commands and flags.

That of bash needs the package bash-completion: without it each Tab complains of _get_comp_words_by_ref.`,
		Example: `  source <(troupe completion bash)                 # this shell
  troupe completion zsh > "${fpath[1]}/_troupe"    # every zsh from now on`,
		GroupID:   groupInspect,
		ValidArgs: shells,
		Args:      exactly("SHELL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return usagef("there is no completion for %s; write bash, zsh, fish or powershell", args[0])
		},
	}
}

// anyNumber of arguments.
const anyNumber = -1

// completeTopics completes up to so many arguments with the names of topics.
func completeTopics(bootstrap *string, arguments int) cobra.CompletionFunc {
	return completeNames(bootstrap, arguments, func(ctx context.Context, c *client.Client) (names []string, err error) {
		topics, err := c.DescribeTopics(ctx)
		for i := range topics {
			if !topics[i].Internal {
				names = append(names, topics[i].Name)
			}
		}
		return names, err
	})
}

// completeGroups completes up to so many arguments with the names of groups.
func completeGroups(bootstrap *string, arguments int) cobra.CompletionFunc {
	return completeNames(bootstrap, arguments, func(ctx context.Context, c *client.Client) (names []string, err error) {
		groups, err := c.ListGroups(ctx)
		for _, g := range groups {
			names = append(names, string(g.Group))
		}
		return names, err
	})
}

// completeNames completes arguments, each name once, with what list learns of the cluster.
func completeNames(bootstrap *string, arguments int, list func(context.Context, *client.Client) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if arguments != anyNumber && len(args) >= arguments {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, directive := completions(cmd, *bootstrap, typed, list)
		return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(args, name) }), directive
	}
}

// completions returns those of a list that begin with what was typed. Without a cluster there is nothing to offer, nor is what a
// shell could take for something else than one word.
func completions(cmd *cobra.Command, bootstrap, typed string, list func(context.Context, *client.Client) ([]string, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	err := withClient(ctx, bootstrap, func(ctx context.Context, c *client.Client) error {
		all, err := list(ctx, c)
		for _, name := range all {
			if strings.HasPrefix(name, typed) && printable(name) == name {
				found = append(found, name)
			}
		}
		return err
	})
	if err != nil && len(found) == 0 {
		return nil, cobra.ShellCompDirectiveError
	}
	slices.Sort(found)
	return found, cobra.ShellCompDirectiveNoFileComp
}

// completeConfigs completes --config with the keys that topics have, up to the equals sign: those of the topic that is named or, if there
// is no such one, of any.
func completeConfigs(cmd *cobra.Command, bootstrap *string) {
	completeFlagWith(cmd, "config", func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		keys, directive := completions(cmd, *bootstrap, typed, func(ctx context.Context, c *client.Client) ([]string, error) {
			entries, err := configsOf(ctx, c, args)
			keys := make([]string, len(entries))
			for i := range entries {
				keys[i] = entries[i].Name + "="
			}
			return keys, err
		})
		return keys, directive | cobra.ShellCompDirectiveNoSpace
	})
}

// completeSetConfigs completes --delete-config with the keys that were set for the topic that is named.
func completeSetConfigs(cmd *cobra.Command, bootstrap *string) {
	completeFlagWith(cmd, "delete-config", func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return completions(cmd, *bootstrap, typed, func(ctx context.Context, c *client.Client) (keys []string, err error) {
			entries, err := configsOf(ctx, c, args)
			for i := range entries {
				if entries[i].Source == wire.SourceDynamicTopic {
					keys = append(keys, entries[i].Name)
				}
			}
			return keys, err
		})
	})
}

// configsOf returns the configurations of the topic that is named or, if there is no such one, of any.
func configsOf(ctx context.Context, c *client.Client, args []string) ([]client.ConfigEntry, error) {
	if len(args) > 0 {
		if entries, err := c.DescribeConfigs(ctx, client.TopicConfigs(args[0])); err == nil {
			return entries, nil
		}
	}
	topics, err := c.DescribeTopics(ctx)
	if err != nil || len(topics) == 0 {
		return nil, err
	}
	return c.DescribeConfigs(ctx, client.TopicConfigs(topics[0].Name))
}

// completionTimeout is how long whoever pressed Tab may be kept waiting.
const completionTimeout = 2 * time.Second

// completeFlag completes the value of a flag with the words that it takes.
func completeFlag(cmd *cobra.Command, flag string, words ...cobra.Completion) {
	completeFlagWith(cmd, flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// completeList completes the last of the words of a flag that takes several, with commas between.
func completeList(cmd *cobra.Command, flag string, words ...string) {
	completeFlagWith(cmd, flag, func(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		before := typed[:strings.LastIndexByte(typed, ',')+1]
		given := strings.Split(before, ",")
		var lists []cobra.Completion
		for _, word := range words {
			if !slices.Contains(given, word) {
				lists = append(lists, before+word)
			}
		}
		return lists, cobra.ShellCompDirectiveNoFileComp
	})
}

// ofFlag makes the completion of arguments that of a flag: the arguments are something else.
func ofFlag(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return complete(cmd, nil, typed)
	}
}

func completeFlagWith(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the flag was defined a line above
	}
}

// withoutBackticks takes the marks out of the texts of flags that --help reads, and completion would show.
func withoutBackticks(root *cobra.Command) {
	walk(root, func(cmd *cobra.Command) {
		for _, set := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags()} {
			set.VisitAll(func(flag *pflag.Flag) { flag.Usage = strings.ReplaceAll(flag.Usage, "`", "") })
		}
	})
}
