package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/wire/client"
)

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
