package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var heartbeatShape = shape{
	flexible: 4,
	fields: []field{
		str(),
		bytesOf(4), // generation
		str(),      // member
		nullableStr().from(3),
	},
}

func (c *conn) heartbeat(q *kmsg.HeartbeatRequest) kmsg.Response {
	ctx, cancel := c.context(groupMillis)
	defer cancel()
	_, err := ask[wire.GroupHeartbeatReply](ctx, c, &wire.GroupHeartbeat{
		Group: wire.GroupID(q.Group), Generation: wire.GenerationID(q.Generation),
		Member: wire.MemberID(q.MemberID), Instance: textOf(q.InstanceID),
	})
	a := kmsg.NewPtrHeartbeatResponse()
	a.ErrorCode = c.code(err)
	return a
}
