package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var deleteGroupsShape = shape{
	flexible: 2,
	fields:   []field{listOf(str())},
}

func (c *conn) deleteGroups(q *kmsg.DeleteGroupsRequest) kmsg.Response {
	ctx, cancel := c.context(groupMillis)
	defer cancel()
	a := kmsg.NewPtrDeleteGroupsResponse()
	for _, group := range q.Groups {
		_, err := ask[wire.DeletedGroup](ctx, c, &wire.DeleteGroup{Group: wire.GroupID(group)})
		g := kmsg.NewDeleteGroupsResponseGroup()
		g.Group = group
		g.ErrorCode, g.ErrorMessage = c.codeAndMessage(err)
		a.Groups = append(a.Groups, g)
	}
	return a
}
