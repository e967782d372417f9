package group

import (
	"fmt"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// Group is one consumer group, at its coordinator. It belongs to one actor.
type Group struct {
	id     wire.GroupID
	config *Config

	// At most one of them is there: a group that has nothing but offsets has no type yet.
	classic  *classic
	consumer *consumer

	offsets offsets
	history history
}

// New returns a group of which nothing is known. It panics without Config.NewMemberID.
func New(id wire.GroupID, c Config) *Group {
	g := &Group{id: id}
	g.Configure(c)
	return g
}

// Configure changes limits and times. They count from the next event on.
func (g *Group) Configure(c Config) {
	if c.NewMemberID == nil {
		panic("group: Config.NewMemberID is not set")
	}
	g.config = &c
}

// Replay folds one record of the group into it, as the log has them. It keeps nothing of the record's slices. After an error
// the record has changed nothing: whoever loads may count it and go on.
func (g *Group) Replay(r Record) error {
	key, known, err := readKey(r.Key)
	if err != nil {
		return fmt.Errorf("replay in group %q: %w", g.id, err)
	}
	if !known || string(key.group) != string(g.id) {
		return nil
	}
	switch key.kind {
	case offsetRecord:
		err = g.offsets.fold(key, r.Value)
	case classicRecord:
		err = g.foldClassic(r.Value)
	case historyRecord:
		err = g.history.fold(key, r.Value)
	default:
		err = g.foldConsumer(key, r.Value)
	}
	if err != nil {
		return fmt.Errorf("replay record of kind %d in group %q: %w", key.kind, g.id, err)
	}
	return nil
}

// Loaded ends the loading: sessions begin anew, since nobody could be heard meanwhile.
func (g *Group) Loaded(view wire.View, now time.Time) Effects {
	t := &turn{view: view, now: now}
	if g.classic != nil {
		g.classic.loaded(t)
	}
	if g.consumer != nil {
		g.consumer.loaded(t)
	}
	g.offsets.loaded(t)
	g.planExpiry(t)
	return g.finish(t)
}

// Handle answers a request, or parks it.
func (g *Group) Handle(q wire.GroupRequest, call Call, view wire.View, now time.Time) Effects {
	t := &turn{view: view, now: now}
	switch q := q.(type) {
	case *wire.JoinGroup:
		g.join(t, q, call)
	case *wire.SyncGroup:
		g.sync(t, q, call)
	case *wire.GroupHeartbeat:
		g.heartbeat(t, q, call)
	case *wire.LeaveGroup:
		g.leave(t, q, call)
	case *wire.ConsumerHeartbeat:
		g.consumerHeartbeat(t, q, call)
	case *wire.CommitOffsets:
		g.commit(t, q, call)
	case *wire.FetchOffsets:
		t.answer(call, g.fetch(t, q))
	case *wire.DeleteOffsets:
		g.deleteOffsets(t, q, call)
	case *wire.DeleteGroup:
		g.deleteGroup(t, call)
	case *wire.DescribeGroup:
		t.answer(call, g.describe(t))
	case *wire.GroupHistory:
		t.answer(call, g.rebalances())
	default:
		panic(fmt.Sprintf("group: request %T", q))
	}
	return g.finish(t)
}

// Cancel forgets a call that is parked, since whoever made it is gone. The member stays until its session ends.
func (g *Group) Cancel(call Call, now time.Time) Effects {
	t := &turn{now: now}
	if call != 0 && g.classic != nil {
		g.classic.cancel(t, call)
	}
	if call != 0 && g.consumer != nil {
		g.consumer.cancel(t, call)
	}
	return g.finish(t)
}

// TopicsChanged tells of a new metadata image: topics or partitions in it came or went.
func (g *Group) TopicsChanged(view wire.View, now time.Time) Effects {
	t := &turn{view: view, now: now}
	g.dropDeletedTopics(t)
	if g.consumer != nil {
		g.consumer.topicsChanged(t)
	}
	return g.finish(t)
}

// Tick does what is due: members whose session ended go, rebalances that waited long enough go on, offsets expire.
func (g *Group) Tick(view wire.View, now time.Time) Effects {
	t := &turn{view: view, now: now}
	if g.overslept(now) {
		g.listenAgain(t)
	}
	if g.classic != nil {
		g.classic.tick(t)
	}
	if g.consumer != nil {
		g.consumer.tick(t)
	}
	g.expireOffsets(t)
	return g.finish(t)
}

// finish tells what a turn came to.
func (g *Group) finish(t *turn) Effects {
	if g.classic != nil && g.classic.forgotten() {
		g.classic = nil
	}
	if g.consumer != nil && g.consumer.subs.unfinished {
		g.consumer.wake(t.now) // other requests come in between
	}
	return Effects{Records: t.records, Answers: t.answers, Deadline: g.deadline(), Gone: g.gone()}
}

// deadline returns when Tick is due next.
func (g *Group) deadline() time.Time {
	due := g.offsets.expiry
	if !g.empty() {
		due = time.Time{}
	}
	return earlier(due, g.membersDue())
}

// membersDue returns when somebody's time is up.
func (g *Group) membersDue() (due time.Time) {
	if g.classic != nil {
		due = earlier(due, g.classic.deadline())
	}
	if g.consumer != nil {
		due = earlier(due, g.consumer.deadline())
	}
	return due
}

// earlier returns the earlier one of two times that are zero for never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (g *Group) gone() bool {
	return g.classic == nil && g.consumer == nil && g.offsets.none() && g.history.none()
}

// empty says that the group has no members.
func (g *Group) empty() bool {
	switch {
	case g.classic != nil:
		return len(g.classic.members) == 0
	case g.consumer != nil:
		return g.consumer.empty()
	default:
		return true
	}
}

// state is the group's state, as tools show it. A group that has only offsets is an empty one.
func (g *Group) state() wire.GroupState {
	switch {
	case g.gone():
		return wire.GroupDead
	case g.classic != nil:
		return g.classic.state
	case g.consumer != nil:
		return g.consumer.state()
	default:
		return wire.GroupEmpty
	}
}

// kind is the protocol of the group. Kafka: a group that has only offsets is a classic one.
func (g *Group) kind() wire.GroupType {
	if g.consumer != nil {
		return wire.ConsumerGroup
	}
	return wire.ClassicGroup
}

// deleteGroup deletes a group without members, and all that is known of it.
func (g *Group) deleteGroup(t *turn, call Call) {
	switch {
	case g.gone():
		t.answer(call, &wire.DeletedGroup{Err: wire.Errorf(wire.GroupIDNotFound, "there is no group %q", g.id)})
	case !g.empty():
		t.answer(call, &wire.DeletedGroup{Err: wire.Errorf(wire.NonEmptyGroup, "group %q has members", g.id)})
	case !g.offsets.forget(t, g.id):
		t.answer(call, &wire.DeletedGroup{Err: wire.Errorf(wire.CoordinatorNotAvailable,
			"group %q has so many offsets that they are deleted in steps: ask again", g.id)})
	default:
		g.forgetGroup(t)
		t.answer(call, &wire.DeletedGroup{})
	}
}

// forgetGroup ends all of a group but its offsets.
func (g *Group) forgetGroup(t *turn) {
	if g.classic != nil {
		g.classic.end(t)
		g.classic = nil
	}
	if g.consumer != nil {
		g.consumer.end(t)
		g.consumer = nil
	}
	g.history.forget(t, g.id)
}
