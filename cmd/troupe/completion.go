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

// completeTopics completes up to so many arguments with the names of topics. Without a cluster
// there is nothing to offer.
func completeTopics(bootstrap *string, arguments int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if arguments != anyNumber && len(args) >= arguments {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []cobra.Completion
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		err := withClient(ctx, *bootstrap, func(ctx context.Context, c *client.Client) error {
			topics, err := c.DescribeTopics(ctx)
			for _, topic := range topics {
				if !topic.Internal && strings.HasPrefix(topic.Name, typed) && !slices.Contains(args, topic.Name) {
					names = append(names, topic.Name)
				}
			}
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
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
