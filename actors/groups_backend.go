package actors

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// This file is what the listeners ask of a broker about consumer groups. Every method may be called from any
// goroutine, and may wait.

// Bounds of what waits for coordinators. Beyond them clients are told to come again.
const (
	maxWaitingOfGroup = 16 << 10
	maxWaitingOfShard = 128 << 10
	maxQueuedBytes    = 32 << 20 // of records that a shard has not appended yet
)

// FindCoordinator returns the broker that coordinates a group: the one that leads the partition of the
// offsets topic that the group's name is hashed to. The topic is created when it is missing.
func (b *Broker) FindCoordinator(ctx context.Context, id wire.GroupID) (wire.BrokerID, error) {
	if id == "" {
		return wire.NoBroker, wire.InvalidGroupID
	}
	topic, exists := b.View().Topic(wire.OffsetsTopic)
	if !exists {
		if err := b.createOffsetsTopic(ctx); err != nil {
			return wire.NoBroker, err
		}
		if topic, exists = b.View().Topic(wire.OffsetsTopic); !exists {
			return wire.NoBroker, wire.CoordinatorNotAvailable
		}
	}
	state, _ := b.image.Load().Partition(topic.ID, group.PartitionOf(id, topic.Partitions))
	if state.Leader == wire.NoBroker {
		return wire.NoBroker, wire.CoordinatorNotAvailable
	}
	return state.Leader, nil
}

// AskGroup has a group's coordinator answer a request, if that is here. What the rules of the group refuse
// is in the reply; an error says that nobody has answered, so that the client may ask again.
func (b *Broker) AskGroup(ctx context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
	id := q.Of()
	if id == "" {
		return nil, wire.InvalidGroupID
	}
	ask := &groupAsk{request: q, call: group.Call(b.groups.calls.Add(1)), reply: make(chan wire.GroupReply, 1)}
	for {
		shard, err := b.groups.shardOf(id)
		if err != nil {
			return nil, b.noShard(ctx, err)
		}
		run, err := b.groupOf(ctx, shard, id)
		if err != nil {
			return nil, err
		}
		reply, err := b.askRun(ctx, shard, run, ask)
		switch {
		case errors.Is(err, errGroupForgotten): // it was on its way out, and has not looked at this
		case err != nil:
			return nil, err
		default:
			return b.told(reply)
		}
	}
}

// errGroupForgotten ends a coordinator of which nothing was left: whoever came meanwhile begins a new one.
var errGroupForgotten = errors.New("nothing is left of the group")

// noShard says why there is no shard. The topic may not be there at all.
func (b *Broker) noShard(ctx context.Context, err error) error {
	if !errors.Is(err, wire.NotCoordinator) {
		return err
	}
	if _, exists := b.View().Topic(wire.OffsetsTopic); exists {
		return err
	}
	if err := b.createOffsetsTopic(ctx); err != nil {
		return err
	}
	return wire.CoordinatorNotAvailable
}

// groupOf returns the run of a group's coordinator, which begins with the first who asks for it.
func (b *Broker) groupOf(ctx context.Context, shard *shardRun, id wire.GroupID) (*groupRun, error) {
	run := shard.find(id)
	switch {
	case run == nil || run.state == groupAsleep:
	case run.state == groupRefolding:
		return nil, wire.CoordinatorLoadInProgress
	default:
		return run, nil
	}
	reply := make(chan openedGroup, 1)
	b.root.Send(shard.pid, &openGroup{id: id, reply: reply})
	select {
	case opened := <-reply:
		return opened.run, opened.err
	case <-shard.gone:
		return nil, shard.why
	case <-ctx.Done():
		return nil, wire.RequestTimedOut
	}
}

// askRun sends a request to a coordinator and waits for the reply, for the end of that coordinator, or for ctx.
func (b *Broker) askRun(ctx context.Context, shard *shardRun, run *groupRun, ask *groupAsk) (wire.GroupReply, error) {
	ofShard, ofGroup := shard.waiting.Add(1), run.waiting.Add(1)
	defer shard.waiting.Add(-1)
	defer run.waiting.Add(-1)
	if ofShard > maxWaitingOfShard || ofGroup > maxWaitingOfGroup || shard.queued.Load() > maxQueuedBytes {
		return nil, wire.Errorf(wire.CoordinatorNotAvailable, "too much waits for the coordinator of group %.300q", run.id)
	}
	if !run.leaving.Load() {
		b.root.Send(run.pid, ask)
	}
	select {
	case reply := <-ask.reply:
		return reply, b.stillCoordinates(shard)
	case <-run.gone:
		select {
		case reply := <-ask.reply: // just before it ended
			return reply, b.stillCoordinates(shard)
		default:
			return nil, run.why
		}
	case <-ctx.Done():
		b.root.Send(run.pid, &groupCancel{call: ask.call})
		return nil, wire.RequestTimedOut
	}
}

