package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/wire/client"
)

func newCompletion() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a script that completes commands, flags and arguments on Tab",
		Long:  "Completion prints the script that lets bash, zsh, fish or powershell complete troupe's commands and flags.",
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

// completeNames completes arguments, each name once, with what list learns of the cluster. Without one there is nothing to offer.
func completeNames(bootstrap *string, arguments int, list func(context.Context, *client.Client) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if arguments != anyNumber && len(args) >= arguments {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []cobra.Completion
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		err := withClient(ctx, *bootstrap, func(ctx context.Context, c *client.Client) error {
			all, err := list(ctx, c)
			for _, name := range all {
				if strings.HasPrefix(name, typed) && !slices.Contains(args, name) {
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

// completionTimeout is how long whoever pressed Tab may be kept waiting.
const completionTimeout = 2 * time.Second

// completeFlag completes the value of a flag with the words that it takes.
func completeFlag(cmd *cobra.Command, flag string, words ...cobra.Completion) {
	complete := cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the flag was defined a line above
	}
}
