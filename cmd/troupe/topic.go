package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// topicJSON is a topic as --json shows it.
type topicJSON struct {
	Name       string            `json:"name"`
	TopicID    string            `json:"topic_id"`
	State      string            `json:"state"`   // healthy, or what is wrong
	Records    int64             `json:"records"` // offsets between the ends of its partitions
	Configs    map[string]string `json:"configs"` // that were set for this topic
	Partitions []partitionJSON   `json:"partitions"`
}

type partitionJSON struct {
	Partition      int32   `json:"partition"`
	Leader         int32   `json:"leader"` // -1 without one
	LeaderEpoch    int32   `json:"leader_epoch"`
	PartitionEpoch int32   `json:"partition_epoch"`
	Replicas       []int32 `json:"replicas"` // the preferred leader first
	ISR            []int32 `json:"isr"`
	Adding         []int32 `json:"adding"` // of the replicas, those that a reassignment brings in
	Removing       []int32 `json:"removing"`
	LogStartOffset int64   `json:"log_start_offset"` // -1 when nobody can tell
	HighWatermark  int64   `json:"high_watermark"`
}

func newTopic(std streams) *cobra.Command {
	var bootstrap string
	cmd := &cobra.Command{
		Use:   "topic",
		Short: "Create, list, describe, alter, move and delete topics",
		Long: `Topic has the commands that create, list, describe, alter and delete topics, and that change which
brokers hold and lead their partitions.`,
		Example: `  troupe topic create access-log --partitions 6
  troupe topic list
  troupe topic describe access-log`,
		GroupID: groupUse,
	}
	bootstrapFlag(cmd.PersistentFlags(), &bootstrap)
	cmd.AddCommand(
		newTopicCreate(&bootstrap), newTopicList(&bootstrap), newTopicDescribe(&bootstrap),
		newTopicAlter(&bootstrap), newTopicDelete(std, &bootstrap), newTopicReassign(std, &bootstrap), newTopicElectLeaders(std, &bootstrap),
	)
	return cmd
}

// withClient runs one exchange with the cluster.
func withClient(ctx context.Context, bootstrap string, exchange func(context.Context, *client.Client) error) error {
	c, err := connect(ctx, bootstrap)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // nothing is left to be told
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	return exchange(ctx, c)
}

func newTopicCreate(bootstrap *string) *cobra.Command {
	var (
		partitions  int32
		replication int16
		configs     []string
		ifNotExists bool
	)
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a topic",
		Long: `Create makes a topic. Without --partitions and --replication-factor it gets what the brokers are
configured to give: num.partitions and default.replication.factor.`,
		Example: `  troupe topic create access-log --partitions 6
  troupe topic create orders --config retention.ms=604800000 --config max.message.bytes=2097152
  troupe topic create metrics --config durability=replicated --if-not-exists`,
		Args: exactly("NAME"),
	}
	set := cmd.Flags()
	set.Int32Var(&partitions, "partitions", -1, "`number` of partitions; -1 for the brokers' default")
	set.Int16Var(&replication, "replication-factor", -1, "`number` of copies of each; -1 for the brokers' default")
	set.StringArrayVar(&configs, "config", nil, "configuration as `key=value`; may be repeated")
	completeConfigs(cmd, bootstrap)
	set.BoolVar(&ifNotExists, "if-not-exists", false, "do nothing if there is such a topic")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := args[0]
		if partitions < -1 || partitions == 0 {
			return usagef("--partitions %d: write a number from 1 up, or -1 for the brokers' default", partitions)
		}
		if replication < -1 || replication == 0 {
			return usagef("--replication-factor %d: write a number from 1 up, or -1 for the brokers' default", replication)
		}
		values, err := parseConfigs(configs)
		if err != nil {
			return err
		}
		return withClient(cmd.Context(), *bootstrap, func(ctx context.Context, c *client.Client) error {
			err := c.CreateTopic(ctx, client.NewTopic{
				Name: name, Partitions: partitions, ReplicationFactor: replication, Configs: values,
			})
			if ifNotExists && errors.Is(err, wire.TopicAlreadyExists) {
				return nil
			}
			if err != nil {
				return explain(err, hintFor(err, name))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "created %s\n", name)
			return err
		})
	}
	return cmd
}

// parseConfigs reads key=value assignments.
func parseConfigs(assignments []string) (map[string]string, error) {
	configs := make(map[string]string, len(assignments))
	for _, assignment := range assignments {
		key, value, found := strings.Cut(assignment, "=")
		if !found || key == "" {
			return nil, usagef("--config %s: write key=value, as in --config retention.ms=3600000", assignment)
		}
		configs[key] = value
	}
	return configs, nil
}