// stillCoordinates says whether a shard may speak. A broker whose lease has run out may not know that another one
// coordinates the group by now, and must not show offsets that are older than what that one has acknowledged.
func (b *Broker) stillCoordinates(shard *shardRun) error {
	if b.leased() && shard.leads() {
		return nil
	}
	state, ok := b.image.Load().Partition(shard.part.tp.Topic, shard.part.tp.Partition)
	if ok && len(state.Replicas) == 1 && shard.leads() {
		return nil // there is nobody else
	}
	return wire.NotCoordinator
}

// told completes a reply with what only the broker knows.
func (b *Broker) told(reply wire.GroupReply) (wire.GroupReply, error) {
	if described, ok := reply.(*wire.GroupDescription); ok {
		described.Coordinator = b.cfg.ID
	}
	return reply, nil
}

// coordinatorOf returns the actor of a group that is coordinated here.
func (b *Broker) coordinatorOf(id wire.GroupID) (*actor.PID, error) {
	shard, err := b.groups.shardOf(id)
	if err != nil {
		return nil, err
	}
	if run := shard.find(id); run != nil && run.pid != nil {
		return run.pid, nil
	}
	return nil, wire.Errorf(wire.ResourceNotFound, "group %.300q has no coordinator on broker %d at the moment", id, b.cfg.ID)
}

// ListGroups lists the groups that this broker coordinates.
func (b *Broker) ListGroups(_ context.Context, q *wire.ListGroups) wire.GroupList {
	var list wire.GroupList
	table := b.groups.shards.Load()
	if table == nil {
		return list
	}
	for _, shard := range table.runs {
		switch {
		case shard == nil:
		case !shard.loaded.Load():
			list.Err = wire.CoordinatorLoadInProgress
		default:
			shard.each(func(run *groupRun) {
				if listed := *run.listed.Load(); listed.State != wire.GroupDead && lists(q, &listed) {
					listed.Coordinator = b.cfg.ID
					list.Groups = append(list.Groups, listed)
				}
			})
		}
	}
	slices.SortFunc(list.Groups, func(a, b wire.ListedGroup) int { return cmp.Compare(a.Group, b.Group) })
	return list
}

func lists(q *wire.ListGroups, g *wire.ListedGroup) bool {
	among := func(list []string, value string) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, value) })
	}
	return among(q.States, string(g.State)) && among(q.Types, string(g.Type))
}

// topicCreation is the creation of the offsets topic: whoever needs it waits for the same one.
type topicCreation struct {
	done chan struct{}
	err  error // to be read once done is closed
}

// creationPatience is how long somebody who needs the offsets topic waits for it, before being told to come again.
const creationPatience = time.Second

// createOffsetsTopic returns once the topic is there, as seen from here. Other brokers may be creating it too: the
// controller makes it once.
func (b *Broker) createOffsetsTopic(ctx context.Context) error {
	t := &b.groups
	t.creating.Lock()
	creation := t.creation
	if creation == nil {
		creation = &topicCreation{done: make(chan struct{})}
		t.creation = creation
		b.request(metadata.CreateInternalTopic{Name: wire.OffsetsTopic}, func(reply any, err error) {
			if refusal, ok := reply.(error); ok && err == nil {
				err = refusal
			}
			if creation.err = err; err != nil {
				b.logger.Warn("the offsets topic could not be created", "topic", wire.OffsetsTopic, "err", err)
			}
			t.creating.Lock()
			t.creation = nil
			t.creating.Unlock()
			close(creation.done)
		})
	}
	t.creating.Unlock()
	patience := time.NewTimer(creationPatience)
	defer patience.Stop()
	select {
	case <-creation.done:
		if creation.err != nil {
			return wire.Errorf(wire.CoordinatorNotAvailable, "the topic of the committed offsets cannot be created: %v", creation.err)
		}
		return nil
	case <-patience.C:
	case <-ctx.Done():
	}
	return wire.Errorf(wire.CoordinatorNotAvailable, "the topic of the committed offsets is being created")
}
