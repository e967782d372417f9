package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var leaveGroupShape = shape{
	flexible: 4,
	fields: []field{
		str(),
		str().upTo(2),
		list(str(), nullableStr(), nullableStr().from(5)).from(3), // member, instance, reason
	},
}

// leaveBatched is the version from which several members leave at once (KIP-345).
const leaveBatched = 3

func (c *conn) leaveGroup(q *kmsg.LeaveGroupRequest) kmsg.Response {
	asked := &wire.LeaveGroup{Group: wire.GroupID(q.Group)}
	if q.Version < leaveBatched {
		asked.Members = []wire.LeavingMember{{Member: wire.MemberID(q.MemberID)}}
	}
	for i := range q.Members {
		asked.Members = append(asked.Members, wire.LeavingMember{
			Member: wire.MemberID(q.Members[i].MemberID), Instance: textOf(q.Members[i].InstanceID), Reason: textOf(q.Members[i].Reason),
		})
	}
	ctx, cancel := c.context(groupMillis)
	defer cancel()
	left, err := ask[wire.LeftGroup](ctx, c, asked)
	a := kmsg.NewPtrLeaveGroupResponse()
	if q.Version < leaveBatched {
		for i := range left.Members {
			if err == nil {
				err = left.Members[i].Err
			}
		}
		a.ErrorCode = c.code(err)
		return a
	}
	a.ErrorCode = c.code(err)
	for i := range left.Members {
		m := kmsg.NewLeaveGroupResponseMember()
		m.MemberID, m.InstanceID = string(left.Members[i].Member), optional(left.Members[i].Instance)
		m.ErrorCode = c.code(left.Members[i].Err)
		a.Members = append(a.Members, m)
	}
	return a
}
