package group

import (
	"cmp"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/troupe-mq/troupe/wire"
)

// The history of a group keeps its last rebalances, in as many slots that are overwritten in turn.
const (
	historySlots   = 100
	maxPauses      = 1000
	maxPauseBytes  = 256 << 10
	maxDetailBytes = 256
)

// history is the rebalances of a group: those that are over, as their records have them, and the one that is going on.
// Both protocols report to it what happens:
//
//	begin     members are to change what they have
//	hold      ... of what they have had until now
//	waited    somebody was waited for
//	released  a member has given a partition up
//	taken     a member has been given one: since released nobody consumed it
//	finish    all have what they are to have
//
// While nothing is going on, and before begin, lost notes what a member gave up that has left.
type history struct {
	past    []pastRebalance // by number
	last    int64
	ongoing *rebalancing
	// unowned is partitions that nobody has, since when, and who had them last.
	unowned map[namedPartition]pastHolder
}

// pastRebalance is a rebalance as it is in the log: it is read when somebody asks.
type pastRebalance struct {
	number int64
	value  []byte
}

type rebalancing struct {
	wire.Rebalance

	held     map[namedPartition]pastHolder
	byMember map[wire.MemberID][]namedPartition
}

type namedPartition struct {
	topic     string
	partition int32
}

// pastHolder is who has a partition, or had it until it was released.
type pastHolder struct {
	member   wire.MemberID
	released time.Time // zero: it has it
}

func (h *history) none() bool { return len(h.past) == 0 && h.ongoing == nil }

// begin notes that a rebalance has begun, for the reason that r tells. The one before is over, complete or not.
func (h *history) begin(t *turn, group wire.GroupID, r wire.Rebalance) {
	if h.ongoing != nil {
		h.finish(t, group, h.ongoing.Generation, h.ongoing.Members, false)
	}
	r.Began = t.now
	r.Detail = clipped(r.Detail, maxDetailBytes)
	h.ongoing = &rebalancing{
		Rebalance: r,
		held:      map[namedPartition]pastHolder{},
		byMember:  map[wire.MemberID][]namedPartition{},
	}
	for p, was := range h.unowned {
		h.ongoing.held[p] = was
	}
	h.unowned = nil
}

