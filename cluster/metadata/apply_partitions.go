package metadata

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

func (r *PartitionsChanged) apply(d *draft) error {
	var changed []*topic
	for rest := r.Changes; len(rest) > 0; {
		end := 1
		for end < len(rest) && rest[end].Topic == rest[0].Topic {
			end++
		}
		t, err := d.changePartitions(rest[:end])
		if err != nil {
			return err
		}
		if n := len(changed); n > 0 && changed[n-1].number >= t.number {
			return mismatch("topic %d after %d in one record", t.number, changed[n-1].number)
		}
		changed, rest = append(changed, t), rest[end:]
	}
	d.topics = d.topics.replaced(changed, func(a, b *topic) int { return cmp.Compare(a.number, b.number) })
	for _, t := range changed {
		d.list(t)
	}
	d.rehost(r.Changes)
	d.forgetReports(func(rep report) bool { return !d.Awaits(rep.PartitionRef) })
	return nil
}

// rehost tells the indexes of brokers what came to them and what left them.
func (d *draft) rehost(changes []PartitionChange) {
	var last TopicNumber
	for _, c := range changes {
		if c.Replicas == nil || c.Topic == last {
			continue
		}
		last = c.Topic
		t := d.topic(c.Topic)
		d.indexHosts(t)
		hosts := t.hosts()
		for _, b := range slices.Clone(d.brokers) {
			if _, had := b.topics.find(atNumber(t.number)); !had {
				continue
			}
			next := *b
			if !slices.Contains(hosts, b.ID) {
				next.topics = b.topics.without(atNumber(t.number))
			}
			next.failed = failedOnly(b.failed, func(ref PartitionRef) bool {
				p, _ := t.partition(ref.Partition)
				return ref.Topic != t.number || p.member(b.ID) != 0
			})
			if next.topics.len() != b.topics.len() || len(next.failed) != len(b.failed) {
				d.setBroker(&next)
			}
		}
	}
}

// changePartitions returns a topic with other states of some of its partitions.
func (d *draft) changePartitions(changes []PartitionChange) (*topic, error) {
	t := d.topic(changes[0].Topic)
	if t == nil {
		return nil, mismatch("no topic %d", changes[0].Topic)
	}
	numbers, parts := make([]int32, len(changes)), make([]partition, len(changes))
	assigned := false
	for i, c := range changes {
		if i > 0 && c.Partition <= numbers[i-1] {
			return nil, mismatch("%s: partition %d after %d in one record", t.name, c.Partition, numbers[i-1])
		}
		p, ok := t.partition(c.Partition)
		if !ok {
			return nil, mismatch("%s has no partition %d", t.name, c.Partition)
		}
		if c.Replicas != nil {
			assigned = true
			if err := d.assign(&p, c); err != nil {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
		}
		if err := p.become(c); err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
		numbers[i], parts[i] = c.Partition, p
	}
	if assigned {
		return t.withAssignments(parts), nil
	}
	return t.withStates(numbers, func(i int, st *state) { *st = parts[i].state }), nil
}

// assign gives a partition the replicas that a record says. The sets are the record's too: those of
// before mean nothing any more.
func (d *draft) assign(p *partition, c PartitionChange) error {
	if len(c.Replicas) == 0 || len(c.Replicas) > MaxReplicas {
		return mismatch("partition %d with %d replicas", p.number, len(c.Replicas))
	}
	for i, id := range c.Replicas {
		if d.broker(id) == nil || slices.Contains(c.Replicas[:i], id) {
			return mismatch("partition %d lies on broker %d", p.number, id)
		}
	}
	leader := p.leaderID()
	p.replicas, p.dirs = c.Replicas, replicaDirs(c.Directories, len(c.Replicas))
	if len(p.dirs) != len(p.replicas) {
		return mismatch("partition %d has %d replicas in %d directories", p.number, len(p.replicas), len(p.dirs))
	}
	p.adding, p.removing = c.Adding, c.Removing
	if (p.adding|p.removing)&^p.all() != 0 {
		return mismatch("partition %d adds and removes more than it has", p.number)
	}
	p.leader = int8(slices.Index(p.replicas, leader)) // noLeader if it is gone
	return nil
}

func (r *ReplicaMoved) apply(d *draft) error {
	t, b := d.topic(r.Topic), d.broker(r.Broker)
	if t == nil || b == nil || r.Directory == 0 || int(r.Directory) > len(b.Directories) {
		return mismatch("broker %d with directory %d for topic %d", r.Broker, r.Directory, r.Topic)
	}
	p, _ := t.partition(r.Partition)
	i := slices.Index(p.replicas, r.Broker)
	if i < 0 {
		return mismatch("%s-%d is not on broker %d", t.name, r.Partition, r.Broker)
	}
	d.setTopic(t.withDirectory(&p, i, directory(r.Directory)))
	return nil
}

// become takes over the state that a record says, if it was made for this one.
func (p *partition) become(c PartitionChange) error {
	before := *p
	if c.PartitionEpoch != before.partitionEpoch+1 {
		return mismatch("partition %d is in partition epoch %d: a change to %d",
			p.number, before.partitionEpoch, c.PartitionEpoch)
	}
	p.partitionEpoch, p.leaderEpoch, p.unclean = c.PartitionEpoch, c.LeaderEpoch, c.Unclean
	if c.Unclean {
		p.uncleanEpoch = c.LeaderEpoch
	}
	p.isr, p.elr, p.lastKnownELR = c.ISR, c.ELR, c.LastKnownELR
	p.awaiting = c.Awaiting
	if err := p.lead(c.Leader); err != nil {
		return err
	}
	if p.leaderEpoch < before.leaderEpoch || p.leaderEpoch == before.leaderEpoch && p.leader != before.leader {
		return mismatch("partition %d is led by %d in leader epoch %d: not by %d in %d",
			p.number, before.leaderID(), before.leaderEpoch, c.Leader, c.LeaderEpoch)
	}
	return nil
}

// lead makes a broker the leader, after the sets were set.
func (p *partition) lead(leader wire.BrokerID) error {
	if p.isr&^p.all() != 0 || (p.elr|p.lastKnownELR)&^p.all() != 0 || p.isr&p.elr != 0 {
		return mismatch("partition %d of topic %d: sets %b, %b, %b of %d replicas",
			p.number, p.topic, p.isr, p.elr, p.lastKnownELR, len(p.replicas))
	}
	p.leader = noLeader
	if leader == wire.NoBroker {
		return nil
	}
	member := p.member(leader)
	if member&p.isr == 0 {
		return mismatch("partition %d of topic %d: leader %d is not in the ISR", p.number, p.topic, leader)
	}
	p.leader = int8(slices.Index(p.replicas, leader))
	return nil
}
