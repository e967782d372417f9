package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/cmd/node"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// recoveryJSON is what a broker that does not run knows of its cluster, as --json shows it.
type recoveryJSON struct {
	ClusterID     string               `json:"cluster_id"`
	BrokerID      int32                `json:"broker_id"`
	RecoveryEpoch uint32               `json:"recovery_epoch"` // how often the cluster was recovered
	LastTerm      uint64               `json:"last_term"`      // of the last entry of the metadata log
	LastIndex     uint64               `json:"last_index"`
	Committed     uint64               `json:"committed_index"` // as far as this broker knew
	Voters        []int32              `json:"voters"`          // -1 for one that belongs to no broker
	Learners      []int32              `json:"learners"`        // standbys: who follow the log in order to become voters
	Topics        int                  `json:"topics"`
	Partitions    int                  `json:"partitions"`
	Brokers       []recoveryBrokerJSON `json:"brokers"`
	Interrupted   bool                 `json:"interrupted"` // a recovery was begun here before
	Damage        string               `json:"damage"`      // of the metadata log; "" when it is whole
	Recovered     bool                 `json:"recovered"`   // by this run
	KeptAs        string               `json:"kept_as"`     // where the metadata from before are, once recovered
}

type recoveryBrokerJSON struct {
	ID   int32  `json:"id"`
	Host string `json:"host"`
	Port int32  `json:"port"`
	Rack string `json:"rack"`
}

func newClusterRecover(std streams) *cobra.Command {
	var (
		data                []string
		yes, dryRun, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Go on from one broker when most voters are lost for good",
		Long: `Recover is the last resort when most of the voters, which decide on the metadata, are lost for good: their
disks, not just their processes. As long as most of them can be started again, start them instead.

It makes the metadata of one broker that is left those of the cluster, and that broker the only voter. The
broker must not run meanwhile. Run it on one broker only. If several voters are left, compare with --dry-run:
it must be the one whose last entry has the highest term and, among those, the highest index.

What may be lost: the last changes of metadata, which this broker had not heard of. Topics that were created
last are gone; brokers that have their data set them aside, as directories that end in -stray. What is in its
log and was not known to be committed counts: it is the best there is. And records: nobody can tell
any more which replicas are complete, so each partition waits for all its replicas that come back and is led
by the one that has most. Which of them had acknowledged records that this one lacks cannot be known.

Afterwards start this broker, and the others as ever: those that lost their disks join with blank ones, those
that still have the old metadata set them aside and keep their partitions. A partition whose replicas
do not all come back is led after half a minute, or at once by "troupe topic elect-leaders --unclean".

It also helps the only voter whose metadata log is damaged: what is left of the log, up to the damage, counts.`,
		Example: `  troupe cluster recover --data /var/lib/troupe --dry-run
  troupe cluster recover --data /var/lib/troupe
  troupe cluster recover --data /disk1 --data /disk2 --yes --json`,
		Args: exactly(),
	}
	cmd.Flags().StringArrayVar(&data, "data", nil, "`directory` of the broker, in the order it is started with; again for more disks")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what is there")
	yesFlag(cmd.Flags(), &yes)
	jsonFlag(cmd, &asJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case len(data) == 0:
			return usagef("--data is missing: give the directories that the broker is started with; see %s --help", cmd.CommandPath())
		case cmd.Flags().Changed("bootstrap"):
			return usagef("recover works on the directories of a broker that does not run: leave --bootstrap out; see %s --help", cmd.CommandPath())
		}
		recovery, err := node.PrepareRecovery(data, node.Options{Version: readBuildInfo().Version})
		if err != nil {
			return err
		}
		return errors.Join(recoverCluster(cmd.Context(), std, recovery, yes, dryRun, asJSON), recovery.Close())
	}
	return cmd
}

