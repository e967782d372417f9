package actors

import (
	"errors"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/peer"
)

// refusingLinks is links that do not take some of the answers.
type refusingLinks struct {
	*memoryLinks

	refuse func(*wire.Forwarded) error
}

// Send implements Links.
func (r refusingLinks) Send(to wire.BrokerID, incarnation wire.Incarnation, bulk bool, e wire.Envelope) error {
	if answer, ok := e.Message.(*wire.Forwarded); ok {
		if err := r.refuse(answer); err != nil {
			return err
		}
	}
	return r.memoryLinks.Send(to, incarnation, bulk, e)
}

func TestAnAnswerThatIsTooLargeForTheLinkIsRefusedAtOnce(t *testing.T) {
	withForwarding(t, func(t *testing.T, n *memoryNetwork, leader *company, other Forwarding, refresh func()) {
		topic := leader.topic("events", 1)
		refresh()
		leader.remotes.links = refusingLinks{n.brokers[1], func(answer *wire.Forwarded) error {
			if len(answer.Body) > 1000 {
				return peer.ErrTooLarge
			}
			return nil
		}}
		begun := time.Now()
		for count, want := range map[int]error{1: nil, 1000: wire.MessageTooLarge} {
			queries := make([]wire.ListOffsets, count)
			for i := range queries {
				queries[i] = wire.ListOffsets{Topic: topic, Timestamp: wire.LatestTimestamp, CurrentEpoch: wire.NoEpoch}
			}
			for _, listed := range other.ListOffsetsElsewhere(t.Context(), queries) {
				if !errors.Is(listed.Err, want) {
					t.Fatalf("of %d partitions: %+v", count, listed)
				}
			}
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("that was known after %s", took)
		}
	})
}

// A producer takes a batch that was refused for want of room for one that was not written, and may write it under another number.
func TestWhatWasDoneIsNotRefusedWhereTheAnswerFindsNoRoom(t *testing.T) {
	withForwarding(t, func(t *testing.T, n *memoryNetwork, leader *company, other Forwarding, refresh func()) {
		topic := leader.topic("events", 1)
		refresh()
		answers := 0
		leader.remotes.links = refusingLinks{n.brokers[1], func(*wire.Forwarded) error {
			if answers++; answers == 1 {
				return peer.ErrFull
			}
			return nil
		}}
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
