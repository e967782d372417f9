package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// ListedGroup is a group in a list.
type ListedGroup = wire.ListedGroup

// Group describes a group with its members.
type Group = wire.GroupDescription

// GroupMember is a member of a Group.
type GroupMember = wire.DescribedMember

// GroupRebalance is a rebalance that a group has been through.
type GroupRebalance = wire.Rebalance

// ListGroups returns the groups of the cluster that are in one of these states, or all, by name. With an error the list holds
// what could be learnt.
func (cl *Client) ListGroups(ctx context.Context, states ...string) ([]ListedGroup, error) {
	var reply wire.GroupList
	err := cl.askPatiently(ctx, wire.KindListGroups, &wire.ListGroups{States: states}, &reply)
	if err == nil {
		err = reply.Err
	}
	if err != nil {
		return reply.Groups, fmt.Errorf("list groups: %w", err)
	}
	return reply.Groups, nil
}

// DescribeGroup describes a group of either protocol. A group that does not exist is an error: ErrUnknownGroup.
func (cl *Client) DescribeGroup(ctx context.Context, group string) (*Group, error) {
	described, err := groupAnswer[*wire.GroupDescription](ctx, cl, &wire.DescribeGroup{Group: wire.GroupID(group)})
	if err != nil {
		return nil, fmt.Errorf("describe group %s: %w", group, err)
	}
	return described, nil
}

// FetchOffsets returns all offsets that a group has committed. A group that does not exist has none. What is committed meanwhile
// may be among them.
func (cl *Client) FetchOffsets(ctx context.Context, group string) ([]GroupOffset, error) {
	var offsets []GroupOffset
	q := &wire.FetchOffsets{Group: wire.GroupID(group), MemberEpoch: wire.UnknownMemberEpoch, All: true}
	for {
		fetched, err := groupAnswer[*wire.FetchedOffsets](ctx, cl, q)
		if err != nil {
			return nil, fmt.Errorf("committed offsets of group %s: %w", group, err)
		}
		for i := range fetched.Offsets {
			switch o := &fetched.Offsets[i]; {
			case o.Err != nil:
				return nil, &PartitionError{o.Topic, o.Partition, wire.NoOffset, o.Err}
			case o.Offset >= 0:
				offsets = append(offsets, GroupOffset{
					Topic: o.Topic, Partition: o.Partition, Offset: o.Offset, Metadata: o.Metadata, Committed: o.Committed,
				})
			}
		}
		var more bool
		if q.After, more = fetched.Next(); !more {
			return offsets, nil
		}
	}
}

// CommitOffsets sets where a group goes on. It is for groups without members: what a member reads is for it to commit, and with
// members the error is ErrorCode 25 (UNKNOWN_MEMBER_ID). A *PartitionError tells of a partition that could not be
// committed; the others are.
func (cl *Client) CommitOffsets(ctx context.Context, group string, offsets ...GroupOffset) error {
	var refused []error
	for part := range slices.Chunk(offsets, maxOffsetsAsked) {
		q := &wire.CommitOffsets{Group: wire.GroupID(group), Generation: wire.NoGeneration, Modern: true}
		for i := range part {
			q.Offsets = append(q.Offsets, part[i].wireCommit())
		}
		committed, err := groupAnswer[*wire.CommittedOffsets](ctx, cl, q)
		if err == nil && len(committed.Errs) != len(part) {
			err = errAnswerCount
		}
		if err != nil {
			return fmt.Errorf("commit offsets of group %s: %w", group, err)
		}
		for i, err := range committed.Errs {
			if err != nil {
				refused = append(refused, &PartitionError{part[i].Topic, part[i].Partition, part[i].Offset, err})
			}
		}
	}
	return errors.Join(refused...)
}

// maxOffsetsAsked is how many offsets are told or asked for at once: a request may have 4 MiB, and its answer 32 MiB, which so many
// have with the 4,096 bytes of metadata that brokers allow unless they are told otherwise.
const maxOffsetsAsked = 5_000

// DeleteOffsets forgets offsets that a group has committed. While a member subscribes to the topic it is refused.
func (cl *Client) DeleteOffsets(ctx context.Context, group string, partitions ...PartitionName) error {
	q := &wire.DeleteOffsets{Group: wire.GroupID(group)}
	for _, p := range partitions {
		q.Topics = append(q.Topics, wire.NamedPartitions{Topic: p.Topic, Partitions: []int32{p.Partition}})
	}
	deleted, err := groupAnswer[*wire.CommittedOffsets](ctx, cl, q)
	if err == nil && len(deleted.Errs) != len(partitions) {
		err = errAnswerCount
	}
	if err != nil {
		return fmt.Errorf("delete offsets of group %s: %w", group, err)
	}
	var refused []error
	for i, err := range deleted.Errs {
		if err != nil {
			refused = append(refused, &PartitionError{partitions[i].Topic, partitions[i].Partition, wire.NoOffset, err})
		}
	}
	return errors.Join(refused...)
}

