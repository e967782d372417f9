package client

import (
	"context"
	"errors"
	"fmt"
	"regexp/syntax"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// membership is where a member stands with its coordinator. The consumer's mutex guards it.
//
//	joining --answer--> joined --unknown or fenced--> lost --OnLost, in Poll--> joining
//	                      |                             ^
//	                      '--Poll is not called in time-'       any --refused for good--> lost, and Poll says why
type membership struct {
	memberID wire.MemberID // never changes
	state    memberState
	epoch    int32
	interval time.Duration
	sent     time.Time // the last heartbeat
	again    time.Time // when to try again after a failure; zero without one
	failures int
	whole    bool               // the next heartbeat tells everything: an answer may have got lost
	tell     bool               // the next heartbeat is due now and tells what is owned
	leaving  bool               // there are to be no more
	refusal  error              // why the group does not take the member
	trouble  error              // the latest failure that passes by itself
	forsake  context.CancelFunc // no longer waits for the answer to the last heartbeat
}

type memberState int8

const (
	joining memberState = iota
	joined
	lost // until Poll has told OnLost
)

// beat is the goroutine that sends heartbeats, however long the program takes between polls.
func (g *GroupConsumer) beat() {
	defer close(g.quiet)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		q, wait := g.due(now())
		if q != nil {
			reply, err := g.askHeartbeat(q)
			if g.ctx.Err() != nil {
				return
			}
			g.heard(q, reply, err, now())
			continue
		}
		if wait < 0 {
			return
		}
		timer.Reset(wait)
		select {
		case <-g.ctx.Done():
			return
		case <-g.kick:
		case <-timer.C:
		}
	}
}

// askHeartbeat sends a heartbeat and waits for its answer, unless that is forsaken.
func (g *GroupConsumer) askHeartbeat(q *wire.ConsumerHeartbeat) (wire.GroupMessage, error) {
	ctx, cancel := context.WithCancel(g.ctx)
	defer cancel()
	g.mu.Lock()
	g.forsake = cancel
	leaving := g.leaving
	g.mu.Unlock()
	if leaving {
		return nil, context.Canceled
	}
	return g.client.askGroup(ctx, q)
}

// lostAfter is how long the answer to a heartbeat is waited for once the coordinator seems to have given it.
const lostAfter = time.Second

// stale has a heartbeat find out where the member stands: the coordinator knows another epoch. The caller holds the mutex.
func (g *GroupConsumer) stale() {
	g.tell = true
	signal(g.kick)
	if g.forsake != nil && now().Sub(g.sent) > lostAfter {
		g.forsake()
	}
}

// quit ends the heartbeats. An answer that tells whether the member is in the group is waited for a moment.
func (g *GroupConsumer) quit(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lostAfter)
	defer cancel()
	g.mu.Lock()
	joins, forsake := g.state == joining && g.again.IsZero(), g.forsake
	g.leaving = true
	g.mu.Unlock()
	signal(g.kick)
	if joins {
		select {
		case <-g.quiet:
		case <-ctx.Done():
		}
	}
	if forsake != nil {
		forsake()
	}
	<-g.quiet
}

// due returns the heartbeat that is to be sent now, or how long there is none; -1: there will be no more.
func (g *GroupConsumer) due(at time.Time) (*wire.ConsumerHeartbeat, time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leaving {
		return nil, -1
	}
	if g.state == lost {
		return nil, time.Hour
	}
	if absent := at.Sub(g.lastPoll); !g.inPoll && absent >= g.cfg.MaxPollInterval {
		if g.state == joining {
			return nil, time.Hour // Poll wakes it
		}
		epoch := g.leavingEpoch()
		g.lose(fmt.Errorf("the member left group %s: Poll has not been called for %s", g.group, g.cfg.MaxPollInterval))
		return g.heartbeat(epoch), 0
	}
	next := at
	switch {
	case at.Before(g.again):
		next = g.again
	case g.state == joined && !g.tell && g.again.IsZero():
		next = g.sent.Add(g.interval)
	}
	if at.Before(next) {
		return nil, min(next.Sub(at), g.cfg.MaxPollInterval)
	}
	g.sent = at
	return g.heartbeat(g.epoch), 0
}

func (g *GroupConsumer) leavingEpoch() int32 {
	if g.cfg.Instance != "" {
		return wire.StaticMemberPauses
	}
	return wire.MemberLeaves
}

