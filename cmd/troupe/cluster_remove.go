package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// removalInterval is how often the removal of a broker is asked to go on.
const removalInterval = time.Second

func newClusterRemoveBroker(std streams, bootstrap *string) *cobra.Command {
	var (
		yes, cancel bool
		timeout     time.Duration
	)
	cmd := &cobra.Command{
		Use:   "remove-broker ID",
		Short: "Move everything away from a broker and forget it",
		Long: `Remove-broker takes a broker out of the cluster for good. Its replicas are moved to the other brokers, some
at a time, and then it is forgotten; its directories never come back. The broker may be running or
dead. Run again, the command goes on where it was; with --cancel the broker stays.`,
		Example: `  troupe cluster remove-broker 3
  troupe cluster remove-broker 3 --yes --timeout 2h
  troupe cluster remove-broker 3 --cancel`,
		Args: exactly("ID"),
	}
	yesFlag(cmd.Flags(), &yes)
	cmd.Flags().BoolVar(&cancel, "cancel", false, "take a removal back that was begun")
	timeoutFlag(cmd.Flags(), &timeout, time.Hour)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		number, err := strconv.ParseInt(args[0], 10, 32)
		if err != nil || number < 0 {
			return usagef("%s is no broker's id; \"troupe cluster describe\" shows them", args[0])
		}
		id := int32(number)
		if !cancel {
			what := fmt.Sprintf("Broker %d is going to be removed for good, after all its replicas were moved to other brokers.", id)
			if err := confirm(cmd.Context(), std, yes, what); err != nil {
				return err
			}
		}
		c, err := connect(cmd.Context(), *bootstrap)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }() // nothing is left to be told
		ctx, stop := context.WithTimeout(cmd.Context(), timeout)
		defer stop()
		if cancel {
			if err := c.KeepBroker(ctx, id); err != nil {
				return explain(err, hintForBroker(err))
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "broker %d stays; what is on its way to other brokers goes on\n", id)
			return err
		}
		if err := removeBroker(ctx, std, c, id); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "broker %d is removed; if it still runs, stop it: its data are not needed any more\n", id)
		return err
	}
	return cmd
}

// removeBroker asks for the removal of a broker until it is done.
func removeBroker(ctx context.Context, std streams, c *client.Client, id int32) error {
	state := newShared("asking")
	line := startProgress(std.err, state.get)
	defer line.end()
	ticker := time.NewTicker(removalInterval)
	defer ticker.Stop()
	for began := false; ; began = true {
		removal, err := c.RemoveBroker(ctx, id)
		switch {
		case began && errors.Is(err, wire.BrokerIDNotRegistered):
			return nil // it was done, and the answer got lost
		case ctx.Err() != nil && began:
			return fmt.Errorf("broker %d is not removed yet: %s; run the command again to go on, or with --cancel to let it stay", id, state.get())
		case err != nil:
			return explain(err, hintForBroker(err))
		case removal.Done:
			return nil
		}
		state.set(fmt.Sprintf("%s left, %d on the way", plural(int64(removal.Left), "partition"), removal.Moving))
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// hintForBroker says what to do about an error on a broker.
func hintForBroker(err error) string {
	switch wire.Code(err) {
	case wire.BrokerIDNotRegistered:
		return "see which ones there are with \"troupe cluster describe\""
	case wire.InvalidReplicationFactor:
		return "start another broker first, or give the topic fewer replicas with \"troupe topic reassign\""
	case wire.InvalidReplicaAssignment:
		return "start another broker, or wait until the others are back"
	default:
		return ""
	}
}
