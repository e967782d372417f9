package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/wire/client"
)

// topicSelection is what --topic selects: a topic, or some of its partitions.
type topicSelection struct {
	topic  string
	ranges []partitionRange // nil for all partitions
}

// partitionRange is from a partition to another, both included.
type partitionRange struct{ first, last int32 }

// topicsFlag adds --topic for partitions to a command.
func topicsFlag(cmd *cobra.Command, bootstrap *string, topics *[]string) {
	cmd.Flags().StringArrayVar(topics, "topic", nil, "`topic`, or some of its partitions as in orders:0,2 or orders:0-5; may be repeated")
	completeFlagWith(cmd, "topic", ofFlag(completeTopics(bootstrap, anyNumber)))
}

// parseTopicsFlag reads --topic as Kafka's tool does, orders or orders:0,2, and as we write partitions: orders/0-2.
func parseTopicsFlag(values []string) ([]topicSelection, error) {
	var selected []topicSelection
	for _, value := range values {
		end := strings.IndexAny(value, ":/") // which no topic has in its name
		if end < 0 {
			end = len(value)
		}
		one := topicSelection{topic: value[:end]}
		if one.topic == "" || end == len(value)-1 {
			return nil, usagef("--topic %s: write a topic, or some of its partitions as in orders:0,2 or orders:0-5", value)
		}
		if end < len(value) {
			for part := range strings.SplitSeq(value[end+1:], ",") {
				partitions, ok := parsePartitions(part)
				if !ok {
					return nil, usagef("--topic %s: %q is no partition; write numbers as in orders:0,2 or orders:0-5", value, part)
				}
				one.ranges = append(one.ranges, partitions)
			}
		}
		selected = append(selected, one)
	}
	return selected, nil
}

// parsePartitions reads 3, or 0-5.
func parsePartitions(text string) (partitionRange, bool) {
	from, to, several := strings.Cut(text, "-")
	if !several {
		to = from
	}
	first, firstErr := strconv.ParseUint(from, 10, 31)
	last, lastErr := strconv.ParseUint(to, 10, 31)
	return partitionRange{int32(first), int32(last)}, firstErr == nil && lastErr == nil && first <= last
}

func selects(selected []topicSelection, name client.PartitionName) bool {
	return slices.ContainsFunc(selected, func(s topicSelection) bool { return s.selects(name) })
}

func (s topicSelection) selects(name client.PartitionName) bool {
	return s.topic == name.Topic && (s.ranges == nil || slices.ContainsFunc(s.ranges, func(r partitionRange) bool {
		return r.first <= name.Partition && name.Partition <= r.last
	}))
}

// partitions returns the partitions that are selected. It is an error if the topic does not have them.
func (s topicSelection) partitions(ctx context.Context, c *client.Client) ([]client.PartitionName, error) {
	count, err := partitionCount(ctx, c, s.topic)
	if err != nil {
		return nil, err
	}
	for _, r := range s.ranges {
		if r.last >= count {
			return nil, fmt.Errorf("there is no partition %v, only %d of them; see \"troupe topic describe %s\"", place{s.topic, max(r.first, count)}, count, s.topic)
		}
	}
	var names []client.PartitionName
	for number := range count {
		if name := (client.PartitionName{Topic: s.topic, Partition: number}); s.selects(name) {
			names = append(names, name)
		}
	}
	return names, nil
}
