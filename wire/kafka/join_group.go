package kafka

import (
	"bytes"
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var joinGroupShape = shape{
	flexible: 6,
	fields: []field{
		str(),
		bytesOf(4),         // session timeout
		bytesOf(4).from(1), // rebalance timeout
		str(),              // member
		nullableStr().from(5),
		str(),               // protocol type
		list(str(), blob()), // protocols and their metadata
		nullableStr().from(8),
	},
}

// The versions of JoinGroup that brought what its answer depends on.
const (
	joinRebalanceTimeout = 1
	joinMemberID         = 4 // KIP-394
	joinNullProtocol     = 7
	joinSkipAssignment   = 9 // KIP-814
)

// joinGroup is answered when the group's rebalance ends; until then the connection waits.
func (c *conn) joinGroup(q *kmsg.JoinGroupRequest) kmsg.Response {
	joined, err := &wire.JoinedGroup{}, checkInstance(q.InstanceID)
	if err == nil {
		asked := c.joining(q)
		c.whileConnected(func(ctx context.Context) {
			joined, err = ask[wire.JoinedGroup](ctx, c, asked)
		})
	}
	a := kmsg.NewPtrJoinGroupResponse()
	a.ErrorCode, a.MemberID = c.code(err), string(joined.Member)
	if err != nil {
		if q.Version < joinNullProtocol {
			a.Protocol = new(string)
		}
		return a
	}
	a.Generation, a.SkipAssignment = int32(joined.Generation), joined.SkipAssignment
	a.ProtocolType, a.Protocol, a.LeaderID = &joined.ProtocolType, &joined.Protocol, string(joined.Leader)
	for i := range joined.Members {
		m := kmsg.NewJoinGroupResponseMember()
		m.MemberID, m.InstanceID = string(joined.Members[i].Member), optional(joined.Members[i].Instance)
		m.ProtocolMetadata = joined.Members[i].Metadata
		a.Members = append(a.Members, m)
	}
	return a
}

func (c *conn) joining(q *kmsg.JoinGroupRequest) *wire.JoinGroup {
	asked := &wire.JoinGroup{
		Group: wire.GroupID(q.Group), Member: wire.MemberID(q.MemberID), Instance: textOf(q.InstanceID),
		ClientID: string(c.request.clientID), ClientHost: wire.ClientHost(c.net.RemoteAddr()),
		SessionTimeout: millis(q.SessionTimeoutMillis), RebalanceTimeout: millis(q.RebalanceTimeoutMillis),
		ProtocolType: q.ProtocolType, Reason: textOf(q.Reason),
		MustKnowID:        q.Version >= joinMemberID && q.InstanceID == nil,
		MaySkipAssignment: q.Version >= joinSkipAssignment,
	}
	if q.Version < joinRebalanceTimeout {
		asked.RebalanceTimeout = asked.SessionTimeout
	}
	for i := range q.Protocols {
		asked.Protocols = append(asked.Protocols, wire.GroupProtocol{
			Name: q.Protocols[i].Name, Metadata: bytes.Clone(q.Protocols[i].Metadata), // the frame ends with the request
		})
	}
	return asked
}
