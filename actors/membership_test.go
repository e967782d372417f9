package actors

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// fenced says whether one broker believes that another is fenced.
func (c *company) fenced(id wire.BrokerID) bool {
	registration, _ := c.image.Load().Registration(id)
	return registration.Fenced
}

func TestABrokerWhosePlaceIsTakenEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitReady()
		c := cl.members[2]
		other := c.cfg.Registration
		other.RaftID, other.Incarnation = c.raftID.Load(), other.Incarnation+1000
		if r := cl.members[3].Register(t.Context(), other); r.Err != nil || r.ID != 2 {
			t.Fatalf("%+v", r)
		}
		cl.await("it ends", func() bool { return c.Err() != nil })
		if err := c.Err(); !strings.Contains(err.Error(), "another process runs as broker 2") {
			t.Error(err)
		}
		if c.Ready() == nil {
			t.Error("it says that it is ready")
		}
	})
}

func TestABrokerWhoseDiskHangsIsFencedUntilItWritesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		cl.awaitReady()
		c := cl.members[3]
		gate := c.disk.Hold("/data")
		defer gate.Release()
		cl.awaitAtMost(probeInterval+probePatience+metadata.SessionTimeout+time.Second, "it is fenced", func() bool {
			return cl.members[1].fenced(3)
		})
		if c.Ready() == nil || c.leased() {
			t.Error("it believes that it may serve")
		}
		gate.Release()
		cl.awaitReady()
		if cl.members[1].fenced(3) {
			t.Error("it is fenced, though it writes again")
		}
	})
}

func TestGossipIsBelievedOnceHeartbeatsAreMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		cl.awaitReady()
		incarnation := cl.members[3].cfg.Incarnation
		cl.members[2].MemberFailed(3, incarnation)
		time.Sleep(time.Second)
		synctest.Wait()
		if cl.members[1].fenced(3) {
			t.Fatal("it was fenced while its heartbeats came")
		}
		cl.net.cut(3, 1)
		cl.net.cut(3, 2)
		began := time.Now()
		cl.members[2].MemberFailed(3, incarnation)
		cl.members[2].MemberFailed(3, incarnation+1) // of another life
		cl.await("it is fenced", func() bool { return cl.members[1].fenced(3) })
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v, as if nobody had said anything", took)
		}
		cl.net.heal(3, 1)
		cl.net.heal(3, 2)
		cl.awaitReady()
	})
}

func TestNobodySpeaksForAnotherBrokersVote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		cl.awaitReady()
		before := cl.members[1].Quorum()
		_, pid := cl.members[1].controller.present()
		step := func(sender wire.BrokerID, m *raftpb.Message) {
			data, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			cl.members[1].root.Send(pid, &wire.RaftStep{Sender: sender, Data: data})
		}
		id := proto.Uint64
		deposing := func() *raftpb.Message {
			return &raftpb.Message{
				Type: raftpb.MsgAppResp.Enum(), To: id(101), From: id(102), Term: id(before.Term + 100),
			}
		}
		step(3, deposing()) // broker 2's number
		wrong := deposing()
		wrong.To = id(103)
		step(2, wrong) // for another log
		local := deposing()
		local.Type = raftpb.MsgHup.Enum()
		step(2, local) // no business of others
		proposal := deposing()
		proposal.Type, proposal.Term, proposal.Entries = raftpb.MsgProp.Enum(), id(0), []*raftpb.Entry{{Data: []byte("x")}}
		step(2, proposal) // would be an entry that the controller knows nothing of
		own := deposing()
		own.From = id(101)
		step(2, own)
		cl.members[1].root.Send(pid, &wire.RaftStep{Sender: 2, Data: []byte("garbage")})
		cl.members[1].root.Send(pid, &wire.Propose{Sender: 2, Command: []byte("garbage")})
		cl.members[1].root.Send(pid, &wire.MetadataFetched{Sender: 2, Snapshot: true, First: 1 << 40, Data: []byte("garbage")})
		time.Sleep(time.Second)
		synctest.Wait()
		if after := cl.members[1].Quorum(); after.Term != before.Term || after.Leader != 1 || after.Committed < before.Committed {
			t.Errorf("%+v, was %+v", after, before)
		}
		cl.members[2].topic("still-there", 1)
		cl.awaitTopic("still-there")
		if _, now := cl.members[1].controller.present(); now != pid {
			t.Error("the controller was replaced")
		}
		// It does know broker 2's voice.
		step(2, deposing())
		cl.await("another term", func() bool { return cl.members[1].Quorum().Term > before.Term })
	})
}

func TestABrokerThatIsRemovedEndsAndVotesNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 4)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		cl.awaitReady()
		removed := cl.members[2]
		cl.awaitAtMost(2*time.Minute, "it is removed", func() bool {
			reply, err := cl.members[3].ask(t.Context(), metadata.RemoveBroker{Broker: 2})
			if errors.Is(err, wire.RequestTimedOut) {
				return false
			}
			state, ok := reply.(metadata.RemovedBroker)
			if !ok || err != nil {
				t.Fatalf("%+v, %v", reply, err)
			}
			return state.Done || errors.Is(state.Err, wire.BrokerIDNotRegistered)
		})
		cl.await("it ends", func() bool { return removed.Err() != nil })
		if err := removed.Err(); !strings.Contains(err.Error(), "broker 2 was removed from the cluster") {
			t.Error(err)
		}
		cl.kill(2)
		cl.awaitAtMost(2*time.Minute, "another one votes", func() bool {
			return slices.Equal(cl.voters(), []wire.BrokerID{1, 3, 4})
		})
		cl.kill(1)
		cl.members[3].topic("afterwards", 1)
		cl.awaitTopic("afterwards")
	})
}
