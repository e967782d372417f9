package main

import (
	"context"

	"github.com/spf13/cobra"
)

// consumeCommand fills the topic first, so that all is in the page cache: it measures the broker,
// not the disk.
func consumeCommand() *cobra.Command {
	return runs{
		name:    "consume",
		short:   "Consume the records of a topic, which is filled first",
		example: "  go run ./bench/load consume --size 1000 --records 300000 --durability none",
		load:    defaultWorkload(),
		do: func(ctx context.Context, d driver, t *target, w workload) ([]*result, error) {
			written, err := produce(ctx, d, t, w)
			if err != nil {
				return nil, err
			}
			read, err := consume(ctx, d, t, w)
			return []*result{written, read}, err
		},
	}.command()
}
