package metadata

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// topic is a topic with all its partitions, which lie in chunks:
//
//	topic ── chunks ──> [ *chunk | *chunk | ... ]
//	                       |
//	                       +── states    24 bytes a partition, no pointers
//	                       +── replicas   4 bytes a replica, those of partition 0, 1, 2 ... in a row
//	                       +── dirs       1 byte a replica: which directory of its broker it lies in
//
// A change of one partition copies its chunk's states, not the replicas, and the list of chunks.
// With three replicas a partition costs some 40 bytes, and the garbage collector looks at
// a handful of pointers per 64 partitions.
type topic struct {
	number      TopicNumber
	id          wire.TopicID
	name        string
	replicated  bool      // durability=replicated
	configs     []Setting // its own, in the order of their keys
	partitions  int32
	leaderless  int32 // how many of them have no leader
	reassigning int32 // how many of them are being reassigned
	chunks      []*chunk
}

const chunkPartitions = 64

type chunk struct {
	states   []state
	replicas []wire.BrokerID
	dirs     []directory
}

// directory is a log directory of a broker: the n-th that it ever registered, from 1 on. 0 is one
// that nobody has named.
type directory uint8

// state is what the log decided about one partition. Sets of replicas are bits.
type state struct {
	leaderEpoch    wire.LeaderEpoch
	partitionEpoch wire.PartitionEpoch
	uncleanEpoch   wire.LeaderEpoch // of the last unclean election; 0: there was none
	isr            ReplicaSet
	elr            ReplicaSet
	lastKnownELR   ReplicaSet
	adding         ReplicaSet // a reassignment is bringing them in
	removing       ReplicaSet // and taking them off when that is done, or both: when it was changed on its way
	first          uint16     // where its replicas begin in the chunk's
	count          uint8
	leader         int8 // the leader's place among the replicas; noLeader
	unclean        bool
	awaiting       bool // the replicas are to report how far they are before one is elected
}

const noLeader int8 = -1

// partition is one partition in a form to look at and to compute the next state in. Changing it
// changes no image.
type partition struct {
	state
	topic    TopicNumber
	number   int32
	replicas []wire.BrokerID // shared with the image, like dirs
	dirs     []directory
	assigned bool // the replicas or their directories are not those of the image
}

func (t *topic) partition(number int32) (partition, bool) {
	if number < 0 || number >= t.partitions {
		return partition{}, false
	}
	return t.chunks[number/chunkPartitions].partition(t, number), true
}

func (c *chunk) partition(t *topic, number int32) partition {
	st := c.states[number%chunkPartitions]
	end := int(st.first) + int(st.count)
	return partition{
		state: st, topic: t.number, number: number,
		replicas: c.replicas[st.first:end:end], dirs: c.dirs[st.first:end:end],
	}
}

// member returns the set of that one replica; it is empty if the broker has none.
func (p *partition) member(broker wire.BrokerID) ReplicaSet {
	i := slices.Index(p.replicas, broker)
	if i < 0 {
		return 0
	}
	return 1 << i
}

func (p *partition) ref() PartitionRef { return PartitionRef{p.topic, p.number} }

func (p *partition) leaderID() wire.BrokerID {
	if p.leader == noLeader {
		return wire.NoBroker
	}
	return p.replicas[p.leader]
}

// brokers returns the members of a set in the order of the replicas. The result is not to be
// changed: it may be a part of the image.
func (p *partition) brokers(set ReplicaSet) []wire.BrokerID {
	switch {
	case set == 0:
		return nil
	case set == p.all():
		return p.replicas
	}
	ids := make([]wire.BrokerID, 0, set.size())
	for i, b := range p.replicas {
		if set.has(i) {
			ids = append(ids, b)
		}
	}
	return ids
}

// all is the set of all replicas.
func (p *partition) all() ReplicaSet { return 1<<len(p.replicas) - 1 }

func (s ReplicaSet) has(i int) bool { return s&(1<<i) != 0 }
func (s ReplicaSet) size() int      { return bits.OnesCount16(uint16(s)) }

// change returns the record of the state that p was brought to, in the next partition epoch.
func (p *partition) change() PartitionChange {
	c := PartitionChange{
		Topic:          p.topic,
		Partition:      p.number,
		PartitionEpoch: p.partitionEpoch + 1,
		LeaderEpoch:    p.leaderEpoch,
		Leader:         p.leaderID(),
		ISR:            p.isr,
		ELR:            p.elr,
		LastKnownELR:   p.lastKnownELR,
		Unclean:        p.unclean,
		Awaiting:       p.awaiting,
	}
	if p.assigned {
		c.Replicas, c.Directories = p.replicas, directoryBytes(p.dirs)
		c.Adding, c.Removing = p.adding, p.removing
	}
	return c
}

// withStates returns t with other states of some partitions: set is called with each of them, in
// a copy. Every chunk concerned is copied once.
func (t *topic) withStates(numbers []int32, set func(i int, st *state)) *topic {
	next := *t
	next.chunks = slices.Clone(t.chunks)
	for i, n := range numbers {
		at := n / chunkPartitions
		if next.chunks[at] == t.chunks[at] {
			c := *t.chunks[at]
			c.states = slices.Clone(c.states)
			next.chunks[at] = &c
		}
		st := &next.chunks[at].states[n%chunkPartitions]
		next.count(st, -1)
		set(i, st)
		next.count(st, +1)
	}
	return &next
}