// recoverCluster shows what is there, asks, and recovers.
func recoverCluster(ctx context.Context, std streams, recovery *node.Recovery, yes, dryRun, asJSON bool) error {
	shown := newRecoveryJSON(recovery)
	if !asJSON {
		if err := printSurvey(std.out, &shown); err != nil {
			return err
		}
	}
	switch {
	case dryRun && asJSON:
		return writeJSON(std.out, shown)
	case dryRun:
		_, err := fmt.Fprintln(std.out, "\nNothing was done. Of several voters that are left, recover the one with the highest term and, among those, the highest index.")
		return err
	}
	if err := recovery.Check(); err != nil {
		return err
	}
	what := fmt.Sprintf("Broker %d becomes the only voter of cluster %s. Metadata and records that only others have may be lost. "+
		"This cannot be undone once it serves.", shown.BrokerID, shown.ClusterID)
	if err := confirm(ctx, std, yes, what); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errInterrupted
	}
	kept, err := recovery.Run()
	if err != nil {
		return fmt.Errorf("%w; run the command again to go on", err)
	}
	if asJSON {
		shown = newRecoveryJSON(recovery)
		shown.Recovered, shown.KeptAs = true, kept
		return writeJSON(std.out, shown)
	}
	_, err = fmt.Fprintf(std.out, "\nBroker %d is the only voter now (recovery %d). The metadata from before are kept as\n  %s\n"+
		"Start this broker, then the others; \"troupe cluster health\" says what is missing.\n",
		shown.BrokerID, recovery.Found.RecoveryEpoch, kept)
	return err
}

func newRecoveryJSON(recovery *node.Recovery) recoveryJSON {
	found := &recovery.Found
	shown := recoveryJSON{
		ClusterID: found.ClusterID, BrokerID: int32(found.Broker), RecoveryEpoch: found.RecoveryEpoch,
		LastTerm: found.Term, LastIndex: found.Index, Committed: found.Committed, Voters: []int32{}, Learners: []int32{},
		Topics: found.Topics, Partitions: found.Partitions, Brokers: []recoveryBrokerJSON{}, Interrupted: recovery.Interrupted,
	}
	var damage *storage.WALDamage
	if errors.As(recovery.Damage, &damage) {
		shown.Damage = fmt.Sprintf("%s at byte %d: %s", damage.File, damage.Position, damage.Reason)
	}
	for _, id := range found.Voters {
		shown.Voters = append(shown.Voters, int32(id))
	}
	for _, id := range found.Learners {
		shown.Learners = append(shown.Learners, int32(id))
	}
	for _, b := range found.Brokers {
		shown.Brokers = append(shown.Brokers, recoveryBrokerJSON{int32(b.ID), b.Host, b.Port, b.Rack})
	}
	return shown
}

// namesOf lists brokers for people.
func namesOf(ids []int32) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = strconv.Itoa(int(id))
		if id == int32(wire.NoBroker) {
			names[i] = "one that is no broker any more"
		}
	}
	return strings.Join(names, ", ")
}

// printSurvey writes for people what the metadata log of a broker holds.
func printSurvey(out io.Writer, shown *recoveryJSON) error {
	broker := strconv.Itoa(int(shown.BrokerID))
	switch {
	case slices.Contains(shown.Voters, shown.BrokerID):
	case slices.Contains(shown.Learners, shown.BrokerID):
		broker += ", a standby"
	default:
		broker += ", neither voter nor standby: what it knows may be long out of date"
	}
	facts := [][]string{
		{"cluster", shown.ClusterID},
		{"broker", broker},
		{"voters", namesOf(shown.Voters)},
		{"standbys", cmp.Or(namesOf(shown.Learners), "none")},
		{"last entry", fmt.Sprintf("term %d, index %d", shown.LastTerm, shown.LastIndex)},
		{"committed", fmt.Sprintf("up to index %d for sure", shown.Committed)},
		{"topics", fmt.Sprintf("%d, with %s", shown.Topics, plural(int64(shown.Partitions), "partition"))},
		{"recovered", fmt.Sprintf("%s before", plural(int64(shown.RecoveryEpoch), "time"))},
	}
	if shown.Damage != "" {
		facts = append(facts, []string{"damaged", "yes, and this is what is left: " + shown.Damage})
	}
	if shown.Interrupted {
		facts = append(facts, []string{"interrupted", "a recovery was begun here and not finished; it is gone on with"})
	}
	if err := writeTable(out, nil, facts); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	var rows [][]string
	for _, b := range shown.Brokers {
		rows = append(rows, []string{strconv.Itoa(int(b.ID)), fmt.Sprintf("%s:%d", b.Host, b.Port), b.Rack})
	}
	return writeTable(out, []string{"BROKER", "CLIENTS", "RACK"}, rows)
}
