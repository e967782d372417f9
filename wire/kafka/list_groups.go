package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var listGroupsShape = shape{
	flexible: 3,
	fields: []field{
		listOf(str()).from(4), // states (KIP-518)
		listOf(str()).from(5), // types (KIP-848)
	},
}

// listGroups tells the groups that this broker coordinates: clients ask all brokers.
func (c *conn) listGroups(q *kmsg.ListGroupsRequest) kmsg.Response {
	ctx, cancel := c.context(groupMillis)
	defer cancel()
	listed := c.server.backend.ListGroups(ctx, &wire.ListGroups{States: q.StatesFilter, Types: q.TypesFilter})
	a := kmsg.NewPtrListGroupsResponse()
	a.ErrorCode = c.code(coordinatorError(listed.Err))
	for i := range listed.Groups {
		g := kmsg.NewListGroupsResponseGroup()
		g.Group, g.ProtocolType = string(listed.Groups[i].Group), listed.Groups[i].ProtocolType
		g.GroupState, g.GroupType = string(listed.Groups[i].State), string(listed.Groups[i].Type)
		a.Groups = append(a.Groups, g)
	}
	return a
}
