package kafka

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var consumerGroupHeartbeatShape = shape{
	flexible: 0,
	fields: []field{
		str(),
		str(),                                 // member
		bytesOf(4),                            // and its epoch
		nullableStr(),                         // instance
		nullableStr(),                         // rack
		bytesOf(4),                            // rebalance timeout
		listOf(str()),                         // topics
		nullableStr().from(1),                 // regular expression
		nullableStr(),                         // assignor
		list(bytesOf(16), listOf(bytesOf(4))), // owned partitions
	},
}

// heartbeatOwnID is the version from which a member chooses its id (KIP-1082).
const heartbeatOwnID = 1

func (c *conn) consumerGroupHeartbeat(q *kmsg.ConsumerGroupHeartbeatRequest) kmsg.Response {
	reply, err := &wire.ConsumerHeartbeatReply{}, checkConsumerHeartbeat(q)
	if err == nil {
		ctx, cancel := c.context(groupMillis)
		defer cancel()
		reply, err = ask[wire.ConsumerHeartbeatReply](ctx, c, c.consumerHeartbeat(q))
	}
	a := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	a.ErrorCode, a.ErrorMessage = c.codeAndMessage(err)
	if err != nil {
		return a
	}
	a.MemberID, a.MemberEpoch = kmsg.StringPtr(string(reply.Member)), reply.MemberEpoch
	a.HeartbeatIntervalMillis = int32(reply.HeartbeatInterval / time.Millisecond)
	if reply.Assigned {
		assignment := kmsg.NewConsumerGroupHeartbeatResponseAssignment()
		for i := range reply.Assignment {
			t := kmsg.NewConsumerGroupHeartbeatResponseAssignmentTopic()
			t.TopicID, t.Partitions = reply.Assignment[i].Topic, reply.Assignment[i].Partitions
			assignment.Topics = append(assignment.Topics, t)
		}
		a.Assignment = &assignment
	}
	return a
}

// checkConsumerHeartbeat refuses what is empty where it should be absent; the rules of the group
// cannot tell these apart any more.
func checkConsumerHeartbeat(q *kmsg.ConsumerGroupHeartbeatRequest) error {
	empty := func(s *string) bool { return s != nil && *s == "" }
	switch {
	case q.Group == "":
		return wire.Errorf(wire.InvalidRequest, "the group id is empty")
	case q.MemberID == "" && q.Version >= heartbeatOwnID:
		return wire.Errorf(wire.InvalidRequest, "the member id is empty")
	case empty(q.InstanceID):
		return wire.Errorf(wire.InvalidRequest, "the instance id is empty")
	case empty(q.RackID):
		return wire.Errorf(wire.InvalidRequest, "the rack id is empty")
	case empty(q.ServerAssignor):
		return wire.Errorf(wire.UnsupportedAssignor, "the name of the assignor is empty")
	}
	return nil
}

func (c *conn) consumerHeartbeat(q *kmsg.ConsumerGroupHeartbeatRequest) *wire.ConsumerHeartbeat {
	asked := &wire.ConsumerHeartbeat{
		Group: wire.GroupID(q.Group), Member: wire.MemberID(q.MemberID), MemberEpoch: q.MemberEpoch,
		Instance: textOf(q.InstanceID), Rack: textOf(q.RackID),
		ClientID: string(c.request.clientID), ClientHost: wire.ClientHost(c.net.RemoteAddr()),
		Subscribed: q.SubscribedTopicNames != nil, Topics: q.SubscribedTopicNames,
		Pattern: q.SubscribedTopicRegex, Assignor: textOf(q.ServerAssignor),
		OwnedTold: q.Topics != nil,
	}
	if q.RebalanceTimeoutMillis >= 0 {
		asked.RebalanceTimeout = max(millis(q.RebalanceTimeoutMillis), time.Millisecond) // 0 is "as before"
	}
	for i := range q.Topics {
		asked.Owned = append(asked.Owned, wire.AssignedTopic{Topic: q.Topics[i].TopicID, Partitions: q.Topics[i].Partitions})
	}
	return asked
}
