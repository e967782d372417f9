package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// groupJSON is a group as --json shows it.
type groupJSON struct {
	Group       string               `json:"group"`
	State       string               `json:"state"`
	Protocol    string               `json:"protocol"` // classic or consumer
	Assignor    string               `json:"assignor"`
	Epoch       int32                `json:"epoch"` // of a classic group its generation
	Coordinator int32                `json:"coordinator"`
	Members     []groupMemberJSON    `json:"members"`
	Partitions  []groupPartitionJSON `json:"partitions"`
}

type groupMemberJSON struct {
	Member   string               `json:"member"`
	Instance string               `json:"instance"` // of a static member
	ClientID string               `json:"client_id"`
	Host     string               `json:"host"`
	Protocol string               `json:"protocol"` // that this member speaks
	Epoch    int32                `json:"epoch"`    // -1 of one that speaks the classic protocol, -2 of a static one that has stopped
	Topics   []string             `json:"topics"`   // that it subscribes to
	Pattern  string               `json:"pattern"`  // likewise
	Assigned []topicPartitionJSON `json:"assigned"`
	Target   []topicPartitionJSON `json:"target"` // what it is to have in the end
}

type topicPartitionJSON struct {
	Topic      string  `json:"topic"`
	Partitions []int32 `json:"partitions"`
}

// groupPartitionJSON is how far a group is in a partition. What is not known, or not there, is -1.
type groupPartitionJSON struct {
	Topic         string  `json:"topic"`
	Partition     int32   `json:"partition"`
	CurrentOffset int64   `json:"current_offset"`
	EndOffset     int64   `json:"end_offset"`
	Lag           int64   `json:"lag"`
	LagSeconds    float64 `json:"lag_seconds"`
	Member        string  `json:"member"` // "" where nobody has it
}

// groupViews are what describe can show in its table.
type groupViews struct{ asJSON, members, state bool }

func newGroupDescribe(bootstrap *string) *cobra.Command {
	var views groupViews
	cmd := &cobra.Command{
		Use:   "describe [GROUP...]",
		Short: "Show how far groups are, who is in them, and how they are",
		Long: `Describe shows, for each partition that a group has committed an offset of or given to a member, where the
group goes on, where the partition ends, and how far the group is behind: in records, and in seconds since the
first record came that is not committed yet. Without a name it shows every group.

With --members it shows the members: a static one that has stopped is away, for as long as the group keeps its
place. With --state it shows how the group itself is. In JSON, current_offset, lag and lag_seconds are -1 where
nothing is committed yet.`,
		Example: `  troupe group describe billing
  troupe group describe billing --members
  troupe group describe billing --json | jq '.[0].partitions[] | select(.lag_seconds > 60 or .current_offset < 0)'`,
		Args: cobra.ArbitraryArgs,

		ValidArgsFunction: completeGroups(bootstrap, anyNumber),
	}
	jsonFlag(cmd, &views.asJSON)
	cmd.Flags().BoolVar(&views.members, "members", false, "show the members")
	cmd.Flags().BoolVar(&views.state, "state", false, "show state, coordinator and assignor")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if views.members && views.state {
			return usagef("--members and --state exclude each other; give one of them, or --json for all")
		}
		return withClient(cmd.Context(), *bootstrap, func(ctx context.Context, c *client.Client) error {
			groups, missing := describeGroups(ctx, c, names)
			if missing != nil && len(groups) == 0 {
				return missing
			}
			return cmp.Or(views.print(ctx, cmd, c, groups), missing)
		})
	}
	return cmd
}

func (v groupViews) print(ctx context.Context, cmd *cobra.Command, c *client.Client, groups []groupJSON) error {
	switch {
	case v.asJSON:
		return writeJSON(cmd.OutOrStdout(), groups)
	case v.state:
		return printGroupStates(ctx, cmd, c, groups)
	case len(groups) == 0: // which is no reason to be silent
		return v.printGroup(cmd, &groupJSON{})
	}
	for i := range groups {
		if i > 0 {
			_, _ = fmt.Fprintln(cmd.OutOrStdout()) // the table below meets the same writer
		}
		tellOfMembers(cmd.ErrOrStderr(), &groups[i])
		if err := v.printGroup(cmd, &groups[i]); err != nil {
			return err
		}
	}
	return nil
}