// DeleteGroup deletes a group with its offsets. One with members is refused: ErrGroupNotEmpty.
func (cl *Client) DeleteGroup(ctx context.Context, group string) error {
	if _, err := groupAnswer[*wire.DeletedGroup](ctx, cl, &wire.DeleteGroup{Group: wire.GroupID(group)}); err != nil {
		return fmt.Errorf("delete group %s: %w", group, err)
	}
	return nil
}

// GroupHistory returns the last rebalances of a group, the newest first.
func (cl *Client) GroupHistory(ctx context.Context, group string) ([]GroupRebalance, error) {
	history, err := groupAnswer[*wire.GroupRebalances](ctx, cl, &wire.GroupHistory{Group: wire.GroupID(group)})
	if err != nil {
		return nil, fmt.Errorf("history of group %s: %w", group, err)
	}
	return history.Rebalances, nil
}

// AppendTime tells when a record was appended to its partition, and what the partition holds.
type AppendTime struct {
	Err            error         // why nothing is known
	Appended       time.Time     // zero when there is no such record yet, or nobody knows
	Age            time.Duration // how long ago that was, by the clock of the broker
	LogStartOffset Offset        // -1 with Err, like HighWatermark
	HighWatermark  Offset
}

// AppendTimes tells when the records at these offsets were appended, by the clocks of the brokers; of a record that is not kept any
// more, when the first one was that is. Each answer is in the place of its question. Partitions that have no leader are waited for
// a moment.
func (cl *Client) AppendTimes(ctx context.Context, at ...GroupOffset) ([]AppendTime, error) {
	times := make([]AppendTime, len(at))
	var open []int // the questions without an answer
	queries := make([]wire.AppendTimeQuery, len(at))
	for i, o := range at {
		t, err := cl.topic(ctx, o.Topic, false)
		switch {
		case ctx.Err() != nil:
			return nil, err
		case err != nil:
			times[i] = AppendTime{Err: err, LogStartOffset: wire.NoOffset, HighWatermark: wire.NoOffset}
		default:
			queries[i] = wire.AppendTimeQuery{Topic: t.id, Partition: o.Partition, Offset: o.Offset}
			open = append(open, i)
		}
	}
	for failures := 1; len(open) > 0; failures++ {
		var again []int
		for part := range slices.Chunk(open, maxOffsetsAsked) {
			leaderless, err := cl.appendTimes(ctx, queries, part, times)
			if err != nil {
				return nil, fmt.Errorf("ask for append times: %w", err)
			}
			again = append(again, leaderless...)
		}
		if open = again; len(open) == 0 || failures == appendTimeAttempts {
			break
		}
		if err := cl.pause(ctx, failures); err != nil {
			return nil, fmt.Errorf("ask for append times: %w", err)
		}
	}
	return times, nil
}

// appendTimeAttempts is how often partitions without a leader are asked for.
const appendTimeAttempts = 10

// appendTimes asks some of the questions, and returns those for which there is no leader at the moment.
func (cl *Client) appendTimes(ctx context.Context, queries []wire.AppendTimeQuery, part []int, times []AppendTime) (leaderless []int, err error) {
	var req wire.AppendTimesRequest
	for _, i := range part {
		req.Partitions = append(req.Partitions, queries[i])
	}
	var reply wire.AppendTimesReply
	err = cl.askPatiently(ctx, wire.KindAppendTimes, &req, &reply)
	if err == nil && len(reply.Partitions) != len(part) {
		err = errAnswerCount
	}
	if err != nil {
		return nil, err
	}
	for at, i := range part {
		got := &reply.Partitions[at]
		times[i] = AppendTime{
			Err: got.Err, Appended: got.Appended, Age: got.Age, LogStartOffset: got.LogStartOffset, HighWatermark: got.HighWatermark,
		}
		if staleMetadata(got.Err) && wire.Code(got.Err) != wire.UnknownTopicOrPartition || errors.Is(got.Err, wire.OffsetNotAvailable) {
			leaderless = append(leaderless, i)
		}
	}
	return leaderless, nil
}
