package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"
)

func produceCommand() *cobra.Command {
	return runs{
		name:    "produce",
		short:   "Produce as many records as the broker takes",
		example: "  go run ./bench/load produce --size 1000 --records 300000 --durability none",
		load:    defaultWorkload(),
		do: func(ctx context.Context, d driver, t *target, w workload) ([]*result, error) {
			r, err := produce(ctx, d, t, w)
			return []*result{r}, err
		},
	}.command()
}

// runs is a scenario of measured runs on one broker.
type runs struct {
	name, short, example string

	load     workload // what the flags begin with
	openLoop bool     // it has a rate and a duration
	do       func(context.Context, driver, *target, workload) ([]*result, error)
}

func (s runs) command() *cobra.Command {
	var at targetFlags
	var client string
	w := s.load
	cmd := &cobra.Command{Use: s.name, Short: s.short, Example: s.example, Args: cobra.NoArgs}
	at.register(cmd.Flags())
	w.register(cmd.Flags())
	cmd.Flags().StringVar(&client, "client", "kafka", "kafka (franz-go) or native (wire/client)")
	if s.openLoop {
		cmd.Flags().IntVar(&w.Rate, "rate", w.Rate, "records per second")
		cmd.Flags().DurationVar(&w.Duration, "duration", w.Duration, "how long")
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := w.check(); err != nil {
			return err
		}
		d, err := driverNamed(client)
		if err != nil {
			return err
		}
		t, err := at.open(cmd.Context())
		if err != nil {
			return err
		}
		defer t.close()
		results, err := s.do(cmd.Context(), d, t, w)
		if err != nil {
			return err
		}
		return report(cmd, results, func(out io.Writer) { writeResults(out, results...) })
	}
	return cmd
}