// describeGroups returns those of the named groups that there are, or all by name. The error has a line for each that is missing.
func describeGroups(ctx context.Context, c *client.Client, names []string) ([]groupJSON, error) {
	all := len(names) == 0
	if all {
		listed, err := c.ListGroups(ctx)
		if err != nil {
			return nil, explain(err, hintForGroup(err, ""))
		}
		for _, g := range listed {
			names = append(names, string(g.Group))
		}
		slices.Sort(names)
	}
	found, failures := make([]*groupJSON, len(names)), make([]error, len(names))
	var asks errgroup.Group
	asks.SetLimit(maxAsks)
	for i, name := range names {
		asks.Go(func() error {
			group, err := describeGroup(ctx, c, name)
			switch {
			case all && errors.Is(err, client.ErrUnknownGroup): // it has gone meanwhile
			case err != nil:
				failures[i] = explain(err, hintForGroup(err, name))
			default:
				found[i] = &group
			}
			return nil
		})
	}
	_ = asks.Wait() // each has its own failure
	groups := []groupJSON{}
	for _, group := range found {
		if group != nil {
			groups = append(groups, *group)
		}
	}
	if ctx.Err() != nil { // then they all fail by that, and one line says it
		return groups, cmp.Or(failures...)
	}
	return groups, errors.Join(failures...)
}

