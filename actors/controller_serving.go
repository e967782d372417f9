package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// serving is the brokers that wait for the committed log to go on. Each has one poll at most, so there
// are never more than brokers.
type serving struct {
	polls map[wire.BrokerID]poll
}

// poll is a FetchMetadata that is held until there is something to answer.
type poll struct {
	from  *actor.PID
	id    uint64
	after uint64
	until time.Time
}

// Limits of what is answered at once, and how long a poll is held.
const (
	maxFetchedBytes = 1 << 20
	maxPollWait     = 5 * time.Second
)

func (s *serving) forget(id wire.BrokerID) { delete(s.polls, id) }

// onFetch answers a broker that observes, now or when there is something new. Only what is committed
// leaves this broker, so it does not matter whether it leads; but one that does not know who does has
// nothing to wait for.
func (c *controller) onFetch(ctx actor.Context, msg *wire.FetchMetadata) {
	from := ctx.Sender()
	if from == nil {
		return
	}
	p := poll{
		from: from, id: msg.ID, after: msg.Index,
		until: c.cfg.now().Add(min(time.Duration(msg.MaxWaitMillis)*time.Millisecond, maxPollWait)),
	}
	switch {
	case c.node == nil || !c.leading && !c.following() && c.applied <= msg.Index:
		ctx.Send(from, &wire.MetadataFetched{ID: msg.ID, Err: wire.NotController, Controller: c.controllerID})
	case c.applied > msg.Index || msg.MaxWaitMillis <= 0:
		c.answerPoll(ctx, p)
	default:
		if c.serving.polls == nil {
			c.serving.polls = make(map[wire.BrokerID]poll)
		}
		c.serving.polls[msg.Sender] = p
	}
}

// releasePolls answers the polls for which there is something, or which have waited long enough.
func (c *controller) releasePolls(ctx actor.Context) {
	if len(c.serving.polls) == 0 {
		return
	}
	now := c.cfg.now()
	for id, p := range c.serving.polls {
		if c.applied > p.after || !now.Before(p.until) {
			delete(c.serving.polls, id)
			c.answerPoll(ctx, p)
		}
	}
}

// releaseAllPolls answers everyone.
func (c *controller) releaseAllPolls(ctx actor.Context) {
	for _, p := range c.serving.polls {
		c.answerPoll(ctx, p)
	}
	clear(c.serving.polls)
}

// answerPoll gives what this one's log has, or, where that does not reach back so far, its image.
func (c *controller) answerPoll(ctx actor.Context, p poll) {
	reply := &wire.MetadataFetched{ID: p.id, Controller: c.controllerID}
	if c.applied <= p.after {
		ctx.Send(p.from, reply)
		return
	}
	entries, kept := c.storage.between(p.after, c.applied, maxFetchedBytes)
	if !kept {
		reply.Snapshot = true
		ctx.Send(c.encoder, &encodeForObserver{image: c.image, index: c.seen, to: p.from, reply: reply})
		return
	}
	out := make([]metadata.Entry, len(entries))
	for i, e := range entries {
		out[i].Index = e.GetIndex()
		if isRecords(e) {
			out[i].Records = e.GetData()
		}
	}
	reply.First, reply.Data = out[0].Index, metadata.EncodeEntries(out)
	ctx.Send(p.from, reply)
}

func isRecords(e *raftpb.Entry) bool {
	return e.GetType() == raftpb.EntryNormal && len(e.GetData()) > 0
}
