package groups

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/wire"
)

// nowhere is the offset in the log of what is not committed.
const nowhere = -1

// commit is one offset that a client asked to be committed, told from all others by its metadata.
type commit struct {
	id     string
	place  place
	topic  wire.TopicID // that its client has consumed
	offset wire.Offset
	at     int64        // where in the log it is committed, for the last time
	by     wire.TopicID // the topic that it was accepted for there
}

// accepted is a commit that a coordinator has accepted. One that is repeated is accepted once more, perhaps as of a topic that has
// taken over the name.
type accepted struct {
	*commit
	by   wire.TopicID // the topic that the coordinator took it to be of
	when time.Duration
}

// newCommit is a commit that was never asked for before.
func (w *World) newCommit(p place, topic wire.TopicID, offset wire.Offset) wire.OffsetCommit {
	c := &commit{id: fmt.Sprintf("commit %d", len(w.commits)), place: p, topic: topic, offset: offset, at: nowhere}
	w.commits[c.id] = c
	return wire.OffsetCommit{
		Topic: p.topic, Partition: p.partition, Offset: offset, LeaderEpoch: wire.NoEpoch, Metadata: c.id,
	}
}

// register is what is known of the committed offset of one partition in a group.
type register struct {
	place
	acknowledged known       // the newest one that a client knows to be committed
	removed      int64       // where the last tombstone is
	inLog        *accepted   // that is committed
	latest       *accepted   // that the present coordinator has accepted, or found
	pending      []*accepted // what it has accepted and is not committed yet
}

// settle finds which of the commits that were accepted is the one that is committed.
func (r *register) settle(c *commit) *accepted {
	i := slices.IndexFunc(r.pending, func(a *accepted) bool { return a.commit == c })
	if i < 0 {
		return &accepted{commit: c}
	}
	a := r.pending[i]
	r.pending = r.pending[i+1:]
	return a
}

// known is a committed offset that somebody relies on: where it is in the log, and of which topic.
type known struct {
	at    int64
	topic wire.TopicID
}

func (t *truth) register(p place) *register {
	for _, r := range t.registers {
		if r.place == p {
			return r
		}
	}
	r := &register{place: p, acknowledged: known{at: nowhere}, removed: nowhere}
	t.registers = append(t.registers, r)
	return r
}

// committed takes what the log has committed.
func (w *World) committed(r *logged) {
	w.stats.Committed++
	id, p, isOffset := readOffsetKey(r.record.Key)
	if !isOffset {
		return
	}
	if r.record.Value == nil {
		w.stats.Tombstones++
		w.truth(id).register(p).removed = r.offset
		w.truth(id).register(p).inLog = nil
		return
	}
	offset, metadata := readOffsetValue(r.record.Value)
	c := w.commits[metadata]
	if c == nil || c.offset != offset || c.place != p {
		w.Violate("%s: the log has %d and %q for %v, which nobody asked for", id, offset, metadata, p)
		return
	}
	register := w.truth(id).register(p)
	register.inLog = register.settle(c)
	c.at, c.by = r.offset, register.inLog.by
}

// readOffsetKey reads the key of an offset commit. The record formats are written down here once more, so that those of
// package group are tested by it.
func readOffsetKey(key []byte) (wire.GroupID, place, bool) {
	r := &reader{b: key}
	version := r.uint16()
	id, p := wire.GroupID(r.string()), place{r.string(), r.int32()}
	return id, p, version <= 1 && !r.bad
}

func readOffsetValue(value []byte) (offset wire.Offset, metadata string) {
	r := &reader{b: value}
	version := r.uint16()
	offset = wire.Offset(r.int64())
	if version >= 3 {
		r.int32() // leader epoch
	}
	if version < 4 {
		return offset, r.string()
	}
	length, n := binary.Uvarint(r.b)
	r.take(n)
	return offset, string(r.take(int(length) - 1))
}

