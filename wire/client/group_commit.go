package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// commits go one after the other, in the order in which they were asked for: so none can overwrite a later one. The consumer's
// mutex guards the queue.
type commits struct {
	queue   []commit
	working bool                     // a goroutine walks the queue
	last    map[PartitionName]Offset // committed, as far as is known
	begun   map[PartitionName]bool   // nothing is committed there, and where the member began is not queued yet
	next    time.Time                // when AutoCommit is due
	auto    bool                     // its last one has not ended
}

type commit struct {
	ctx     context.Context
	offsets []GroupOffset
	done    func(error) // must not wait
}

// CommitSync commits offsets, or without any the position in every partition that the member owns: all records that Poll has returned
// count as done. It tries again until it is answered or ctx ends; then the outcome is unknown.
//
// What earlier calls of CommitAsync are to tell has been told when it returns, but for what is being told by its caller.
//
// Partitions that are not the member's are refused with a *PartitionError that wraps ErrNotOwned; others are committed
// nevertheless.
func (g *GroupConsumer) CommitSync(ctx context.Context, offsets ...GroupOffset) error {
	done, told := make(chan error, 1), make(chan struct{})
	taken := g.commit(ctx, offsets, func(err error) {
		done <- err
		g.dones.put(func() { close(told) })
	})
	if !taken {
		return ErrClosed
	}
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		return fmt.Errorf("commit offsets of group %s: %w", g.group, ctx.Err())
	}
	if g.dones.mine() {
		return err
	}
	select {
	case <-told:
	case <-ctx.Done():
	case <-g.closing: // perhaps by the one that is being told
	case <-g.ctx.Done():
	}
	return err
}

// CommitAsync is CommitSync for those who do not wait: done, unless it is nil, is told the outcome, on a goroutine of the consumer's,
// one after the other; when the consumer has been closed CommitAsync itself tells it so. It may call every method but Poll.
func (g *GroupConsumer) CommitAsync(done func(error), offsets ...GroupOffset) {
	if done == nil {
		done = func(error) {}
	}
	if !g.commit(g.ctx, offsets, func(err error) { g.dones.put(func() { done(err) }) }) {
		done(ErrClosed)
	}
}

func (g *GroupConsumer) commit(ctx context.Context, offsets []GroupOffset, done func(error)) (taken bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(offsets) == 0 {
		offsets = g.consumed()
	}
	return g.enqueue(ctx, offsets, done)
}