func newTopicList(bootstrap *string) *cobra.Command {
	var asJSON, internal bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the topics",
		Long:    "List shows every topic with its number of partitions and replicas, by name; internal ones with --internal.",
		Example: "  troupe topic list\n  troupe topic list --json | jq -r '.[].name'",
		Args:    exactly(),
	}
	jsonFlag(cmd, &asJSON)
	cmd.Flags().BoolVar(&internal, "internal", false, "show internal topics, too, which belong to the brokers")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withClient(cmd.Context(), *bootstrap, func(ctx context.Context, c *client.Client) error {
			topics, err := describeTopics(ctx, c, nil, internal)
			if err != nil {
				return explain(err, "")
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), topics)
			}
			var rows [][]string
			for _, topic := range topics {
				rows = append(rows, []string{topic.Name, strconv.Itoa(len(topic.Partitions)), replicas(topic), strconv.FormatInt(topic.Records, 10), topic.State})
			}
			return writeTable(cmd.OutOrStdout(), []string{"NAME", "PARTITIONS", "REPLICAS", "RECORDS", "STATE"}, rows)
		})
	}
	return cmd
}

func newTopicDescribe(bootstrap *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "describe [NAME...]",
		Short: "Show partitions, offsets and configuration of topics",
		Long: `Describe shows the partitions of topics with their leaders, replicas and offsets, and the
configuration that was set for them. Without a name it shows every topic.`,
		Example: "  troupe topic describe access-log\n  troupe topic describe --json",
		Args:    cobra.ArbitraryArgs,

		ValidArgsFunction: completeTopics(bootstrap, anyNumber),
	}
	jsonFlag(cmd, &asJSON)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		return withClient(cmd.Context(), *bootstrap, func(ctx context.Context, c *client.Client) error {
			topics, missing := describeNamed(ctx, c, names)
			if missing != nil && len(topics) == 0 {
				return missing
			}
			if asJSON {
				return cmp.Or(writeJSON(cmd.OutOrStdout(), topics), missing)
			}
			for i, topic := range topics {
				if i > 0 {
					_, _ = fmt.Fprintln(cmd.OutOrStdout()) // the table below meets the same writer
				}
				if err := printTopic(cmd, topic); err != nil {
					return err
				}
			}
			return missing
		})
	}
	return cmd
}

// printTopic writes one topic for people.
func printTopic(cmd *cobra.Command, topic topicJSON) error {
	out := cmd.OutOrStdout()
	facts := [][]string{{"topic", topic.Name}, {"id", topic.TopicID}, {"state", topic.State}}
	for _, key := range slices.Sorted(maps.Keys(topic.Configs)) {
		facts = append(facts, []string{key, topic.Configs[key]})
	}
	if err := writeTable(out, nil, facts); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	var rows [][]string
	for _, p := range topic.Partitions {
		leader := "none"
		if p.Leader != int32(wire.NoBroker) {
			leader = strconv.Itoa(int(p.Leader))
		}
		row := []string{
			strconv.Itoa(int(p.Partition)), leader, strconv.Itoa(int(p.LeaderEpoch)), strconv.Itoa(int(p.PartitionEpoch)), joinIDs(p.Replicas), joinIDs(p.ISR),
			strconv.FormatInt(p.LogStartOffset, 10), strconv.FormatInt(p.HighWatermark, 10),
		}
		if moving(topic) {
			row = append(row, joinIDs(p.Adding), joinIDs(p.Removing))
		}
		rows = append(rows, row)
	}
	header := []string{"PARTITION", "LEADER", "LEADER EPOCH", "EPOCH", "REPLICAS", "ISR", "LOG START", "HIGH WATERMARK"}
	if moving(topic) {
		header = append(header, "ADDING", "REMOVING")
	}
	return writeTable(out, header, rows)
}

// moving says that a reassignment of the topic is under way.
func moving(topic topicJSON) bool {
	return slices.ContainsFunc(topic.Partitions, func(p partitionJSON) bool { return len(p.Adding)+len(p.Removing) > 0 })
}

