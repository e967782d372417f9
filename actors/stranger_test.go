package actors

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/peer"
	"github.com/troupe-mq/troupe/wire/record"
)

// stranger is a broker of which there is nothing but the links: the test says what it says.
type stranger struct {
	*memoryLinks
	t       *testing.T
	replica string // the actor at the other end
	topic   wire.TopicID
	epoch   wire.LeaderEpoch

	mu    sync.Mutex
	heard []wire.PeerMessage
}

const strangerID wire.BrokerID = 9

// lead has a stranger lead a topic's first partition in an epoch above that of the cluster's only broker.
func (cl *cluster) lead(topic wire.TopicID) *stranger {
	cl.t.Helper()
	s := &stranger{
		memoryLinks: cl.net.join(strangerID, 1), t: cl.t, topic: topic, epoch: cl.members[1].epochOf(topic) + 10,
		replica: replicaName(wire.TopicPartition{Topic: topic}),
	}
	s.Attach(s)
	s.say(&wire.Probe{Topic: topic, LeaderEpoch: s.epoch})
	return s
}

func (s *stranger) say(m wire.PeerMessage) {
	s.t.Helper()
	if err := s.Send(1, lives, true, wire.Envelope{To: s.replica, From: s.replica, Message: m}); err != nil {
		s.t.Fatal(err)
	}
}

// position asks a follower where it stands.
func (s *stranger) position() *wire.Position {
	s.t.Helper()
	s.last()
	s.say(&wire.Probe{Topic: s.topic, LeaderEpoch: s.epoch})
	p, ok := s.last().(*wire.Position)
	if !ok {
		s.t.Fatal("no position")
	}
	return p
}

// append sends batches that follow on a position, and returns what is answered last.
func (s *stranger) append(p *wire.Position, batches []byte) wire.PeerMessage {
	s.t.Helper()
	s.last()
	s.say(&wire.Append{
		Topic: s.topic, LeaderEpoch: s.epoch, Incarnation: p.Incarnation, Run: p.Run,
		PrevOffset: p.LogEndOffset, PrevEpoch: p.LastEpoch, Batches: batches,
	})
	return s.last()
}

// last returns the last that was heard, if anything, and forgets it.
func (s *stranger) last() (m wire.PeerMessage) {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.heard); n > 0 {
		m = s.heard[n-1]
	}
	s.heard = nil
	return m
}

// Deliver implements peer.Handler.
func (s *stranger) Deliver(_ peer.Identity, e wire.Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.To == s.replica {
		s.heard = append(s.heard, e.Message)
	}
}

// LinkUp implements peer.Handler.
func (*stranger) LinkUp(peer.Identity) {}

// LinkDown implements peer.Handler.
func (*stranger) LinkDown(peer.Identity, error) {}

// LinkRoom implements peer.Handler.
func (*stranger) LinkRoom(peer.Identity) {}

// Refused implements peer.Handler.
func (*stranger) Refused(wire.BrokerID, wire.Incarnation) {}

// leadAgain has the cluster's only broker lead in an epoch above the stranger's.
func (cl *cluster) leadAgain(s *stranger) {
	cl.t.Helper()
	c := cl.members[1]
	for epoch := wire.LeaderEpoch(0); epoch <= s.epoch; {
		p, _ := c.View().Partition(s.topic, 0)
		epoch = p.LeaderEpoch + 1
		reply, err := c.ask(cl.t.Context(), metadata.ReplicaRestarted{
			Topic: s.topic, Broker: 1, Incarnation: c.cfg.Incarnation, LeaderEpoch: p.LeaderEpoch,
		})
		if reply != nil || err != nil {
			cl.t.Fatal(reply, err)
		}
	}
	cl.await("it leads again", func() bool {
		view := c.viewOf(s.topic, 0)
		return view != nil && view.leaderEpoch > s.epoch
	})
}

// batchesOf makes batches of one record each, of so many bytes, as a leader has them from an offset on.
func batchesOf(epoch wire.LeaderEpoch, from wire.Offset, sizes ...int) (all []byte) {
	for i, size := range sizes {
		var b record.Builder
		b.Append(time.Now().UnixMilli(), nil, make([]byte, size), nil)
		batch := b.Finish(7, 0, wire.Sequence(i)+wire.Sequence(from))
		record.SetBaseOffset(batch, from+wire.Offset(i))
		record.SetLeaderEpoch(batch, epoch)
		all = append(all, batch...)
	}
	return all
}
