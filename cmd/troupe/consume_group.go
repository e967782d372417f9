package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
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

	buffered map[int32]wire.Offset // behind the last record that was written, but may not be out yet
	done     map[int32]wire.Offset // behind the last one that is out: where to go on
	owned    map[int32]bool
	ctx      context.Context // of the callbacks
	ending   bool            // the member is leaving
	unsaved  error           // why, at the end, others will read records again

	mu        sync.Mutex            // of what commits under way change
	committed map[int32]wire.Offset // of done, what is safe
	flying    bool                  // a commit is under way
	next      time.Time             // when the next one is due
}

// check refuses flags that make no sense, or not with --group, which may have been given an empty name.
func (f *consumeFlags) check(given bool, from start) error {
	switch {
	case f.partition < -1, f.maxMessages < 0:
		return usagef("--partition and --max-messages cannot be negative, but for --partition -1, which is all")
	case given && f.group == "":
		return usagef("--group is empty: name a group, or leave the flag out")
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

// run consumes until the end that was asked for, and leaves nothing in the buffer. A reader of stdout that has enough must not end the
// process before it has left the group, whose partitions would wait for the end of its session.
func (g *groupRun) run(ctx context.Context) error {
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE) // so that the write fails in its place
	defer signal.Stop(pipe)
	from, _ := g.from.client()
	g.ctx, g.owned, g.pending = ctx, make(map[int32]bool), make(map[int32]wire.Offset)
	g.buffered, g.done, g.committed = make(map[int32]wire.Offset), make(map[int32]wire.Offset), make(map[int32]wire.Offset)
	member, err := g.client.NewGroupConsumer(
		g.group, client.Topics(g.topic), client.From(from), client.ManualCommit(), client.CommitStart(), client.Instance(g.instance),
		client.WithClientID("troupe-consume"), client.OnAssigned(g.assigned), client.OnRevoked(g.revoked), client.OnLost(g.lost),
	)
	if err != nil {
		return err
	}
	g.member = member
	err = g.poll(ctx)
	if flushErr := g.flush(); err == nil || errors.Is(err, context.Canceled) { // or else it is the same again
		err = cmp.Or(flushErr, err)
	}
	g.ending = true
	closeErr := member.Close() // which calls revoked
	if g.unsaved != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return g.unsaved
	}
	return errors.Join(err, closeErr)
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
		g.commit(g.std.now())
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
		g.buffered[r.Partition] = r.Offset + 1
		if g.written.Add(1) == g.limit { // a limit of 0 is never met
			return true, nil
		}
	}
	return false, nil
}

// flush writes the buffer out. What cannot be written was not consumed.
func (g *groupRun) flush() error {
	err := g.out.Flush()
	if err == nil {
		maps.Copy(g.done, g.buffered)
	}
	clear(g.buffered)
	return err
}

// commit begins to commit what is out, once in a while. What fails is part of the next one.
func (g *groupRun) commit(now time.Time) {
	offsets := g.uncommitted(nil)
	g.mu.Lock()
	due := len(offsets) > 0 && !g.flying && !now.Before(g.next)
	if due {
		g.flying, g.next = true, now.Add(groupCommitInterval)
	}
	g.mu.Unlock()
	if !due {
		return
	}
	g.member.CommitAsync(func(err error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.flying = false
		if err == nil {
			g.note(offsets)
		}
	}, offsets...)
}

// note takes note of what is committed. The caller holds the mutex.
func (g *groupRun) note(offsets []client.GroupOffset) {
	for _, o := range offsets {
		g.committed[o.Partition] = o.Offset
	}
}

// uncommitted returns what is to be committed of some partitions, or of all.
func (g *groupRun) uncommitted(partitions []client.PartitionName) []client.GroupOffset {
	g.mu.Lock()
	defer g.mu.Unlock()
	var offsets []client.GroupOffset
	for _, number := range slices.Sorted(maps.Keys(g.done)) {
		if partitions != nil && !slices.Contains(partitions, client.PartitionName{Topic: g.topic, Partition: number}) {
			continue
		}
		if offset, known := g.committed[number]; !known || offset != g.done[number] {
			offsets = append(offsets, client.GroupOffset{Topic: g.topic, Partition: number, Offset: g.done[number]})
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
	for _, p := range partitions {
		g.owned[p.Partition] = true
	}
	g.say("gets", partitions)
	if !g.exitAtEnd {
		return
	}
	for _, p := range partitions {
		ctx, cancel := context.WithTimeout(g.ctx, patience)
		end, _, err := g.client.ListOffset(ctx, p.Topic, p.Partition, client.Latest)
		cancel()
		if err == nil {
			g.pending[p.Partition] = end
		}
	}
}

func (g *groupRun) revoked(partitions []client.PartitionName) {
	if offsets := g.uncommitted(partitions); len(offsets) > 0 {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(g.ctx), patience)
		err := g.member.CommitSync(ctx, offsets...)
		cancel()
		if err != nil {
			g.again(err)
		}
	}
	g.forget(partitions)
	if !g.ending {
		g.say("gives up", partitions)
	}
}

func (g *groupRun) lost(partitions []client.PartitionName) {
	if len(g.uncommitted(partitions)) > 0 && g.ending { // a commit would be refused
		g.again(fmt.Errorf("group %s has taken %s from this member", g.group, ranges(g.topic, partitions)))
	}
	g.forget(partitions)
	g.say("has lost", partitions)
}

// again tells a person, at the end with the exit code, that others will read what this member has written.
func (g *groupRun) again(err error) {
	err = fmt.Errorf("%s; others will read the last records again", plainWords.Replace(err.Error()))
	if g.ending {
		g.unsaved = err
		return
	}
	_, _ = fmt.Fprintf(g.std.err, "troupe: %v\n", err) // a lost terminal loses nothing else
}

func (g *groupRun) forget(partitions []client.PartitionName) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range partitions {
		delete(g.owned, p.Partition)
		delete(g.pending, p.Partition)
		delete(g.done, p.Partition)
		delete(g.committed, p.Partition)
	}
}

// say tells a person which partitions have come or gone, and which the member has now.
func (g *groupRun) say(what string, partitions []client.PartitionName) {
	whole := "nothing"
	if numbers := slices.Sorted(maps.Keys(g.owned)); len(numbers) > 0 {
		var all []client.PartitionName
		for _, number := range numbers {
			all = append(all, client.PartitionName{Topic: g.topic, Partition: number})
		}
		whole = ranges(g.topic, all)
	}
	line := fmt.Sprintf("group %s: this member %s %s, has %s\n", printable(g.group), what, ranges(g.topic, partitions), whole)
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
