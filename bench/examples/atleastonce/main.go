// Command atleastonce is a member of the group "printers" that prints the records of the topic payments. It works first and commits then, so that
// each record is printed at least once: what was printed and not committed when a member dies is printed again by the next one.
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
	if err := printPayments(ctx, *bootstrap); err != nil {
		log.Fatal(err)
	}
}

func printPayments(ctx context.Context, bootstrap string) error {
	c, err := client.New(bootstrap)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // the group has been left
	g, err := c.NewGroupConsumer("printers", client.Topics("payments"))
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		records, err := g.Poll(ctx) // what it returned the time before is done, and is committed within five seconds
		if err != nil && ctx.Err() == nil {
			log.Print(err) // of one partition, or for a while: the next Poll goes on
		}
		for _, r := range records {
			fmt.Printf("%s/%d %d: %s\n", r.Topic, r.Partition, r.Offset, r.Value)
		}
	}
	return g.Close() // commits what was printed, and leaves: others go on at once
}
