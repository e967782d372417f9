// Command atmostonce is a member of the group "alarms" that raises an alarm for each record of the topic payments. It commits first and
// works then, so that there is one alarm at most: what was committed and not done when a member dies is skipped.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/troupe-mq/troupe/wire/client"
)

func main() {
	bootstrap := flag.String("bootstrap", "127.0.0.1:9092", "address of a broker")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := raiseAlarms(ctx, *bootstrap); err != nil {
		log.Fatal(err)
	}
}

func raiseAlarms(ctx context.Context, bootstrap string) error {
	c, err := client.New(bootstrap)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // the group has been left
	g, err := c.NewGroupConsumer("alarms", client.Topics("payments"), client.ManualCommit())
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		records, err := g.Poll(ctx)
		if err == nil && len(records) > 0 {
			err = g.CommitSync(ctx, client.After(records...)...)
		}
		if err != nil {
			if ctx.Err() == nil {
				log.Print(err)
			}
			continue // perhaps committed, perhaps with another member by now: not ours to do
		}
		for _, r := range records {
			fmt.Printf("alarm %s/%d %d: %s\n", r.Topic, r.Partition, r.Offset, r.Value)
		}
	}
	return g.Close()
}
