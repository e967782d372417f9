package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

const (
	// reassignInterval is how often the partitions that are on their way are looked at.
	reassignInterval = 500 * time.Millisecond
	// reassignPatience is how long the cluster may be without an answer meanwhile.
	reassignPatience = 10 * time.Second
)

// reassignFlags is what troupe topic reassign was told.
type reassignFlags struct {
	brokers             string
	factor              int16
	assign              []string
	cancel, dryRun, yes bool
	atOnce              int
	throttle            int64
	timeout             time.Duration
}

func newTopicReassign(std streams, bootstrap *string) *cobra.Command {
	var f reassignFlags
	cmd := &cobra.Command{
		Use:   "reassign NAME...",
		Short: "Move partitions to other brokers",
		Long: `Reassign gives the partitions of topics other replicas: spread evenly over --brokers, or as --assign says
for each partition of one topic. A partition keeps the replicas that it has until the new ones are in
sync. At most --at-once partitions are on their way at the same time, so that the copying leaves
room for clients; what is left when the command ends has not been begun, and what was begun goes on by itself.
With --throttle each broker sends new replicas at most so many bytes a second, until all have arrived (the
configuration leader.replication.throttled.rate of all brokers).

With --cancel, partitions that are on their way stay where they were.`,
		Example: `  troupe topic reassign orders --brokers 1,2,4
  troupe topic reassign orders --brokers 1,2,3 --replication-factor 3 --throttle 20000000 --yes
  troupe topic reassign orders --assign 0=2,3,1 --assign 1=3,1,2
  troupe topic reassign orders --cancel`,
		Args: oneOrMore("NAME"),

		ValidArgsFunction: completeTopics(bootstrap, anyNumber),
	}
	set := cmd.Flags()
	set.StringVar(&f.brokers, "brokers", "", "`ids` of the brokers to spread the partitions over, comma separated")
	set.Int16Var(&f.factor, "replication-factor", 0, "`number` of replicas from now on, with --brokers; 0 for as many as there are")
	set.StringArrayVar(&f.assign, "assign", nil, "one partition's brokers, the leader first, as `partition=ids`; may be repeated")
	set.BoolVar(&f.cancel, "cancel", false, "take back what is on its way")
	set.BoolVar(&f.dryRun, "dry-run", false, "show what would be moved, and move nothing")
	set.IntVar(&f.atOnce, "at-once", 10, "`number` of partitions that may be on their way at the same time")
	set.Int64Var(&f.throttle, "throttle", 0, "`bytes` a second that each broker sends new replicas at most; 0: no limit")
	yesFlag(set, &f.yes)
	timeoutFlag(set, &f.timeout, time.Hour)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if err := f.check(names); err != nil {
			return err
		}
		c, err := connect(cmd.Context(), *bootstrap)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }() // nothing is left to be told
		if f.cancel {
			return cancelReassignments(cmd, c, names)
		}
		moves, before, err := f.plan(cmd.Context(), c, names)
		if err != nil {
			return err
		}
		if len(moves) == 0 {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "every partition lies where it should")
			return err
		}
		what := plural(int64(len(moves)), "partition") + " will be moved."
		if err := mayAsk(std, f.yes || f.dryRun, what+" --dry-run shows where."); err != nil {
			return err
		}
		if err := printPlan(cmd, moves, before); err != nil || f.dryRun {
			return err
		}
		if err := confirm(cmd.Context(), std, f.yes, what); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
		defer cancel()
		if err := f.move(ctx, std, c, moves); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "moved %s\n", plural(int64(len(moves)), "partition"))
		return err
	}
	return cmd
}

// move carries the moves out, and holds the brokers to --throttle until they are done.
func (f *reassignFlags) move(ctx context.Context, std streams, c *client.Client, moves []client.Reassignment) error {
	if f.throttle > 0 {
		if err := limitReassignments(ctx, c, client.Set(throttledRate, strconv.FormatInt(f.throttle, 10))); err != nil {
			return err
		}
	}
	if err := reassign(ctx, std, c, moves, f.atOnce); err != nil || f.throttle == 0 {
		return err
	}
	return limitReassignments(ctx, c, client.Unset(throttledRate))
}

