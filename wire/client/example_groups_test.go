package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/troupe-mq/troupe/wire/client"
)

// At least once: what was returned by Poll is committed when Poll is called again, so that a program that
// dies in between finds the records again. Programs of the same group share the partitions.
func ExampleGroupConsumer() {
	addr, stop := broker("1", "2", "3") // "127.0.0.1:9092" where `troupe broker` runs
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.New(addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	g, err := c.NewGroupConsumer("printer", client.Topics("clicks"))
	if err != nil {
		log.Fatal(err)
	}
	for seen := 0; seen < 3; {
		records, err := g.Poll(ctx)
		if err != nil {
			log.Fatal(err)
		}
		for _, r := range records {
			fmt.Printf("%d: %s\n", r.Offset, r.Value)
		}
		seen += len(records)
	}
	if err := g.Close(); err != nil { // commits the rest, and others go on at once
		log.Fatal(err)
	}
	// Output:
	// 0: 1
	// 1: 2
	// 2: 3
}

// At most once: the records are committed before anything is done with them. Whatever happens then, none is seen twice, and what
// was not done is skipped.
func ExampleGroupConsumer_CommitSync() {
	addr, stop := broker("1", "2", "3")
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.New(addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	g, err := c.NewGroupConsumer("alarms", client.Topics("clicks"), client.ManualCommit())
	if err != nil {
		log.Fatal(err)
	}
	for seen := 0; seen < 3; {
		records, err := g.Poll(ctx)
		if err != nil {
			log.Fatal(err)
		}
		seen += len(records)
		if err := g.CommitSync(ctx, client.After(records...)...); err != nil {
			continue // the partition may be somebody else's by now
		}
		for _, r := range records {
			fmt.Printf("alarm %s\n", r.Value)
		}
	}
	if err := g.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// alarm 1
	// alarm 2
	// alarm 3
}

// total is the sum of a partition's numbers, and the offset of the first one that is not in it yet.
type total struct{ Next, Sum int64 }

// totals is a directory with a file for each partition: the database of ExampleGroupConsumer_exactlyOnce.
type totals string

func (d totals) load(partition int32) (t total, err error) {
	b, err := os.ReadFile(filepath.Join(string(d), strconv.Itoa(int(partition))))
	if errors.Is(err, os.ErrNotExist) {
		return total{}, nil
	}
	if err != nil {
		return t, err
	}
	return t, json.Unmarshal(b, &t)
}

// save replaces a file by its successor, whole or not at all.
func (d totals) save(partition int32, t total) error {
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	path := filepath.Join(string(d), strconv.Itoa(int(partition)))
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Exactly once, with whatever can store a result and an offset at one stroke: a row of a database or, here, a file. Nothing is
// committed to the group; it only shares out the partitions, and each begins where its result ends. A database would save on the
// condition that Next is still what was loaded, so that a program that was stopped for long cannot overwrite its successor's work.
func ExampleGroupConsumer_exactlyOnce() {
	addr, stop := broker("1", "2", "3", "4")
	defer stop()
	dir, err := os.MkdirTemp("", "totals")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.New(addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	// sum adds numbers up until crash says so, between a result and what would have been the next step.
	sum := func(crash func(total) bool) {
		stored, owned := totals(dir), make(map[int32]total) // as they were stored last
		var g *client.GroupConsumer
		g, err := c.NewGroupConsumer("sums", client.Topics("clicks"), client.ManualCommit(), client.WithMaxPollRecords(2),
			client.OnAssigned(func(partitions []client.PartitionName) {
				for _, p := range partitions {
					t, err := stored.load(p.Partition)
					if err == nil {
						err = g.Seek(p.Topic, p.Partition, client.AtOffset(client.Offset(t.Next)))
					}
					if err != nil {
						log.Fatal(err)
					}
					owned[p.Partition] = t
				}
			}))
		if err != nil {
			log.Fatal(err)
		}
		defer g.Close()
		for {
			records, err := g.Poll(ctx)
			if err != nil {
				log.Fatal(err)
			}
			changed := make(map[int32]total)
			for _, r := range records {
				n, err := strconv.ParseInt(string(r.Value), 10, 64)
				if err != nil {
					log.Fatal(err)
				}
				t := owned[r.Partition]
				t.Sum, t.Next = t.Sum+n, int64(r.Offset)+1
				owned[r.Partition], changed[r.Partition] = t, t
			}
			for partition, t := range changed {
				if err := stored.save(partition, t); err != nil {
					log.Fatal(err)
				}
				if crash(t) {
					return
				}
			}
		}
	}
	sum(func(t total) bool { fmt.Println("sum", t.Sum, "and a crash"); return true })
	sum(func(t total) bool { fmt.Println("sum", t.Sum); return t.Next == 4 })
	// Output:
	// sum 3 and a crash
	// sum 10
}
