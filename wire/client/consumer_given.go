package client

import (
	"context"
	"slices"
)

// This file is a Consumer in the hands of a GroupConsumer, which tells it partition by partition what to read.

// given is a partition that a group has given to its member.
type given struct {
	PartitionName

	slot      slot
	committed Offset // NoOffset where nothing is
	start     Start
	err       error // why it is not read before Seek; nil when it is
}

// begin reads further partitions.
func (c *Consumer) begin(partitions []given) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range partitions {
		c.add(&topic{name: g.Topic, id: g.slot.topic}, g.Partition, g.start)
		if p := c.partitions[g.Topic][g.Partition]; g.err != nil {
			p.rest(g.err)
		}
	}
	signal(c.wake)
}

// withhold keeps partitions back that are about to be given up: their positions stay as they are.
func (c *Consumer) withhold(partitions []PartitionName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range partitions {
		if p := c.find(name); p != nil {
			p.withheld = true
		}
	}
}

// beginnings returns where reading began in those of the partitions where that is known.
func (c *Consumer) beginnings(partitions []PartitionName) []GroupOffset {
	c.mu.Lock()
	defer c.mu.Unlock()
	var offsets []GroupOffset
	for _, name := range partitions {
		if p := c.find(name); p != nil && p.first >= 0 {
			offsets = append(offsets, GroupOffset{Topic: name.Topic, Partition: name.Partition, Offset: p.first})
		}
	}
	return offsets
}

// awaitBeginnings waits until it is known of the partitions where reading begins, or that it does not. Nobody may poll meanwhile.
func (c *Consumer) awaitBeginnings(ctx context.Context, partitions []PartitionName) {
	for {
		c.mu.Lock()
		open := slices.ContainsFunc(partitions, func(name PartitionName) bool {
			p := c.find(name)
			return p != nil && p.first < 0 && !p.resting
		})
		c.mu.Unlock()
		if !open {
			return
		}
		select {
		case <-c.ready:
		case <-ctx.Done():
			return
		}
	}
}

// end forgets partitions. Answers that are still under way for them are dropped, and so are errors that were not told.
func (c *Consumer) end(partitions []PartitionName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range partitions {
		p := c.find(name)
		if p == nil {
			continue
		}
		p.seek(Beginning())
		p.retry(nil) // whatever was wrong is not this consumer's any more
		c.partitions[name.Topic][name.Partition] = nil
		c.order = slices.DeleteFunc(c.order, func(o *consumerPartition) bool { return o == p })
		c.full = slices.DeleteFunc(c.full, func(o *consumerPartition) bool { return o == p })
	}
	signal(c.wake) // there may be room for others
}

func (c *Consumer) find(name PartitionName) *consumerPartition {
	list := c.partitions[name.Topic]
	if name.Partition < 0 || int(name.Partition) >= len(list) {
		return nil
	}
	return list[name.Partition]
}