// floor is what a fetch of offsets has to know at least: all that was acknowledged before it was asked.
func (t *truth) floor(q wire.GroupRequest) map[place]known {
	if _, fetches := q.(*wire.FetchOffsets); !fetches {
		return nil
	}
	floor := make(map[place]known, len(t.registers))
	for _, r := range t.registers {
		floor[r.place] = r.acknowledged
	}
	return floor
}

// acknowledges checks that what a client is told to be committed is.
func (t *truth) acknowledges(q *wire.CommitOffsets, reply *wire.CommittedOffsets) {
	if reply.Err == nil && len(reply.Errs) != len(q.Offsets) {
		t.violate("%d offsets were to be committed, and %d answered", len(q.Offsets), len(reply.Errs))
		return
	}
	for i, err := range reply.Errs {
		if err != nil || reply.Err != nil {
			continue
		}
		c := t.w.commits[q.Offsets[i].Metadata]
		if c.at == nowhere {
			t.violate("%s of %v was acknowledged, and is not committed", c.id, c.place)
			return
		}
		t.w.stats.Acknowledged++
		if r := t.register(c.place); c.at > r.acknowledged.at {
			r.acknowledged = known{c.at, c.by}
		}
	}
}

// tells checks that what a client is told of committed offsets is not older than what was acknowledged before it asked.
func (t *truth) tells(by *coordinator, asked *call, reply *wire.FetchedOffsets) {
	w := t.w
	if reply.Err != nil {
		return
	}
	for _, f := range reply.Offsets {
		p := place{f.Topic, f.Partition}
		if f.Err != nil {
			continue
		}
		if f.Offset == wire.NoOffset {
			t.tellsNothing(by, asked, p)
			continue
		}
		w.stats.Fetched++
		c, least := w.commits[f.Metadata], t.least(by, asked, p)
		switch {
		case c == nil || c.place != p || c.offset != f.Offset:
			t.violate("%v: %d with %q is told, which nobody committed", p, f.Offset, f.Metadata)
		case c.at == nowhere:
			t.violate("%v: %s is told, and is not committed", p, c.id)
		case c.at < least:
			t.violate("%v: %s at %d is told, and what was acknowledged is at %d", p, c.id, c.at, least)
		}
	}
	if !asked.request.(*wire.FetchOffsets).All {
		return
	}
	for _, r := range t.registers {
		if !slices.ContainsFunc(reply.Offsets, func(f wire.FetchedOffset) bool { return place{f.Topic, f.Partition} == r.place }) {
			t.tellsNothing(by, asked, r.place)
		}
	}
}

// tellsNothing checks that nothing is committed of a partition, as somebody is told, or not any more.
func (t *truth) tellsNothing(by *coordinator, asked *call, p place) {
	if least := t.least(by, asked, p); least != nowhere && t.register(p).removed < least {
		t.violate("%v: nothing is told to be committed, and at %d of the log something is that was acknowledged", p, least)
	}
}

// least is where in the log that is, at least, which is told of a partition. A broker that has not heard yet that another one
// leads may know less: clients of it commit in vain.
func (t *truth) least(by *coordinator, asked *call, p place) int64 {
	floor, ok := asked.floor[p]
	topic, _ := by.s.b.view.Topic(p.topic)
	if !ok || topic.ID != floor.topic || by.s.epoch != t.w.log.epoch { // of another topic of that name
		return nowhere
	}
	return floor.at
}