// heartbeat says where the member stands: everything when it joins, or when the coordinator may have missed something.
func (g *GroupConsumer) heartbeat(epoch int32) *wire.ConsumerHeartbeat {
	q := &wire.ConsumerHeartbeat{
		Group: g.group, Member: g.memberID, MemberEpoch: epoch, Instance: g.cfg.Instance, ClientID: g.cfg.ClientID,
	}
	if epoch < wire.MemberJoins {
		return q
	}
	if g.state == joining || g.whole {
		q.Rack, q.Assignor = g.cfg.Rack, g.cfg.Assignor
		q.RebalanceTimeout = g.cfg.MaxPollInterval
		q.Subscribed, q.Topics = true, g.cfg.Consumer.Topics
		if g.cfg.Consumer.Pattern != nil {
			pattern := wholePattern(g.cfg.Consumer.Pattern.String())
			q.Pattern = &pattern
		}
	}
	if g.state == joining || g.whole || g.tell {
		q.OwnedTold, q.Owned = true, g.ownedByTopic()
	}
	g.whole, g.tell = false, false
	return q
}

// wholePattern returns an expression that matches a whole name where pattern matches a part of it: brokers look at whole names, and
// Go's programs are used to the other.
func wholePattern(pattern string) string {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err == nil && tree.Op == syntax.OpConcat {
		first, last := tree.Sub[0].Op, tree.Sub[len(tree.Sub)-1].Op
		if first == syntax.OpBeginText && last == syntax.OpEndText {
			return pattern
		}
	}
	return ".*(?:" + pattern + ").*"
}

// heard takes the answer to a heartbeat.
func (g *GroupConsumer) heard(q *wire.ConsumerHeartbeat, reply wire.GroupMessage, err error, at time.Time) {
	if q.MemberEpoch < wire.MemberJoins {
		return // it has left, or its session ends soon
	}
	if err == nil {
		err = reply.Failure()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch code := wire.Code(err); {
	case g.state == lost: // it was refused meanwhile
	case err == nil:
		g.accepted(reply.(*wire.ConsumerHeartbeatReply))
	case code == wire.UnknownMemberID, code == wire.FencedMemberEpoch:
		g.lose(fmt.Errorf("group %s: %w", g.group, err))
	case retriable(err), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), code == wire.UnreleasedInstanceID:
		// Kafka: its members give up where another one has their instance. Here they wait, since it may be their own
		// former run, killed, whose session has not ended yet.
		if code == wire.NotCoordinator {
			g.client.refresh.ask()
		}
		g.failures++
		g.again = at.Add(g.client.backoff(g.failures))
		g.whole = true
		if !errors.Is(err, context.Canceled) { // that is an answer which was forsaken
			g.troubled(fmt.Errorf("group %s: %w", g.group, err))
		}
	default:
		g.lose(nil)
		g.refusal = fmt.Errorf("group %s: %w", g.group, err)
	}
}

func (g *GroupConsumer) accepted(reply *wire.ConsumerHeartbeatReply) {
	g.calm()
	if g.state != joined {
		g.client.refresh.want(wire.OffsetsTopic, false) // it exists now, and shows who coordinates
		g.client.refresh.ask()
	}
	g.failures, g.again = 0, time.Time{}
	g.state, g.epoch = joined, reply.MemberEpoch
	g.interval = max(reply.HeartbeatInterval, minHeartbeatInterval)
	if reply.Assigned {
		g.assigned(reply.Assignment)
	}
}

// minHeartbeatInterval bounds what a coordinator can ask for.
const minHeartbeatInterval = 10 * time.Millisecond

// lose takes note that the partitions are no longer the member's. Poll tells OnLost and lets the member join again.
func (g *GroupConsumer) lose(why error) {
	g.state, g.epoch = lost, wire.MemberJoins
	g.again, g.whole, g.tell = time.Time{}, false, false
	g.unsettle()
	if why != nil {
		g.troubled(why)
	}
	signal(g.reader.ready)
}

// troubled has OnRetry told of a failure that passes by itself, and calm that it has passed.
func (g *GroupConsumer) troubled(err error) {
	g.trouble = err
	g.client.retried("", -1, err)
}

func (g *GroupConsumer) calm() {
	if g.trouble != nil {
		g.trouble = nil
		g.client.retried("", -1, nil)
	}
}

// rejoin lets the member join again, once it has nothing any more.
func (g *GroupConsumer) rejoin() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refusal != nil {
		return g.refusal
	}
	g.state = joining
	signal(g.kick)
	return nil
}
