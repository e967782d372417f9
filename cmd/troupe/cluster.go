package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// clusterJSON is a cluster as --json shows it.
type clusterJSON struct {
	ClusterID    string       `json:"cluster_id"`
	ControllerID int32        `json:"controller_id"` // -1 without one
	Voters       []int32      `json:"voters"`        // the brokers that decide on the metadata
	Brokers      []brokerJSON `json:"brokers"`
}

type brokerJSON struct {
	ID             int32  `json:"id"`
	Host           string `json:"host"`
	Port           int32  `json:"port"`
	ClusterAddress string `json:"cluster_address"`
	Rack           string `json:"rack"`
	Epoch          uint64 `json:"epoch"`
	State          string `json:"state"` // online, fenced, shutting down or draining
}

// healthJSON is the health of a cluster as --json shows it.
type healthJSON struct {
	Healthy           bool `json:"healthy"`
	OfflinePartitions int  `json:"offline_partitions"`
	UnderReplicated   int  `json:"under_replicated"`
	MayLose           int  `json:"may_lose"` // brokers that may die, whichever they are
}

func newCluster(std streams) *cobra.Command {
	var bootstrap string
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Look at the brokers, remove one, or go on from one",
		Long: `Cluster has the commands that show the brokers of a cluster and how it is, that take a broker out of it, and
that make a cluster again of what is left of one.`,
		Example: `  troupe cluster describe
  troupe cluster health --wait
  troupe cluster remove-broker 3`,
		GroupID: groupUse,
	}
	bootstrapFlag(cmd.PersistentFlags(), &bootstrap)
	cmd.AddCommand(
		newClusterDescribe(&bootstrap), newClusterHealth(std, &bootstrap), newClusterRemoveBroker(std, &bootstrap),
		newClusterRecover(std),
		newClusterGossipKeys(&bootstrap), newClusterRotateGossipKey(&bootstrap),
	)
	return cmd
}

func newClusterDescribe(bootstrap *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "describe",
		Short: "Show the brokers, and how further ones join them",
		Long: `Describe shows every broker of the cluster: where clients and where other brokers reach it, its state,
and what a further broker is started with to join by way of it. Voters are the brokers that
decide on the metadata; one of them is the controller.`,
		Example: "  troupe cluster describe\n  troupe cluster describe --json | jq '.brokers[] | select(.state != \"online\")'",
		Args:    exactly(),
	}
	jsonFlag(cmd, &asJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withClient(cmd.Context(), *bootstrap, func(ctx context.Context, c *client.Client) error {
			cluster, err := c.DescribeCluster(ctx)
			if err != nil {
				return explain(err, "")
			}
			shown := newClusterJSON(&cluster)
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), shown)
			}
			return printCluster(cmd, &shown)
		})
	}
	return cmd
}

func newClusterJSON(cluster *client.Cluster) clusterJSON {
	shown := clusterJSON{ClusterID: cluster.ID, ControllerID: cluster.Controller, Voters: []int32{}, Brokers: []brokerJSON{}}
	for _, v := range cluster.Voters {
		if v.Broker != wire.NoBroker {
			shown.Voters = append(shown.Voters, int32(v.Broker))
		}
	}
	for i := range cluster.Brokers {
		b := &cluster.Brokers[i]
		shown.Brokers = append(shown.Brokers, brokerJSON{
			ID: int32(b.ID), Host: b.Host, Port: b.Port, ClusterAddress: b.ClusterAddress, Rack: b.Rack, Epoch: b.Epoch, State: string(b.Standing),
		})
	}
	slices.Sort(shown.Voters)
	return shown
}

