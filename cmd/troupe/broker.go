package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/troupe-mq/troupe/cmd/node"
)

// stopTimeout is how long stopping may take after a signal. Supervisors are told 10 s.
const stopTimeout = 9 * time.Second

// brokerFlags are the flags of troupe broker that are not settings of the broker itself.
type brokerFlags struct {
	config    string
	set       []string
	logFormat string
	logLevel  string
}

func newBroker(environ []string) *cobra.Command {
	var flags brokerFlags
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Run a broker",
		Long: `Broker runs a broker until it is told to stop by Ctrl-C or SIGTERM. It needs no configuration:
an empty directory becomes a new cluster of one. With --join it becomes a broker of another's
cluster: give the --cluster address of any broker of it, or of several. Its id is given to it, and
the directory remembers cluster and id from then on; after that no flag has to be right for it to
find the others again, whatever addresses they have by then, as long as one is where it was.

Several brokers may be started at once with one list of all their addresses: then they form one
cluster, founded by the smallest. A broker whose disk was lost and that starts again at the same
cluster address takes its former place; at another address, say which with --node-id.

On stopping, a broker has others take over first what it leads.

Settings have the names of Kafka's server.properties. Those given by flags win over those of
the environment (TROUPE_ and the name in upper case, _ for every dot: TROUPE_LOG_DIRS), those over
the file, those over the defaults. Of several directories the first holds the metadata
(__cluster_metadata), and stays the first; the others come in any order.

When it serves clients it writes one line to stdout, with the addresses that it got:
  ready kafka=H:P cluster=H:P admin=H:P data=DIR,DIR cluster_id=ID broker_id=N
The log goes to stderr.`,
		Example: `  troupe broker
  troupe broker --data /var/lib/troupe --listen 0.0.0.0:9092 --advertise broker1.example.com:9092
  troupe broker --config server.properties --set num.partitions=6
  troupe broker --data /disk1 --data /disk2 --admin off
  troupe broker --data b --listen 127.0.0.1:9192 --cluster 127.0.0.1:8946 --admin 127.0.0.1:9744 --join 127.0.0.1:7946
  troupe broker --listen 0.0.0.0:9092 --cluster 0.0.0.0:7946 --join host1:7946,host2:7946,host3:7946 --rack r1
  troupe broker --data /new/disk --join host2:7946 --node-id 1
  TROUPE_LOG_RETENTION_HOURS=24 troupe broker`,
		GroupID: groupServe,
		Args:    exactly(),
	}
	flags.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log, err := newLogger(cmd.ErrOrStderr(), flags.logFormat, flags.logLevel)
		if err != nil {
			return err
		}
		settings, err := flagSettings(cmd, flags.set)
		if err != nil {
			return err
		}
		cfg, err := node.LoadConfig(node.Sources{Flags: settings, Environ: environ, File: flags.config})
		if err != nil {
			return &usageError{err}
		}
		if len(cfg.Ignored) > 0 {
			log.Warn("keys of kafka without effect here", "keys", cfg.Ignored)
		}
		return serve(cmd.Context(), cfg, log, cmd.OutOrStdout())
	}
	return cmd
}

func (f *brokerFlags) add(cmd *cobra.Command) {
	defaults := node.DefaultConfig()
	set := cmd.Flags()
	set.StringArray("data", defaults.Data, "`directory` for the log ("+node.KeyData+"); again for more disks")
	set.String("listen", defaults.Listen, "`address` to serve clients on ("+node.KeyListen+")")
	set.String("advertise", "", "`address` that clients are told, if it is another ("+node.KeyAdvertise+")")
	set.String("cluster", defaults.Cluster, "`address` for other brokers ("+node.KeyCluster+")")
	set.StringSlice("join", nil, "`addresses` of brokers whose cluster to join: their --cluster ("+node.KeyJoin+")")
	set.String("cluster-advertise", "", "`address` that other brokers are told, if it is another ("+node.KeyClusterAdvertise+")")
	set.String("node-id", "", "`id` of the broker; of one that has died, to take its place (node.id)")
	set.String("rack", "", "`rack` where the broker stands; replicas are spread over racks (broker.rack)")
	set.String("cluster-key-file", "", "`file` with keys of gossip, one a line; rotation rewrites it ("+node.KeyClusterKeyFile+")")
	set.String("cluster-tls-cert", "", "`file` with this broker's certificate for other brokers, in PEM ("+node.KeyClusterTLSCert+")")
	set.String("cluster-tls-key", "", "`file` with its key ("+node.KeyClusterTLSKey+")")
	set.String("cluster-tls-ca", "", "`file` with the authority whose certificates brokers have ("+node.KeyClusterTLSCA+")")
	set.String("admin", defaults.Admin, "`address` of metrics and console, or off ("+node.KeyAdmin+")")
	set.String("chaos-token-file", "", "`file` with a token: who shows it may end actors by the admin port ("+node.KeyChaosTokenFile+")")
	set.StringVar(&f.config, "config", "", "`file` with settings: YAML, or a server.properties")
	set.StringArrayVar(&f.set, "set", nil, "any setting, as `key=value`; may be repeated")
	set.StringVar(&f.logFormat, "log-format", "text", "`format` of the log: text or json")
	set.StringVar(&f.logLevel, "log-level", "info", "least `level` of the log: debug, info, warn or error")
	completeFlag(cmd, "log-format", "text", "json")
	completeFlag(cmd, "log-level", "debug", "info", "warn", "error")
}

