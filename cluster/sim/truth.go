package sim

import (
	"fmt"
	"slices"
	"sort"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// truth is what nobody in the cluster knows: all that was ever committed in one partition.
type truth struct {
	w         *World
	number    int
	committed []batch
	start     wire.Offset // the furthest log start of any leader: below, records may be missing
	age       int
	off       bool // after an unclean election: what was committed may be lost, and is

	leaders    map[wire.LeaderEpoch]*replicaShell
	where      map[identity]wire.Offset
	acked      map[identity]wire.Offset
	candidates []*machine // who may be elected: the ISR and the ELR
}

// identity names what a producer sent once, however often it was sent.
type identity struct {
	producer wire.ProducerID
	sequence wire.Sequence
}

func newTruth(w *World) *truth {
	t := &truth{
		w: w, number: len(w.truths), age: 1, leaders: make(map[wire.LeaderEpoch]*replicaShell),
		where: make(map[identity]wire.Offset), acked: make(map[identity]wire.Offset),
	}
	t.elect(w.controller.committed())
	return t
}

func (t *truth) end() wire.Offset {
	if len(t.committed) == 0 {
		return 0
	}
	return t.committed[len(t.committed)-1].next()
}

// leads notes who leads in an epoch: one replica, and once.
func (t *truth) leads(r *replicaShell) {
	if before := t.leaders[r.epoch]; before != nil {
		t.w.Violate("p%d: broker %d leads in epoch %d, which broker %d has led in", t.number, r.machine().id, r.epoch, before.machine().id)
	}
	t.leaders[r.epoch] = r
}

// commit takes what a leader has below its high watermark.
func (t *truth) commit(r *replicaShell) {
	c := &r.log.cache
	if t.off {
		return
	}
	for _, b := range c.batches[c.from(t.end()):] {
		if b.next() > r.watermark {
			break
		}
		if b.base != t.end() {
			t.w.Violate("p%d: broker %d commits %+v after %d", t.number, r.machine().id, b, t.end())
			return
		}
		id := identity{b.producer, b.sequence}
		if first, twice := t.where[id]; twice && first >= t.start && b.producer >= 0 {
			t.w.Violate("p%d: %+v was committed at %d before", t.number, b, first)
			return
		}
		t.where[id] = b.base
		t.committed = append(t.committed, b)
		t.w.stats.Commits++
	}
}

// acknowledged checks that what a producer is told is true.
func (t *truth) acknowledged(id identity, at wire.Offset) {
	t.w.stats.Acknowledged++
	if t.off {
		return
	}
	if where, ok := t.where[id]; !ok || where != at && !t.wasAt(id, at) {
		t.w.Violate("p%d: %+v was acknowledged at %d, and committed: %v, at %d", t.number, id, at, ok, where)
	}
	t.acked[id] = at
}

// wasAt says that a batch was committed at an offset, also if it was deleted there and, its producer being
// forgotten along with it, sent and committed again: a leader that has not heard of that tells what was true.
func (t *truth) wasAt(id identity, at wire.Offset) bool {
	i := sort.Search(len(t.committed), func(i int) bool { return t.committed[i].base >= at })
	return i < len(t.committed) && t.committed[i].base == at && identity{t.committed[i].producer, t.committed[i].sequence} == id
}

// entry looks at what an entry of the metadata log decided.
func (t *truth) entry(before, img *metadata.Image) {
	was, _ := before.Partition(t.w.topic, int32(t.number))
	is, _ := img.Partition(t.w.topic, int32(t.number))
	if is.PartitionEpoch == was.PartitionEpoch {
		return
	}
	t.w.note(nil, "controller: %s", describePartition(t.number, &is))
	if is.LeaderEpoch != was.LeaderEpoch && is.Leader != wire.NoBroker {
		t.w.stats.Elections++
		if img.Unclean(t.w.topic, int32(t.number)) {
			t.w.stats.Unclean++
			if !t.w.profile.Unclean {
				t.w.Violate("p%d: an unclean election: %s", t.number, describePartition(t.number, &is))
			}
			t.off = true
		}
	}
	if is.LeaderEpoch == was.LeaderEpoch {
		switch {
		case len(is.ISR) > len(was.ISR):
			t.w.stats.Expansions++
		case len(is.ISR) < len(was.ISR):
			t.w.stats.Shrinks++
		}
	}
	for _, b := range is.ISR {
		if r, _ := img.Registration(b); r.Fenced {
			t.w.Violate("p%d: broker %d is fenced and in the ISR", t.number, b)
		}
		if contains(is.ELR, b) {
			t.w.Violate("p%d: broker %d is in the ISR and in the ELR", t.number, b)
		}
	}
	if is.Leader != wire.NoBroker && !contains(is.ISR, is.Leader) {
		t.w.Violate("p%d: the leader %d is not in the ISR %v", t.number, is.Leader, is.ISR)
	}
	t.elect(img)
}

func (t *truth) elect(img *metadata.Image) {
	state, _ := img.Partition(t.w.topic, int32(t.number))
	t.candidates = t.candidates[:0]
	for _, m := range t.w.machines {
		if contains(state.ISR, m.id) || contains(state.ELR, m.id) {
			t.candidates = append(t.candidates, m)
		}
	}
}

// agrees says that a log has, from its start up to an offset, exactly what was committed.
func (t *truth) agrees(c *content, upTo wire.Offset) bool {
	if c.age != t.age {
		c.age, c.verified = t.age, c.start
	}
	from := max(c.verified, c.start)
	if from >= upTo {
		return true
	}
	i, j := c.from(from), indexOf(t.committed, from)
	for from < upTo {
		if i >= len(c.batches) || j >= len(t.committed) || c.batches[i] != t.committed[j] {
			return false
		}
		from = c.batches[i].next()
		i, j = i+1, j+1
	}
	c.verified = from
	return true
}

// checkInvariants is asked after every event.
func (w *World) checkInvariants() {
	for _, t := range w.truths {
		if t.off {
			continue
		}
		for _, m := range w.machines {
			if m.process != nil {
				t.checkReads(m)
			}
		}
		for _, m := range t.candidates {
			t.checkCandidate(m)
		}
	}
}

// checkReads: what a running replica has below its high watermark is what was committed there. So no
// offset has two committed values, and nobody reads what is not committed.
func (t *truth) checkReads(m *machine) {
	r := m.process.replicas[t.number]
	if r == nil {
		return
	}
	if r.watermark > t.end() && r.watermark > t.start {
		t.w.Violate("p%d: broker %d has high watermark %d, and %d is committed", t.number, m.id, r.watermark, t.end())
		return
	}
	if c := &r.log.cache; !t.agrees(c, r.watermark) {
		t.w.Violate("p%d: broker %d, high watermark %d, has below it what is not committed: %s", t.number, m.id, r.watermark, t.differ(c))
	}
}

// checkCandidate: whoever may be elected has all that was ever committed, so that nothing is lost
// by an election; under durability=fsync, on the disk.
func (t *truth) checkCandidate(m *machine) {
	if m.lost {
		return // and has not registered: it is not elected before that is known
	}
	c := &m.disks[t.number].cache
	if !t.w.profile.Replicated {
		c = &m.disks[t.number].durable
	}
	if c.start > t.start || c.end < t.end() || !t.agrees(c, t.end()) {
		state := t.w.controller.partition(t.number)
		t.w.Violate("p%d: committed records lost: %d is committed, and broker %d, which may lead (%s), lacks of it: %s",
			t.number, t.end(), m.id, describePartition(t.number, &state), t.differ(c))
	}
}

// differ tells where a log and the truth part.
func (t *truth) differ(c *content) string {
	for i, b := range c.batches {
		j := indexOf(t.committed, b.base)
		if j >= len(t.committed) {
			return fmt.Sprintf("nothing, in [%d, %d)", c.start, c.end)
		}
		if b != t.committed[j] {
			return fmt.Sprintf("%+v, where it has %+v", t.committed[j], c.batches[i])
		}
	}
	return fmt.Sprintf("all beyond [%d, %d)", c.start, c.end)
}

// checkHealed is asked once, when nothing has gone wrong for a while: everything has come to rest.
func (w *World) checkHealed() {
	img := w.controller.committed()
	for _, t := range w.truths {
		state := w.controller.partition(t.number)
		if state.Leader == wire.NoBroker {
			w.Violate("p%d: nobody leads at the end: %s", t.number, describePartition(t.number, &state))
			return
		}
		if len(state.ISR) != len(state.Replicas) {
			w.Violate("p%d: not everybody is in sync at the end: %s", t.number, describePartition(t.number, &state))
			return
		}
		t.checkLogs(img, &state)
	}
	for _, p := range w.producers {
		if p.idempotent() && p.acknowledgedSince == 0 {
			w.Violate("producer %d was not answered at the end", p.id)
		}
	}
}

func (t *truth) checkLogs(img *metadata.Image, state *wire.Partition) {
	w := t.w
	leader := w.machines[state.Leader-1].process.replicas[t.number]
	c := &leader.log.cache
	switch {
	case leader.leader == nil:
		w.Violate("p%d: broker %d does not know that it leads", t.number, state.Leader)
		return
	case leader.leader.HighWatermark() != c.end:
		w.Violate("p%d: the high watermark is %d at the end, and the log ends at %d", t.number, leader.leader.HighWatermark(), c.end)
	case leader.leader.Pending() != nil:
		w.Violate("p%d: a proposal is pending at the end", t.number)
	case !leader.leader.Idle():
		w.Violate("p%d: a clock runs at the end, though everything is acknowledged", t.number)
	}
	for _, b := range state.Replicas {
		m := w.machines[b-1]
		r := m.process.replicas[t.number]
		own := &r.log.cache
		switch {
		case m.process.image.Index() != img.Index():
			w.Violate("broker %d has image %d at the end, not %d", b, m.process.image.Index(), img.Index())
		case r.watermark != c.end || own.end != c.end:
			w.Violate("p%d: at the end broker %d has [%d, %d), high watermark %d; the leader ends at %d",
				t.number, b, own.start, own.end, r.watermark, c.end)
		case !slices.Equal(own.batches[own.from(max(own.start, c.start)):], c.batches[c.from(max(own.start, c.start)):]):
			w.Violate("p%d: at the end broker %d has another log than the leader", t.number, b)
		}
	}
	if t.off {
		return
	}
	for id, at := range t.acked { // in any order: only whether all are there counts
		if i := c.from(at); at >= c.start && (i == len(c.batches) || c.batches[i].base != at || c.batches[i].sequence != id.sequence) {
			w.Violate("p%d: an acknowledged record is lost", t.number)
		}
	}
}
