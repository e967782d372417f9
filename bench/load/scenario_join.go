package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/bench/measure"
	"github.com/troupe-mq/troupe/bench/testbed"
)

// joinReport is how brokers come to a cluster.
type joinReport struct {
	Together measure.Quantiles `json:"together"` // three blank brokers at once, until the last is ready
	Join     measure.Quantiles `json:"join"`     // one that joins, until it is ready
	Listed   measure.Quantiles `json:"listed"`   // until every broker lists it
	Restart  measure.Quantiles `json:"restart"`  // one that comes back at another address, until every broker lists all
}

func joinCommand() *cobra.Command {
	var at targetFlags
	count, limit := 50, time.Duration(0)
	cmd := &cobra.Command{
		Use:   "join",
		Short: "Start three brokers at once, again and again: is it always one cluster",
		Long: `Three blank brokers are started at the same moment, each with the addresses of all three to join.
They must form one cluster, every time. Then three are started one after the other, and one is
restarted at another address with the flags it had.`,
		Example: "  go run ./bench/load join --count 50 --ready-within 2s",
		Args:    cobra.NoArgs,
	}
	at.registerBinary(cmd.Flags())
	cmd.Flags().IntVar(&count, "count", count, "how often")
	cmd.Flags().DurationVar(&limit, "ready-within", 0, "fail when a broker takes longer until it is ready (default: however long it takes)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := measureJoin(cmd.Context(), at, count)
		if err != nil {
			return err
		}
		err = report(cmd, r, func(w io.Writer) {
			fmt.Fprintln(w, "three brokers\tp50\tlargest\ttimes")
			fmt.Fprintf(w, "started at once, until all are ready\t%s\t%s\t%d\n", short(r.Together.P50), short(r.Together.Max), r.Together.N)
			fmt.Fprintf(w, "one joins, until it is ready\t%s\t%s\t%d\n", short(r.Join.P50), short(r.Join.Max), r.Join.N)
			fmt.Fprintf(w, "one joins, until all list it\t%s\t%s\t%d\n", short(r.Listed.P50), short(r.Listed.Max), r.Listed.N)
			fmt.Fprintf(w, "one is back at another address, until all list it\t%s\t%s\t%d\n", short(r.Restart.P50), short(r.Restart.Max), r.Restart.N)
		})
		if slowest := max(r.Together.Max, r.Join.Max); err == nil && limit > 0 && slowest > limit {
			err = fmt.Errorf("a broker was ready after %s, longer than %s", slowest, limit)
		}
		return err
	}
	return cmd
}

// joins collects the times.
type joins struct{ together, join, listed, restart []time.Duration }

func measureJoin(ctx context.Context, at targetFlags, count int) (*joinReport, error) {
	work, err := os.MkdirTemp("", "load-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work) //nolint:errcheck // a temporary directory
	binary, err := at.troupe(ctx, work)
	if err != nil {
		return nil, err
	}
	var times joins
	for i := range count {
		for _, once := range []func(context.Context, testbed.ClusterConfig) error{times.atOnce, times.inTurn} {
			dir := filepath.Join(work, fmt.Sprint("cluster-", i))
			if err := os.Mkdir(dir, 0o700); err != nil {
				return nil, err
			}
			if err := once(ctx, testbed.ClusterConfig{Binary: binary, Dir: dir, Brokers: 3}); err != nil {
				return nil, fmt.Errorf("time %d: %w", i+1, err)
			}
			if err := os.RemoveAll(dir); err != nil {
				return nil, err
			}
		}
	}
	return &joinReport{
		Together: measure.NewQuantiles(times.together), Join: measure.NewQuantiles(times.join),
		Listed: measure.NewQuantiles(times.listed), Restart: measure.NewQuantiles(times.restart),
	}, nil
}

func (j *joins) atOnce(ctx context.Context, cfg testbed.ClusterConfig) error {
	cfg.Together = true
	c, err := testbed.NewCluster(cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	begun := time.Now()
	if err := testbed.StartAll(ctx, c.Members...); err != nil {
		return err
	}
	j.together = append(j.together, time.Since(begun))
	return oneCluster(ctx, c)
}

func (j *joins) inTurn(ctx context.Context, cfg testbed.ClusterConfig) error {
	c, err := testbed.NewCluster(cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	for i, m := range c.Members {
		begun := time.Now()
		if err := m.Start(ctx); err != nil {
			return err
		}
		if i > 0 {
			j.join = append(j.join, time.Since(begun))
			if err := listed(ctx, c.Members[:i+1]); err != nil {
				return err
			}
			j.listed = append(j.listed, time.Since(begun))
		}
	}
	if err := oneCluster(ctx, c); err != nil {
		return err
	}
	last := c.Members[2]
	if err := last.Process().Stop(); err != nil {
		return err
	}
	if err := c.Move(); err != nil { // which moves who is down
		return err
	}
	begun := time.Now()
	if err := last.Start(ctx); err != nil {
		return err
	}
	if err := listed(ctx, c.Members); err != nil {
		return err
	}
	j.restart = append(j.restart, time.Since(begun))
	return nil
}

// oneCluster is an error unless all brokers name the same cluster and list all.
func oneCluster(ctx context.Context, c *testbed.Cluster) error {
	for _, m := range c.Members {
		if got, want := m.Process().Ready("cluster_id"), c.Members[0].Process().Ready("cluster_id"); got != want {
			return fmt.Errorf("broker %d is in cluster %s, broker %d in %s", m.ID(), got, c.Members[0].ID(), want)
		}
	}
	return listed(ctx, c.Members)
}

// listed waits until each of some brokers lists exactly these, where they are.
func listed(ctx context.Context, members []*testbed.Member) error {
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	want, got := make(map[int32]string), make(map[int32]string)
	for _, m := range members {
		want[m.ID()] = m.Kafka()
	}
	for _, m := range members {
		for {
			view, err := m.View(ctx, "none")
			if err == nil {
				got = view.Addresses
			}
			if maps.Equal(got, want) {
				break
			}
			if sleepErr := sleep(ctx, 10*time.Millisecond); sleepErr != nil {
				return fmt.Errorf("broker %d does not list %v after %s, but %v: %w", m.ID(), want, patience, got, errors.Join(sleepErr, err))
			}
		}
	}
	return nil
}
