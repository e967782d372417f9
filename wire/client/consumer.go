package client

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// Consumer reads partitions. It keeps no state in the cluster: the program knows where to begin,
// and Positions tells it where it is. Its methods may be called by many goroutines at once.
//
//	loop: which partitions lack an offset, or records? --> one request per leader and round
//	                                                            |
//	Poll <-- chunks of each partition, opened when taken <------' answers, on the connections' goroutines
//
// A partition has at most one request under way and asks for the next records while Poll empties
// what has come, so that reading and processing overlap within MaxBufferedBytes.
type Consumer struct {
	client *Client
	cfg    ConsumerConfig
	wake   chan struct{} // for loop; holds one
	ready  chan struct{} // for Poll; holds one
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu         sync.Mutex
	closed     bool
	seen       *metadata                       // what assign has looked at last
	known      map[string]bool                 // topics that assign has found; everyTopic once Pattern was applied
	partitions map[string][]*consumerPartition // by topic, by number; nil where it is not read
	order      []*consumerPartition            // all of them
	turn       int                             // the one in order that is looked at first
	full       []*consumerPartition            // those with chunks, in the order of Poll
	buffered   int                             // bytes of chunks
	reserved   int                             // bytes that fetches under way may bring
	fetches    map[string]int                  // under way, by address
	failed     []error                         // not yet told by Poll
	topicErrs  map[string]error                // told already, until the topic is there
	lastErr    error                           // the latest that passes by itself
}

