package kafka

import (
	"bytes"
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var syncGroupShape = shape{
	flexible: 4,
	fields: []field{
		str(),
		bytesOf(4), // generation
		str(),      // member
		nullableStr().from(3),
		nullableStr().from(5), // protocol type
		nullableStr().from(5), // protocol
		list(str(), blob()),   // members and their assignments
	},
}

// syncProtocol is the version from which a member has to tell its protocol (KIP-559).
const syncProtocol = 5

// syncGroup is answered when the leader has brought the assignments; until then the connection
// waits.
func (c *conn) syncGroup(q *kmsg.SyncGroupRequest) kmsg.Response {
	synced, err := &wire.SyncedGroup{}, error(nil)
	if q.Version >= syncProtocol && (q.ProtocolType == nil || q.Protocol == nil) {
		err = wire.Errorf(wire.InconsistentGroupProtocol, "the member does not tell its protocol")
	} else {
		asked := &wire.SyncGroup{
			Group: wire.GroupID(q.Group), Generation: wire.GenerationID(q.Generation), Member: wire.MemberID(q.MemberID),
			Instance: textOf(q.InstanceID), ProtocolType: textOf(q.ProtocolType), Protocol: textOf(q.Protocol),
		}
		for i := range q.GroupAssignment {
			asked.Assignments = append(asked.Assignments, wire.MemberAssignment{
				Member:     wire.MemberID(q.GroupAssignment[i].MemberID),
				Assignment: bytes.Clone(q.GroupAssignment[i].MemberAssignment), // the frame ends with the request
			})
		}
		c.whileConnected(func(ctx context.Context) {
			synced, err = ask[wire.SyncedGroup](ctx, c, asked)
		})
	}
	a := kmsg.NewPtrSyncGroupResponse()
	a.ErrorCode = c.code(err)
	if err == nil {
		a.ProtocolType, a.Protocol, a.MemberAssignment = &synced.ProtocolType, &synced.Protocol, synced.Assignment
	}
	return a
}