// clipped returns s or the beginning of it, not cutting characters.
func clipped(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// hold notes that a member has a partition when the rebalance begins.
func (h *history) hold(topic string, partition int32, by wire.MemberID) {
	if h.ongoing == nil {
		return
	}
	p := namedPartition{topic, partition}
	if was, known := h.ongoing.held[p]; !known || was.member != by {
		h.ongoing.held[p] = pastHolder{member: by}
	}
	h.ongoing.byMember[by] = append(h.ongoing.byMember[by], p)
}

// waited notes how long a member was waited for.
func (h *history) waited(member wire.MemberID, took time.Duration) {
	if h.ongoing != nil && took > h.ongoing.SlowestTook {
		h.ongoing.Slowest, h.ongoing.SlowestTook = member, took
	}
}

// released notes that whoever had a partition has given it up.
func (h *history) released(topic string, partition int32, at time.Time) {
	if h.ongoing == nil {
		return
	}
	p := namedPartition{topic, partition}
	if was, known := h.ongoing.held[p]; known && was.released.IsZero() {
		was.released = at
		h.ongoing.held[p] = was
	}
}

// releasedAll notes that a member has given up what it had when the rebalance began, but for what it keeps.
func (h *history) releasedAll(by wire.MemberID, keeps func(topic string, partition int32) bool, at time.Time) {
	if h.ongoing == nil {
		return
	}
	for _, p := range h.ongoing.byMember[by] {
		if h.ongoing.held[p].member == by && !keeps(p.topic, p.partition) {
			h.released(p.topic, p.partition, at)
		}
	}
}

// releasedRest notes that whatever was not taken is nobody's.
func (h *history) releasedRest(at time.Time) {
	if h.ongoing == nil {
		return
	}
	for p := range h.ongoing.held {
		h.released(p.topic, p.partition, at)
	}
}

// lost notes that a member that has left gave a partition up.
func (h *history) lost(topic string, partition int32, by wire.MemberID, at time.Time) {
	p := namedPartition{topic, partition}
	if h.ongoing != nil {
		h.released(topic, partition, at)
		return
	}
	if h.unowned == nil {
		h.unowned = map[namedPartition]pastHolder{}
	}
	h.unowned[p] = pastHolder{member: by, released: at}
}

// taken notes that a member has been given a partition. For one that never was anybody's nobody waited.
func (h *history) taken(topic string, partition int32, by wire.MemberID, at time.Time) {
	if h.ongoing == nil {
		return
	}
	p := namedPartition{topic, partition}
	was, known := h.ongoing.held[p]
	if !known {
		return
	}
	delete(h.ongoing.held, p)
	if was.member != by {
		h.ongoing.Moved++
	}
	if pause := at.Sub(was.released); !was.released.IsZero() && pause > 0 {
		h.ongoing.Pauses = append(h.ongoing.Pauses, wire.PartitionPause{
			Topic: topic, Partition: partition, Pause: pause, From: was.member, To: by,
		})
	}
}

// renamed notes that a static member goes by another id.
func (h *history) renamed(from, to wire.MemberID) {
	if h.ongoing == nil {
		return
	}
	for _, p := range h.ongoing.byMember[from] {
		if was := h.ongoing.held[p]; was.member == from {
			was.member = to
			h.ongoing.held[p] = was
		}
	}
	h.ongoing.byMember[to] = h.ongoing.byMember[from]
	delete(h.ongoing.byMember, from)
}

// finish puts the rebalance that is going on on record. What was released and not taken goes on being nobody's, unless
// there is nobody left to have it.
func (h *history) finish(t *turn, group wire.GroupID, generation int32, members int, complete bool) {
	r := h.ongoing
	if r == nil {
		return
	}
	h.ongoing = nil
	if members > 0 {
		maps.DeleteFunc(r.held, func(_ namedPartition, was pastHolder) bool { return was.released.IsZero() })
		if len(r.held) > 0 {
			h.unowned = r.held
		}
	}
	r.Number = h.last + 1
	r.Took = t.now.Sub(r.Began)
	r.Generation = generation
	r.Members = members
	r.Complete = complete
	slices.SortFunc(r.Pauses, func(a, b wire.PartitionPause) int {
		return cmp.Or(cmp.Compare(b.Pause, a.Pause), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	r.Pauses = longest(r.Pauses)
	record := newHistoryRecord(group, &r.Rebalance)
	t.emit(record)
	h.put(r.Number, record.Value)
}

// longest returns as many pauses, the longest first, as a record may have. Ids of members and names of topics can be long.
func longest(pauses []wire.PartitionPause) []wire.PartitionPause {
	bytes := 0
	for i, p := range pauses {
		bytes += len(p.Topic) + len(p.From) + len(p.To)
		if i == maxPauses || bytes > maxPauseBytes {
			return pauses[:i]
		}
	}
	return pauses
}

// put takes over what a record says.
func (h *history) put(number int64, value []byte) {
	h.drop(slotOf(number))
	i, _ := slices.BinarySearchFunc(h.past, number, func(p pastRebalance, n int64) int { return cmp.Compare(p.number, n) })
	h.past = slices.Insert(h.past, i, pastRebalance{number: number, value: value})
	h.last = max(h.last, number)
}

func (h *history) drop(slot int32) {
	h.past = slices.DeleteFunc(h.past, func(p pastRebalance) bool { return slotOf(p.number) == slot })
}

func slotOf(number int64) int32 { return int32(number % historySlots) }

// fold folds the record of a rebalance, or its tombstone.
func (h *history) fold(key recordKey, value []byte) error {
	if value == nil {
		h.drop(key.number)
		return nil
	}
	r, err := readHistoryValue(value)
	if err != nil {
		return err
	}
	h.put(r.Number, slices.Clone(value))
	return nil
}

// forget emits the tombstones of all that is remembered.
func (h *history) forget(t *turn, group wire.GroupID) {
	for _, p := range h.past {
		t.emit(tombstone(historyRecord, group, "", slotOf(p.number)))
	}
	*h = history{}
}

// rebalances answers GroupHistory.
func (g *Group) rebalances() *wire.GroupRebalances {
	if g.gone() {
		return &wire.GroupRebalances{Err: wire.Errorf(wire.GroupIDNotFound, "there is no group %q", g.id)}
	}
	reply := &wire.GroupRebalances{Rebalances: make([]wire.Rebalance, 0, len(g.history.past))}
	for _, p := range slices.Backward(g.history.past) {
		if r, err := readHistoryValue(p.value); err == nil { // it was read when it was folded
			reply.Rebalances = append(reply.Rebalances, r)
		}
	}
	return reply
}
