package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/troupe-mq/troupe/wire"
)

// assignment is how far the member has come from what it owns to what it is to have. The consumer's mutex guards it. What goes,
// goes first:
//
//	settled --something goes--> draining --commits are done--> revoking --OnRevoked--> releasing --its commits are done--> settled
//	settled --something comes--> locating --committed offsets are known--> beginning --OnAssigned--> settled
//
// Poll makes the steps out of settled, revoking and beginning; in the other states something is under way that ends by itself, and
// Poll goes on with what it has. Only then is the coordinator told that partitions are given up: no commit of this member's can
// come behind one of the next owner's.
type assignment struct {
	target  map[slot]bool
	fresh   bool // Poll has not compared the target with what is owned yet
	seen    *metadata
	lookups int // of topics that the metadata does not know
	owned   map[slot]PartitionName
	step    step
	turn    int                    // counts losses, and what is called off: what was begun before is dropped
	going   map[slot]PartitionName // while releasing, not owned any more
	coming  []given                // while locating, and while beginning
}

type step int8

const (
	settled step = iota
	draining
	revoking
	releasing
	locating
	beginning
)

// maxLookups bounds how often the metadata is asked for at once because of one assignment: later the topics are found in time.
const maxLookups = 20

// slot is a partition by its topic's id.
type slot struct {
	topic wire.TopicID
	index int32
}

// assigned takes what the coordinator says that the member may use.
func (g *GroupConsumer) assigned(topics []wire.AssignedTopic) {
	g.fresh, g.lookups = true, 0
	g.target = make(map[slot]bool)
	for _, t := range topics {
		for _, index := range t.Partitions {
			g.target[slot{t.Topic, index}] = true
		}
	}
	if slices.ContainsFunc(g.coming, func(c given) bool { return !g.target[c.slot] }) {
		// It may be somebody else's already, and if it comes back, what was committed then is another offset.
		g.step, g.coming = settled, nil
		g.turn++
	}
	signal(g.reader.ready)
}

// unsettle forgets the assignment. What is owned stays until Poll has told of the loss.
func (g *GroupConsumer) unsettle() {
	g.target, g.fresh = nil, false
	g.step, g.coming = settled, nil
	clear(g.going)
	g.turn++
}

// settle makes the steps that only Poll may make.
func (g *GroupConsumer) settle() error {
	for {
		g.mu.Lock()
		state, step := g.state, g.step
		g.mu.Unlock()
		switch {
		case state == lost:
			g.tellLost()
			if err := g.rejoin(); err != nil {
				return err
			}
		case step == revoking:
			g.revoke()
		case step == beginning:
			g.begin()
		case step == settled:
			g.depart()
			return nil
		default:
			return nil
		}
	}
}

// depart begins with what is to go or, when nothing is, with what is to come.
func (g *GroupConsumer) depart() {
	m := g.client.meta.Load()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.step != settled || g.target == nil || !g.fresh && m == g.seen {
		return
	}
	for s, name := range g.owned {
		if !g.target[s] {
			g.going[s] = name
		}
	}
	if len(g.going) > 0 {
		g.step = draining
		names := slices.Collect(maps.Values(g.going))
		g.reader.withhold(names)
		g.drain(revoking, g.consumedOf(names))
		return
	}
	g.fresh, g.seen = false, m
	coming, unknown := g.wanted(m)
	if unknown && g.lookups < maxLookups {
		g.lookups++
		g.client.refresh.ask() // and clusterChanged wakes Poll
	}
	if len(coming) > 0 && g.ctx.Err() == nil {
		g.step, g.coming = locating, coming
		turn := g.turn
		g.tasks.Go(func() { g.locate(turn, slices.Clone(coming)) }) // what it fills in is its own until it is known
	}
}

// wanted returns what the member is to have and has not, and whether some of it belongs to topics that the metadata does not know.
func (g *GroupConsumer) wanted(m *metadata) (coming []given, unknown bool) {
	topics := make(map[wire.TopicID]string)
	for s := range g.target {
		if _, have := g.owned[s]; !have {
			topics[s.topic] = ""
		}
	}
	if len(topics) == 0 {
		return nil, false
	}
	for name, t := range m.topics {
		if _, wanted := topics[t.id]; wanted {
			topics[t.id] = name
		}
	}
	for s := range g.target {
		_, have := g.owned[s]
		switch name := topics[s.topic]; {
		case have:
		case name == "":
			unknown = true
		default:
			coming = append(coming, given{slot: s, PartitionName: PartitionName{Topic: name, Partition: s.index}})
		}
	}
	return coming, unknown
}

// drain goes on with the next step when all commits are done, these offsets' the last.
func (g *GroupConsumer) drain(next step, offsets []GroupOffset) {
	turn := g.turn
	g.enqueue(g.ctx, offsets, func(error) { // what could not be committed is read again by others
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.turn != turn {
			return
		}
		g.step = next
		if next == settled {
			clear(g.going)
			g.fresh, g.tell = true, true
			signal(g.kick)
		}
		signal(g.reader.ready)
	})
}

// revoke has the program give up what is going.
func (g *GroupConsumer) revoke() {
	g.mu.Lock()
	if g.step != revoking {
		g.mu.Unlock()
		return
	}
	names := sorted(slices.Collect(maps.Values(g.going)))
	g.mu.Unlock()
	g.call(g.cfg.OnRevoked, names)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.step != revoking {
		return // all is lost meanwhile, and will be told
	}
	g.reader.end(names)
	g.forget(names)
	for s := range g.going {
		delete(g.owned, s)
	}
	g.step = releasing
	g.drain(settled, nil)
}

