package client

import (
	"context"
	"fmt"

	"github.com/troupe-mq/troupe/wire"
)

// RemoveMember takes a member out of a group of KIP-848: a static one that is away, or one that hangs. What it has goes to
// the others at once. The instance is that of a static member, and "" of another. A member that lives all the same joins again by itself.
//
// Where there is no such member the error is ErrorCode 25 (UNKNOWN_MEMBER_ID), and 82 (FENCED_INSTANCE_ID) where the instance is
// another member's by now. A group of the classic protocol knows none.
func (cl *Client) RemoveMember(ctx context.Context, group, member, instance string) error {
	_, err := groupAnswer[*wire.ConsumerHeartbeatReply](ctx, cl, &wire.ConsumerHeartbeat{
		Group: wire.GroupID(group), Member: wire.MemberID(member), MemberEpoch: wire.MemberLeaves, Instance: instance,
	})
	if err != nil {
		return fmt.Errorf("remove member %s of group %s: %w", member, group, err)
	}
	return nil
}
