package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

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
an empty directory becomes a new cluster of one.

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
  TROUPE_LOG_RETENTION_HOURS=24 troupe broker`,
		GroupID: groupServe,
		Args:    exactly(),
	}
	defaults := node.DefaultConfig()
	set := cmd.Flags()
	set.StringArray("data", defaults.Data, "`directory` for the log ("+node.KeyData+"); again for more disks")
	set.String("listen", defaults.Listen, "`address` to serve clients on ("+node.KeyListen+")")
	set.String("advertise", "", "`address` that clients are told, if it is another ("+node.KeyAdvertise+")")
	set.String("cluster", defaults.Cluster, "`address` for other brokers ("+node.KeyCluster+")")
	set.String("admin", defaults.Admin, "`address` of health, metrics and console, or off ("+node.KeyAdmin+")")
	set.StringVar(&flags.config, "config", "", "`file` with settings: YAML, or a server.properties")
	set.StringArrayVar(&flags.set, "set", nil, "any setting, as `key=value`; may be repeated")
	set.StringVar(&flags.logFormat, "log-format", "text", "`format` of the log: text or json")
	set.StringVar(&flags.logLevel, "log-level", "info", "least `level` of the log: debug, info, warn or error")
	completeFlag(cmd, "log-format", "text", "json")
	completeFlag(cmd, "log-level", "debug", "info", "warn", "error")
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
	for _, name := range []string{"data", "listen", "advertise", "cluster", "admin"} {
		flag := cmd.Flags().Lookup(name)
		if !flag.Changed {
			continue
		}
		value := flag.Value.String()
		if name == "data" {
			dirs, err := cmd.Flags().GetStringArray(name)
			if err != nil {
				return nil, err
			}
			value = strings.Join(dirs, ",")
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

// serve runs a broker until ctx ends, which a signal does, or until it ends by itself.
func serve(ctx context.Context, cfg node.Config, log *slog.Logger, stdout io.Writer) error {
	// Whoever reads the log or the ready line may go away; the broker stays.
	signal.Ignore(syscall.SIGPIPE)

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