// NewConsumer returns a consumer that begins to read. Options say what it reads and from where.
func (cl *Client) NewConsumer(options ...ConsumerOption) (*Consumer, error) {
	cfg := DefaultConsumerConfig()
	for _, option := range options {
		option(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return cl.newConsumer(cfg)
}

func (cl *Client) newConsumer(cfg ConsumerConfig) (*Consumer, error) {
	c := &Consumer{
		client: cl, cfg: cfg, wake: make(chan struct{}, 1), ready: make(chan struct{}, 1),
		known: make(map[string]bool), partitions: make(map[string][]*consumerPartition),
		fetches: make(map[string]int), topicErrs: make(map[string]error),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if err := cl.subscribe(c); err != nil {
		c.cancel()
		return nil, err
	}
	for _, name := range cfg.Topics {
		cl.refresh.want(name, false)
	}
	for name := range cfg.Partitions {
		cl.refresh.want(name, false)
	}
	if cfg.Pattern != nil {
		cl.refresh.wantAll(1)
	}
	cl.refresh.ask()
	c.tasks.Go(c.loop)
	return c, nil
}

// Poll returns records, in the order of each partition, as soon as there are any. It returns an
// error when a partition cannot be read on: that partition then rests until Seek, the others go
// on. It returns ctx's error when ctx ends first.
func (c *Consumer) Poll(ctx context.Context) ([]Record, error) {
	for {
		records, err, last := c.next()
		if len(records) > 0 || err != nil {
			return records, err
		}
		select {
		case <-c.ready:
		case <-ctx.Done():
			return nil, giveUpPoll(ctx.Err(), last)
		case <-c.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// next returns what there is for Poll at this moment, or the latest problem that passes by itself.
func (c *Consumer) next() (records []Record, err, last error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed, nil
	}
	if records = c.take(); len(records) > 0 {
		if len(c.full) > 0 || len(c.failed) > 0 {
			signal(c.ready) // for another goroutine that polls
		}
		signal(c.wake)
		return records, nil, nil
	}
	if len(c.failed) > 0 {
		err = c.failed[0]
		c.failed = c.failed[1:]
		return nil, err, nil
	}
	return nil, nil, c.lastErr
}

// giveUpPoll returns why Poll ended without anything.
func giveUpPoll(why, last error) error {
	if last == nil {
		return why
	}
	return fmt.Errorf("%w (the last problem: %w)", why, last)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take takes records out of the chunks: from one partition until the limit, its next turn last.
func (c *Consumer) take() []Record {
	var records []Record
	for turns := len(c.full); turns > 0 && len(records) < c.cfg.MaxPollRecords; turns-- {
		p := c.full[0]
		c.full = c.full[1:]
		if p.silent() {
			p.listed = false
			continue
		}
		records = p.take(records)
		if len(p.chunks) > 0 {
			c.full = append(c.full, p)
		} else {
			p.listed = false
		}
	}
	return records
}

// Close stops reading and waits for the consumer's goroutines.
func (c *Consumer) Close() error {
	c.client.unsubscribe(c)
	c.stop()
	return nil
}

func (c *Consumer) abandon() { c.stop() }

func (c *Consumer) stop() {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.tasks.Wait()
	if first && c.cfg.Pattern != nil {
		c.client.refresh.wantAll(-1)
	}
}

func (c *Consumer) clusterChanged() { signal(c.wake) }

// Pause keeps a partition's records from Poll until Resume. What is read ahead is kept.
func (c *Consumer) Pause(topic string, partition int32) error {
	return c.with(topic, partition, func(p *consumerPartition) { p.paused = true })
}

// Resume undoes Pause.
func (c *Consumer) Resume(topic string, partition int32) error {
	return c.with(topic, partition, func(p *consumerPartition) {
		p.paused = false
		p.list()
	})
}

// Seek goes on reading a partition from elsewhere: what was read ahead is dropped, also an error.
func (c *Consumer) Seek(topic string, partition int32, to Start) error {
	return c.with(topic, partition, func(p *consumerPartition) { p.seek(to) })
}

// with calls f for a partition and lets loop and Poll look again.
func (c *Consumer) with(topic string, partition int32, f func(*consumerPartition)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	list := c.partitions[topic]
	if partition < 0 || int(partition) >= len(list) || list[partition] == nil {
		return wire.Errorf(wire.UnknownTopicOrPartition, "%s/%d is not being read", topic, partition)
	}
	f(list[partition])
	signal(c.wake)
	signal(c.ready)
	return nil
}

// Position is how far a consumer has come in a partition.
type Position struct {
	Topic     string
	Partition int32
	// Next is the offset of the next record that Poll returns; -1 while it is being looked up.
	Next Offset
	// HighWatermark is where the partition ended when it was last asked; -1 before.
	HighWatermark Offset
}

// Positions returns the position in every partition that is being read, sorted.
func (c *Consumer) Positions() []Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []Position
	for _, p := range c.order {
		list = append(list, Position{Topic: p.topic, Partition: p.index, Next: p.consumed, HighWatermark: p.highWatermark})
	}
	slices.SortFunc(list, func(a, b Position) int {
		if a.Topic != b.Topic {
			if a.Topic < b.Topic {
				return -1
			}
			return 1
		}
		return int(a.Partition - b.Partition)
	})
	return list
}

// loop decides what to ask for, each time something has changed.
func (c *Consumer) loop() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		c.mu.Lock()
		if m := c.client.meta.Load(); m != c.seen {
			c.seen = m
			c.assign(m)
		}
		at := now()
		next := c.request(c.seen, at)
		c.mu.Unlock()
		timer.Reset(next.Sub(at))
		select {
		case <-c.ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
	}
}

// everyTopic is no topic's name.
const everyTopic = "*"

// assign adds the partitions that the metadata shows and that are not read yet.
func (c *Consumer) assign(m *metadata) {
	if m.topics == nil {
		return // nothing has been heard of the cluster yet
	}
	for _, name := range c.cfg.Topics {
		c.assignTopic(name, m.topics[name])
	}
	if c.cfg.Pattern != nil && m.all {
		for name, t := range m.topics {
			if t.err == nil && !t.internal && c.cfg.Pattern.MatchString(name) {
				c.assignTopic(name, t)
			}
		}
		c.known[everyTopic] = true
	}
	for name, starts := range c.cfg.Partitions {
		t := m.topics[name]
		if !c.there(name, t) {
			continue
		}
		for index, start := range starts {
			if int(index) >= len(t.partitions) {
				c.tellOnce(fmt.Sprintf("%s/%d", name, index),
					wire.Errorf(wire.UnknownTopicOrPartition, "there is no partition %s/%d", name, index))
				continue
			}
			c.add(t, index, start)
		}
	}
}

// there says whether a topic exists, and has Poll tell that it does not.
func (c *Consumer) there(name string, t *topic) bool {
	switch {
	case t == nil || wire.Code(t.err) == wire.LeaderNotAvailable:
		return false
	case t.err != nil:
		c.tellOnce(name, fmt.Errorf("topic %s: %w", name, t.err))
		return false
	}
	delete(c.topicErrs, name)
	return true
}

func (c *Consumer) tellOnce(about string, err error) {
	if c.topicErrs[about] == nil {
		c.topicErrs[about] = err
		c.tell(err)
	}
}

// tell has Poll return an error.
func (c *Consumer) tell(err error) {
	c.failed = append(c.failed, err)
	signal(c.ready)
}

func (c *Consumer) assignTopic(name string, t *topic) {
	if !c.there(name, t) {
		return
	}
	start := c.cfg.Start
	if c.known[name] || (c.known[everyTopic] && !slices.Contains(c.cfg.Topics, name)) {
		start = Beginning() // it has appeared while we were reading
	}
	for i := range t.partitions {
		if own, ok := c.cfg.Partitions[name][int32(i)]; ok {
			c.add(t, int32(i), own)
		} else {
			c.add(t, int32(i), start)
		}
	}
	c.known[name] = true
}

// add begins to read a partition, unless it is being read. A topic that was created anew is another one.
func (c *Consumer) add(t *topic, index int32, start Start) {
	list := c.partitions[t.name]
	for len(list) <= int(index) {
		list = append(list, nil)
	}
	c.partitions[t.name] = list
	if p := list[index]; p != nil {
		if p.id != t.id {
			p.id = t.id
			p.outOfRange(fmt.Errorf("the topic was created anew: %w", wire.OffsetOutOfRange))
		}
		return
	}
	p := &consumerPartition{consumer: c, topic: t.name, id: t.id, index: index, highWatermark: wire.NoOffset}
	p.seek(start)
	list[index] = p
	c.order = append(c.order, p)
}
