package client

import (
	"context"
	"fmt"

	"github.com/troupe-mq/troupe/wire"
)

// RemoveMember takes a member out of a group of either protocol: a static one that is away, or one that hangs. What it has goes to
// the others with their next heartbeats. The instance is that of a static member, and "" of another. A member that lives all the
// same joins again by itself.
//
// Where there is no such member the error is ErrorCode 25 (UNKNOWN_MEMBER_ID), and 82 (FENCED_INSTANCE_ID) where the instance is
// another member's by now.
func (cl *Client) RemoveMember(ctx context.Context, group, member, instance string) error {
	left, err := groupAnswer[*wire.LeftGroup](ctx, cl, &wire.LeaveGroup{Group: wire.GroupID(group), Members: []wire.LeavingMember{
		{Member: wire.MemberID(member), Instance: instance, Reason: "it was taken out by an operator"},
	}})
	if err == nil && len(left.Members) != 1 {
		err = errAnswerCount
	}
	if err == nil {
		err = left.Members[0].Err
	}
	if err != nil {
		return fmt.Errorf("remove member %s of group %s: %w", member, group, err)
	}
	return nil
}
