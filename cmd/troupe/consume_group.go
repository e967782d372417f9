package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// groupCommitInterval is how often a member of a group commits what it has written.
const groupCommitInterval = time.Second

// groupRun is a run of troupe consume as a member of a group. It commits what has been written to stdout and nothing else, so that every
// record is written at least once whatever happens to the run.
type groupRun struct {
	*consumption

	group    string
	instance string
	std      streams
	member   *client.GroupConsumer

	done      map[int32]wire.Offset // written and flushed, but not committed: where to go on
	committed time.Time             // when that was committed last
	owned     map[int32]bool
	ctx       context.Context // of the callbacks
}

// checkGroup refuses flags that do not go with --group.
func (f *consumeFlags) checkGroup(from start) error {
	switch {
	case f.group == "" && f.instance != "":
		return usagef("--instance names a member of a group; give --group, too")
	case f.group == "":
		return nil
	case f.partition >= 0:
		return usagef("--partition and --group exclude each other: the group gives out the partitions")
	case from.absolute, from.back > 0:
		return usagef("--offset %s does not go with --group: \"troupe group reset\" sets where a group goes on", f.start.offset)
	}
	return nil
}

// run consumes until the end that was asked for, and leaves nothing in the buffer.
func (g *groupRun) run(ctx context.Context) error {
	from, _ := g.from.client()
	g.ctx, g.done, g.owned, g.pending = ctx, make(map[int32]wire.Offset), make(map[int32]bool), make(map[int32]wire.Offset)
	member, err := g.client.NewGroupConsumer(
		g.group, client.Topics(g.topic), client.From(from), client.ManualCommit(), client.Instance(g.instance), client.WithClientID("troupe-consume"),
		client.OnAssigned(g.assigned), client.OnRevoked(g.revoked), client.OnLost(g.lost),
	)
	if err != nil {
		return err
	}
	g.member = member
	err = g.poll(ctx)
	if flushErr := g.flush(); err == nil || errors.Is(err, context.Canceled) { // or else it is the same again
		err = cmp.Or(flushErr, err)
	}
	return errors.Join(err, member.Close()) // which calls revoked
}

func (g *groupRun) poll(ctx context.Context) error {
	for {
		wait, cancel := context.WithTimeout(ctx, pollInterval)
		records, err := g.member.Poll(wait)
		cancel()
		switch {
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !errors.Is(err, context.DeadlineExceeded):
			return err
		}
		over, err := g.writeAll(records)
		if err == nil {
			err = g.flush()
		}
		if err != nil {
			return err
		}
		if g.exitAtEnd && !over {
			over = g.atEnd()
		}
		if over {
			return nil
		}
		if now := g.std.now(); len(g.done) > 0 && now.Sub(g.committed) >= groupCommitInterval {
			g.committed = now
			g.member.CommitAsync(nil, g.take(nil)...)
		}
	}
}

// writeAll writes records until the limit, and says whether that is reached.
func (g *groupRun) writeAll(records []client.Record) (over bool, err error) {
	for i := range records {
		r := &records[i]
		g.line = g.write(g.line[:0], r)
		if _, err := g.out.Write(g.line); err != nil {
			return false, err
		}
		g.done[r.Partition] = r.Offset + 1
		if g.written.Add(1) == g.limit { // a limit of 0 is never met
			return true, nil
		}
	}
	return false, nil
}

// flush writes the buffer out. What cannot be written was not consumed.
func (g *groupRun) flush() error {
	err := g.out.Flush()
	if err != nil {
		clear(g.done)
	}
	return err
}

// take returns what is to be committed of some partitions, or of all, and counts it as done.
func (g *groupRun) take(partitions []client.PartitionName) []client.GroupOffset {
	var offsets []client.GroupOffset
	for _, number := range slices.Sorted(maps.Keys(g.done)) {
		if partitions == nil || slices.Contains(partitions, client.PartitionName{Topic: g.topic, Partition: number}) {
			offsets = append(offsets, client.GroupOffset{Topic: g.topic, Partition: number, Offset: g.done[number]})
			delete(g.done, number)
		}
	}
	return offsets
}

// atEnd says that the member has come, in all that it owns, to the ends that were there when it got it.
func (g *groupRun) atEnd() bool {
	for _, position := range g.member.Positions() {
		g.reached(position.Partition, position.Next)
	}
	return len(g.owned) > 0 && len(g.pending) == 0
}

func (g *groupRun) assigned(partitions []client.PartitionName) {
	g.say("reads", partitions)
	for _, p := range partitions {
		g.owned[p.Partition] = true
		if !g.exitAtEnd {
			continue
		}
		ctx, cancel := context.WithTimeout(g.ctx, patience)
		end, _, err := g.client.ListOffset(ctx, p.Topic, p.Partition, client.Latest)
		cancel()
		if err == nil && end > 0 {
			g.pending[p.Partition] = end
		}
	}
}

func (g *groupRun) revoked(partitions []client.PartitionName) {
	if offsets := g.take(partitions); len(offsets) > 0 {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(g.ctx), patience)
		err := g.member.CommitSync(ctx, offsets...)
		cancel()
		if err != nil {
			_, _ = fmt.Fprintf(g.std.err, "troupe: %v; others will read the last records again\n", err)
		}
	}
	g.forget(partitions)
	if g.ctx.Err() == nil {
		g.say("gives up", partitions)
	}
}

func (g *groupRun) lost(partitions []client.PartitionName) {
	_ = g.take(partitions) // a commit would be refused
	g.forget(partitions)
	g.say("has lost", partitions)
}

func (g *groupRun) forget(partitions []client.PartitionName) {
	for _, p := range partitions {
		delete(g.owned, p.Partition)
		delete(g.pending, p.Partition)
	}
}

// say tells a person who has which partitions now.
func (g *groupRun) say(what string, partitions []client.PartitionName) {
	line := fmt.Sprintf("group %s: this member %s %s\n", g.group, what, ranges(g.topic, partitions))
	if isTerminal(g.std.err) {
		line = clearLine + line // which may show progress
	}
	_, _ = fmt.Fprint(g.std.err, line) // a lost terminal loses nothing else
}

// ranges writes sorted partitions as orders/0-3,5.
func ranges(topic string, partitions []client.PartitionName) string {
	var parts []string
	for i := 0; i < len(partitions); {
		last := i
		for last+1 < len(partitions) && partitions[last+1].Partition == partitions[last].Partition+1 {
			last++
		}
		part := strconv.Itoa(int(partitions[i].Partition))
		if last > i {
			part += "-" + strconv.Itoa(int(partitions[last].Partition))
		}
		parts = append(parts, part)
		i = last + 1
	}
	return topic + "/" + strings.Join(parts, ",")
}