// printCluster writes a cluster for people.
func printCluster(cmd *cobra.Command, cluster *clusterJSON) error {
	controller := "none is known"
	if cluster.ControllerID != int32(wire.NoBroker) {
		controller = "broker " + strconv.Itoa(int(cluster.ControllerID))
	}
	out := cmd.OutOrStdout()
	facts := [][]string{{"cluster", cluster.ClusterID}, {"controller", controller}, {"voters", strings.ReplaceAll(joinIDs(cluster.Voters), ",", ", ")}}
	if err := writeTable(out, nil, facts); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	var rows [][]string
	for _, b := range cluster.Brokers {
		rack, join := cmp.Or(b.Rack, "none"), "not said"
		if b.ClusterAddress != "" {
			join = "--join " + b.ClusterAddress
		}
		rows = append(rows, []string{
			strconv.Itoa(int(b.ID)), b.State, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))), rack, strconv.FormatUint(b.Epoch, 10), join,
		})
	}
	return writeTable(out, []string{"BROKER", "STATE", "CLIENTS", "RACK", "EPOCH", "TO JOIN BY IT"}, rows)
}

// timeoutFlag adds --timeout to a command that may take long.
func timeoutFlag(set *pflag.FlagSet, timeout *time.Duration, preset time.Duration) {
	set.DurationVar(timeout, "timeout", preset, "how `long` to wait, as in 90s or 10m")
}

// healthInterval is how often somebody who waits asks again.
const healthInterval = 250 * time.Millisecond

func newClusterHealth(std streams, bootstrap *string) *cobra.Command {
	var (
		asJSON, wait bool
		timeout      time.Duration
	)
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Say whether all is well, and what may be lost",
		Long: `Health says whether every partition has a leader and all its replicas in sync, and how many brokers may
die, whichever they are, with everything going on. It exits 0 when the cluster is healthy and 1
when it is not. With --wait it exits 0 once the cluster is healthy and any one broker may die.`,
		Example: "  troupe cluster health\n  troupe cluster health --wait --timeout 2m\n  troupe cluster health --json",
		Args:    exactly(),
	}
	jsonFlag(cmd, &asJSON)
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until any one broker may die")
	timeoutFlag(cmd.Flags(), &timeout, time.Minute)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := connect(cmd.Context(), *bootstrap)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }() // nothing is left to be told
		health, ready, err := askHealth(cmd.Context(), std, c, wait, timeout)
		if err != nil {
			return explain(err, "")
		}
		if asJSON {
			err = writeJSON(cmd.OutOrStdout(), healthJSON{health.Healthy, health.Offline, health.UnderReplicated, health.MayLose})
		} else {
			err = printHealth(cmd, &health)
		}
		switch {
		case err != nil:
			return err
		case wait && !ready && !asJSON:
			return fmt.Errorf("after %s the cluster cannot lose any one broker yet; the lines above say why", timeout)
		case wait && !ready, !health.Healthy:
			return errQuiet
		}
		return nil
	}
	return cmd
}

// askHealth asks how the cluster is; with wait again and again, until any one broker may be lost or
// the time is over.
func askHealth(ctx context.Context, std streams, c *client.Client, wait bool, timeout time.Duration) (client.Health, bool, error) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	health, err := c.ClusterHealth(limited)
	if !wait {
		return health, health.Healthy, err
	}
	reason := newShared("asking")
	line := startProgress(std.err, func() string { return "waiting: " + reason.get() })
	defer line.end()
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	for {
		if err != nil || health.Healthy && health.MayLose > 0 {
			return health, err == nil, err
		}
		if len(health.Reasons) > 0 {
			reason.set(health.Reasons[0])
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return health, false, errInterrupted
		case <-limited.Done():
			return health, false, nil
		}
		if next, err := c.ClusterHealth(limited); err == nil {
			health = next
		}
	}
}

// printHealth writes the health of a cluster for people.
func printHealth(cmd *cobra.Command, health *client.Health) error {
	var out strings.Builder
	switch {
	case health.Healthy && health.MayLose > 0:
		fmt.Fprintf(&out, "healthy; any %s may be lost\n", plural(int64(health.MayLose), "broker"))
	case health.Healthy:
		out.WriteString("healthy, but no broker may be lost\n")
	default:
		fmt.Fprintf(&out, "not healthy: %s offline, %d under-replicated\n", plural(int64(health.Offline), "partition"), health.UnderReplicated)
	}
	for _, reason := range health.Reasons {
		fmt.Fprintf(&out, "  %s\n", reason)
	}
	_, err := fmt.Fprint(cmd.OutOrStdout(), out.String())
	return err
}
