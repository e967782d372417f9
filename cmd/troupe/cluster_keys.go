package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// gossipKeysJSON is what a broker encrypts gossip with, as --json shows it.
type gossipKeysJSON struct {
	Broker     int32    `json:"broker"`
	Used       string   `json:"used"`            // the fingerprint of the key that it sends with; "" when nothing is encrypted
	Understood []string `json:"understood"`      // those of all keys that it has
	Error      string   `json:"error,omitempty"` // why it is not known
}

func newClusterGossipKeys(bootstrap *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "gossip-keys",
		Short: "Show which keys encrypt gossip",
		Long: `Gossip-keys shows, for every broker, the key that it encrypts gossip with and how many it understands. Keys are
named by fingerprints; the keys themselves are only in the brokers' key files (--cluster-key-file).
Gossip is how brokers find each other, and tells who is there. What they send over their links is
encrypted by the certificates of --cluster-tls-cert instead.`,
		Example: "  troupe cluster gossip-keys\n  troupe cluster gossip-keys --json",
		Args:    exactly(),
	}
	jsonFlag(cmd, &asJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withClient(cmd.Context(), *bootstrap, func(ctx context.Context, c *client.Client) error {
			rings, err := c.GossipKeys(ctx)
			if err != nil {
				return explain(err, "")
			}
			return showGossipKeys(cmd, rings, asJSON)
		})
	}
	return cmd
}

func showGossipKeys(cmd *cobra.Command, rings []client.GossipKeys, asJSON bool) error {
	shown, rows := []gossipKeysJSON{}, [][]string{}
	for _, ring := range rings {
		one := gossipKeysJSON{Broker: int32(ring.Broker), Understood: append([]string{}, ring.Fingerprints...)}
		used := "not encrypted"
		switch {
		case ring.Err != nil:
			one.Error = ring.Err.Error()
			used = "not known: " + one.Error
		case len(ring.Fingerprints) > 0:
			one.Used = ring.Fingerprints[0]
			used = one.Used
		}
		shown = append(shown, one)
		rows = append(rows, []string{strconv.Itoa(int(ring.Broker)), used, strconv.Itoa(len(ring.Fingerprints)), strings.Join(ring.Fingerprints, " ")})
	}
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), shown)
	}
	return writeTable(cmd.OutOrStdout(), []string{"BROKER", "USES", "KEYS", "UNDERSTANDS"}, rows)
}

func newClusterRotateGossipKey(bootstrap *string) *cobra.Command {
	var force, asJSON bool
	cmd := &cobra.Command{
		Use:   "rotate-gossip-key",
		Short: "Replace the key that encrypts gossip",
		Long: `Rotate-gossip-key has the brokers make a new key, which takes the place of all others while the cluster
runs: first all understand it, then all use it, then all forget the old ones, and each writes its key
file (--cluster-key-file), so that it has the same keys when it starts again. Broken off anywhere,
it can be run again: at every moment each broker understands what any of them uses.

A broker that is away does not learn the key, and its key file is of no use afterwards. So nothing is
done unless all are online; --force goes on without the others. Before such a one is started
again, give it a copy of another's key file, as every new broker needs one. Without that it takes
part by its links, but neither hears gossip nor is heard.

The new key travels from broker to broker over their links, in clear unless the brokers have
certificates (--cluster-tls-cert). It never comes to this command, which is why none can be chosen
here. Where gossip is not encrypted yet, it is not turned on by this: put one key file into
the hands of all brokers and start each again with --cluster-key-file, one after the other.
Until all have it the two halves do not hear each other's gossip; their links go on.`,
		Example: "  troupe cluster rotate-gossip-key\n  troupe cluster rotate-gossip-key --force",
		Args:    exactly(),
	}
	jsonFlag(cmd, &asJSON)
	cmd.Flags().BoolVar(&force, "force", false, "go on without the brokers that are not online")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withClient(cmd.Context(), *bootstrap, func(ctx context.Context, c *client.Client) error {
			rings, err := c.RotateGossipKey(ctx, force)
			if err != nil {
				return explain(err, hintForKeys(err))
			}
			if !asJSON {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), "the key is replaced; brokers to be added need a copy of a key file as it is now"); err != nil {
					return err
				}
			}
			return showGossipKeys(cmd, rings, asJSON)
		})
	}
	return cmd
}

// hintForKeys says what to do about a rotation that was broken off.
func hintForKeys(err error) string {
	switch wire.Code(err) {
	case wire.BrokerNotAvailable:
		return "start it and run this again, or go on without it by --force"
	case wire.SecurityDisabled:
		return "see troupe cluster rotate-gossip-key --help"
	case wire.InvalidRequest:
		return "wait for it"
	default:
		return "run this again: it begins anew from what there is"
	}
}
