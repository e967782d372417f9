package client_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/troupe-mq/troupe/wire/client"
)

// Producing: records are batched, acknowledged to a callback, and Produce waits when the buffer
// is full, until there is room or the context ends.
func ExampleProducer() {
	addr, stop := broker() // "127.0.0.1:9092" where `troupe broker` runs
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.New(addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	p, err := c.NewProducer(client.WithLinger(10*time.Millisecond), client.WithMaxBufferedBytes(1<<20))
	if err != nil {
		log.Fatal(err)
	}
	for i := range 3 {
		r := client.Record{Topic: "clicks", Key: []byte("ada"), Value: fmt.Appendf(nil, "click %d", i)}
		err := p.Produce(ctx, r, func(r client.Record, err error) { fmt.Printf("%s is at offset %d, %v\n", r.Value, r.Offset, err) })
		if err != nil {
			log.Fatal(err) // the context ended while the buffer was full
		}
	}
	if err := p.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// click 0 is at offset 0, <nil>
	// click 1 is at offset 1, <nil>
	// click 2 is at offset 2, <nil>
}

// Consuming: all partitions of a topic, from the first record that is kept.
func ExampleConsumer() {
	addr, stop := broker("click 0", "click 1", "click 2") // a broker with three records in "clicks"
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.New(addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	r, err := c.NewConsumer(client.Topics("clicks"), client.From(client.Beginning()))
	if err != nil {
		log.Fatal(err)
	}
	for seen := 0; seen < 3; {
		records, err := r.Poll(ctx)
		if err != nil {
			log.Fatal(err)
		}
		for _, record := range records {
			fmt.Printf("%d: %s\n", record.Offset, record.Value)
		}
		seen += len(records)
	}
	// Output:
	// 0: click 0
	// 1: click 1
	// 2: click 2
}

// ProduceSync writes records and waits for them.
func ExampleProducer_ProduceSync() {
	addr, stop := broker()
	defer stop()
	ctx := context.Background()
	c, err := client.New(addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	p, err := c.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	written, err := p.ProduceSync(ctx, client.Record{Topic: "clicks", Value: []byte("one")}, client.Record{Topic: "clicks", Value: []byte("two")})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range written {
		fmt.Printf("%s: partition %d, offset %d\n", r.Value, r.Partition, r.Offset)
	}
	// Output:
	// one: partition 0, offset 0
	// two: partition 0, offset 1
}

// A topic is created, described and configured by the same Client.
func ExampleClient_CreateTopic() {
	addr, stop := broker()
	defer stop()
	ctx := context.Background()
	c, err := client.New(addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	err = c.CreateTopic(ctx, client.NewTopic{Name: "orders", Partitions: 6, Configs: map[string]string{"retention.ms": "86400000"}})
	if err != nil {
		log.Fatal(err)
	}
	topics, err := c.DescribeTopics(ctx, "orders")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(topics[0].Name, "has", len(topics[0].Partitions), "partitions")
	// Output: orders has 6 partitions
}
