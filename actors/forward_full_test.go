package actors

import (
	"errors"
	"testing"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/peer"
)

// fullOnce is links that have no room for the first answer.
type fullOnce struct {
	*memoryLinks

	answers int
}

// Send implements Links.
func (f *fullOnce) Send(to wire.BrokerID, incarnation wire.Incarnation, bulk bool, e wire.Envelope) error {
	if _, answer := e.Message.(*wire.Forwarded); answer {
		if f.answers++; f.answers == 1 {
			return peer.ErrFull
		}
	}
	return f.memoryLinks.Send(to, incarnation, bulk, e)
}

// A producer takes a batch that was refused for want of room for one that was not written, and may write it under another number.
func TestWhatWasDoneIsNotRefusedWhereTheAnswerFindsNoRoom(t *testing.T) {
	withForwarding(t, func(t *testing.T, n *memoryNetwork, leader *company, other Forwarding, refresh func()) {
		topic := leader.topic("events", 1)
		refresh()
		leader.remotes.links = &fullOnce{memoryLinks: n.brokers[1]}
		var r replies
		produceTo(other, &r, 0, topic, recordsOf(1, 9, 0))
		if reply := r.one(t, 0); !errors.Is(reply.Err, wire.RequestTimedOut) {
			t.Errorf("a batch that was written: %+v", reply)
		}
		produceTo(other, &r, 1, topic, recordsOf(1, 9, 0))
		if reply := r.one(t, 1); reply.Err != nil || reply.BaseOffset != 0 {
			t.Errorf("the same batch again: %+v, want the offset of the first", reply)
		}
	})
}