// locate looks up where partitions begin that have come.
func (g *GroupConsumer) locate(turn int, coming []given) {
	for failures := 1; ; failures++ {
		g.mu.Lock()
		gone, epoch := g.turn != turn, g.epoch
		g.mu.Unlock()
		if gone {
			return
		}
		var err error
		for part := range slices.Chunk(coming, maxOffsetsAsked) {
			if err = g.locateOnce(epoch, part); err != nil {
				break
			}
		}
		g.mu.Lock()
		if g.turn != turn {
			g.mu.Unlock()
			return
		}
		switch code := wire.Code(err); {
		case err == nil:
			g.calm()
			g.step, g.coming = beginning, coming
			signal(g.reader.ready)
			g.mu.Unlock()
			return
		case code == wire.StaleMemberEpoch, code == wire.UnknownMemberID, code == wire.FencedMemberEpoch:
			g.stale()
		case !retriable(err) && !errors.Is(err, context.DeadlineExceeded):
			g.lose(nil)
			g.refusal = err
			g.mu.Unlock()
			return
		}
		g.troubled(err)
		g.mu.Unlock()
		if g.client.pause(g.ctx, failures) != nil {
			return
		}
	}
}

func (g *GroupConsumer) locateOnce(epoch int32, coming []given) error {
	q := &wire.FetchOffsets{Group: g.group, Member: g.memberID, MemberEpoch: epoch, Stable: true}
	for i := range coming {
		q.Topics = append(q.Topics, wire.NamedPartitions{
			Topic: coming[i].Topic, TopicID: coming[i].slot.topic, Partitions: []int32{coming[i].Partition},
		})
	}
	answer, err := g.client.askGroup(g.ctx, q)
	if err == nil {
		err = answer.Failure()
	}
	if err != nil {
		return fmt.Errorf("committed offsets of group %s: %w", g.group, err)
	}
	offsets := answer.(*wire.FetchedOffsets).Offsets
	if len(offsets) != len(coming) {
		return errAnswerCount
	}
	for i := range offsets {
		o, c := &offsets[i], &coming[i]
		c.committed, c.start, c.err = o.Offset, AtOffset(o.Offset), nil
		switch {
		case o.Err != nil && !errors.Is(o.Err, wire.UnknownTopicOrPartition) && !errors.Is(o.Err, wire.UnknownTopicID):
			return fmt.Errorf("committed offset of group %s in %s/%d: %w", g.group, c.Topic, c.Partition, o.Err)
		case o.Err != nil, o.Offset < 0: // a topic that is gone is told by the next assignment
			c.committed, c.start = wire.NoOffset, g.cfg.Consumer.Start
			if g.cfg.MustBeCommitted {
				c.err = ErrNothingCommitted
			}
		}
	}
	return nil
}

// begin begins to read what has come.
func (g *GroupConsumer) begin() {
	g.mu.Lock()
	if g.step != beginning {
		g.mu.Unlock()
		return
	}
	coming := g.coming
	names := make([]PartitionName, len(coming))
	for i, c := range coming {
		names[i] = c.PartitionName
		g.owned[c.slot] = c.PartitionName
		switch {
		case c.committed >= 0:
			g.last[c.PartitionName] = c.committed
		case g.cfg.AutoCommit, g.cfg.CommitStart:
			g.begun[c.PartitionName] = true
		}
	}
	g.step, g.coming = settled, nil
	g.fresh, g.tell = true, true
	signal(g.kick)
	g.reader.begin(coming)
	g.mu.Unlock()
	g.call(g.cfg.OnAssigned, sorted(names))
}

// drop forgets partitions that are the member's no longer.
func (g *GroupConsumer) drop(names []PartitionName) {
	g.reader.end(names)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forget(names)
	maps.DeleteFunc(g.owned, func(_ slot, name PartitionName) bool { return slices.Contains(names, name) })
}

// forget drops what is known of the commits of partitions.
func (g *GroupConsumer) forget(names []PartitionName) {
	for _, name := range names {
		delete(g.last, name)
		delete(g.begun, name)
	}
}

func (g *GroupConsumer) ownedNames() []PartitionName {
	return sorted(slices.Collect(maps.Values(g.owned)))
}

// ownedByTopic is what the coordinator is told: also what OnRevoked was told of, until its commits are done.
func (g *GroupConsumer) ownedByTopic() []wire.AssignedTopic {
	byTopic := make(map[wire.TopicID][]int32)
	for s := range g.owned {
		byTopic[s.topic] = append(byTopic[s.topic], s.index)
	}
	if g.step == releasing {
		for s := range g.going {
			byTopic[s.topic] = append(byTopic[s.topic], s.index)
		}
	}
	var list []wire.AssignedTopic
	for id, partitions := range byTopic {
		slices.Sort(partitions)
		list = append(list, wire.AssignedTopic{Topic: id, Partitions: partitions})
	}
	slices.SortFunc(list, func(a, b wire.AssignedTopic) int { return strings.Compare(string(a.Topic[:]), string(b.Topic[:])) })
	return list
}

func sorted(names []PartitionName) []PartitionName {
	slices.SortFunc(names, func(a, b PartitionName) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition) - int(b.Partition)
	})
	return names
}