// withAssignments returns t with other states, replicas and directories of some partitions, which are
// in order. Every chunk concerned is written anew.
func (t *topic) withAssignments(changed []partition) *topic {
	next := *t
	next.chunks = slices.Clone(t.chunks)
	for len(changed) > 0 {
		at := int(changed[0].number) / chunkPartitions
		old := t.chunks[at]
		list := make([]partition, len(old.states))
		for i := range list {
			list[i] = old.partition(t, int32(at*chunkPartitions+i))
		}
		for len(changed) > 0 && int(changed[0].number)/chunkPartitions == at {
			i := int(changed[0].number) % chunkPartitions
			next.count(&list[i].state, -1)
			list[i] = changed[0]
			next.count(&list[i].state, +1)
			changed = changed[1:]
		}
		next.chunks[at] = chunk{}.extended(list)
	}
	return &next
}

// count keeps the numbers of partitions in certain states, as one leaves or enters its state.
func (t *topic) count(st *state, by int32) {
	if st.leader == noLeader {
		t.leaderless += by
	}
	if st.adding|st.removing != 0 {
		t.reassigning += by
	}
}

// withDirectory returns t with a replica of a partition in another directory, in the partition's
// next partition epoch.
func (t *topic) withDirectory(p *partition, replica int, dir directory) *topic {
	next := t.withStates([]int32{p.number}, func(_ int, st *state) { st.partitionEpoch++ })
	c := next.chunks[p.number/chunkPartitions] // a copy already
	c.dirs = slices.Clone(c.dirs)
	c.dirs[int(p.first)+replica] = dir
	return next
}

// withPartitions returns t with further partitions.
func (t *topic) withPartitions(added []partition) *topic {
	next := *t
	next.chunks = slices.Clone(t.chunks)
	for len(added) > 0 {
		at := int(next.partitions / chunkPartitions)
		var last chunk
		if at < len(next.chunks) {
			last = *next.chunks[at]
			next.chunks = next.chunks[:at]
		}
		room := min(chunkPartitions-len(last.states), len(added))
		c := last.extended(added[:room])
		for _, p := range added[:room] {
			next.count(&p.state, +1)
		}
		next.chunks = append(next.chunks, c)
		next.partitions += int32(room)
		added = added[room:]
	}
	next.chunks = slices.Clip(next.chunks)
	return &next
}

func (c chunk) extended(added []partition) *chunk {
	replicas := len(c.replicas)
	for _, p := range added {
		replicas += len(p.replicas)
	}
	next := &chunk{
		states:   append(make([]state, 0, len(c.states)+len(added)), c.states...),
		replicas: append(make([]wire.BrokerID, 0, replicas), c.replicas...),
		dirs:     append(make([]directory, 0, replicas), c.dirs...),
	}
	for _, p := range added {
		p.first, p.count = uint16(len(next.replicas)), uint8(len(p.replicas))
		next.states = append(next.states, p.state)
		next.replicas = append(next.replicas, p.replicas...)
		next.dirs = append(next.dirs, p.dirs...)
	}
	return next
}

// hosts returns the brokers that have a replica of the topic, in order.
func (t *topic) hosts() []wire.BrokerID {
	var ids []wire.BrokerID
	for _, c := range t.chunks {
		ids = append(ids, c.replicas...)
		slices.Sort(ids)
		ids = slices.Compact(ids)
	}
	return ids
}

// hostedBy yields the partitions that a broker has a replica of.
func (t *topic) hostedBy(broker wire.BrokerID, yield func(partition) bool) bool {
	for i, c := range t.chunks {
		if !slices.Contains(c.replicas, broker) {
			continue
		}
		for j := range c.states {
			st := &c.states[j]
			replicas := c.replicas[st.first : int(st.first)+int(st.count)]
			if slices.Contains(replicas, broker) && !yield(c.partition(t, int32(i*chunkPartitions+j))) {
				return false
			}
		}
	}
	return true
}

// all yields every partition.
func (t *topic) all(yield func(partition) bool) {
	for i, c := range t.chunks {
		for j := range c.states {
			if !yield(c.partition(t, int32(i*chunkPartitions+j))) {
				return
			}
		}
	}
}

// setting returns the value of a key in settings, which are in the order of their keys.
func setting(settings []Setting, key string) (string, bool) {
	i, found := slices.BinarySearchFunc(settings, key, func(s Setting, key string) int {
		return cmp.Compare(s.Key, key)
	})
	if !found {
		return "", false
	}
	return settings[i].Value, true
}

// changedSettings returns settings with some set and some unset, in the order of their keys.
func changedSettings(settings, set []Setting, unset []string) []Setting {
	next := slices.DeleteFunc(slices.Clone(settings), func(s Setting) bool {
		return slices.Contains(unset, s.Key)
	})
	for _, s := range set {
		i, found := slices.BinarySearchFunc(next, s.Key, func(s Setting, key string) int {
			return cmp.Compare(s.Key, key)
		})
		if found {
			next[i] = s
		} else {
			next = slices.Insert(next, i, s)
		}
	}
	if len(next) == 0 {
		return nil
	}
	return next
}