// settingFlags are the flags that are settings of the broker: short names of keys.
var settingFlags = []string{
	"data", "listen", "advertise", "cluster", "admin", "join", "cluster-advertise", "node-id", "rack",
	"cluster-key-file", "cluster-tls-cert", "cluster-tls-key", "cluster-tls-ca", "chaos-token-file",
}

// flagSettings returns what the flags set, those given by their own name last.
func flagSettings(cmd *cobra.Command, set []string) ([]node.Setting, error) {
	var settings []node.Setting
	for _, assignment := range set {
		key, value, found := strings.Cut(assignment, "=")
		if !found || key == "" {
			return nil, usagef("--set %s: write key=value, as in --set num.partitions=6", assignment)
		}
		settings = append(settings, node.Setting{Key: key, Value: value, Origin: "--set"})
	}
	for _, name := range settingFlags {
		flag := cmd.Flags().Lookup(name)
		if !flag.Changed {
			continue
		}
		value := flag.Value.String()
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			value = strings.Join(list.GetSlice(), ",")
		}
		settings = append(settings, node.Setting{Key: name, Value: value, Origin: "--" + name})
	}
	return settings, nil
}

// newLogger returns the logger of a broker.
func newLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var options slog.HandlerOptions
	var minimum slog.Level
	if err := minimum.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("--log-level %s: write debug, info, warn or error", level)
	}
	options.Level = minimum
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, &options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &options)), nil
	}
	return nil, usagef("--log-format %s: write text or json", format)
}

// serve runs a broker until ctx ends, which a signal does, or until it ends by itself. One that finds
// out that it belongs to another cluster than its own, or that its own was recovered without it, starts
// again, and joins that.
func serve(ctx context.Context, cfg node.Config, log *slog.Logger, stdout io.Writer) error {
	// Whoever reads the log or the ready line may go away; the broker stays.
	signal.Ignore(syscall.SIGPIPE)
	for {
		err := serveOnce(ctx, cfg, log, stdout)
		var yielded *node.YieldedError
		var left *node.LeftBehindError
		switch {
		case ctx.Err() != nil:
			return err
		case errors.As(err, &yielded): // its directory says where to join
		case errors.As(err, &left):
			cfg.Join = append(slices.Clone(cfg.Join), left.Join)
		default:
			return err
		}
		log.Warn("starting again", "why", err)
	}
}

func serveOnce(ctx context.Context, cfg node.Config, log *slog.Logger, stdout io.Writer) error {
	broker, err := node.Start(ctx, cfg, node.Options{Logger: log, Version: readBuildInfo().Version})
	if err != nil {
		if ctx.Err() != nil { // told to stop before it had started
			return nil
		}
		return err
	}
	ready := broker.Ready()
	_, _ = fmt.Fprintf(stdout, "ready kafka=%s cluster=%s admin=%s data=%s cluster_id=%s broker_id=%d\n",
		ready.Kafka, ready.Cluster, ready.Admin, ready.Data, ready.ClusterID, ready.BrokerID)

	var ended error
	select {
	case <-ctx.Done():
		log.Info("stopping")
	case ended = <-broker.Ended():
	}
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := errors.Join(ended, broker.Stop(stopCtx)); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}
