// Command exactlyonce is a member of the group "sums" that adds up the keys of the records of the topic payments. It stores each sum together with the
// offset that it goes up to, in one stroke, and begins at the offset that it finds there: so each record is in the sum exactly
// once, whenever a member dies. The group only shares out the partitions; nothing is committed to it.
//
// The store is a directory with a file for each partition. In a database it is a row, and replace is
//
//	UPDATE sums SET next = $new, sum = $sum WHERE partition = $p AND next = $old
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/troupe-mq/troupe/wire/client"
)

func main() {
	bootstrap := flag.String("bootstrap", "127.0.0.1:9092", "address of a broker")
	dir := flag.String("store", "sums", "directory of the sums")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := os.MkdirAll(*dir, 0o750); err != nil {
		log.Fatal(err)
	}
	if err := addUp(ctx, *bootstrap, store(*dir)); err != nil {
		log.Fatal(err)
	}
}

func addUp(ctx context.Context, bootstrap string, sums store) error {
	c, err := client.New(bootstrap)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // the group has been left

	stored := make(map[int32]sum) // of the partitions that this member has
	var g *client.GroupConsumer
	begin := func(partitions []client.PartitionName) {
		for _, p := range partitions {
			s, err := sums.load(p.Partition)
			if err == nil {
				err = g.Seek(p.Topic, p.Partition, client.AtOffset(client.Offset(s.Next)))
			}
			if err != nil {
				log.Fatal(err)
			}
			stored[p.Partition] = s
		}
	}
	g, err = c.NewGroupConsumer("sums", client.Topics("payments"), client.ManualCommit(), client.OnAssigned(begin),
		client.WhenOutOfRange(client.OutOfRangeFails)) // a store of another log must not be added to
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		records, err := g.Poll(ctx)
		switch {
		case errors.Is(err, client.ErrOffsetOutOfRange):
			return err
		case err != nil && ctx.Err() == nil:
			log.Print(err)
		}
		for partition, next := range add(stored, records) {
			if err := sums.replace(partition, stored[partition], next); err != nil {
				return err // another member has the partition by now: begin anew
			}
			stored[partition] = next
		}
	}
	return g.Close()
}

// add returns the sums with more records in them, of those partitions that have any.
func add(stored map[int32]sum, records []client.Record) map[int32]sum {
	changed := make(map[int32]sum)
	for _, r := range records {
		s, ok := changed[r.Partition]
		if !ok {
			s = stored[r.Partition]
		}
		n, err := strconv.ParseInt(string(r.Key), 10, 64)
		if err != nil {
			n = 0 // a key that is no number adds nothing, and is gone past
		}
		changed[r.Partition] = sum{Next: int64(r.Offset) + 1, Sum: s.Sum + n}
	}
	return changed
}
