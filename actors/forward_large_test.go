package actors

import (
	"errors"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/peer"
)

// smallFrames is links on which an answer may have so many bytes.
type smallFrames struct {
	*memoryLinks

	most int
}

// Send implements Links.
func (s smallFrames) Send(to wire.BrokerID, incarnation wire.Incarnation, bulk bool, e wire.Envelope) error {
	if m, answer := e.Message.(*wire.Forwarded); answer && len(m.Body) > s.most {
		return peer.ErrTooLarge
	}
	return s.memoryLinks.Send(to, incarnation, bulk, e)
}

func TestAnAnswerThatIsTooLargeForTheLinkIsRefusedAtOnce(t *testing.T) {
	withForwarding(t, func(t *testing.T, n *memoryNetwork, leader *company, other Forwarding, refresh func()) {
		topic := leader.topic("events", 1)
		refresh()
		leader.remotes.links = smallFrames{n.brokers[1], 1000}
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
