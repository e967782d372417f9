package groups

import (
	"errors"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/cluster/sim/play"
	"github.com/troupe-mq/troupe/wire"
)

// requestTimeout is how long clients wait for answers that come at once.
const requestTimeout = 2 * time.Second

// client is what members of both protocols have in common: a connection, partitions that it consumes, and commits of how
// far it has got.
type client struct {
	w    *World
	name string
	run  *play.Process
	to   *broker // whom it takes for the coordinator; nil: it asks

	group    wire.GroupID
	instance string
	topics   []string // subscribed to; none: all that there are, by a pattern
	protocol protocol

	owned  []holding // sorted
	commit bool      // one is on its way
	life   int       // of the group, in which it heard of its generation or epoch
}

// protocol is how a client is a member.
type protocol interface {
	// begin enters the group.
	begin()
	// identity is by what it commits.
	identity() (wire.MemberID, wire.GenerationID)
	// modern says that it knows of member epochs.
	modern() bool
	// refused is told that a request of the client's was, as one of somebody who is no member, or of the past.
	refused(err error)
	// leave ends the membership on purpose.
	leave()
}

// holding is a partition that a client consumes.
type holding struct {
	place
	id       wire.TopicID // of the topic
	since    time.Duration
	fetched  bool
	position wire.Offset
	told     wire.Offset // committed by this client
}

func (p place) compare(o place) int {
	switch {
	case p.topic != o.topic && p.topic < o.topic, p.topic == o.topic && p.partition < o.partition:
		return -1
	case p == o:
		return 0
	}
	return 1
}

func (c *client) note(format string, args ...any) { c.w.Note(c.name, format, args...) }

func (c *client) alive() bool { return !c.run.Dead }

// subscribed says whether the client wants a topic.
func (c *client) subscribed(topic string) bool {
	return len(c.topics) == 0 || slices.Contains(c.topics, topic)
}

func (c *client) holds(p place) (*holding, bool) {
	i, ok := slices.BinarySearchFunc(c.owned, p, func(h holding, p place) int { return h.compare(p) })
	if !ok {
		return nil, false
	}
	return &c.owned[i], true
}

// take begins to consume partitions, each from where it is committed. Where nobody has told their topics' ids the client asks for
// them.
func (c *client) take(places []place, ids map[place]wire.TopicID) {
	for _, p := range places {
		if _, ok := c.holds(p); ok {
			continue
		}
		id, told := ids[p]
		if !told {
			topic, _ := c.w.image.Topic(p.topic)
			id = topic.ID
		}
		c.w.taken(seat{c.group, p})
		c.owned = append(c.owned, holding{place: p, id: id, since: c.w.Now()})
		slices.SortFunc(c.owned, func(a, b holding) int { return a.compare(b.place) })
	}
	if len(places) > 0 {
		c.note("takes %v", places)
		c.fetch()
	}
}

// give stops consuming partitions.
func (c *client) give(places []place) {
	if len(places) > 0 {
		c.note("gives %v", places)
	}
	c.owned = slices.DeleteFunc(c.owned, func(h holding) bool { return slices.Contains(places, h.place) })
	c.w.vacated(c.group, places)
}

// lose is what happens to a client that is told that it is no member: it may have been none for long.
func (c *client) lose() {
	c.zombie()
	c.give(c.places())
}

func (c *client) places() []place {
	all := make([]place, len(c.owned))
	for i := range c.owned {
		all[i] = c.owned[i].place
	}
	return all
}

