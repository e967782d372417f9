package metadata

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/troupe-mq/troupe/wire"
)

// Delta tells what is different between two images, so that a broker looks only at that.
type Delta struct {
	Index   uint64                // of the later image
	Topics  []TopicDelta          // in the order of their creation
	Brokers []wire.BrokerID       // registered, changed or removed
	Configs []wire.ConfigResource // of brokers; with the one of all brokers, every topic may act differently
}

// TopicDelta tells what is different in a topic.
type TopicDelta struct {
	ID         wire.TopicID
	Name       string
	Created    bool
	Deleted    bool
	Configured bool    // its own configurations changed
	Partitions []int32 // those with a new state, ascending: all if Created, none if Deleted
}

// Empty says that the images are the same but for their index.
func (d Delta) Empty() bool {
	return len(d.Topics) == 0 && len(d.Brokers) == 0 && len(d.Configs) == 0
}

// Diff compares two images. What both share is passed over: the cost grows with what is different,
// and with an entry per 128 topics. The older image may be NewImage, for all that there is.
func Diff(old, next *Image) Delta {
	d := Delta{Index: next.index}
	diffSorted(old.topics, next.topics,
		func(a, b *topic) int { return cmp.Compare(a.number, b.number) },
		func(before, after *topic) {
			if before == after {
				return
			}
			if t := diffTopic(before, after); t.Created || t.Deleted || t.Configured || len(t.Partitions) > 0 {
				d.Topics = append(d.Topics, t)
			}
		})
	d.Brokers = diffBrokers(old.brokers, next.brokers)
	if !slices.Equal(old.clusterConfigs, next.clusterConfigs) {
		d.Configs = append(d.Configs, wire.ConfigResource{Type: wire.ConfigBroker})
	}
	d.Configs = append(d.Configs, diffBrokerConfigs(old, next)...)
	return d
}

// diffTopic compares two states of a topic, of which one may be missing.
func diffTopic(before, after *topic) TopicDelta {
	if after == nil {
		return TopicDelta{ID: before.id, Name: before.name, Deleted: true}
	}
	d := TopicDelta{ID: after.id, Name: after.name, Created: before == nil}
	if before == nil {
		before = &topic{}
	} else {
		d.Configured = !slices.Equal(before.configs, after.configs)
	}
	for i, c := range after.chunks {
		var known []state
		if i < len(before.chunks) {
			if before.chunks[i] == c {
				continue
			}
			known = before.chunks[i].states
		}
		for j, st := range c.states {
			if j >= len(known) || known[j] != st {
				d.Partitions = append(d.Partitions, int32(i*chunkPartitions+j))
			}
		}
	}
	return d
}

func diffBrokers(old, next []*broker) (ids []wire.BrokerID) {
	if len(old) > 0 && len(next) > 0 && &old[0] == &next[0] {
		return nil
	}
	for len(old) > 0 || len(next) > 0 {
		switch {
		case len(next) == 0 || len(old) > 0 && old[0].ID < next[0].ID:
			ids, old = append(ids, old[0].ID), old[1:]
		case len(old) == 0 || next[0].ID < old[0].ID:
			ids, next = append(ids, next[0].ID), next[1:]
		default:
			if old[0] != next[0] && !old[0].equal(&next[0].Registration) {
				ids = append(ids, next[0].ID)
			}
			old, next = old[1:], next[1:]
		}
	}
	return ids
}

func diffBrokerConfigs(old, next *Image) (resources []wire.ConfigResource) {
	var ids []wire.BrokerID
	for _, c := range slices.Concat(old.brokerConfigs, next.brokerConfigs) {
		if !slices.Equal(old.ownBrokerConfigs(c.broker), next.ownBrokerConfigs(c.broker)) {
			ids = append(ids, c.broker)
		}
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		resources = append(resources, wire.ConfigResource{
			Type: wire.ConfigBroker, Name: strconv.Itoa(int(id)),
		})
	}
	return resources
}

func (r *Registration) equal(o *Registration) bool {
	return r.ID == o.ID && r.Epoch == o.Epoch && r.Incarnation == o.Incarnation &&
		slices.Equal(r.Directories, o.Directories) && r.Host == o.Host && r.Port == o.Port &&
		r.ClusterAddress == o.ClusterAddress && r.Rack == o.Rack && r.BootID == o.BootID &&
		r.RaftID == o.RaftID && r.Fenced == o.Fenced && r.ShuttingDown == o.ShuttingDown && r.Draining == o.Draining
}

// diffSorted walks two sets at once and calls differ with each pair of items that have the same
// place, one of them zero where the other set has none. It leaps over leaves that the sets share.
func diffSorted[T any](old, next sorted[T], compare func(a, b T) int, differ func(before, after T)) {
	var none T
	a, b := cursor[T]{s: old}, cursor[T]{s: next}
	for !a.done() || !b.done() {
		switch {
		case a.done():
			differ(none, b.take())
		case b.done():
			differ(a.take(), none)
		case a.i == 0 && b.i == 0 && sameLeaf(a.s.leaves[a.leaf], b.s.leaves[b.leaf]):
			a.leaf++
			b.leaf++
		default:
			switch order := compare(a.item(), b.item()); {
			case order < 0:
				differ(a.take(), none)
			case order > 0:
				differ(none, b.take())
			default:
				differ(a.take(), b.take())
			}
		}
	}
}

func sameLeaf[T any](a, b []T) bool { return len(a) == len(b) && &a[0] == &b[0] }

type cursor[T any] struct {
	s       sorted[T]
	leaf, i int
}

func (c *cursor[T]) done() bool { return c.leaf == len(c.s.leaves) }
func (c *cursor[T]) item() T    { return c.s.leaves[c.leaf][c.i] }

func (c *cursor[T]) take() T {
	item := c.item()
	if c.i++; c.i == len(c.s.leaves[c.leaf]) {
		c.leaf, c.i = c.leaf+1, 0
	}
	return item
}
