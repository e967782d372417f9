package nativetest

import (
	"cmp"
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// groups is what the coordinator of a test remembers. It speaks the protocol of KIP-848 as members see it: partitions are
// given to nobody before whoever had them has said that it has not any more. Sessions end when a test says so.
type groups struct {
	byID     map[wire.GroupID]*group
	interval time.Duration
	fault    func(wire.GroupRequest) error
	history  []wire.Rebalance
}

type group struct {
	epoch   int32
	members map[wire.MemberID]*member
	offsets map[wire.TopicNamePartition]wire.FetchedOffset
}

type member struct {
	wire.DescribedMember

	told    map[slot]bool // what it may use
	held    map[slot]bool // what it may not use any more, but has not given up yet
	outdate bool          // it has to be told again
	left    bool          // a static one that will be back
}

// slot is a partition.
type slot struct {
	topic wire.TopicID
	index int32
}

// SetHeartbeatInterval is how often members of groups are to be heard of; 20 ms.
func (b *Broker) SetHeartbeatInterval(d time.Duration) {
	b.cluster.mu.Lock()
	defer b.cluster.mu.Unlock()
	b.cluster.groups.interval = d
}

// FailGroups refuses the requests for which f returns an error.
func (b *Broker) FailGroups(f func(wire.GroupRequest) error) {
	b.cluster.mu.Lock()
	defer b.cluster.mu.Unlock()
	b.cluster.groups.fault = f
}

// SetHistory makes every group's history.
func (b *Broker) SetHistory(rebalances ...wire.Rebalance) {
	b.cluster.mu.Lock()
	defer b.cluster.mu.Unlock()
	b.cluster.groups.history = rebalances
}

// Expire ends the session of every member whose client id matches, as if it had not been heard of.
func (b *Broker) Expire(id wire.GroupID, client string) {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.groups.byID[id]; g != nil {
		maps.DeleteFunc(g.members, func(_ wire.MemberID, m *member) bool { return m.ClientID == client })
		c.rebalance(g)
	}
}

// Committed returns the offset that a group has committed, -1 for none.
func (b *Broker) Committed(id wire.GroupID, topic string, partition int32) wire.Offset {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.groups.byID[id]; g != nil {
		if o, ok := g.offsets[wire.TopicNamePartition{Topic: topic, Partition: partition}]; ok {
			return o.Offset
		}
	}
	return wire.NoOffset
}

// AskGroup answers as a coordinator does.
func (b *Broker) AskGroup(_ context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
	c := b.cluster
	c.mu.Lock()
	fault := c.groups.fault
	c.mu.Unlock()
	if fault != nil {
		if err := fault(q); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.groups.byID[q.Of()]
	switch q := q.(type) {
	case *wire.ConsumerHeartbeat:
		return c.heartbeat(q), nil
	case *wire.CommitOffsets:
		return c.commit(q), nil
	case *wire.FetchOffsets:
		return c.fetchOffsets(g, q), nil
	case *wire.DeleteOffsets:
		return c.deleteOffsets(g, q), nil
	case *wire.DescribeGroup:
		return b.describeGroup(g, q), nil
	case *wire.DeleteGroup:
		switch {
		case g == nil:
			return &wire.DeletedGroup{Err: wire.GroupIDNotFound}, nil
		case len(g.members) > 0:
			return &wire.DeletedGroup{Err: wire.NonEmptyGroup}, nil
		}
		delete(c.groups.byID, q.Group)
		return &wire.DeletedGroup{}, nil
	case *wire.LeaveGroup:
		return c.leaveGroup(q), nil
	case *wire.GroupHistory:
		if g == nil {
			return &wire.GroupRebalances{Err: wire.GroupIDNotFound}, nil
		}
		return &wire.GroupRebalances{Rebalances: c.groups.history}, nil
	}
	return nil, wire.InvalidRequest
}

// group returns a group, made when there was none.
func (c *cluster) group(id wire.GroupID) *group {
	g := c.groups.byID[id]
	if g == nil {
		g = &group{members: make(map[wire.MemberID]*member), offsets: make(map[wire.TopicNamePartition]wire.FetchedOffset)}
		c.groups.byID[id] = g
	}
	return g
}

func (c *cluster) heartbeat(q *wire.ConsumerHeartbeat) *wire.ConsumerHeartbeatReply {
	g := c.group(q.Group)
	m := g.members[q.Member]
	switch {
	case q.MemberEpoch == wire.MemberJoins && g.taken(q):
		return &wire.ConsumerHeartbeatReply{Err: wire.UnreleasedInstanceID}
	case q.MemberEpoch == wire.MemberJoins:
		m = c.join(g, q)
	case m == nil || m.left:
		return &wire.ConsumerHeartbeatReply{Err: wire.UnknownMemberID}
	case q.MemberEpoch == wire.MemberLeaves:
		delete(g.members, q.Member)
		c.rebalance(g)
		return &wire.ConsumerHeartbeatReply{Member: q.Member, MemberEpoch: q.MemberEpoch}
	case q.MemberEpoch == wire.StaticMemberPauses:
		m.left = true
		return &wire.ConsumerHeartbeatReply{Member: q.Member, MemberEpoch: q.MemberEpoch}
	case q.MemberEpoch != m.Epoch:
		return &wire.ConsumerHeartbeatReply{Err: wire.FencedMemberEpoch}
	}
	m.ClientID = q.ClientID // who it is comes with every request
	if q.Subscribed && !slices.Equal(q.Topics, m.SubscribedTopics) {
		m.SubscribedTopics = q.Topics
		c.rebalance(g)
	}
	if q.OwnedTold {
		owned := make(map[slot]bool)
		for _, t := range q.Owned {
			for _, p := range t.Partitions {
				owned[slot{t.Topic, p}] = true
			}
		}
		maps.DeleteFunc(m.held, func(s slot, _ bool) bool { return !owned[s] })
	}
	c.reconcile(g, m)
	reply := &wire.ConsumerHeartbeatReply{Member: m.Member, MemberEpoch: m.Epoch, HeartbeatInterval: c.groups.interval}
	if m.outdate || q.Subscribed {
		m.outdate = false
		reply.Assigned, reply.Assignment = true, byTopic(m.told)
	}
	return reply
}

// taken says that another member uses the instance of one that joins.
func (g *group) taken(q *wire.ConsumerHeartbeat) bool {
	for id, m := range g.members {
		if q.Instance != "" && m.Instance == q.Instance && id != q.Member && !m.left {
			return true
		}
	}
	return false
}

// join takes a member in. A static one takes the place that its instance had.
func (c *cluster) join(g *group, q *wire.ConsumerHeartbeat) *member {
	m := &member{told: make(map[slot]bool), held: make(map[slot]bool), outdate: true}
	for id, before := range g.members {
		if q.Instance != "" && before.Instance == q.Instance {
			m.told = before.told
			delete(g.members, id)
		}
	}
	m.DescribedMember = wire.DescribedMember{
		Member: q.Member, Instance: q.Instance, ClientID: q.ClientID, ClientHost: q.ClientHost, Rack: q.Rack,
		SubscribedTopics: q.Topics,
	}
	if q.Pattern != nil {
		m.Pattern = *q.Pattern
	}
	g.members[q.Member] = m
	c.rebalance(g)
	return m
}

// rebalance computes who is to have what: the partitions in turn, to the members in the order of their client ids.
func (c *cluster) rebalance(g *group) {
	g.epoch++
	members := slices.SortedFunc(maps.Values(g.members), func(a, b *member) int {
		return cmp.Or(strings.Compare(a.ClientID, b.ClientID), strings.Compare(string(a.Member), string(b.Member)))
	})
	target := make(map[wire.MemberID]map[slot]bool)
	turn := 0
	for _, name := range slices.Sorted(maps.Keys(c.topics)) {
		t := c.topics[name]
		for i := range t.partitions {
			for range members {
				m := members[turn%len(members)]
				turn++
				if !m.subscribes(name) {
					continue
				}
				if target[m.Member] == nil {
					target[m.Member] = make(map[slot]bool)
				}
				target[m.Member][slot{t.ID, int32(i)}] = true
				break
			}
		}
	}
	for id, m := range g.members {
		m.Target = c.named(target[id])
	}
}

func (m *member) subscribes(topic string) bool {
	if slices.Contains(m.SubscribedTopics, topic) {
		return true
	}
	pattern, err := regexp.Compile("^(?:" + m.Pattern + ")$")
	return m.Pattern != "" && err == nil && pattern.MatchString(topic)
}

// reconcile brings a member one step towards its target.
func (c *cluster) reconcile(g *group, m *member) {
	target := make(map[slot]bool)
	for _, t := range m.Target {
		for _, p := range t.Partitions {
			target[slot{t.TopicID, p}] = true
		}
	}
	for s := range m.told {
		if !target[s] {
			delete(m.told, s)
			m.held[s], m.outdate = true, true
		}
	}
	if len(m.held) > 0 {
		return // it has to give these up first
	}
	m.Epoch = g.epoch
	for s := range target {
		free := !m.told[s]
		for _, other := range g.members {
			free = free && !other.told[s] && !other.held[s]
		}
		if free {
			m.told[s], m.outdate = true, true
		}
	}
}

func (c *cluster) named(slots map[slot]bool) []wire.NamedPartitions {
	var list []wire.NamedPartitions
	for _, t := range byTopic(slots) {
		list = append(list, wire.NamedPartitions{Topic: c.byID[t.Topic].Name, TopicID: t.Topic, Partitions: t.Partitions})
	}
	return list
}

func byTopic(slots map[slot]bool) []wire.AssignedTopic {
	var list []wire.AssignedTopic
	sorted := slices.SortedFunc(maps.Keys(slots), func(a, b slot) int {
		return cmp.Or(strings.Compare(string(a.topic[:]), string(b.topic[:])), cmp.Compare(a.index, b.index))
	})
	for _, s := range sorted {
		if n := len(list); n == 0 || list[n-1].Topic != s.topic {
			list = append(list, wire.AssignedTopic{Topic: s.topic})
		}
		last := &list[len(list)-1]
		last.Partitions = append(last.Partitions, s.index)
	}
	return list
}