func describeGroup(ctx context.Context, c *client.Client, name string) (groupJSON, error) {
	described, err := c.DescribeGroup(ctx, name)
	if err != nil {
		return groupJSON{}, err
	}
	committed, err := c.FetchOffsets(ctx, name)
	if err != nil {
		return groupJSON{}, err
	}
	group := groupJSON{
		Group: name, State: string(described.State), Protocol: string(described.Type), Assignor: described.Protocol,
		Epoch: described.Epoch, Coordinator: int32(described.Coordinator), Members: []groupMemberJSON{}, Partitions: []groupPartitionJSON{},
	}
	if described.Type == wire.ClassicGroup {
		group.Epoch = int32(described.Generation)
	}
	owner := make(map[client.PartitionName]string)
	for i := range described.Members {
		m := &described.Members[i]
		group.Members = append(group.Members, newGroupMemberJSON(described.Type, m))
		for _, t := range m.Assigned {
			for _, p := range t.Partitions {
				owner[client.PartitionName{Topic: t.Topic, Partition: p}] = string(m.Member)
			}
		}
	}
	offsets := make(map[client.PartitionName]int64)
	for _, o := range committed {
		offsets[client.PartitionName{Topic: o.Topic, Partition: o.Partition}] = int64(o.Offset)
	}
	for at := range owner {
		if _, known := offsets[at]; !known {
			offsets[at] = unknownOffset
		}
	}
	for at, offset := range offsets {
		group.Partitions = append(group.Partitions, groupPartitionJSON{
			Topic: at.Topic, Partition: at.Partition, CurrentOffset: offset, EndOffset: unknownOffset, Lag: -1, LagSeconds: -1, Member: owner[at],
		})
	}
	slices.SortFunc(group.Partitions, func(a, b groupPartitionJSON) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return group, fillLags(ctx, c, group.Partitions)
}

func newGroupMemberJSON(of wire.GroupType, m *client.GroupMember) groupMemberJSON {
	shown := groupMemberJSON{
		Member: string(m.Member), Instance: m.Instance, ClientID: m.ClientID, Host: m.ClientHost, Protocol: string(wire.ConsumerGroup), Epoch: m.Epoch,
		Topics: append([]string{}, m.SubscribedTopics...), Pattern: m.Pattern,
		Assigned: newTopicPartitions(m.Assigned), Target: newTopicPartitions(m.Target),
	}
	if of == wire.ClassicGroup || m.Classic {
		shown.Protocol = string(wire.ClassicGroup)
	}
	if of == wire.ClassicGroup {
		shown.Epoch = wire.ClassicMemberEpochs
	}
	return shown
}

func newTopicPartitions(topics []wire.NamedPartitions) []topicPartitionJSON {
	shown := []topicPartitionJSON{}
	for _, t := range topics {
		shown = append(shown, topicPartitionJSON{t.Topic, append([]int32{}, t.Partitions...)})
	}
	return shown
}

// fillLags asks where partitions end, and how old the first record is that is not committed.
func fillLags(ctx context.Context, c *client.Client, partitions []groupPartitionJSON) error {
	at := make([]client.GroupOffset, len(partitions))
	for i, p := range partitions {
		at[i] = client.GroupOffset{Topic: p.Topic, Partition: p.Partition, Offset: wire.Offset(p.CurrentOffset)}
	}
	times, err := c.AppendTimes(ctx, at...)
	if err != nil {
		return err
	}
	for i := range times {
		p, t := &partitions[i], &times[i]
		if t.Err != nil {
			continue // a topic that was deleted, or that nobody leads: describing it says more
		}
		p.EndOffset = int64(t.HighWatermark)
		if p.CurrentOffset == unknownOffset {
			continue
		}
		p.Lag = max(p.EndOffset-p.CurrentOffset, 0)
		switch {
		case p.Lag == 0:
			p.LagSeconds = 0
		case !t.Appended.IsZero():
			p.LagSeconds = math.Round(t.Age.Seconds()*1000) / 1000
		}
	}
	return nil
}

// tellOfMembers says what a table of a group does not: that nobody is there, or is for the time being.
func tellOfMembers(out io.Writer, group *groupJSON) {
	if len(group.Members) == 0 {
		_, _ = fmt.Fprintf(out, "group %s has no active members\n", printable(group.Group)) // the table says the rest
	}
	var away []string
	for _, m := range group.Members {
		if m.Epoch == wire.StaticMemberPauses {
			away = append(away, m.Instance)
		}
	}
	if len(away) > 0 {
		_, _ = fmt.Fprintf(out, "group %s: %s\n", printable(group.Group), printable(hintForAway(group.Group, away))) // its EPOCH shows it, too
	}
}

// printGroup writes one group for people, in the columns of Kafka's tool.
func (v groupViews) printGroup(cmd *cobra.Command, group *groupJSON) error {
	if v.members {
		return printMembers(cmd, group)
	}
	byID := make(map[string]*groupMemberJSON)
	for i := range group.Members {
		byID[group.Members[i].Member] = &group.Members[i]
	}
	var rows [][]string
	for _, p := range group.Partitions {
		host, id := "-", "-"
		if m := byID[p.Member]; m != nil {
			host, id = orDash(m.Host), orDash(m.ClientID)
		}
		rows = append(rows, []string{
			group.Group, p.Topic, strconv.Itoa(int(p.Partition)), offsetOrDash(p.CurrentOffset), offsetOrDash(p.EndOffset), offsetOrDash(p.Lag),
			offsetOrDash(int64(math.Round(p.LagSeconds))), orDash(p.Member), host, id,
		})
	}
	header := []string{"GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "LAG-SECONDS", "CONSUMER-ID", "HOST", "CLIENT-ID"}
	return writeTable(cmd.OutOrStdout(), header, rows)
}

func printMembers(cmd *cobra.Command, group *groupJSON) error {
	var rows [][]string
	for _, m := range group.Members {
		count, epoch := 0, offsetOrDash(int64(m.Epoch))
		for _, t := range m.Assigned {
			count += len(t.Partitions)
		}
		if m.Epoch == wire.StaticMemberPauses {
			epoch = "away"
		}
		rows = append(rows, []string{
			group.Group, m.Member, orDash(m.Instance), orDash(m.Host), orDash(m.ClientID), strconv.Itoa(count), epoch, assignmentText(m.Assigned),
		})
	}
	header := []string{"GROUP", "CONSUMER-ID", "GROUP-INSTANCE-ID", "HOST", "CLIENT-ID", "#PARTITIONS", "EPOCH", "ASSIGNMENT"}
	return writeTable(cmd.OutOrStdout(), header, rows)
}

// assignmentText writes orders:0,1;clicks:3, as Kafka's tool does.
func assignmentText(topics []topicPartitionJSON) string {
	var parts []string
	for _, t := range topics {
		parts = append(parts, t.Topic+":"+joinIDs(t.Partitions))
	}
	return orDash(strings.Join(parts, ";"))
}

func printGroupStates(ctx context.Context, cmd *cobra.Command, c *client.Client, groups []groupJSON) error {
	cluster, err := c.DescribeCluster(ctx)
	if err != nil {
		return explain(err, "")
	}
	var rows [][]string
	for _, g := range groups {
		where := "-"
		for _, b := range cluster.Brokers {
			if int32(b.ID) == g.Coordinator {
				where = fmt.Sprintf("%s:%d", b.Host, b.Port)
			}
		}
		rows = append(rows, []string{
			g.Group, fmt.Sprintf("%s (%d)", where, g.Coordinator), orDash(g.Assignor), g.State, g.Protocol, strconv.Itoa(int(g.Epoch)), strconv.Itoa(len(g.Members)),
		})
	}
	return writeTable(cmd.OutOrStdout(), []string{"GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "PROTOCOL", "EPOCH", "#MEMBERS"}, rows)
}

func orDash(s string) string { return cmp.Or(s, "-") }

func offsetOrDash(n int64) string {
	if n < 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}
