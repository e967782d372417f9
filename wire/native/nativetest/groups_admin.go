package nativetest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

func (c *cluster) commit(q *wire.CommitOffsets) *wire.CommittedOffsets {
	g := c.group(q.Group)
	m := g.members[q.Member]
	switch {
	case q.Generation == wire.NoGeneration && len(g.members) > 0, q.Generation != wire.NoGeneration && m == nil:
		return &wire.CommittedOffsets{Err: wire.UnknownMemberID, Errs: slices.Repeat([]error{wire.UnknownMemberID}, len(q.Offsets))}
	case m != nil && int32(q.Generation) != m.Epoch:
		return &wire.CommittedOffsets{Err: wire.StaleMemberEpoch, Errs: slices.Repeat([]error{wire.StaleMemberEpoch}, len(q.Offsets))}
	}
	reply := &wire.CommittedOffsets{Errs: make([]error, len(q.Offsets))}
	for i, o := range q.Offsets {
		t := c.topics[o.Topic]
		if t == nil || o.Partition < 0 || int(o.Partition) >= len(t.partitions) {
			reply.Errs[i] = wire.UnknownTopicOrPartition
			continue
		}
		g.offsets[wire.TopicNamePartition{Topic: o.Topic, Partition: o.Partition}] = wire.FetchedOffset{
			Topic: o.Topic, TopicID: t.ID, Partition: o.Partition, Offset: o.Offset, LeaderEpoch: o.LeaderEpoch,
			Metadata: o.Metadata, Committed: time.UnixMilli(1),
		}
	}
	return reply
}

// offsetsPerPage is how many of all offsets are told at once.
const offsetsPerPage = 100

func (c *cluster) fetchOffsets(g *group, q *wire.FetchOffsets) *wire.FetchedOffsets {
	reply := new(wire.FetchedOffsets)
	if q.All && g != nil {
		for _, at := range slices.SortedFunc(maps.Keys(g.offsets), func(a, b wire.TopicNamePartition) int {
			return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
		}) {
			if cmp.Or(strings.Compare(at.Topic, q.After.Topic), cmp.Compare(at.Partition, q.After.Partition)) <= 0 {
				continue
			}
			if len(reply.Offsets) == offsetsPerPage {
				reply.More = true
				break
			}
			reply.Offsets = append(reply.Offsets, g.offsets[at])
		}
	}
	for _, t := range q.Topics {
		for _, p := range t.Partitions {
			o := wire.FetchedOffset{Topic: t.Topic, TopicID: t.TopicID, Partition: p, Offset: wire.NoOffset, LeaderEpoch: wire.NoEpoch}
			if g != nil {
				if known, ok := g.offsets[wire.TopicNamePartition{Topic: t.Topic, Partition: p}]; ok {
					o = known
				}
			}
			reply.Offsets = append(reply.Offsets, o)
		}
	}
	return reply
}

func (c *cluster) deleteOffsets(g *group, q *wire.DeleteOffsets) *wire.CommittedOffsets {
	if g == nil {
		return &wire.CommittedOffsets{Err: wire.GroupIDNotFound}
	}
	reply := new(wire.CommittedOffsets)
	for _, t := range q.Topics {
		var err error
		for _, m := range g.members {
			if m.subscribes(t.Topic) {
				err = wire.GroupSubscribedToTopic
			}
		}
		for _, p := range t.Partitions {
			if err == nil {
				delete(g.offsets, wire.TopicNamePartition{Topic: t.Topic, Partition: p})
			}
			reply.Errs = append(reply.Errs, err)
		}
	}
	return reply
}

func (g *group) state() wire.GroupState {
	if len(g.members) == 0 {
		return wire.GroupEmpty
	}
	for _, m := range g.members {
		if m.Epoch != g.epoch || len(m.held) > 0 {
			return wire.GroupReconciling
		}
	}
	return wire.GroupStable
}

func (b *Broker) describeGroup(g *group, q *wire.DescribeGroup) *wire.GroupDescription {
	if g == nil {
		return &wire.GroupDescription{Err: wire.GroupIDNotFound, Group: q.Group}
	}
	described := &wire.GroupDescription{
		Group: q.Group, Type: wire.ConsumerGroup, State: g.state(), ProtocolType: "consumer", Protocol: "uniform",
		Epoch: g.epoch, AssignmentEpoch: g.epoch, Coordinator: b.id,
	}
	for _, id := range slices.Sorted(maps.Keys(g.members)) {
		m := g.members[id].DescribedMember
		m.Assigned = b.cluster.named(g.members[id].told)
		described.Members = append(described.Members, m)
	}
	return described
}

// ListGroups lists all groups that the filters let pass.
func (b *Broker) ListGroups(_ context.Context, q *wire.ListGroups) wire.GroupList {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	var list wire.GroupList
	for _, id := range slices.Sorted(maps.Keys(c.groups.byID)) {
		one := wire.ListedGroup{Group: id, ProtocolType: "consumer", State: c.groups.byID[id].state(), Type: wire.ConsumerGroup, Coordinator: b.id}
		passes := func(filter []string, value string) bool {
			return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, value) })
		}
		if passes(q.States, string(one.State)) && passes(q.Types, string(one.Type)) {
			list.Groups = append(list.Groups, one)
		}
	}
	return list
}

// AppendTimes says that every record was appended an hour after 1970 began, a minute ago.
func (b *Broker) AppendTimes(_ context.Context, queries []wire.AppendTimeQuery) []wire.AppendTime {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	times := make([]wire.AppendTime, len(queries))
	for i, q := range queries {
		t := c.byID[q.Topic]
		if t == nil || q.Partition < 0 || int(q.Partition) >= len(t.partitions) {
			times[i] = wire.AppendTime{Err: wire.UnknownTopicID, LogStartOffset: wire.NoOffset, HighWatermark: wire.NoOffset, Leader: wire.NoHint}
			continue
		}
		p := t.partitions[q.Partition]
		times[i] = wire.AppendTime{LogStartOffset: p.start, HighWatermark: p.end, Leader: wire.NoHint}
		if q.Offset < p.end {
			times[i].Appended, times[i].Age = time.UnixMilli(time.Hour.Milliseconds()), time.Minute
		}
	}
	return times
}

func (c *cluster) leaveGroup(q *wire.LeaveGroup) *wire.LeftGroup {
	g, reply := c.group(q.Group), new(wire.LeftGroup)
	for _, leaving := range q.Members {
		left := wire.LeftMember{Member: leaving.Member, Instance: leaving.Instance}
		if m := g.members[leaving.Member]; m == nil || m.Instance != leaving.Instance {
			left.Err = wire.UnknownMemberID
		}
		if left.Err == nil {
			delete(g.members, leaving.Member)
			c.rebalance(g)
		}
		reply.Members = append(reply.Members, left)
	}
	return reply
}
