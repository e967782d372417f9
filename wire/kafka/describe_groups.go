package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var describeGroupsShape = shape{
	flexible: 5,
	fields: []field{
		listOf(str()),
		bytesOf(1).from(3), // authorized operations
	},
}

// describeNotFound is the version that tells a group that does not exist from a dead one (KIP-1043).
const describeNotFound = 6

// describeGroups describes classic groups. Of one that speaks the protocol of KIP-848 it says that it
// is not there, as Kafka does: clients then ask with ConsumerGroupDescribe.
func (c *conn) describeGroups(q *kmsg.DescribeGroupsRequest) kmsg.Response {
	ctx, cancel := c.context(groupMillis)
	defer cancel()
	a := kmsg.NewPtrDescribeGroupsResponse()
	for _, group := range q.Groups {
		g := kmsg.NewDescribeGroupsResponseGroup()
		g.Group = group
		described, err := c.description(ctx, group, wire.ClassicGroup)
		switch {
		case err == nil:
			describeClassic(&g, described)
		case errors.Is(err, wire.GroupIDNotFound):
			g.State = string(wire.GroupDead)
			if q.Version >= describeNotFound {
				g.ErrorCode, g.ErrorMessage = c.codeAndMessage(err)
			}
		default:
			g.ErrorCode, g.ErrorMessage = c.codeAndMessage(err)
		}
		a.Groups = append(a.Groups, g)
	}
	return a
}

// description asks for a group of that type.
func (c *conn) description(ctx context.Context, group string, kind wire.GroupType) (*wire.GroupDescription, error) {
	described, err := ask[wire.GroupDescription](ctx, c, &wire.DescribeGroup{Group: wire.GroupID(group)})
	switch {
	case errors.Is(err, wire.GroupIDNotFound):
		err = wire.Errorf(wire.GroupIDNotFound, "there is no group %s", group)
	case err == nil && described.Type != kind:
		err = wire.Errorf(wire.GroupIDNotFound, "group %s is not a %s group", group, kind)
	}
	return described, err
}

func describeClassic(g *kmsg.DescribeGroupsResponseGroup, described *wire.GroupDescription) {
	g.State, g.ProtocolType, g.Protocol = string(described.State), described.ProtocolType, described.Protocol
	for i := range described.Members {
		from := &described.Members[i]
		m := kmsg.NewDescribeGroupsResponseGroupMember()
		m.MemberID, m.InstanceID = string(from.Member), optional(from.Instance)
		m.ClientID, m.ClientHost = from.ClientID, from.ClientHost
		m.ProtocolMetadata, m.MemberAssignment = from.Metadata, from.Assignment
		g.Members = append(g.Members, m)
	}
}