// fetch asks where to begin.
func (c *client) fetch() {
	q := &wire.FetchOffsets{Group: c.group, MemberEpoch: wire.UnknownMemberEpoch}
	if member, epoch := c.protocol.identity(); c.protocol.modern() {
		q.Member, q.MemberEpoch = member, int32(epoch)
	}
	for _, h := range c.owned {
		if !h.fetched {
			q.Topics = append(q.Topics, wire.NamedPartitions{Topic: h.topic, Partitions: []int32{h.partition}})
		}
	}
	if len(q.Topics) == 0 {
		return
	}
	c.ask(q, requestTimeout, func(reply wire.GroupReply, err error) {
		if err == nil {
			err = reply.Failure()
		}
		if err != nil {
			c.misled(err)
			c.w.At(c.w.Between(20*time.Millisecond, 200*time.Millisecond), c.run, c.fetch)
			return
		}
		for _, f := range reply.(*wire.FetchedOffsets).Offsets {
			if h, ok := c.holds(place{f.Topic, f.Partition}); ok && !h.fetched && f.Err == nil {
				h.fetched, h.position, h.told = true, max(f.Offset, 0), max(f.Offset, 0)
			}
		}
	})
}

// misled forgets a coordinator that is none.
func (c *client) misled(err error) {
	if errors.Is(err, wire.NotCoordinator) || errors.Is(err, wire.CoordinatorNotAvailable) || errors.Is(err, errDisconnected) {
		c.to = nil
	}
}

// work consumes, and commits now and then.
func (c *client) work() {
	w := c.w
	w.At(w.Between(50*time.Millisecond, 600*time.Millisecond), c.run, func() {
		for i := range c.owned {
			if h := &c.owned[i]; h.fetched {
				h.position += wire.Offset(w.Random.IntN(4))
			}
		}
		if !c.commit && w.Chance(70) {
			c.commitSome(c.places(), func() {})
		}
		c.work()
	})
}

// progress is what there is to commit of some partitions.
func (c *client) progress(places []place) *wire.CommitOffsets {
	member, generation := c.protocol.identity()
	q := &wire.CommitOffsets{Group: c.group, Member: member, Generation: generation, Instance: c.instance, Modern: c.protocol.modern()}
	for _, h := range c.owned {
		if h.fetched && h.position > h.told && slices.Contains(places, h.place) {
			q.Offsets = append(q.Offsets, c.w.newCommit(h.place, h.id, h.position))
			if c.protocol.modern() {
				q.Offsets[len(q.Offsets)-1].TopicID = h.id
			}
		}
	}
	return q
}

// commitSome commits how far some partitions have been consumed, and goes on whether or not that is accepted.
func (c *client) commitSome(places []place, then func()) {
	q := c.progress(places)
	if len(q.Offsets) == 0 {
		then()
		return
	}
	c.commit = true
	c.ask(q, requestTimeout, func(reply wire.GroupReply, err error) {
		c.commit = false
		if err == nil {
			err = reply.Failure()
		}
		if err == nil {
			for i, failed := range reply.(*wire.CommittedOffsets).Errs {
				err = errors.Join(err, failed)
				if h, ok := c.holds(place{q.Offsets[i].Topic, q.Offsets[i].Partition}); ok && failed == nil {
					h.told = max(h.told, q.Offsets[i].Offset)
				}
			}
		}
		if err != nil {
			c.misled(err)
			if member, generation := c.protocol.identity(); member == q.Member && generation == q.Generation {
				c.protocol.refused(err) // else it was who the client was before, and tells nothing of who it is now
			}
		}
		then()
	})
}

// zombie commits once more as who the client has been, when that is over.
func (c *client) zombie() {
	w := c.w
	if !w.faulty(w.profile.Zombies, 60) {
		return
	}
	for i := range c.owned {
		c.owned[i].position++
	}
	q := c.progress(c.places())
	if len(q.Offsets) == 0 {
		return
	}
	w.stats.Zombies++
	life := c.life
	w.At(w.Between(0, 3*w.profile.Session), nil, func() {
		if w.truth(c.group).lives != life {
			return // it could pass for a commit of the group that has the name now. Kafka: the same.
		}
		ghost := &client{w: w, name: c.name + "'s ghost", run: &play.Process{}, group: c.group}
		ghost.ask(q, requestTimeout, func(wire.GroupReply, error) {})
	})
}

// crash ends a client without a word.
func (c *client) crash() {
	c.note("crashes")
	c.zombie()
	c.run.Dead = true
	c.w.vacated(c.group, c.places())
	c.owned = nil
}
