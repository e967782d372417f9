package actors

import (
	"errors"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/peer"
)

// say sends a message from a broker's replica to the same one of another, whoever is to be believed.
func (h *havoc) say(from Links, to wire.BrokerID, m wire.PeerMessage) {
	h.t.Helper()
	name := replicaName(wire.TopicPartition{Topic: h.topic})
	b := h.members[to]
	if err := from.Send(to, b.cfg.Incarnation, isBulk(m), wire.Envelope{To: name, From: name, Message: m}); err != nil {
		h.t.Fatal(err)
	}
}

// What is checked is that nothing is lost or moved, on any replica, and that nobody noticed.
func TestWhatAnOldLeaderOrAnOutsiderSaysChangesNothing(t *testing.T) {
	underLoad(t, func(h *havoc) {
		first := h.leader(h.topic, 0).cfg.ID
		h.kill(first) // so that there is an older epoch
		h.leader(h.topic, 0)
		h.start(first)
		h.inSync(h.topic, havocPartitions, 3)
		if _, err := h.any().ElectLeaders(h.t.Context(), wire.ElectLeaders{}); err != nil { // as would be done later
			h.t.Fatal(err)
		}
		h.goesOn(time.Second)
		now, _ := h.any().View().Partition(h.topic, 0)
		outsider := &stranger{memoryLinks: h.net.join(strangerID, 1), t: h.t}
		outsider.Attach(outsider)
		defer h.net.leave(strangerID)
		before := h.epochs()
		for epoch := wire.LeaderEpoch(0); epoch <= now.LeaderEpoch; epoch++ {
			for id, b := range h.members {
				log := b.routes.find(h.topic, 0).current()
				end := log.EndOffset()
				for _, m := range []wire.PeerMessage{
					&wire.Probe{Topic: h.topic, LeaderEpoch: epoch},
					&wire.Append{
						Topic: h.topic, LeaderEpoch: epoch, Incarnation: b.cfg.Incarnation, PrevOffset: end, PrevEpoch: log.LastEpoch(),
						HighWatermark: end + 100, Batches: batchesOf(epoch, end, 100),
					},
					&wire.Append{Topic: h.topic, LeaderEpoch: epoch, Incarnation: b.cfg.Incarnation, HighWatermark: 1 << 40, Batches: []byte("garbage")},
					&wire.Truncate{Topic: h.topic, LeaderEpoch: epoch, Incarnation: b.cfg.Incarnation, Reset: true, Unclean: true},
					&wire.Truncate{Topic: h.topic, LeaderEpoch: epoch, Incarnation: b.cfg.Incarnation, Unclean: true},
					&wire.Position{Topic: h.topic, LeaderEpoch: epoch, Incarnation: 1, LogEndOffset: 1 << 40, FlushedOffset: 1 << 40},
					&wire.Appended{Topic: h.topic, LeaderEpoch: epoch, Incarnation: 1, LogEndOffset: 1 << 40, FlushedOffset: 1 << 40},
					&wire.Hint{Broker: id, Incarnation: b.cfg.Incarnation, Refused: true}, // no business of a replica
				} {
					h.say(outsider.memoryLinks, id, m)
				}
			}
			h.goesOn(100 * time.Millisecond)
		}
		time.Sleep(15 * time.Second)
		h.goesOn(100 * time.Millisecond)
		if after := h.epochs(); after != before {
			h.t.Errorf("leader epochs were %s, are %s", before, after)
		}
	})
}

func TestAnAcknowledgementOfAnEarlierLifeCountsForNothing(t *testing.T) {
	underLoad(t, func(h *havoc) {
		leader := h.leader(h.topic, 0)
		follower := h.members[1+leader.cfg.ID%3]
		h.kill(follower.cfg.ID)
		h.start(follower.cfg.ID)
		h.inSync(h.topic, havocPartitions, 3)
		leader = h.leader(h.topic, 0)
		if leader.cfg.ID == follower.cfg.ID {
			h.t.Fatal("it leads, which has just started")
		}
		again := h.members[follower.cfg.ID]
		name := replicaName(wire.TopicPartition{Topic: h.topic})
		epoch := leader.viewOf(h.topic, 0).leaderEpoch
		for _, offset := range []wire.Offset{-1, 0, 1 << 40} {
			// Its own link brings it, as if it had been under way while the process ended.
			err := again.remotes.post(leader.remotePID(leader.cfg.ID, leader.cfg.Incarnation, name), name, &wire.Appended{
				Topic: h.topic, LeaderEpoch: epoch, Incarnation: follower.cfg.Incarnation, LogEndOffset: offset, FlushedOffset: offset,
			})
			if err != nil {
				h.t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		h.goesOn(100 * time.Millisecond)
		if view := leader.viewOf(h.topic, 0); view.highWatermark > leader.routes.find(h.topic, 0).current().EndOffset() {
			h.t.Errorf("the high watermark is %d", view.highWatermark)
		}
		// And nothing reaches what is dead.
		dead := leader.remotePID(follower.cfg.ID, follower.cfg.Incarnation, name)
		if err := leader.remotes.post(dead, name, &wire.Probe{Topic: h.topic, LeaderEpoch: epoch}); !errors.Is(err, peer.ErrDown) {
			h.t.Errorf("a message for an earlier life: %v", err)
		}
	})
}
