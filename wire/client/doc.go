// Package client speaks to a Troupe cluster: it produces records, consumes them, and administers
// topics. A program needs one Client, from which everything else is made:
//
//	c, err := client.New("127.0.0.1:9092")
//	if err != nil { ... }
//	defer c.Close()
//
//	p, err := c.NewProducer()
//	err = p.Produce(ctx, client.Record{Topic: "clicks", Value: v}, func(r client.Record, err error) { ... })
//	err = p.Flush(ctx)
//
//	r, err := c.NewConsumer(client.Topics("clicks"))
//	records, err := r.Poll(ctx)
//
//	g, err := c.NewGroupConsumer("billing", client.Topics("clicks")) // shares the partitions with others of that group
//	records, err := g.Poll(ctx)
//
// The zero configuration is the safe one: a record that Produce accepted is written once, in the
// order of its partition, and acknowledged when every in-sync replica has it on disk. Retries,
// changes of leadership and lost connections do not show, other than by taking time; what could
// not be delivered within ProducerConfig.DeliveryTimeout is told to the record's callback. A program
// that wants to say meanwhile why nothing moves sets Config.OnRetry.
//
// All memory is bounded: a producer whose brokers are slow blocks in Produce until there is room
// or its context ends, and a consumer reads ahead no further than ConsumerConfig.MaxBufferedBytes.
//
//	client.go              Client: configuration, connections by address, start and end
//	metadata.go            who leads what, kept fresh; ask.go, asking whichever broker answers
//	conn.go                one connection: many requests under way, answers in any order;
//	                       conn_watch.go, finding out that nobody is there any more
//	producer.go            Producer, and its options in options.go
//	producer_partition.go  order and sequences of one partition; producer_answers.go, what an answer
//	                       means and what is sent again; producer_batch.go, a batch;
//	                       callbacks.go; producer_queues.go, alarms; partitioner.go
//	consumer.go            Consumer, and its options in consumer_options.go
//	consumer_partition.go  reading ahead in one partition; chunk.go, opening what was fetched
//	group_consumer.go      GroupConsumer, a member of a group, and its options in group_options.go
//	group_member.go        its heartbeats; group_assignment.go, how partitions come and go; group_commit.go,
//	                       offsets; group_coordinator.go, who is asked; consumer_given.go, what it has a Consumer do
//	offsets.go             single fetches and offset queries; admin.go, topics and configurations;
//	                       admin_cluster.go, brokers and where partitions lie; admin_groups.go, groups
//
// Errors that come from a broker wrap a Kafka error code: errors.Is(err, client.ErrUnknownTopic)
// and its neighbours in errors.go. Every goroutine belongs to a Client, Producer or Consumer, whose
// Close waits for it. Callbacks may call the client: what would wait for them returns ErrInCallback.
package client