// throttledRate is Kafka's name for what brokers send to new replicas at most.
const throttledRate = "leader.replication.throttled.rate"

// limitReassignments sets or unsets the rate for all brokers.
func limitReassignments(ctx context.Context, c *client.Client, change client.ConfigChange) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	if err := c.AlterConfigs(ctx, client.BrokerConfigs(""), change); err != nil {
		return explain(err, "")
	}
	return nil
}

func (f *reassignFlags) check(names []string) error {
	given := 0
	for _, is := range []bool{f.brokers != "", len(f.assign) > 0, f.cancel} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return usagef("say where to: --brokers 1,2,3 for all partitions, or --assign 0=1,2,3 for each; or --cancel")
	case len(f.assign) > 0 && len(names) > 1:
		return usagef("--assign is for one topic, not for %d", len(names))
	case f.factor < 0 || f.factor > 0 && f.brokers == "":
		return usagef("--replication-factor %d: write a number from 1 up, with --brokers", f.factor)
	case f.throttle < 0:
		return usagef("--throttle %d: write bytes a second, from 1 up", f.throttle)
	case f.atOnce < 1:
		return usagef("--at-once %d: write a number from 1 up", f.atOnce)
	}
	return nil
}

// plan returns what is to be moved, and how the topics are before.
func (f *reassignFlags) plan(ctx context.Context, c *client.Client, names []string) ([]client.Reassignment, []client.Topic, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	topics, err := c.DescribeTopics(ctx, names...)
	if err != nil {
		return nil, nil, explain(err, hintFor(err, mentioned(err, names)))
	}
	if len(f.assign) > 0 {
		moves, err := parseAssignments(names[0], f.assign)
		return moves, topics, err
	}
	brokers, err := parseBrokers(f.brokers)
	if err != nil {
		return nil, nil, err
	}
	if int(f.factor) > len(brokers) {
		return nil, nil, usagef("--replication-factor %d needs as many --brokers", f.factor)
	}
	cluster, err := c.DescribeCluster(ctx)
	if err != nil {
		return nil, nil, explain(err, "")
	}
	racks := make(map[wire.BrokerID]string)
	for i := range cluster.Brokers {
		racks[cluster.Brokers[i].ID] = cluster.Brokers[i].Rack
	}
	for _, id := range brokers {
		if _, known := racks[id]; !known {
			return nil, nil, fmt.Errorf("there is no broker %d; see which ones there are with \"troupe cluster describe\"", id)
		}
	}
	return newPlanner(brokers, racks).plan(topics, int(f.factor)), topics, nil
}

// printPlan shows from where to where partitions go.
func printPlan(cmd *cobra.Command, moves []client.Reassignment, before []client.Topic) error {
	var rows [][]string
	for _, m := range moves {
		from := "-"
		for i := range before {
			if before[i].Name == m.Topic && int(m.Partition) < len(before[i].Partitions) {
				from = joinIDs(before[i].Partitions[m.Partition].Replicas)
			}
		}
		rows = append(rows, []string{place{m.Topic, m.Partition}.String(), from, joinBrokers(m.Replicas)})
	}
	return writeTable(cmd.OutOrStdout(), []string{"PARTITION", "FROM", "TO"}, rows)
}

// onTheWay are the partitions that are being moved.
type onTheWay map[place]*journey

type journey struct {
	to    []wire.BrokerID
	looks int // that found it at rest elsewhere: a broker that was asked may be behind
}

// maxLooks is how often a partition may be found at rest elsewhere before somebody must have taken
// the reassignment back.
const maxLooks = 10

