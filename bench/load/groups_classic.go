package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/bench/measure"
	"github.com/troupe-mq/troupe/bench/testbed"
)

// measureClassic lets all members of a classic group join, again and again, each with something new to say: from the first
// JoinGroup to the last answer to SyncGroup.
func (f *groupsFlags) measureClassic(ctx context.Context, b *costBench) (rows []costRow, err error) {
	err = b.with(ctx, 1, func(c *testbed.Cluster) error {
		clients, closeAll, err := connect(c, f.classic) // a JoinGroup holds up its connection
		if err != nil {
			return err
		}
		defer closeAll()
		members := make([]*classicMember, len(clients))
		for n := range members {
			members[n] = &classicMember{client: clients[n]}
		}
		var took []time.Duration
		for round := range f.rounds + 1 {
			begun := time.Now()
			if err := rebalance(ctx, members, round); err != nil {
				return fmt.Errorf("rebalance %d: %w", round, err)
			}
			if round > 0 { // the first waits for more members on purpose
				took = append(took, time.Since(begun))
			}
		}
		q := measure.NewQuantiles(took)
		rows = append(rows,
			costRow{What: fmt.Sprintf("classic group of %d rebalances, p50", f.classic), Value: q.P50.Seconds(), Unit: "s"},
			costRow{What: "and the slowest", Value: q.Max.Seconds(), Unit: "s", Note: fmt.Sprintf("of %d", f.rounds)}.
				against("< 1", q.Max < time.Second))
		return nil
	})
	return rows, err
}

func rebalance(ctx context.Context, members []*classicMember, round int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	errs := make([]error, len(members))
	var running sync.WaitGroup
	for n, m := range members {
		running.Go(func() { errs[n] = m.rejoin(ctx, round) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// classicMember speaks JoinGroup and SyncGroup by hand.
type classicMember struct {
	client *kgo.Client
	id     string
}

func (m *classicMember) rejoin(ctx context.Context, round int) error {
	joined, err := m.join(ctx, round)
	if err != nil {
		return err
	}
	q := kmsg.NewPtrSyncGroupRequest()
	q.Group, q.Generation, q.MemberID = groupName, joined.Generation, m.id
	q.ProtocolType, q.Protocol = joined.ProtocolType, joined.Protocol
	if joined.LeaderID == m.id {
		for _, other := range joined.Members {
			a := kmsg.NewSyncGroupRequestGroupAssignment()
			a.MemberID, a.MemberAssignment = other.MemberID, []byte("yours")
			q.GroupAssignment = append(q.GroupAssignment, a)
		}
	}
	reply, err := q.RequestWith(ctx, m.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(reply.ErrorCode)
}

// join comes with metadata that changes from round to round, so that a group that is stable begins anew.
func (m *classicMember) join(ctx context.Context, round int) (*kmsg.JoinGroupResponse, error) {
	q := kmsg.NewPtrJoinGroupRequest()
	q.Group, q.SessionTimeoutMillis, q.RebalanceTimeoutMillis, q.ProtocolType = groupName, 30_000, 30_000, "load"
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "by-hand", fmt.Append(nil, "round ", round)
	q.Protocols = append(q.Protocols, p)
	for {
		q.MemberID = m.id
		reply, err := q.RequestWith(ctx, m.client)
		if err != nil {
			return nil, err
		}
		m.id = reply.MemberID
		if err := kerr.ErrorForCode(reply.ErrorCode); !errors.Is(err, kerr.MemberIDRequired) {
			return reply, err
		}
	}
}
