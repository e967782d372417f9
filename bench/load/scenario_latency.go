package main

import (
	"context"

	"github.com/spf13/cobra"
)

func latencyCommand() *cobra.Command {
	load := defaultWorkload()
	load.Size, load.Linger = 1000, 0
	return runs{
		name:     "latency",
		short:    "Offer records at a fixed rate and time each from its intended send time",
		example:  "  go run ./bench/load latency --rate 2000 --duration 10s",
		load:     load,
		openLoop: true,
		do: func(ctx context.Context, d driver, t *target, w workload) ([]*result, error) {
			r, err := latency(ctx, d, t, w)
			return []*result{r}, err
		},
	}.command()
}