// barrier waits until all commits have ended that were asked for before.
func (g *GroupConsumer) barrier(ctx context.Context) {
	done := make(chan struct{})
	g.mu.Lock()
	taken := g.enqueue(ctx, nil, func(error) { close(done) })
	g.mu.Unlock()
	if !taken {
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// enqueue queues a commit, unless the consumer has ended. The caller holds the mutex.
func (g *GroupConsumer) enqueue(ctx context.Context, offsets []GroupOffset, done func(error)) bool {
	if g.ctx.Err() != nil {
		return false
	}
	g.queue = append(g.queue, commit{ctx, offsets, done})
	if !g.working {
		g.working = true
		g.tasks.Go(g.walk)
	}
	return true
}

// walk makes commits until there are no more.
func (g *GroupConsumer) walk() {
	for {
		g.mu.Lock()
		if len(g.queue) == 0 {
			g.working = false
			g.mu.Unlock()
			return
		}
		c := g.queue[0]
		g.queue = g.queue[1:]
		g.mu.Unlock()
		c.done(g.carryOut(c))
	}
}

// consumed returns the positions that are not committed yet.
func (g *GroupConsumer) consumed() []GroupOffset {
	var offsets []GroupOffset
	for _, p := range g.reader.Positions() {
		name := PartitionName{Topic: p.Topic, Partition: p.Partition}
		if last, known := g.last[name]; p.Next >= 0 && (!known || last != p.Next) {
			offsets = append(offsets, GroupOffset{Topic: p.Topic, Partition: p.Partition, Offset: p.Next})
		}
	}
	return offsets
}

// consumedOf returns what is to be committed of partitions that go, unless the program does it.
func (g *GroupConsumer) consumedOf(names []PartitionName) []GroupOffset {
	beginnings := g.beginnings(names)
	if !g.cfg.AutoCommit {
		return beginnings
	}
	return slices.DeleteFunc(g.consumed(), func(o GroupOffset) bool {
		return !slices.Contains(names, PartitionName{Topic: o.Topic, Partition: o.Partition})
	})
}

// unset returns those of the partitions where nothing is committed, and where the member began is not queued yet.
func (g *GroupConsumer) unset(names []PartitionName) []PartitionName {
	return slices.DeleteFunc(slices.Clone(names), func(name PartitionName) bool { return !g.begun[name] })
}

// beginnings returns where the member began in those of the partitions where nothing is committed, and counts that as committed. It is
// what the program is owed even before the first record: without it whoever takes the partition over would begin at an end that has
// moved on. What is refused for good is not tried again.
func (g *GroupConsumer) beginnings(names []PartitionName) []GroupOffset {
	if names = g.unset(names); len(names) == 0 {
		return nil
	}
	offsets := g.reader.beginnings(names)
	for _, o := range offsets {
		delete(g.begun, PartitionName{Topic: o.Topic, Partition: o.Partition})
	}
	return offsets
}

// takeBeginnings is beginnings for those who do not hold the mutex.
func (g *GroupConsumer) takeBeginnings(names []PartitionName) []GroupOffset {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.beginnings(names)
}

// autoCommit commits where partitions begin as soon as that is known, and what was consumed when it is time. It returns when it will be.
func (g *GroupConsumer) autoCommit(at time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.begun) > 0 && g.state == joined {
		if offsets := g.beginnings(slices.Collect(maps.Keys(g.begun))); len(offsets) > 0 {
			g.enqueue(g.ctx, offsets, func(error) {})
		}
	}
	if !g.cfg.AutoCommit {
		return time.Hour
	}
	switch {
	case g.next.IsZero():
		g.next = at.Add(g.cfg.AutoCommitInterval)
	case !at.Before(g.next):
		g.next = at.Add(g.cfg.AutoCommitInterval)
		offsets := g.consumed()
		if g.auto || len(offsets) == 0 || g.state != joined {
			break
		}
		g.auto = true
		g.enqueue(g.ctx, offsets, func(error) { // what could not be committed is part of the next one
			g.mu.Lock()
			defer g.mu.Unlock()
			g.auto = false
		})
	}
	return g.next.Sub(at)
}

// carryOut makes one commit.
func (g *GroupConsumer) carryOut(c commit) error {
	var errs []error
	for part := range slices.Chunk(c.offsets, maxOffsetsAsked) {
		refused, err := g.carryOutPart(c.ctx, part)
		errs = append(errs, refused...)
		if err != nil {
			errs = append(errs, fmt.Errorf("commit offsets of group %s: %w", g.group, err))
			break
		}
	}
	return errors.Join(errs...)
}

// carryOutPart makes a part of a commit, again after errors that pass until ctx ends. What is under way then is waited for
// nevertheless, though no longer than for any request: it could come behind the commit after it, and take that back.
func (g *GroupConsumer) carryOutPart(ctx context.Context, offsets []GroupOffset) (refused []error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	for failures := 1; ; failures++ {
		q, kept, errs := g.request(offsets)
		refused = append(refused, errs...)
		if offsets = kept; len(kept) == 0 {
			return refused, nil
		}
		if ctx.Err() != nil {
			return refused, cmp.Or(err, ctx.Err())
		}
		var answer wire.GroupMessage
		if answer, err = g.client.askGroup(g.ctx, q); err == nil {
			err = answer.Failure()
		}
		if err == nil {
			errs, err = g.committed(kept, answer.(*wire.CommittedOffsets).Errs)
			return append(refused, errs...), err
		}
		again, pause := g.worthAnother(err, q)
		if again && pause {
			again = g.client.pause(ctx, failures) == nil
		}
		if !again {
			return refused, err
		}
	}
}

// worthAnother says whether a commit that was refused may succeed later, and whether to wait before.
func (g *GroupConsumer) worthAnother(err error, q *wire.CommitOffsets) (again, pause bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	stale := errors.Is(err, wire.StaleMemberEpoch)
	if stale && g.epoch != int32(q.Generation) {
		return true, false // a heartbeat has brought the next one
	}
	if stale || errors.Is(err, wire.UnknownMemberID) || errors.Is(err, wire.FencedMemberEpoch) {
		g.stale()
	}
	if again = stale || retriable(err); again {
		g.troubled(fmt.Errorf("commit offsets of group %s: %w", g.group, err))
	}
	return again, true
}

// request returns a request to commit those of the offsets whose partitions are the member's at this moment.
func (g *GroupConsumer) request(offsets []GroupOffset) (q *wire.CommitOffsets, kept []GroupOffset, refused []error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	own := make(map[PartitionName]bool)
	if g.state == joined {
		for name := range maps.Values(g.owned) {
			own[name] = true
		}
		for name := range maps.Values(g.going) {
			own[name] = true
		}
	}
	q = &wire.CommitOffsets{
		Group: g.group, Member: g.memberID, Generation: wire.GenerationID(g.epoch), Instance: g.cfg.Instance, Modern: true,
	}
	for _, o := range offsets {
		if !own[PartitionName{Topic: o.Topic, Partition: o.Partition}] {
			refused = append(refused, &PartitionError{o.Topic, o.Partition, o.Offset, ErrNotOwned})
			continue
		}
		kept = append(kept, o)
		q.Offsets = append(q.Offsets, o.wireCommit())
	}
	return q, kept, refused
}

// committed takes note of an answer.
func (g *GroupConsumer) committed(offsets []GroupOffset, errs []error) (refused []error, err error) {
	if len(errs) != len(offsets) {
		return nil, errAnswerCount
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calm()
	for i, o := range offsets {
		if errs[i] != nil {
			refused = append(refused, &PartitionError{o.Topic, o.Partition, o.Offset, errs[i]})
		} else {
			g.last[PartitionName{Topic: o.Topic, Partition: o.Partition}] = o.Offset
		}
	}
	return refused, nil
}