// removes checks that offsets go for a reason: the topic is gone, somebody deleted them, or the group has no members and
// they were committed long ago.
func (t *truth) removes(by *coordinator, records []group.Record) {
	w := t.w
	if by.s.epoch != w.log.epoch {
		return // it will not be committed
	}
	for _, r := range records {
		_, p, isOffset := readOffsetKey(r.Key)
		if !isOffset {
			continue
		}
		register := t.register(p)
		topic, _ := by.s.b.view.Topic(p.topic)
		if r.Value != nil {
			_, metadata := readOffsetValue(r.Value)
			register.latest = &accepted{commit: w.commits[metadata], by: topic.ID, when: w.Now()}
			register.pending = append(register.pending, register.latest)
			continue
		}
		was := register.latest
		register.latest = nil
		switch {
		case was == nil:
			t.violate("%v: an offset is dropped that is not there", p)
		case p.partition >= topic.Partitions || topic.ID != was.by:
		case t.deletes(p):
			if member := t.active(); member != nil {
				t.violate("%v: the offset is deleted though %s is a member", p, member.id)
			}
		case w.Now()-was.when < w.profile.Retention-slack && !w.profile.Skew:
			t.violate("%v: the offset is dropped %v after it was committed, and is kept for %v", p, w.Now()-was.when, w.profile.Retention)
		default:
			w.stats.Expired++
			if member := t.active(); member != nil {
				t.violate("%v: the offset expires though %s is a member", p, member.id)
			}
			if w.Now()-t.emptied < w.profile.Retention-slack && !w.profile.Skew {
				t.violate("%v: the offset expires %v after the last member has gone, and is kept for %v", p, w.Now()-t.emptied, w.profile.Retention)
			}
		}
	}
}

// deletes says that the request that is handled is to delete an offset.
func (t *truth) deletes(p place) bool {
	switch q := t.deleting.(type) {
	case *wire.DeleteGroup:
		return true
	case *wire.DeleteOffsets:
		return slices.ContainsFunc(q.Topics, func(n wire.NamedPartitions) bool {
			return n.Topic == p.topic && slices.Contains(n.Partitions, p.partition)
		})
	default:
		return false
	}
}

// checkFold checks that a group has all that was acknowledged, and is what the log makes of it.
func (t *truth) checkFold(c *coordinator) {
	w := t.w
	if c.ended || c.s.loading || !c.idle() || c.gone || c.s.epoch != w.log.epoch {
		return
	}
	if s := c.rules.Listed().State; s == wire.GroupPreparingRebalance || s == wire.GroupCompletingRebalance {
		return // a generation that has no assignment yet is nobody's
	}
	w.stats.Folds++
	again := group.New(t.id, w.rules)
	for _, r := range w.log.records {
		if id, _ := group.GroupOf(r.record.Key); id == t.id {
			if err := again.Replay(r.record); err != nil {
				t.violate("record at %d: %v", r.offset, err)
			}
		}
	}
	now := c.s.b.clock()
	everything := &wire.FetchOffsets{Group: t.id, All: true, MemberEpoch: wire.UnknownMemberEpoch}
	fetched := c.rules.Handle(everything, nobody, c.s.b.view, now).Answers[0].Reply.(*wire.FetchedOffsets)
	t.tells(c, &call{request: everything, floor: t.floor(everything)}, fetched)
	if e := again.Loaded(c.s.b.view, now); len(e.Records) > 0 {
		return // there is something to do at once, which this one knows already or will soon
	}
	for _, q := range []wire.GroupRequest{
		&wire.DescribeGroup{Group: t.id}, &wire.GroupHistory{Group: t.id}, everything,
	} {
		is, would := c.peek(c.rules, q), c.peek(again, q)
		if is != would {
			t.violate("the coordinator has\n%s\nand the log\n%s", is, would)
		}
	}
}

// nobody waits for the answer to this call.
const nobody = 1 << 62

// peek asks without anybody knowing.
func (c *coordinator) peek(rules *group.Group, q wire.GroupRequest) string {
	e := rules.Handle(q, nobody, c.s.b.view, c.s.b.clock())
	if len(e.Answers) != 1 || len(e.Records) != 0 {
		c.world().Violate("%s: %T leads to %d answers and %d records", c.id, q, len(e.Answers), len(e.Records))
		return ""
	}
	switch reply := e.Answers[0].Reply.(type) {
	case *wire.FetchedOffsets:
		sorted := slices.Clone(reply.Offsets)
		slices.SortFunc(sorted, func(a, b wire.FetchedOffset) int {
			return place{a.Topic, a.Partition}.compare(place{b.Topic, b.Partition})
		})
		return fmt.Sprintf("%+v", sorted)
	default:
		return show(reply)
	}
}