// reassign moves partitions, so many at once, and waits until they have arrived.
func reassign(ctx context.Context, std streams, c *client.Client, moves []client.Reassignment, atOnce int) error {
	state := newShared("asking")
	line := startProgress(std.err, state.get)
	defer line.end()
	ticker := time.NewTicker(reassignInterval)
	defer ticker.Stop()
	underWay := make(onTheWay)
	next := 0
	for {
		batch := moves[next:min(len(moves), next+atOnce-len(underWay))]
		if len(batch) > 0 {
			if err := beginMoves(ctx, c, batch); err != nil {
				return err
			}
			for _, m := range batch {
				underWay[place{m.Topic, m.Partition}] = &journey{to: m.Replicas}
			}
			next += len(batch)
		}
		if len(underWay) == 0 {
			return nil
		}
		state.set(fmt.Sprintf("%d of %s moved, %d on the way", next-len(underWay), plural(int64(len(moves)), "partition"), len(underWay)))
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%s; what is on the way goes on, run the command again for the rest or with --cancel", state.get())
		}
		if err := underWay.look(ctx, c); err != nil {
			return err
		}
	}
}

// look takes out those that have arrived. That nobody answers for a while is no error.
func (w onTheWay) look(ctx context.Context, c *client.Client) error {
	short, cancel := context.WithTimeout(ctx, reassignPatience)
	defer cancel()
	names := make(map[string]bool)
	for at := range w {
		names[at.topic] = true
	}
	topics, err := c.DescribeTopics(short, slices.Sorted(maps.Keys(names))...)
	switch {
	case errors.Is(err, context.DeadlineExceeded), ctx.Err() != nil:
		return nil
	case err != nil:
		return explain(err, "")
	}
	for i := range topics {
		for _, p := range topics[i].Partitions {
			at := place{topics[i].Name, p.Partition}
			j := w[at]
			switch {
			case j == nil || len(p.Adding)+len(p.Removing) > 0:
			case slices.Equal(brokerIDs(p.Replicas), j.to):
				delete(w, at)
			default:
				if j.looks++; j.looks > maxLooks {
					return fmt.Errorf("%v does not go to %s any more: the reassignment was taken back, or another one was begun", at, joinBrokers(j.to))
				}
			}
		}
	}
	return nil
}

func joinBrokers(ids []wire.BrokerID) string {
	numbers := make([]int32, len(ids))
	for i, id := range ids {
		numbers[i] = int32(id)
	}
	return joinIDs(numbers)
}

// beginMoves begins reassignments. The first that is refused is the error.
func beginMoves(ctx context.Context, c *client.Client, batch []client.Reassignment) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	outcomes, err := c.Reassign(ctx, batch...)
	if err != nil {
		return explain(err, "")
	}
	for _, o := range outcomes {
		if o.Err != nil {
			hint := "see which brokers there are with \"troupe cluster describe\""
			if errors.Is(o.Err, wire.UnknownTopicOrPartition) {
				hint = fmt.Sprintf("see what there is with \"troupe topic describe %s\"", o.Topic)
			}
			return explain(fmt.Errorf("%v: %w", place{o.Topic, o.Partition}, o.Err), hint)
		}
	}
	return nil
}

// cancelReassignments takes back what is on its way.
func cancelReassignments(cmd *cobra.Command, c *client.Client, names []string) error {
	ctx, stop := context.WithTimeout(cmd.Context(), adminTimeout)
	defer stop()
	underWay, err := c.Reassignments(ctx)
	if err != nil {
		return explain(err, "")
	}
	var cancels []client.Reassignment
	for _, name := range names {
		for _, p := range underWay[name] {
			cancels = append(cancels, client.Reassignment{Topic: name, Partition: p.Partition})
		}
	}
	if len(cancels) > 0 {
		outcomes, err := c.Reassign(ctx, cancels...)
		if err != nil {
			return explain(err, "")
		}
		for _, o := range outcomes {
			if o.Err != nil && !errors.Is(o.Err, wire.NoReassignmentInProgress) { // it has just arrived
				return explain(fmt.Errorf("%v: %w", place{o.Topic, o.Partition}, o.Err), "")
			}
		}
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s on the way, which stay where they were\n", plural(int64(len(cancels)), "partition"))
	return err
}