func newTopicAlter(bootstrap *string) *cobra.Command {
	var (
		partitions int32
		configs    []string
		deletes    []string
	)
	cmd := &cobra.Command{
		Use:   "alter NAME",
		Short: "Change configuration, or add partitions",
		Long: `Alter changes the configuration of a topic, or gives it more partitions. Partitions cannot be
taken away, and records with a key go to other partitions from then on.`,
		Example: `  troupe topic alter access-log --config retention.ms=86400000
  troupe topic alter access-log --delete-config retention.ms
  troupe topic alter access-log --partitions 12`,
		Args: exactly("NAME"),

		ValidArgsFunction: completeTopics(bootstrap, 1),
	}
	set := cmd.Flags()
	set.Int32Var(&partitions, "partitions", 0, "`number` of partitions from now on")
	set.StringArrayVar(&configs, "config", nil, "configuration to set, as `key=value`; may be repeated")
	set.StringArrayVar(&deletes, "delete-config", nil, "`key` that goes back to its default; may be repeated")
	completeConfigs(cmd, bootstrap)
	completeSetConfigs(cmd, bootstrap)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := args[0]
		values, err := parseConfigs(configs)
		if err != nil {
			return err
		}
		morePartitions := cmd.Flags().Changed("partitions")
		switch {
		case !morePartitions && len(values) == 0 && len(deletes) == 0:
			return usagef("nothing to alter: give --config key=value, --delete-config key or --partitions N")
		case morePartitions && partitions < 1:
			return usagef("--partitions %d: write how many there shall be, from 1 up", partitions)
		}
		return withClient(cmd.Context(), *bootstrap, func(ctx context.Context, c *client.Client) error {
			if len(values) > 0 || len(deletes) > 0 {
				var changes []client.ConfigChange
				for _, key := range slices.Sorted(maps.Keys(values)) {
					changes = append(changes, client.Set(key, values[key]))
				}
				for _, key := range deletes {
					changes = append(changes, client.Unset(key))
				}
				if err := c.AlterConfigs(ctx, client.TopicConfigs(name), changes...); err != nil {
					return explain(err, hintFor(err, name))
				}
			}
			if morePartitions {
				if err := c.CreatePartitions(ctx, name, partitions); err != nil {
					return explain(err, hintFor(err, name))
				}
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "altered %s\n", name)
			return err
		})
	}
	return cmd
}

func newTopicDelete(std streams, bootstrap *string) *cobra.Command {
	var ifExists, yes bool
	cmd := &cobra.Command{
		Use:     "delete NAME...",
		Short:   "Delete topics with all their records",
		Long:    "Delete removes topics with all their records. There is no way back. At a terminal it asks first, unless --yes is given.",
		Example: "  troupe topic delete access-log\n  troupe topic delete tmp-1 tmp-2 --if-exists",
		Args:    oneOrMore("NAME"),

		ValidArgsFunction: completeTopics(bootstrap, anyNumber),
	}
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "pass over topics that do not exist")
	yesFlag(cmd.Flags(), &yes)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if err := confirmDeletion(cmd.Context(), std, yes, "Topics with all their records are", names); err != nil {
			return err
		}
		return withClient(cmd.Context(), *bootstrap, func(ctx context.Context, c *client.Client) error {
			return forEach(ctx, names, func(name string) error {
				err := c.DeleteTopic(ctx, name)
				switch {
				case ifExists && errors.Is(err, wire.UnknownTopicOrPartition):
					return nil
				case errors.Is(err, wire.UnknownTopicOrPartition):
					return explain(err, "--if-exists accepts that")
				case err != nil:
					return explain(err, "")
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "deleted %s\n", name)
				return err
			})
		})
	}
	return cmd
}

// state sums up how a topic is.
func state(topic topicJSON) string {
	leaderless, under := 0, 0
	for _, p := range topic.Partitions {
		if p.Leader == int32(wire.NoBroker) {
			leaderless++
		}
		if len(p.ISR) < len(p.Replicas)-len(p.Adding) {
			under++
		}
	}
	switch {
	case leaderless > 0:
		return fmt.Sprintf("%d without leader", leaderless)
	case under > 0:
		return fmt.Sprintf("%d under-replicated", under)
	}
	return "healthy"
}

// replicas returns how many copies the partitions of a topic have.
func replicas(topic topicJSON) string {
	if len(topic.Partitions) == 0 {
		return "0"
	}
	byCount := func(a, b partitionJSON) int { return cmp.Compare(len(a.Replicas), len(b.Replicas)) }
	fewest, most := slices.MinFunc(topic.Partitions, byCount), slices.MaxFunc(topic.Partitions, byCount)
	if len(fewest.Replicas) == len(most.Replicas) {
		return strconv.Itoa(len(most.Replicas))
	}
	return fmt.Sprintf("%d-%d", len(fewest.Replicas), len(most.Replicas))
}

// records returns how many offsets lie between the ends of a topic's partitions.
func records(topic topicJSON) int64 {
	var sum int64
	for _, p := range topic.Partitions {
		if p.HighWatermark != unknownOffset && p.LogStartOffset != unknownOffset {
			sum += p.HighWatermark - p.LogStartOffset
		}
	}
	return sum
}

func joinIDs(ids []int32) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.Itoa(int(id))
	}
	return strings.Join(texts, ",")
}
